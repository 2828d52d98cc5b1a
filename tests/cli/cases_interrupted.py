"""Receivers that are killed or interrupted, and those that go on."""
import contextlib
import random
import shutil
import signal
import time

from harness import (BIG_MIB, FILES, INTERRUPTED, KILLS, LIMIT_S, LOST_AT_MOST, OK, OTHER, Process, Result, STOP_S,
                     Skipped, entries, only, require, same)


def partial_bytes(out):
    """What the receiver has written so far."""
    total = 0
    with contextlib.suppress(OSError):
        for inner in (out / ".copse-partial").iterdir():
            for file in inner.iterdir():
                if file.suffix in (".part", ".new", ".data"):
                    total += file.stat().st_blocks * 512
    return total


def interrupt_at(process, out, wanted, how):
    """Ends a receiver as soon as it has written so much. False when it was faster."""
    deadline = time.monotonic() + LIMIT_S
    while process.child.poll() is None:
        require(time.monotonic() < deadline, "the transfer makes no progress")
        if partial_bytes(out) >= wanted:
            process.kill(how)
            break
    return process.finish() != OK


def resume_after_kill(world):
    """kill -9 at random moments, also with a new sender: little is fetched again."""
    size = BIG_MIB << 20
    source = world.file("big", size)
    generator = random.Random(7)
    sender, ticket = world.send(source)
    out = world.folder("out")
    kills = 0
    for turn in range(8):
        there = partial_bytes(out)
        wanted = there + generator.randrange(max(1, (size - there) // 3))
        process = world.start_recv(ticket, out)
        if not interrupt_at(process, out, wanted, signal.SIGKILL):
            break
        kills += 1
        require(not (out / source.name).exists(), "an unfinished file has its final name")
        if turn == 3:
            sender.stop()
            sender, ticket = world.send(source)
    require(kills >= 3, f"only {kills} interruptions were possible")
    if not (out / source.name).exists():
        there = partial_bytes(out)
        done = world.recv(ticket, out).expect(OK)
        same(source, out / source.name)
        again = done.fetched + there - size
        require(again <= LOST_AT_MOST + (1 << 20),
                f"{again} bytes were fetched again ({there} were there, {done.fetched} came)")
        require(done.here + done.fetched >= size, "the numbers do not add up")
        require(there < LOST_AT_MOST or "resuming: " in done.err, "no word about resuming")
    same(source, out / source.name)
    only(out, source.name)


def killed_anywhere(world):
    """kill -9 once at a random point, then to the end, from the same sender or another."""
    size = BIG_MIB << 20
    source = world.file("big", size)
    senders = [world.send(source), world.send(source)]
    generator = random.Random(11)
    worst = 0
    for turn in range(KILLS):
        out = world.folder(f"out{turn}")
        process = world.start_recv(senders[0][1], out)
        if interrupt_at(process, out, generator.randrange(size), signal.SIGKILL):
            there = partial_bytes(out)
            done = world.recv(senders[turn % 2][1], out).expect(OK)
            worst = max(worst, done.fetched + there - size)
            require(done.here + done.fetched >= size, "the numbers do not add up")
        same(source, out / source.name)
        only(out, source.name)
        shutil.rmtree(out)
    require(worst <= LOST_AT_MOST, f"{worst} bytes were fetched again")
    print(f"# killed {KILLS} times in {BIG_MIB} MiB: at most {worst} bytes fetched again")


def interrupted(world):
    """Ctrl-C: code 130, and nothing is lost."""
    source = world.file("big", BIG_MIB << 20)
    sender, ticket = world.send(source, "--once")
    out = world.folder("out")
    process = world.start_recv(ticket, out)
    if interrupt_at(process, out, BIG_MIB << 19, signal.SIGINT):
        Result(process, process.child.returncode).expect(INTERRUPTED, "interrupted")
        there = partial_bytes(out)
        require(sender.child.poll() is None, "the sender took an interruption for the end")
        done = world.recv(ticket, out).expect(OK, "resuming: ")
        again = done.fetched + there - (BIG_MIB << 20)
        require(again < 2 << 20, f"{again} bytes were fetched again after a clean end")
    same(source, out / source.name)
    require(sender.finish(STOP_S) == OK, "send --once failed")
    # While hashing, and while waiting for getters.
    process = Process(world, [world.options.copse, "send", source, source.parent,
                              "--bind", "127.0.0.1:0"])
    process.kill(signal.SIGINT)
    require(process.finish(STOP_S) != OTHER, "an interruption is no other failure")
    process, _ = world.send(source, "--once")
    process.kill(signal.SIGINT)
    Result(process, process.finish(STOP_S)).expect(INTERRUPTED)


def killed_while_placing(world):
    """Killed while files get their names: the next run ends the work, without any sender."""
    tree = world.folder("in/tree")
    for i in range(3000):
        (tree / f"{i}").write_text(f"{i}" * (i % 50))
    for _ in range(8):
        sender, ticket = world.send(tree)
        out = world.scratch / "out"
        shutil.rmtree(out, ignore_errors=True)
        process = world.start_recv(ticket, out)
        deadline = time.monotonic() + LIMIT_S
        while process.child.poll() is None and time.monotonic() < deadline:
            if (out / "tree" / "0").exists():
                process.kill()
                break
        code = process.finish()
        sender.stop()
        if code != OK:
            break
    else:
        raise Skipped("the receiver was too fast each time")
    placed = len(entries(out / "tree"))
    require(placed < 3000, "nothing was left to do")
    world.recv(ticket, out).expect(OK)
    same(tree, out / "tree")
    only(out, "tree")


def at_the_same_time(world):
    """Two receivers of the same into one folder: the second says so and harms nothing."""
    source = world.file("medium", 3_000_001)
    provider, ticket = world.provide("--mem", "--stall", "1000000", source, what="raw")
    out = world.folder("out")
    first = world.start_recv(ticket, out, "--timeout", "50")
    deadline = time.monotonic() + LIMIT_S
    while partial_bytes(out) == 0:
        require(time.monotonic() < deadline, "nothing arrives")
    world.recv(ticket, out).expect(FILES, "another process")
    first.kill(signal.SIGINT)
    Result(first, first.finish(STOP_S)).expect(INTERRUPTED)
    provider.stop()


SCENARIOS = {
    "recv/killed": resume_after_kill,
    "recv/killed-anywhere": killed_anywhere,
    "recv/interrupted": interrupted,
    "recv/killed-while-placing": killed_while_placing,
    "recv/at-the-same-time": at_the_same_time,
}
