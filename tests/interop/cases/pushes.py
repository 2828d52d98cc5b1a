"""Push between the probe and the peer: what is accepted, refused, and found wrong."""
from harness import require
from observers import at, state
from programs import Driver
from ranges import SIZES, check_blob, finished


def varint(number):
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


ROOT = bytes.fromhex("020001000100")  # all of the root, nothing of any child


def push_head(hash_):
    body = bytes.fromhex(hash_) + ROOT
    return (b"\x08" + varint(len(body)) + body).hex()


def encoding(world, source):
    """The hash of a file and its encoding, as the real provider sends it."""
    peer = Driver(world, "peer")
    served = peer.provide("--mem", source)
    hash_ = served.one("hash").split(" ")[0]
    out = world.scratch / f"encoding{world.next_number()}"
    lines = peer.raw(*at(served), "--hex", "00" + hash_ + ROOT.hex(), "--out", out)
    require(lines.one("end") == "fin", "the real provider did not answer")
    served.process.stop()
    return hash_, out.read_bytes()


def is_there(world, served, hash_, source):
    out = world.scratch / f"back{world.next_number()}"
    lines = Driver(world, "peer").get(*at(served), "--hash", hash_, "--out", out)
    finished(lines, 1)
    check_blob(world, lines, 0, source, "all", out)


def accepted(world, receiver, pusher):
    served = Driver(world, receiver).provide("--mem", "--allow-push")
    for name, size in {**SIZES, "medium": 3_000_001, "eight": 8 << 20}.items():
        source = world.samples.file(f"{name}.bin", size)
        lines = Driver(world, pusher).ask("push", *at(served), source)
        require(lines.one("result") == "ok", f"{name}: the push failed")
        hash_ = lines.one("hash").split(" ")[0]
        require(lines.all("confirmed") == [hash_], f"{name}: not confirmed")
        is_there(world, served, hash_, source)


def on_disk(world, receiver, pusher):
    source = world.samples.file("eight.bin", 8 << 20)
    served = Driver(world, receiver).provide("--store", world.folder("store"), "--allow-push")
    lines = Driver(world, pusher).ask("push", *at(served), source)
    require(lines.one("result") == "ok", "the push failed")
    is_there(world, served, lines.one("hash").split(" ")[0], source)


def parts(world, receiver, pusher):
    """Some ranges first, which stay, then others."""
    source = world.samples.file("medium.bin", 3_000_001)
    served = Driver(world, receiver).provide("--mem", "--allow-push")
    peer, pusher = Driver(world, "peer"), Driver(world, pusher)
    hash_ = peer.hash(source)
    # Whole groups of 16 chunks, which is what a store keeps.
    for spec, expected in (("64-128", "64-128"), ("512-640,1024-1040", "64-128,512-640,1024-1040")):
        require(pusher.ask("push", *at(served), "--ranges", spec, source).one("result") == "ok",
                f"the push of {spec} failed")
        got = state(peer, served, hash_)
        require(got == f"3000001 {expected}", f"after {spec}: {got}")
    require(pusher.ask("push", *at(served), source).one("result") == "ok", "the rest failed")
    is_there(world, served, hash_, source)


def sequence(world, receiver, pusher):
    """A hash sequence with its children, an empty and a repeated one among them."""
    sources = [world.samples.file(f"{name}.bin", size) for name, size in SIZES.items()]
    sources += [world.samples.empty(), sources[0], world.samples.file("medium.bin", 3_000_001)]
    served = Driver(world, receiver).provide("--mem", "--allow-push")
    lines = Driver(world, pusher).ask("push", *at(served), "--hashseq", *sources)
    require(lines.one("result") == "ok", "the push failed")
    out = world.scratch / "back"
    got = Driver(world, "peer").get(*at(served), "--hashseq", "--hash", lines.one("hashseq"),
                                    "--out", out)
    finished(got, len(sources) + 1)
    for number, source in enumerate(sources):
        check_blob(world, got, number + 1, source, "all", f"{out}.{number}")


def at_once(world, receiver):
    """More than a window or a limit holds: those beyond are refused, none waits for another."""
    sources = [world.samples.file(f"push{number}.bin", 300_000 + number) for number in range(90)]
    served = Driver(world, receiver).provide("--mem", "--allow-push")
    peer = Driver(world, "peer")
    lines = peer.ask("push", *at(served), "--no-confirm", "--timeout", "30", *sources)
    refused = lines.all("stop")
    require(set(refused) <= {"2"}, f"stopped with {set(refused)}")
    require(len(refused) + len(lines.all("pushed")) == len(sources), "some were not heard of")
    if receiver == "probe":
        require(refused, "90 pushes at once are over no limit")
    lines = peer.ask("push", *at(served), "--wait", "20", *sources[:8])
    require(lines.one("result") == "ok", "eight at once were not taken")


def refused(world, receiver, pusher):
    """Nobody may push by default: code 1 on the answer, nothing stored, the rest is served."""
    source = world.samples.file("medium.bin", 3_000_001)
    hash_, encoded = encoding(world, source)
    other = world.samples.file("odd.bin", 1_000_003)
    served = Driver(world, receiver).provide("--mem", other)
    peer, push = Driver(world, "peer"), Driver(world, pusher)
    lines = push.ask("push", *at(served), "--wait", "1", source)
    require(lines.one("result") == "failed", "a push that is not allowed succeeded")
    require(state(peer, served, hash_) == "0 none", "something of it was stored")
    body = world.scratch / "body"
    body.write_bytes(encoded)
    lines = push.raw(*at(served), "--hex", push_head(hash_), "--file", body)
    require(lines.one("end") == "reset 1", f"ended by {lines.one('end')} instead of reset 1")
    finished(push.get(*at(served), "--hash", served.one("hash").split(" ")[0]), 1)


def limited(world, receiver, pusher):
    source = world.samples.file("one.bin", 1)
    served = Driver(world, receiver).provide("--mem", "--limit", "push")
    hash_ = Driver(world, "peer").hash(source)
    lines = Driver(world, pusher).raw(*at(served), "--hex", push_head(hash_))
    require(lines.one("end") == "reset 2", f"ended by {lines.one('end')} instead of reset 2")


def corrupted(world, receiver, pusher):
    """A flipped bit: STOP_SENDING with code 3, and nothing that is wrong is stored."""
    source = world.samples.file("eight.bin", 8 << 20)
    served = Driver(world, receiver).provide("--mem", "--allow-push")
    peer, push = Driver(world, "peer"), Driver(world, pusher)
    hash_ = peer.hash(source)
    for where in (9, 100, 3_000_000):
        lines = push.ask("push", *at(served), "--corrupt", str(where), "--no-confirm", source)
        # The code may come after the last byte was acknowledged, or be known late.
        require(lines.one("stop") in ("3", "none"), f"byte {where}: stop {lines.one('stop')}")
        ranges = state(peer, served, hash_).split(" ")[1]
        require(not (where < 1000 and ranges != "none"), f"byte {where}: {ranges} were stored")
        # Groups of 16 KiB and, but for the few of the way down, a pair of 64 bytes for each.
        wrong = where // (16384 + 64) * 16
        for part in ranges.split(",") if where > 1000 and ranges != "none" else []:
            first, _, end = part.partition("-")
            require(end and (int(end) <= wrong or int(first) >= wrong + 16),
                    f"byte {where}: {ranges} were stored, chunk {wrong} among them")
        lines = peer.get(*at(served), "--hash", hash_)
        require(lines.one("result") == "failed", f"byte {where}: it counts as complete")
    require(push.ask("push", *at(served), source).one("result") == "ok",
            "the right data is not taken any more")
    is_there(world, served, hash_, source)


def malformed(world, receiver, pusher):
    """Ends too soon, says too much, claims another size: an end, and the next one is taken."""
    source = world.samples.file("odd.bin", 1_000_003)
    hash_, encoded = encoding(world, source)
    served = Driver(world, receiver).provide("--mem", "--allow-push")
    peer, push = Driver(world, "peer"), Driver(world, pusher)
    head = push_head(hash_)
    body = world.scratch / "body"
    wrong = [("nothing", b""), ("half a header", encoded[:5]),
             ("half", encoded[:len(encoded) // 2]), ("all but a byte", encoded[:-1])]
    if receiver == "probe":  # ours: a size is not believed before the last chunk proves it
        wrong += [("another size", (1_000_004).to_bytes(8, "little") + encoded[8:]),
                  ("an impossible size", b"\xff" * 8 + encoded[8:])]
    for what, data in wrong:
        body.write_bytes(data)
        lines = push.raw(*at(served), "--hex", head, "--file", body)
        require(lines.one("bytes") == "0", f"{what}: answered by data")
        end = lines.one("end")
        require(end == "fin" or end.startswith("reset"), f"{what}: ended by {end}")
        require(peer.get(*at(served), "--hash", hash_).one("result") == "failed",
                f"{what}: the blob counts as complete")
    for request in (head[:-2], "08", "0800", "08ff", "08ffffffffffffffffff01"):
        lines = push.raw(*at(served), "--hex", request)
        require(lines.one("bytes") == "0", f"{request}: answered by data")
        require(lines.one("end") == "fin" or lines.one("end").startswith("reset"),
                f"{request}: ended by {lines.one('end')}")
    body.write_bytes(encoded)
    push.raw(*at(served), "--hex", head, "--file", body)
    require(push.ask("observe", *at(served), "--hash", hash_, "--complete").one("result") == "ok",
            "a good push of the same bytes is not taken")
    is_there(world, served, hash_, source)


CASES = {"accepted": accepted, "on-disk": on_disk, "parts": parts, "sequence": sequence,
         "refused": refused, "limited": limited, "corrupted": corrupted, "malformed": malformed}


def scenarios(self_test):
    pairs = [("peer", "peer")] if self_test else [("peer", "probe"), ("probe", "peer")]
    found = {f"push/{pusher}-to-{receiver}/{name}":
             lambda world, case=case, receiver=receiver, pusher=pusher: case(world, receiver, pusher)
             for receiver, pusher in pairs for name, case in CASES.items()}
    receiver = "peer" if self_test else "probe"
    found[f"push/peer-to-{receiver}/at-once"] = lambda world: at_once(world, receiver)
    return found
