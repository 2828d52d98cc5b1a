"""GetMany between the probe and the peer."""
from harness import require
from programs import Driver
from ranges import SIZES, check_blob, same_wire

WIRE = ("request", "blob", "range", "payload", "blobs", "stream", "end")
UNKNOWN = "00" * 31 + "01"


class Shelf:
    """A provider with all samples, and a client, of which the real one checks the other."""

    def __init__(self, world, provider, client, *more):
        self.world = world
        self.client = Driver(world, client)
        self.peer = Driver(world, "peer")
        self.sources = {name: world.samples.file(f"{name}.bin", size)
                        for name, size in SIZES.items()}
        self.sources["empty"] = world.samples.empty()
        self.served = Driver(world, provider).provide("--mem", *more, *self.sources.values())
        self.where = ["--id", self.served.one("id"), "--addr", self.served.one("addr")]
        hashes = [line.split(" ")[0] for line in self.served.all("hash")]
        self.hashes = dict(zip(self.sources, hashes))

    def ask(self, wanted):
        """wanted: pairs of a name or hash and ranges. The answer, and where its blobs went."""
        blobs = []
        for name, spec in wanted:
            blobs += ["--blob", f"{self.hashes.get(name, name)}={spec}"]
        out = self.world.scratch / f"out{self.world.next_number()}"
        lines = self.client.ask("get-many", *self.where, *blobs, "--out", out)
        if self.client.name != "peer":
            reference = self.peer.ask("get-many", *self.where, *blobs)
            require(lines.one("request") == reference.one("request"), "another request on the wire")
            if reference.one("end") == "fin":
                same_wire(lines, reference, WIRE)
        return lines, out

    def expect(self, wanted):
        lines, out = self.ask(wanted)
        require(lines.one("end") == "fin", f"{wanted}: ended by {lines.one('end')}")
        coming = [(i, name, spec) for i, (name, spec) in enumerate(wanted) if spec != "none"]
        require(int(lines.one("blobs")) == len(coming), f"{lines.one('blobs')} blobs came")
        for index, name, spec in coming:
            check_blob(self.world, lines, index, self.sources[name], spec, f"{out}.{index}")

    def expect_code(self, wanted, code):
        lines, _ = self.ask(wanted)
        require(lines.one("end") == f"reset {code}",
                f"{wanted}: {lines.one('end')} instead of reset {code}")
        require(lines.one("result") == "failed", f"{wanted}: no error")


def whole(world, provider, client):
    shelf = Shelf(world, provider, client)
    shelf.expect([(name, "all") for name in shelf.sources])
    shelf.expect([("odd", "all")])
    shelf.expect([("empty", "all")])


def parts(world, provider, client):
    """Ranges of their own for each, also none."""
    shelf = Shelf(world, provider, client)
    shelf.expect([("odd", "3,900-"), ("one", "last"), ("even", "0-16,500-600,last"), ("group", "5000-")])
    shelf.expect([("odd", "none"), ("group1", "last"), ("even", "none"), ("chunk", "all"), ("one", "none")])
    shelf.expect([(name, "last") for name in shelf.sources])


def duplicates(world, provider, client):
    shelf = Shelf(world, provider, client)
    shelf.expect([("odd", "all"), ("one", "all"), ("odd", "all"), ("odd", "7"), ("one", "all")])
    shelf.expect([("group", "all"), ("chunk", "0")] * 250)


def nothing(world, provider, client):
    """No hash at all, and hashes of which nothing is wanted: an empty answer with an end."""
    shelf = Shelf(world, provider, client)
    for wanted in ([], [("odd", "none"), (UNKNOWN, "none")]):
        lines, _ = shelf.ask(wanted)
        require(lines.one("end") == "fin", f"{wanted}: ended by {lines.one('end')}")
        require(lines.one("stream") == "0", f"{wanted}: {lines.one('stream')} bytes")


def missing(world, provider, client):
    shelf = Shelf(world, provider, client)
    shelf.expect_code([(UNKNOWN, "all")], 3)
    shelf.expect_code([("odd", "all"), (UNKNOWN, "all"), ("one", "all")], 3)
    shelf.expect([("odd", "all"), (UNKNOWN, "none"), ("one", "all")])


def partial(world, provider, client):
    source = world.samples.file("medium.bin", 3_000_001)
    shelf = Shelf(world, provider, client, "--partial", f"{source}=0-128,512-576")
    shelf.sources["partial"] = source
    shelf.hashes["partial"] = shelf.served.one("partial").split(" ")[0]
    shelf.expect([("one", "all"), ("partial", "5,520-530"), ("odd", "all")])
    shelf.expect_code([("one", "all"), ("partial", "120-130"), ("odd", "all")], 3)


def refused(world, provider, client):
    """By policy: code 1 for good, code 2 for now; other kinds are still served."""
    for option, code in (("--refuse", 1), ("--limit", 2)):
        shelf = Shelf(world, provider, client, option, "get-many")
        shelf.expect_code([("odd", "all")], code)
        lines = shelf.client.get(*shelf.where, "--hash", shelf.hashes["odd"])
        require(lines.one("end") == "fin", "a Get was refused too")


CASES = {"whole": whole, "parts": parts, "duplicates": duplicates, "nothing": nothing,
         "missing": missing, "partial": partial, "refused": refused}


def scenarios(self_test):
    pairs = [("peer", "peer")] if self_test else [("peer", "probe"), ("probe", "peer")]
    return {f"get-many/{provider}-to-{client}/{name}":
            lambda world, case=case, provider=provider, client=client: case(world, provider, client)
            for provider, client in pairs for name, case in CASES.items()}
