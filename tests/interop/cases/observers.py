"""Observe between the probe and the peer: what is there, and how it grows."""
from harness import START_S, require
from many import UNKNOWN
from programs import Driver

EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def at(served):
    return ["--id", served.one("id"), "--addr", served.one("addr")]


def state(observer, served, hash_, *more):
    return observer.ask("observe", *at(served), "--hash", hash_, "--items", "1", *more).one("state")


def first_items(world, provider, client):
    observer = Driver(world, client)
    odd = world.samples.file("odd.bin", 1_000_003)
    one = world.samples.file("one.bin", 1)
    medium = world.samples.file("medium.bin", 3_000_001)
    served = Driver(world, provider).provide(
        "--mem", "--partial", f"{medium}=0-128,512-576", odd, one)
    hashes = [line.split(" ")[0] for line in served.all("hash")]
    require(state(observer, served, hashes[0]) == "1000003 0-", "a complete blob looks otherwise")
    require(state(observer, served, hashes[1]) == "1 0-", "a small blob looks otherwise")
    partial = served.one("partial").split(" ")[0]
    require(state(observer, served, partial) == "3000001 0-128,512-576", "so does a partial one")
    require(state(observer, served, UNKNOWN) == "0 none", "and one that nobody has")


def last_chunk(world, provider, client):
    """With the last chunk there, the ranges have an open end: the size is proven."""
    source = world.samples.file("medium.bin", 3_000_001)
    served = Driver(world, provider).provide("--mem", "--partial", f"{source}=0-64,2896-")
    got = state(Driver(world, client), served, served.one("partial").split(" ")[0])
    require(got == "3000001 0-64,2896-", f"the state is {got}")


def growing(world, provider, client):
    """Somebody else pushes what is missing, part by part: all of it is seen."""
    source = world.samples.file("medium.bin", 3_000_001)
    served = Driver(world, provider).provide(
        "--mem", "--allow-push", "--partial", f"{source}=0-128")
    hash_ = served.one("partial").split(" ")[0]
    watching = Driver(world, client).start(
        "observe", *at(served), "--hash", hash_, "--complete", "--wait", str(int(START_S)))
    watching.line_until(lambda line: line == "item 3000001 0-128", START_S)
    peer = Driver(world, "peer")
    for spec in ("512-640", "128-512", "2000-"):
        lines = peer.ask("push", *at(served), "--ranges", spec, source)
        require(lines.one("result") == "ok", f"the push of {spec} failed")
        watching.line_until(lambda line: line.startswith("item "), START_S)
    require(peer.ask("push", *at(served), source).one("result") == "ok", "the last push failed")
    require(watching.finish(START_S) == 0, "the observer did not see the end")
    require("state 3000001 0-" in watching.seen, "the items add up to something else")


def appearing(world, provider, client):
    """An unknown blob that comes while it is observed."""
    source = world.samples.file("medium.bin", 3_000_001)
    served = Driver(world, provider).provide("--mem", "--allow-push")
    peer = Driver(world, "peer")
    hash_ = peer.hash(source)
    watching = Driver(world, client).start(
        "observe", *at(served), "--hash", hash_, "--complete", "--wait", str(int(START_S)))
    watching.line_until(lambda line: line == "item 0 none", START_S)
    require(peer.ask("push", *at(served), source).one("result") == "ok", "the push failed")
    require(watching.finish(START_S) == 0, "the observer did not see the end")
    require("state 3000001 0-" in watching.seen, "the items add up to something else")


def quiet(world, provider, client):
    """Nothing changes: one item, then silence, however long; and leaving does no harm."""
    source = world.samples.file("odd.bin", 1_000_003)
    served = Driver(world, provider).provide("--mem", source)
    hash_ = served.one("hash").split(" ")[0]
    observer = Driver(world, client)
    lines = observer.ask("observe", *at(served), "--hash", hash_, "--items", "2", "--wait", "1")
    require(lines.all("item") == ["1000003 0-"], f"items {lines.all('item')}")
    require(lines.one("end") == "silence", f"ended by {lines.one('end')}")
    for _ in range(20):
        require(state(observer, served, hash_) == "1000003 0-", "an observer is not served any more")


def refused(world, provider, client):
    source = world.samples.file("odd.bin", 1_000_003)
    for option, code in (("--refuse", 1), ("--limit", 2)):
        served = Driver(world, provider).provide("--mem", option, "observe", source)
        lines = Driver(world, client).ask(
            "observe", *at(served), "--hash", served.one("hash").split(" ")[0], "--items", "1")
        require(lines.one("end") == f"reset {code}", f"{lines.one('end')} instead of reset {code}")


CASES = {"first-item": first_items, "last-chunk": last_chunk, "growing": growing,
         "appearing": appearing, "quiet": quiet, "refused": refused}


def scenarios(self_test):
    pairs = [("peer", "peer")] if self_test else [("peer", "probe"), ("probe", "peer")]
    return {f"observe/{provider}-to-{client}/{name}":
            lambda world, case=case, provider=provider, client=client: case(world, provider, client)
            for provider, client in pairs for name, case in CASES.items()}
