"""Get requests between the probe and the peer: what is asked for and what comes."""
from harness import require
from programs import Driver

CHUNK = 1024
SIZES = {"one": 1, "chunk": 1024, "group": 16384, "group1": 16385, "odd": 1_000_003,
         "even": 1 << 20}


def expected_ranges(spec, size):
    """The byte ranges that a provider sends: what lies beyond the end stands for the last chunk."""
    total = max(1, -(-size // CHUNK))
    wanted = set()
    for part in spec.split(","):
        first, dash, end = part.partition("-")
        if part == "all":
            first, last = 0, total
        elif part == "last":
            first, last = total - 1, total
        else:
            first = int(first)
            last = (int(end) if end else max(total, first + 1)) if dash else first + 1
        if last > total:
            wanted.add(total - 1)
        wanted.update(range(min(first, total), min(last, total)))
    merged = []
    for chunk in sorted(wanted):
        if merged and merged[-1][1] == chunk:
            merged[-1][1] = chunk + 1
        else:
            merged.append([chunk, chunk + 1])
    ranges = [(a * CHUNK, min(b * CHUNK, size)) for a, b in merged]
    return [(a, b) for a, b in ranges if a < b]


def check_blob(world, lines, index, source, spec, out):
    """The lines and the bytes of one blob of an answer."""
    ranges = expected_ranges(spec, source.stat().st_size)
    blob = [value for value in lines.all("blob") if value.split(" ")[0] == str(index)]
    require(len(blob) == 1, f"{len(blob)} answers for blob {index}")
    require(int(blob[0].split(" ")[2]) == source.stat().st_size, f"wrong size: {blob[0]}")
    got = [tuple(map(int, value.split(" ")[1:])) for value in lines.all("range")
           if value.split(" ")[0] == str(index)]
    require(got == ranges, f"blob {index}, ranges {spec}: got {got} instead of {ranges}")
    payload = [value for value in lines.all("payload") if value.split(" ")[0] == str(index)]
    require(len(payload) == 1, f"no payload line for blob {index}")
    require(int(payload[0].split(" ")[1]) == sum(b - a for a, b in ranges), "wrong payload count")
    if spec == "all":
        require(payload[0].split(" ")[2] == blob[0].split(" ")[1], "the payload has another hash")
    with open(source, "rb") as want, open(out, "rb") as have:
        for a, b in ranges:
            want.seek(a)
            have.seek(a)
            require(want.read(b - a) == have.read(b - a), f"bytes {a} to {b} differ")


def finished(lines, blobs):
    require(lines.one("end") == "fin", f"ended by {lines.one('end')} instead of fin")
    require(lines.one("extra") == "0", f"{lines.one('extra')} bytes too many")
    require(int(lines.one("blobs")) == blobs, f"{lines.one('blobs')} blobs instead of {blobs}")


# On the wire both clients must ask the same and get the same.
WIRE = ("request", "blob", "range", "payload", "blobs", "stream", "extra", "end")


def same_wire(mine, reference, keys=WIRE):
    a, b = mine.picked(*keys), reference.picked(*keys)
    for ours, theirs in zip(a, b):
        require(ours == theirs, f"`{' '.join(ours)}` differs from iroh-blobs' `{' '.join(theirs)}`")
    require(len(a) == len(b), "another number of lines than iroh-blobs' client")


class Pair:
    """A provider with samples and a client, and the real pair as reference for the same files."""

    def __init__(self, world, provider, client):
        self.world = world
        self.client = Driver(world, client)
        self.peer = Driver(world, "peer")
        self.sources = [world.samples.file(f"{name}.bin", size) for name, size in SIZES.items()]
        self.provider = provider

    def serve(self, *more):
        arguments = [*more, *self.sources]
        return Driver(self.world, self.provider).provide(*arguments)

    def ask(self, ticket, *more):
        """The client's answer; compared with the real client's when the stream ended well."""
        out = self.world.scratch / f"out{self.world.next_number()}"
        lines = self.client.get("--ticket", ticket, "--out", out, *more)
        if self.client.name != "peer":
            reference = self.peer.get("--ticket", ticket, *more)
            require(lines.one("request") == reference.one("request"), "another request on the wire")
            if reference.one("end") == "fin":
                same_wire(lines, reference)
        return lines, out


def blob_case(spec, samples=None):
    def scenario(world, provider, client):
        pair = Pair(world, provider, client)
        served = pair.serve("--mem")
        for index, (name, source) in enumerate(zip(SIZES, pair.sources)):
            if samples and name not in samples:
                continue
            how = ("--size-proof",) if spec == "size-proof" else ("--ranges", spec)
            lines, out = pair.ask(served.ticket("raw", index), *how)
            finished(lines, 1)
            check_blob(world, lines, 0, source, "last" if spec == "size-proof" else spec, out)

    return scenario


def empty_case(world, provider, client):
    """An empty blob: eight bytes of size, nothing else, whatever is asked."""
    pair = Pair(world, provider, client)
    pair.sources = [world.samples.empty()]
    served = pair.serve("--mem")
    for spec in ("all", "last", "3-5"):
        lines, out = pair.ask(served.ticket("raw"), "--ranges", spec)
        finished(lines, 1)
        require(lines.one("stream") == "8", f"{lines.one('stream')} bytes instead of 8")
        check_blob(world, lines, 0, pair.sources[0], spec, out)


def from_disk(world, provider, client):
    """The provider's store on disk instead of in memory."""
    pair = Pair(world, provider, client)
    pair.sources = [world.samples.file("eight.bin", 8 << 20)]
    served = pair.serve("--store", world.folder("store"))
    for spec in ("all", "7,4096-4100,8000-"):
        lines, out = pair.ask(served.ticket("raw"), "--ranges", spec)
        finished(lines, 1)
        check_blob(world, lines, 0, pair.sources[0], spec, out)


def unknown_case(world, provider, client):
    pair = Pair(world, provider, client)
    served = pair.serve("--mem")
    where = ("--id", served.one("id"), "--addr", served.one("addr"))
    lines = pair.client.get(*where, "--hash", "00" * 31 + "01")
    require(lines.one("end") == "reset 3", f"ended by {lines.one('end')} instead of reset 3")
    require(lines.one("result") == "failed", "no error for a blob that is not there")


def partial_case(world, provider, client):
    """A blob of which the provider has some chunks only."""
    pair = Pair(world, provider, client)
    source = world.samples.file("odd.bin", SIZES["odd"])
    pair.sources = []
    served = pair.serve("--mem", "--partial", f"{source}=0-128,512-576")
    ticket = served.ticket("partial")
    for spec in ("0-128", "5,520-530"):
        lines, out = pair.ask(ticket, "--ranges", spec)
        finished(lines, 1)
        check_blob(world, lines, 0, source, spec, out)
    for spec in ("all", "300", "500-520"):
        lines, _ = pair.ask(ticket, "--ranges", spec)
        require(lines.one("end") == "reset 3", f"{spec}: {lines.one('end')} instead of reset 3")
        require(lines.one("result") == "failed", f"{spec}: no error for a missing part")


def sequence_case(world, provider, client):
    """A whole hash sequence, and the first request that sendme makes."""
    pair = Pair(world, provider, client)
    ticket = pair.serve("--mem", "--hashseq").ticket("hashseq")
    for how, spec in (((), "all"), (("--size-proof",), "last")):
        lines, out = pair.ask(ticket, *how)
        finished(lines, len(SIZES) + 1)
        for number, source in enumerate(pair.sources):
            check_blob(world, lines, number + 1, source, spec, f"{out}.{number}")


def children_case(world, provider, client):
    """Some children of a sequence, with and without the sequence itself, and none at all."""
    pair = Pair(world, provider, client)
    ticket = pair.serve("--mem", "--hashseq").ticket("hashseq")
    source = pair.sources
    lines, out = pair.ask(ticket, "--child", "1=all", "--child", "4=3,900-")
    finished(lines, 3)
    check_blob(world, lines, 2, source[1], "all", f"{out}.1")
    check_blob(world, lines, 5, source[4], "3,900-", f"{out}.4")
    lines, out = pair.ask(ticket, "--ranges", "none", "--child", "4=last")
    finished(lines, 1)
    check_blob(world, lines, 5, source[4], "last", f"{out}.4")
    lines, _ = pair.ask(ticket, "--ranges", "none", "--child", "1000=all")
    finished(lines, 0)
    require(lines.one("stream") == "0", "bytes for a child beyond the end")


def holes_case(world, provider, client):
    """A sequence of which one child is missing: what is there comes, the rest is an error."""
    pair = Pair(world, provider, client)
    served = pair.serve("--mem", "--hashseq-missing", "--missing-at", "2")
    require(served.one("missing").split(" ")[0] == "2", "another child is missing than asked")
    ticket = served.ticket("hashseq-missing")
    lines, out = pair.ask(ticket, "--child", "0=all", "--child", "1=all", "--child", "3=last")
    finished(lines, 4)
    check_blob(world, lines, 1, pair.sources[0], "all", f"{out}.0")
    check_blob(world, lines, 2, pair.sources[1], "all", f"{out}.1")
    check_blob(world, lines, 4, pair.sources[2], "last", f"{out}.3")
    for how in ((), ("--ranges", "none", "--child", "2=all"), ("--size-proof",)):
        lines, _ = pair.ask(ticket, *how)
        require(lines.one("end") == "reset 3", f"{how}: {lines.one('end')} instead of reset 3")
        require(lines.one("result") == "failed", f"{how}: no error for a missing child")


RANGE_CASES = {
    "whole": blob_case("all"),
    "first-chunk": blob_case("0"),
    "one-chunk": blob_case("5"),
    "last-chunk": blob_case("last"),
    "size-proof": blob_case("size-proof"),
    "several-ranges": blob_case("0-3,17,100-200,900-", {"odd", "even"}),
    "every-second-chunk": blob_case(",".join(str(i) for i in range(0, 1024, 2)), {"even"}),
    "beyond-the-end": blob_case("5000-5001"),
    "open-beyond-the-end": blob_case("0,5000-"),
    "empty": empty_case,
    "store-on-disk": from_disk,
    "unknown-hash": unknown_case,
    "partial-blob": partial_case,
    "sequence": sequence_case,
    "children": children_case,
    "missing-parts": holes_case,
}


def scenarios(self_test):
    pairs = [("peer", "peer")] if self_test else [("peer", "probe"), ("probe", "peer")]
    found = {}
    for provider, client in pairs:
        for name, case in RANGE_CASES.items():
            found[f"{provider}-to-{client}/{name}"] = (
                lambda world, case=case, provider=provider, client=client:
                case(world, provider, client))
    return found
