"""Requests byte by byte from the real client's side: what is answered, and by what."""
import pathlib

from harness import require
from observers import at
from programs import Driver
from pushes import ROOT
from ranges import SIZES, finished

LIMIT = 1 << 20  # of a request's body
HASH = "11" * 32

# What makes no sense, whoever is asked.
SENSELESS = {
    "nothing": "", "no body": "00", "reserved types": "02", "the last reserved type": "07",
    "an unknown type": "0a", "another one": "ff", "half a Get": "00" + HASH, "half a GetMany": "09" + HASH,
    "a count of hashes without them": "09ffffffff0f", "first ranges empty": "00" + HASH + "020000010100",
    "an index difference of zero": "00" + HASH + "0200010000010000",
    "equal ranges one after the other": "00" + HASH + "02000100010100",
    "a width of zero": "00" + HASH + "01000301000a00",
    "widths beyond 64 bits": "00" + HASH + "0100020affffffffffffffffff01",
    "a count without entries": "00" + HASH + "ffffffff0f", "half an Observe": "01" + HASH,
    "a push without a length": "08", "a push longer than is allowed": "08ffffff7f",
}


class Target:
    def __init__(self, world, provider, *more):
        self.name = provider
        self.peer = Driver(world, "peer")
        sources = [world.samples.file(f"{name}.bin", size) for name, size in SIZES.items()]
        served = Driver(world, provider).provide("--mem", "--hashseq", *more, *sources)
        self.where = at(served)
        hashes = [line.split(" ")[0] for line in served.all("hash")]
        self.hashes = dict(zip(SIZES, hashes), sequence=served.one("hashseq").split(" ")[0])

    def raw(self, request, *more):
        return self.peer.raw(*self.where, "--hex", request, *more)

    def require_refusal(self, what, lines):
        """Ours says so by a code: an empty answer with an end would look like an answer."""
        require(lines.one("bytes") == "0", f"{what}: answered by {lines.one('bytes')} bytes")
        end = lines.one("end")
        wanted = "fin" if self.name == "peer" else "reset 1"
        require(end == wanted, f"{what}: ended by {end} instead of {wanted}")


def senseless(world, provider):
    target = Target(world, provider)
    for what, request in SENSELESS.items():
        target.require_refusal(what, target.raw(request))
    finished(target.peer.get(*target.where, "--hash", target.hashes["odd"]), 1)


def oversized(world, provider):
    """A body of exactly the limit is read, and of one more byte is not."""
    target = Target(world, provider)
    good = "00" + target.hashes["odd"] + ROOT.hex()
    rest = LIMIT + 1 - len(good) // 2
    filler = pathlib.Path(world.scratch / "filler")
    filler.write_bytes(bytes(rest))
    lines = target.raw(good, "--file", filler)
    require(lines.one("end") == "fin", f"a request of the largest size: {lines.one('end')}")
    require(int(lines.one("bytes")) > SIZES["odd"], "it was answered by nothing")
    for more in (1, 100_000):
        filler.write_bytes(bytes(rest + more))
        target.require_refusal(f"{more} bytes too many", target.raw(good, "--file", filler))


def trailing(world, provider):
    """What follows a body that makes sense is not looked at."""
    target = Target(world, provider)
    for kind, body in (("Get", "00" + target.hashes["odd"] + ROOT.hex()),
                       ("GetMany", "0901" + target.hashes["odd"] + ROOT.hex())):
        plain = target.raw(body)
        require(int(plain.one("bytes")) > SIZES["odd"], f"{kind}: answered by nothing")
        for tail in ("00", "ff" * 40):
            lines = target.raw(body + tail)
            require(lines.picked("bytes", "blake3", "end") == plain.picked("bytes", "blake3", "end"),
                    f"{kind} with {tail[:4]} behind it: another answer")


def without_end(world, provider):
    """A request is answered when it has ended, not before; ours does not wait for ever."""
    target = Target(world, provider, *(["--request-timeout", "2"] if provider == "probe" else []))
    good = "00" + target.hashes["odd"] + ROOT.hex()
    for request in (good, good[:-4], "01" + target.hashes["odd"] + "0100"):
        lines = target.raw(request, "--no-fin", "--wait", "1")
        require(lines.one("bytes") == "0", "answered before its end")
        require(lines.one("end") == "silence", f"ended by {lines.one('end')}")
    if provider == "probe":
        lines = target.raw(good, "--no-fin", "--wait", "20")
        require(lines.one("bytes") == "0", "answered after its time")
        require(lines.one("end").startswith("reset"), f"ended by {lines.one('end')}")
    finished(target.peer.get(*target.where, "--hash", target.hashes["odd"]), 1)


def same_bytes(world, provider):
    """Both providers answer the same request by the same bytes."""
    target, real = Target(world, provider), Target(world, "peer")
    sequence, odd, even = (target.hashes[name] for name in ("sequence", "odd", "even"))
    requests = ["00" + odd + ROOT.hex(),
                "00" + odd + "02000401020604" + "0100",      # chunks 1-3 and 9-13
                "00" + even + "0200020040" + "0100",         # a few groups
                "00" + even + "020001ffffffffffffffffff01" + "0100",  # the last chunk
                "00" + sequence + "01000100",                # everything
                "00" + sequence + "020001000101ffffffffffffffffff01",  # as sendme asks first
                "00" + sequence + "0202010001" + "00",       # a child without the sequence
                "00" + sequence + "0400010001000402043801" + "0100",  # the root, chunks of child 4
                "0903" + odd + even + odd + "01000100",       # three blobs
                "0903" + odd + even + odd + "04" + "00020405" + "010100" + "01020001" + "0100"]
    for request in requests:
        ours, theirs = target.raw(request), real.raw(request)
        require(int(theirs.one("bytes")) > 8, f"{request}: the real provider sends nothing")
        require(ours.picked("bytes", "blake3") == theirs.picked("bytes", "blake3"),
                f"{request}: {ours.one('bytes')} bytes, other than the {theirs.one('bytes')}")


CASES = {"senseless": senseless, "oversized": oversized, "trailing-bytes": trailing,
         "without-end": without_end, "same-bytes": same_bytes}


def scenarios(self_test):
    provider = "peer" if self_test else "probe"
    return {f"wire/{provider}/{name}": lambda world, case=case: case(world, provider)
            for name, case in CASES.items()}
