"""Standard input and output, and tickets as QR codes."""
import os
import re
import shutil
import signal
import subprocess

from harness import (FILES, INTERRUPTED, LIMIT_S, OK, OTHER, STOP_S, USAGE, Process, Result, Skipped, find_ticket,
                     only, require, same)


def leftovers(world):
    return [name for name in os.listdir(world.root) if name.startswith(("copse-recv-", "copse-stdin-"))]


def raw_output(world, ticket, path, *more):
    """recv -o - into a file. The end of the process, and its messages."""
    with open(path, "wb") as out:
        done = subprocess.run([str(world.options.copse), "recv", ticket, "-o", "-", *more], stdout=out,
                              stderr=subprocess.PIPE, timeout=LIMIT_S, env=world.environment, cwd=world.scratch,
                              check=False)
    return done.returncode, done.stderr.decode()


def from_input(world):
    """Standard input of any length arrives as a file, and its copy goes away."""
    for size, name in ((0, "stdin"), (1, "stdin"), (5_000_001, "other name")):
        source = world.file(f"piped {size}", size)
        feeder = subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE)
        more = () if name == "stdin" else ("--name", name)
        sender = Process(world, [world.options.copse, "send", "-", "--once", *more, "--bind", "127.0.0.1:0"],
                         stdin=feeder.stdout)
        feeder.stdout.close()
        ticket = sender.line_until(find_ticket)
        feeder.wait(STOP_S)
        out = world.scratch / f"out {size}"
        world.recv(ticket, out).expect(OK)
        same(source, out / name)
        require(sender.finish(STOP_S) == OK, "the sender failed")
        require(not leftovers(world), f"left: {leftovers(world)}")


def input_interrupted(world):
    """Ctrl-C, or the end of the terminal, while standard input is awaited."""
    for how, before in ((signal.SIGINT, ()), (signal.SIGHUP, ()), (signal.SIGTERM, ("nohup",))):
        process = Process(world, [*before, world.options.copse, "send", "-", "--json", "--bind", "127.0.0.1:0"],
                          stdin=subprocess.PIPE)
        process.child.stdin.write(b"some")
        process.child.stdin.flush()
        process.line_until(lambda line: '"phase":"read"' in line)
        if before:
            process.kill(signal.SIGHUP)
            process.line_until(lambda line: '"progress"' in line)
        process.kill(how)
        require(process.finish(STOP_S) == INTERRUPTED, f"{how.name}: not interrupted")
        require(not leftovers(world), f"{how.name}: left {leftovers(world)}")


def input_usage(world):
    world.copse("send", "-", "x").expect(USAGE, "only PATH")
    world.copse("send", "x", "--name", "y").expect(USAGE, "--name")
    world.copse("send", "-", "--name", "../y").expect(USAGE, "../y")


def to_output(world):
    """A file and a blob come out as they are, and nothing else does."""
    for size in (0, 1, 3_000_001, 20_000_000):
        source = world.file(f"out {size}", size)
        sender, ticket = world.send(source, "--once")
        copy = world.scratch / "copy"
        code, said = raw_output(world, ticket, copy)
        require(code == OK, f"exit code {code}: {said[-300:]}")
        same(source, copy)
        require(sender.finish(STOP_S) == OK, "the sender failed")
    source = world.file("medium", 3_000_001)
    provider, ticket = world.provide("--mem", source, what="raw")
    code, said = raw_output(world, ticket, copy)
    require(code == OK, f"exit code {code}: {said[-300:]}")
    same(source, copy)
    provider.stop()
    only(world.scratch, "copy")
    require(not leftovers(world), f"left: {leftovers(world)}")


def into_pipe(world, stderr):
    """recv -o - into a pipe that is not read yet. The file that comes, and the process."""
    source = world.file("out 20000000", 20_000_000)
    _, ticket = world.send(source)
    return source, subprocess.Popen([str(world.options.copse), "recv", ticket, "-o", "-"], stdout=subprocess.PIPE,
                                    stderr=stderr, env=world.environment, start_new_session=True)


def output_slow(world):
    """A reader that takes its time gets everything."""
    source, child = into_pipe(world, subprocess.DEVNULL)
    expected = source.read_bytes()
    got = bytearray()
    while part := child.stdout.read1(3001):
        got += part
    require(child.wait(STOP_S) == OK and bytes(got) == expected, "something else came out")


def output_closed(world):
    """A reader that goes away ends it, without a trace."""
    _, child = into_pipe(world, subprocess.PIPE)
    require(len(child.stdout.read(1000)) == 1000, "nothing came")
    child.stdout.close()
    said = child.stderr.read().decode()
    code = child.wait(STOP_S)
    child.stderr.close()
    require(code == INTERRUPTED and "nobody reads" in said, f"exit code {code}: {said[-300:]}")
    require(not leftovers(world), f"left: {leftovers(world)}")


def output_interrupted(world):
    """Ctrl-C while a reader takes nothing."""
    _, child = into_pipe(world, subprocess.PIPE)
    require(len(child.stdout.read1(1000)) > 0, "nothing came")
    child.send_signal(signal.SIGINT)
    code = child.wait(STOP_S)
    child.stdout.close()
    said = child.stderr.read().decode()
    child.stderr.close()
    require(code == INTERRUPTED and "interrupted" in said, f"exit code {code}: {said[-300:]}")
    require(not leftovers(world), f"left: {leftovers(world)}")


def output_wrong(world):
    """Only what was verified comes out, and only one file can."""
    source = world.file("medium", 3_000_001)
    liar, bad = world.provide("--mem", "--corrupt", "2000000", source, what="raw")
    copy = world.scratch / "copy"
    code, said = raw_output(world, bad, copy)
    require(code == 5, f"exit code {code}: {said[-300:]}")
    got = copy.read_bytes()
    require(len(got) < 2_000_000 and source.read_bytes().startswith(got), "wrong data came out")
    liar.stop()
    _, ticket = world.send(world.tree())
    code, said = raw_output(world, ticket, copy)
    require(code == USAGE and "a single file" in said, f"exit code {code}: {said[-300:]}")
    world.copse("recv", ticket, "-o", "-", "--json").expect(USAGE)
    require(copy.read_bytes() == b"" and not leftovers(world), "something was left")


def closed_streams(world):
    """Where nothing is open, nothing is read or written, least of all a file or socket that got its number."""
    source = world.file("medium", 3_000_001)
    sender, ticket = world.send(source)

    def run(closed, code, *arguments):
        done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", str(world.options.copse), *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, env=world.environment,
                              cwd=world.scratch, check=False)
        require(done.returncode == code, f"{closed} {arguments}: exit code {done.returncode} {done.stderr[-300:]}")

    run("<&-", FILES, "send", "-", "--bind", "127.0.0.1:0")
    run("<&-", OTHER, "hash", "-")
    run(">&-", FILES, "recv", ticket, "-o", "-")
    for closed, code in ((">&-", FILES), ("2>&-", OK), ("<&- >&- 2>&-", FILES)):
        run(closed, code, "recv", ticket, "-o", f"out {closed}")
        same(source, world.scratch / f"out {closed}" / source.name)
    sender.stop()
    require(not leftovers(world), f"left: {leftovers(world)}")


def qr_image(text, path):
    """The half blocks of a terminal as a picture."""
    blocks = {"\u2588": (255, 255), "\u2580": (255, 0), "\u2584": (0, 255), " ": (0, 0)}
    rows = []
    for line in text.splitlines():
        for half in (0, 1):
            row = bytes(blocks[c][half] for c in line for _ in range(4))
            rows += [row] * 4
    path.write_bytes(b"P5 %d %d 255\n" % (len(rows[0]), len(rows)) + b"".join(rows))


def qr(world):
    """The code in the terminal is the ticket."""
    sender, ticket = world.send(world.file("small", 1000))
    done = world.copse("ticket", ticket, "--qr")
    if done.code != OK:
        done.expect(1, "built without QR codes")
        raise Skipped("copse was built without libqrencode")
    picture = world.scratch / "qr.pgm"
    qr_image(done.out, picture)
    shown = Process(world, [world.options.copse, "send", world.file("small", 1000), "--qr", "--bind", "127.0.0.1:0"])
    text = shown.line_until(find_ticket)
    drawn = "\n".join(line for line in shown.stderr().splitlines() if re.fullmatch("[\u2580\u2584\u2588 ]+", line))
    other = world.scratch / "other.pgm"
    qr_image(drawn, other)
    if not shutil.which("zbarimg"):
        raise Skipped("zbarimg is not installed")
    for image, expected in ((picture, ticket), (other, text)):
        read = subprocess.run(["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", str(image)], check=False,
                              capture_output=True, text=True, timeout=LIMIT_S)
        require(read.stdout.strip() == expected, f"read {read.stdout!r} {read.stderr[-200:]!r}")
    world.copse("ticket", "nonsense", "--qr").expect(USAGE)
    sender.stop()


# ---------------------------------------------------------------- several tickets


def several(world):
    """The first provider is not there, the second breaks off, the third has the rest."""
    source = world.file("out 20000000", 20_000_000)
    name = world.copse("hash", source).out.split("  ")[0]
    gone, absent = world.provide("--mem", source, what="raw")
    gone.stop()
    liar, bad = world.provide("--mem", "--corrupt", "15000000", source, what="raw")
    honest, good = world.provide("--mem", source, what="raw")
    process = Process(world, [world.options.copse, "recv", absent, bad, good, "-o", world.scratch / "out", "--timeout",
                              "2"])
    done = Result(process, process.finish()).expect(OK, "trying", "cannot reach", "does not match")
    same(source, world.scratch / "out" / name)
    require(done.fetched < 22_000_000, f"{done.fetched} bytes in all: not only the rest")
    served = re.findall(r"served +(\d+) bytes", done.err)
    require(len(served) == 2 and sum(map(int, served)) == done.fetched, f"{served} of {done.fetched}")
    honest.stop()
    process = Process(world, [world.options.copse, "recv", absent, bad, "-o", world.scratch / "none", "--timeout", "2"])
    Result(process, process.finish()).expect(5, "none of 2 providers", "cannot reach", "does not match")
    liar.stop()


def several_usage(world):
    """Tickets for different things are told apart before anything is done."""
    a, ticket_a = world.send(world.file("small", 1000))
    b, ticket_b = world.send(world.file("byte", 1))
    hashes = [re.search(r"hash +(\w{64})", world.copse("ticket", t).out).group(1) for t in (ticket_a, ticket_b)]
    world.copse("recv", ticket_a, ticket_b, "-o", world.scratch / "out").expect(USAGE, *hashes)
    require(not (world.scratch / "out").exists(), "a folder was made")
    a.stop()
    b.stop()


def several_partly(world):
    """Two providers, each with other gaps, give the whole."""
    trees = []
    tickets = []
    for side in ("one", "two"):
        tree = world.folder(f"{side}/tree")
        for i in range(6):
            shutil.copy(world.file(f"piece {i}", 300_000 + i), tree / f"{i}")
        trees.append(tree)
        tickets.append(world.send(tree)[1])
    whole = world.scratch / "whole"
    shutil.copytree(trees[0], whole)
    for name in ("1", "2"):
        (trees[0] / name).unlink()
    for name in ("0", "4", "5"):
        (trees[1] / name).unlink()
    out = world.scratch / "out"
    world.copse("recv", *tickets, "-o", out).expect(OK, "served")
    same(whole, out / "tree")
    only(out, "tree")


SCENARIOS = {
    "pipe/from-input": from_input,
    "pipe/input-interrupted": input_interrupted,
    "pipe/input-usage": input_usage,
    "pipe/to-output": to_output,
    "pipe/output-slow": output_slow,
    "pipe/output-closed": output_closed,
    "pipe/output-interrupted": output_interrupted,
    "pipe/output-wrong": output_wrong,
    "pipe/closed-streams": closed_streams,
    "qr": qr,
    "several/in-order": several,
    "several/usage": several_usage,
    "several/gaps": several_partly,
}
