"""Files and folders from one process to another, and what is in the way of them."""
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time

from harness import (BIG_MIB, EMPTY_HASH, FILES, LIMIT_S, OK, Process, REFUSED, Result, STOP_S, USAGE, World,
                     entries, find_ticket, only, require, same)


def transfer(make, *more):
    """send --once and recv: the same files, nothing left, both end with 0."""

    def scenario(world):
        source = make(world)
        sender, ticket = world.send(source, "--once")
        out = world.scratch / "out"
        done = world.recv(ticket, out, *more).expect(OK, "hash ", "verified")
        same(source, out / source.name)
        only(out, source.name)
        require(done.here == 0, f"{done.here} bytes were said to be here before")
        total = sum(p.stat().st_size for p in ([source] if source.is_file() else source.rglob("*"))
                    if p.is_file())
        require(done.fetched <= total + 200_000, f"{done.fetched} bytes for {total}")
        code = sender.finish(STOP_S)
        require(code == OK, f"send --once ended with {code}")
        require("\x1b" not in done.err, "escape codes without a terminal")

    return scenario


def several_paths(world):
    """Two paths, and content that occurs several times: fetched once, stored under each name."""
    a = world.folder("in/a")
    b = world.file("twice", 300_000)
    for name in ("one", "two", "three"):
        shutil.copy(b, a / name)
    (a / "empty").touch()
    (a / "also empty").touch()
    sender, ticket = world.send(a, b, "--once")
    out = world.scratch / "out"
    done = world.recv(ticket, out).expect(OK)
    same(a, out / "a")
    same(b, out / b.name)
    only(out, "a", b.name)
    # The last chunk of each file proves its size and comes for each.
    require(done.fetched < 310_000, f"{done.fetched} bytes for 300000")
    require(sender.finish(STOP_S) == OK, "send --once failed")


def many_getters(world):
    """Without --once a sender serves again and again, and ends well by Ctrl-C."""
    source = world.file("medium", 3_000_001)
    sender, ticket = world.send(source)
    running = [world.start_recv(ticket, world.scratch / f"out{i}") for i in range(4)]
    for i, process in enumerate(running):
        Result(process, process.finish()).expect(OK)
        same(source, world.scratch / f"out{i}" / source.name)
    world.recv(ticket, world.scratch / "last").expect(OK)
    sender.kill(signal.SIGINT)
    code = sender.finish(STOP_S)
    require(code == OK, f"the sender ended with {code}")


def raw_ticket(world):
    """A ticket for one blob: its file is named by its hash."""
    source = world.file("medium", 3_000_001)
    process, ticket = world.provide("--mem", source, what="raw")
    out = world.scratch / "out"
    world.recv(ticket, out).expect(OK)
    name = world.copse("hash", source).out.split("  ")[0]
    only(out, name)
    same(source, out / name)
    world.recv(ticket, out).expect(OK)
    empty, ticket = world.provide("--mem", world.file("empty", 0), what="raw")
    world.recv(ticket, out).expect(OK)
    only(out, name, EMPTY_HASH)
    for one in (process, empty):
        one.stop()


def limited(world):
    """Rates: no transfer is faster than the limit allows behind what may go at once."""
    source = world.file("limited", 8_000_000)
    sender = Process(world, [world.options.copse, "send", source, "--limit-up", "8M", "--bind", "127.0.0.1:0"])
    ticket = sender.line_until(find_ticket)
    # 512 KiB may go at once; of a receiver also a window of 4 MiB.
    for more, rate, at_once in (((), 8 << 20, 1 << 19), (("--limit-down", "4M"), 4 << 20, 9 << 19)):
        done = world.recv(ticket, world.scratch / f"out {len(more)}", "--json", *more).expect(OK)
        took = json.loads(done.out.splitlines()[-1])["elapsed_ms"]
        least = 1000 * (8_000_000 - at_once) / rate
        require(took > least, f"{took} ms instead of at least {least:.0f} ms")
        same(source, world.scratch / f"out {len(more)}" / source.name)
    for command, option in (("send", "--limit-up"), ("recv", "--limit-down")):
        for wrong in ("0", "x", ""):
            world.copse(command, "x" if command == "send" else ticket, f"{option}={wrong}").expect(USAGE, option)


def confirmed(world):
    """The sender counts what arrived, not what it gave away."""
    source = world.file("medium", 3_000_001)
    _, ticket = world.send(source)
    sender = Process(world, [world.options.copse, "send", source, "--json", "--bind", "127.0.0.1:0"])
    ticket = json.loads(sender.line_until(lambda line: '"type":"ticket"' in line and line))["ticket"]
    world.recv(ticket, world.scratch / "out").expect(OK)
    end = json.loads(sender.line_until(lambda line: '"type":"getter-end"' in line and line))
    require(end["complete"] and end["sent"] >= 3_000_001, f"{end}")
    require(end["confirmed"] <= end["sent"], "more arrived than was sent")
    # The end of the connection may overtake the last acknowledgement: one window of a small request.
    require(end["confirmed"] >= 1_000_000, f"{end}")


def on_terminal(world):
    """On a terminal one line is rewritten, no wider than the window."""
    source = world.file("big", BIG_MIB << 20)
    _, ticket = world.send(source)
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, 0x5414, b"\x18\0\x28\0\0\0\0\0")  # TIOCSWINSZ: 24 rows of 40 columns
        environment = dict(world.environment, TERM="xterm")
        child = subprocess.Popen([str(world.options.copse), "recv", ticket, "-o",
                                  str(world.scratch / "out")], stdin=slave, stdout=slave,
                                 stderr=slave, env=environment, start_new_session=True)
        os.close(slave)
        slave = -1
        text = b""
        deadline = time.monotonic() + LIMIT_S
        try:
            while time.monotonic() < deadline:
                ready, _, _ = select.select([master], [], [], 0.2)
                if ready:
                    try:
                        part = os.read(master, 65536)
                    except OSError:
                        break  # the other side is closed
                    text += part
                elif child.poll() is not None:
                    break
            code = child.wait(STOP_S)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        require(code == OK, f"exit code {code}")
        require(b"\r\x1b[K" in text, "no line was rewritten")
        shown = [line for part in text.split(b"\n") for line in part.split(b"\r\x1b[K")[1:]]
        require(all(len(line.rstrip(b"\r")) < 40 for line in shown if line.startswith(b"transfer")),
                "a line wider than the window")
    finally:
        for end in (master, slave):
            if end >= 0:
                os.close(end)


def existing(world):
    """A file that is there is kept, without --force, and named; identical ones count as received."""
    source = world.file("medium", 3_000_001)
    _, ticket = world.send(source)
    out = world.folder("out")
    target = out / source.name
    for content in (b"mine", source.read_bytes()[:-1] + b"x"):
        target.write_bytes(content)
        world.recv(ticket, out).expect(FILES, "--force", source.name)
        require(target.read_bytes() == content, "an existing file was changed")
        only(out, source.name)
    world.recv(ticket, out, "--force").expect(OK)
    same(source, target)
    before = target.stat()
    done = world.recv(ticket, out).expect(OK)
    after = target.stat()
    require((before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns),
            "an identical file was written again")
    require(done.fetched < 100_000, f"{done.fetched} bytes although all was there")
    require(done.here >= 3_000_001, f"only {done.here} bytes were said to be here")
    target.unlink()
    target.mkdir()
    world.recv(ticket, out, "--force").expect(FILES, "not a file")


def links_in_destination(world):
    """Nothing is written through a link that waits in the destination."""
    tree = world.folder("in/tree/sub").parent
    (tree / "sub" / "file").write_text("new")
    (tree / "top").write_text("new")
    sender, ticket = world.send(tree)
    elsewhere = world.folder("elsewhere")
    (elsewhere / "file").write_text("old")
    out = world.folder("out/tree").parent
    (out / "tree" / "sub").symlink_to(elsewhere)
    for more in ((), ("--force",)):
        world.recv(ticket, out, *more).expect(FILES, "links are not followed")
    (out / "tree" / "sub").unlink()
    (out / "tree" / "top").symlink_to(elsewhere / "file")
    world.recv(ticket, out).expect(FILES, "--force")
    world.recv(ticket, out, "--force").expect(OK)
    same(tree, out / "tree")
    require((elsewhere / "file").read_text() == "old" and entries(elsewhere) == ["file"],
            "something was written through a link")
    shutil.rmtree(out)
    out.mkdir()
    (out / ".copse-partial").symlink_to(elsewhere)
    world.recv(ticket, out).expect(FILES, "links are not followed")
    require(entries(elsewhere) == ["file"], "something was written through .copse-partial")
    sender.stop()


def skipped(world):
    """Links and special files are skipped and counted, also links to folders."""
    tree = world.folder("in/tree")
    (tree / "file").write_text("x")
    (tree / "link").symlink_to("file")
    (tree / "loop").symlink_to(".")
    (tree / "outside").symlink_to("/etc")
    os.mkfifo(tree / "pipe")
    sender, ticket = world.send(tree, "--once")
    out = world.scratch / "out"
    world.recv(ticket, out).expect(OK)
    only(out / "tree", "file")
    require(sender.finish(STOP_S) == OK, "the sender failed")
    require("3 symbolic links, 1 special file" in sender.stderr(), sender.stderr())
    # A link that is given itself is followed, and keeps its name.
    _, ticket = world.send(tree / "link")
    world.recv(ticket, world.scratch / "out2").expect(OK)
    only(world.scratch / "out2", "link")
    require((world.scratch / "out2" / "link").read_text() == "x", "another content")
    world.copse("send", tree / "pipe", "--bind", "127.0.0.1:0").expect(FILES, "nothing to send")
    world.copse("send", world.scratch / "absent").expect(FILES, "absent")


def unsupported_names(world):
    """Names that a receiver would refuse: an error before hashing, or left out on demand."""
    tree = world.folder("in/tree")
    (tree / "fine").write_text("x")
    root = os.fsencode(tree)
    for name in (b"back\\slash", b"new\nline", b"bell\x07", b"inv\xffalid"):
        with open(os.path.join(root, name), "wb") as out:
            out.write(b"y")
    done = world.copse("send", tree, "--bind", "127.0.0.1:0")
    done.expect(FILES, "4 names", "back\\\\slash", "new\\x0aline", "--skip-unsupported")
    require("\x07" not in done.err, "a control character reached the terminal")
    sender, ticket = world.send(tree, "--skip-unsupported", "--once")
    world.recv(ticket, world.scratch / "out").expect(OK)
    only(world.scratch / "out" / "tree", "fine")
    require(sender.finish(STOP_S) == OK, "the sender failed")
    require("4 unsupported names" in sender.stderr(), sender.stderr())
    other = world.folder("other/tree")
    (other / "fine").write_text("z")
    done = world.copse("send", tree, other, "--skip-unsupported", "--bind", "127.0.0.1:0")
    done.expect(FILES, "same name")


def changed_file(world):
    """A file that changed since it was hashed is not sent as if it had not."""
    source = world.folder("in") / "file"
    shutil.copy(world.file("medium", 3_000_001), source)
    _, ticket = world.send(source)
    about = source.stat()
    with open(source, "r+b") as out:
        out.seek(2_000_000)
        out.write(b"changed")
    os.utime(source, ns=(about.st_atime_ns, about.st_mtime_ns))  # so that only the data tells
    out = world.scratch / "out"
    world.recv(ticket, out).expect(REFUSED)
    require(not (out / "file").exists(), "a file appeared")
    source.unlink()
    world.recv(ticket, world.scratch / "out2").expect(REFUSED)


SCENARIOS = {
    "transfer/file": transfer(lambda world: world.file("medium", 3_000_001)),
    "transfer/empty-file": transfer(lambda world: world.file("empty", 0)),
    "transfer/one-byte": transfer(lambda world: world.file("byte", 1)),
    "transfer/tree": transfer(World.tree),
    "transfer/durable": transfer(World.tree, "--durable"),
    "transfer/several-paths": several_paths,
    "transfer/many-getters": many_getters,
    "transfer/raw-ticket": raw_ticket,
    "transfer/on-terminal": on_terminal,
    "transfer/limited": limited,
    "transfer/confirmed": confirmed,
    "recv/existing-files": existing,
    "recv/links-in-destination": links_in_destination,
    "send/skipped-files": skipped,
    "send/unsupported-names": unsupported_names,
    "send/changed-file": changed_file,
}
