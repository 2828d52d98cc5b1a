"""The exit codes, one scenario a class at least; those of other subjects are theirs."""
import os
import re
import shutil
import signal
import subprocess

from harness import (CODES, DISK_FULL, FILES, INTEGRITY, INTERRUPTED, LIMIT, OK, PARTIAL, REFUSED, STOP_S, UNREACHABLE,
                     USAGE, Process, Result, Skipped, only, require, same, ticket_text)


def file_size_limit(world):
    """A file that may not become so large is a full disk; what came is kept, and goes on."""
    source = world.file("medium", 3_000_001)
    sender, ticket = world.send(source)
    out = world.folder("out")
    command = ["prlimit", "--fsize=1000000:1000000", str(world.options.copse)]
    if not shutil.which("prlimit"):
        raise Skipped("prlimit is not installed")
    process = Process(world, [*command, "recv", ticket, "-o", out])
    Result(process, process.finish()).expect(DISK_FULL, "while storing")
    world.recv(ticket, out).expect(OK)
    same(source, out / source.name)
    only(out, source.name)
    with open(source, "rb") as stdin:
        process = Process(world, [*command, "send", "-", "--bind", "127.0.0.1:0"], stdin=stdin)
        Result(process, process.finish()).expect(DISK_FULL, "temporary file")
    sender.stop()


def full_disk(world):
    """A file system without room, which is mounted where nobody else sees it."""
    source = world.file("medium", 3_000_001)
    if os.geteuid() != 0 or not shutil.which("unshare"):
        raise Skipped("needs root, to mount a small file system")
    sender, ticket = world.send(source)
    out = world.folder("out")
    script = 'mount -t tmpfs -o size=1m copse "$0" && cd / && exec "$@"'
    probe = subprocess.run(["unshare", "-m", "sh", "-c", script, str(out), "true"], check=False,
                           capture_output=True, timeout=STOP_S)
    if probe.returncode != 0:
        raise Skipped("cannot mount a file system here")
    process = Process(world, ["unshare", "-m", "sh", "-c", script, out, world.options.copse, "recv", ticket, "-o", out])
    Result(process, process.finish()).expect(DISK_FULL, "while storing")
    sender.stop()


def too_large(world):
    """More than --max-size is refused before anything is fetched."""
    source = world.file("medium", 3_000_001)
    _, ticket = world.send(source)
    out = world.folder("out")
    world.recv(ticket, out, "--max-size", "3000000").expect(LIMIT, "--max-size", "3000001")
    only(out)
    world.recv(ticket, out, "--max-size", "2M").expect(LIMIT)
    for wrong in ("", "x", "3X", "3MB", "-1", "99999999T"):
        world.recv(ticket, out, f"--max-size={wrong}").expect(USAGE, "--max-size")
    world.recv(ticket, out, "--max-size", "3M").expect(OK)
    same(source, out / source.name)


def tree_with_gaps(world, *gone):
    """A sender of five files, of which some went away since."""
    tree = world.folder("in/tree")
    for i in range(5):
        shutil.copy(world.file(f"piece {i}", 300_000 + i), tree / f"{i}")
    sender, ticket = world.send(tree)
    lost = world.folder("lost")
    for name in gone:
        (tree / name).rename(lost / name)
    return sender, ticket, tree


def partial(world):
    """Files that the provider lost do not keep the others from their place."""
    for gone in (("2",), ("0", "1", "4"), ("0", "1", "2", "3", "4")):
        sender, ticket, tree = tree_with_gaps(world, *gone)
        out = world.folder("out")
        done = world.recv(ticket, out)
        if len(gone) == 5:
            done.expect(REFUSED)
            only(out)
        else:
            done.expect(PARTIAL, "could not be had", *(f"'tree/{name}'" for name in gone))
            same(tree, out / "tree")
            only(out, "tree", ".copse-partial")
            world.recv(ticket, out).expect(PARTIAL)
            same(tree, out / "tree")
        for name in gone:  # with the file back, the same command ends the work
            (world.scratch / "lost" / name).rename(tree / name)
        world.recv(ticket, out).expect(OK)
        same(tree, out / "tree")
        only(out, "tree")
        sender.stop()
        shutil.rmtree(out)
        shutil.rmtree(tree)


def many_gaps(world):
    """A provider that lacks hundreds of files in a row is not asked about each of the rest."""
    tree = world.folder("in/tree")
    for i in range(280):
        (tree / f"{i:04}").write_text(f"file {i}")
    sender, ticket = world.send(tree)
    for i in range(270):
        (tree / f"{i:04}").unlink()
    out = world.folder("out")
    world.recv(ticket, out).expect(REFUSED)
    for i in range(270):  # fewer gaps: what lies behind them is found
        (tree / f"{i:04}").write_text(f"again {i}")
    sender.stop()
    sender, ticket = world.send(tree)
    for i in range(20, 30):
        (tree / f"{i:04}").unlink()
    done = world.recv(ticket, out).expect(PARTIAL, "10 files could not be had")
    same(tree, out / "tree")
    require(done.fetched < 200_000, f"{done.fetched} bytes for small files")
    sender.stop()


def half_a_file(world):
    """A file that changed in its middle: the others arrive, its good part is kept."""
    tree = world.folder("in/tree")
    for name in ("a", "b", "c"):
        shutil.copy(world.file(f"part {name}", 2_000_000), tree / name)
    sender, ticket = world.send(tree)
    about = (tree / "b").stat()
    with open(tree / "b", "r+b") as out:
        out.seek(1_500_000)
        good = out.read(1)
        out.seek(1_500_000)
        out.write(bytes([good[0] ^ 1]))
    os.utime(tree / "b", ns=(about.st_atime_ns, about.st_mtime_ns))
    out = world.folder("out")
    world.recv(ticket, out).expect(PARTIAL, "'tree/b'")
    require(sorted(os.listdir(out / "tree")) == ["a", "c"], "not the good files")
    with open(tree / "b", "r+b") as file:
        file.seek(1_500_000)
        file.write(good)
    os.utime(tree / "b", ns=(about.st_atime_ns, about.st_mtime_ns))
    done = world.recv(ticket, out).expect(OK)
    require(done.fetched < 1_500_000, f"{done.fetched} bytes were fetched again")
    same(tree, out / "tree")
    sender.stop()


def classes(world):
    """The other classes, and SIGTERM as well as SIGINT."""
    id_ = world.copse("id").expect(OK).out
    out = world.folder("out")
    world.copse("send").expect(USAGE)
    world.recv(ticket_text(id_, "11" * 32), out).expect(UNREACHABLE)
    source = world.file("medium", 3_000_001)
    liar, bad = world.provide("--mem", "--corrupt", "2000000", source, what="raw")
    world.recv(bad, out).expect(INTEGRITY)
    liar.stop()
    sender, ticket = world.send(source)
    (out / source.name).write_text("mine")
    world.recv(ticket, out).expect(FILES)
    address = re.search(r"127\.0\.0\.1:(\d+)", world.copse("ticket", ticket).out).group(1)
    world.recv(ticket_text(id_, "11" * 32, [("127.0.0.1", int(address))]), out).expect(REFUSED)
    sender.stop()
    for how in (signal.SIGINT, signal.SIGTERM):
        silent, stalled = world.provide("--mem", "--stall", "1000", source, what="raw")
        process = world.start_recv(stalled, world.scratch / f"out {how}", "--json")
        process.line_until(lambda line: '"connected"' in line)
        process.kill(how)
        code = process.finish(STOP_S)
        require(code == INTERRUPTED, f"{how.name}: exit code {code}")
        silent.stop()


def code_table(world):
    """The program, its documentation and these tests know the same codes."""
    page = (world.options.root / "docs/how-to/command-line.md").read_text()
    documented = re.findall(r"^\| (\d+) \| `([\w-]+)` \|", page, re.M)
    shown = re.findall(r"^  (\d+) +([\w-]+)  ", world.copse("--help").expect(OK).out, re.M)
    require(documented == shown, f"documented {documented}, shown {shown}")
    require({name: int(code) for code, name in shown} == CODES, f"{shown}")


SCENARIOS = {
    "exit/file-size-limit": file_size_limit,
    "exit/disk-full": full_disk,
    "exit/limit": too_large,
    "exit/partial": partial,
    "exit/partial-file": half_a_file,
    "exit/many-gaps": many_gaps,
    "exit/classes": classes,
    "exit/table": code_table,
}
