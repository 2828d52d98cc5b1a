"""copse send and the real client: what makes sense, and what makes none."""
from harness import require
from programs import Copse, Driver
from ranges import SIZES, check_blob, finished


def copse_serves(world):
    """A served file through the real client: whole, by ranges, and as a collection."""
    copse, peer = Copse(world), Driver(world, "peer")
    for size in ("one", "odd"):
        source = world.samples.file(f"{size}.bin", SIZES[size])
        process, ticket = copse.send(source)
        about = peer.ticket(ticket)
        require(about.one("format") == "hashseq", "a sender's ticket is for a sequence")
        where = ["--id", about.one("id"), "--addr", about.first("addr")]
        content = peer.hash(source)
        for spec in ("all", "0", "last", "3-5,17,900-", "5000-5001", "0,5000-"):
            out = world.scratch / "out"
            lines = peer.get(*where, "--hash", content, "--ranges", spec, "--out", out)
            finished(lines, 1)
            check_blob(world, lines, 0, source, spec, out)
        lines = peer.get("--ticket", ticket, "--out", world.scratch / "all")
        finished(lines, 3)
        check_blob(world, lines, 2, source, "all", world.scratch / "all.1")
        finished(peer.get("--ticket", ticket, "--size-proof"), 3)
        lines = peer.get(*where, "--hash", "00" * 31 + "01")
        require(lines.one("end") == "reset 3", f"unknown hash: {lines.one('end')}")
        process.stop()


def garbage(make):
    """Requests that make no sense: no data, an end, and the next request is served."""

    def scenario(world):
        peer = Driver(world, "peer")
        source = world.samples.file("odd.bin", SIZES["odd"])
        id_, address, content = make(world, source)
        where = ["--id", id_, "--addr", address]
        hash_ = "11" * 32
        for request in ("", "00", "02", "07", "0a", "ff", "00" + hash_, "09" + hash_,
                        "00" + hash_ + "020000010100",       # first ranges empty
                        "00" + hash_ + "0200010000010000",   # an index difference of zero
                        "00" + hash_ + "0100030100ffffffffffffffffff01",  # width zero
                        "00" + hash_ + "ffffffff0f"):        # a count without its entries
            lines = peer.raw(*where, "--hex", request)
            require(lines.one("bytes") == "0", f"{request!r} was answered by data")
            end = lines.one("end")
            require(end == "fin" or end.startswith("reset"), f"{request!r}: ended by {end}")
        good = "00" + content + "020001000100"
        lines = peer.raw(*where, "--hex", good, "--no-fin", "--wait", "1")
        require(lines.one("bytes") == "0", "a request without its end was answered")
        lines = peer.get(*where, "--hash", content)
        finished(lines, 1)

    return scenario


def peer_serves_one(world, source):
    served = Driver(world, "peer").provide("--mem", source)
    return served.one("id"), served.one("addr"), served.one("hash").split(" ")[0]


def copse_serves_one(world, source):
    peer = Driver(world, "peer")
    _, ticket = Copse(world).send(source)
    about = peer.ticket(ticket)
    return about.one("id"), about.first("addr"), peer.hash(source)


def scenarios(self_test):
    if self_test:
        return {"peer/garbage": garbage(peer_serves_one)}
    return {"copse-send/iroh-client": copse_serves, "copse-send/garbage": garbage(copse_serves_one)}
