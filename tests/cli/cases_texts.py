"""Hashes, tickets, the key file, and wrong usage."""
import os
import re
import shutil
import signal
import stat
import subprocess

from harness import (EMPTY_HASH, FILES, LIMIT_S, OK, OTHER, Process, STOP_S, Skipped, USAGE, entries, only, require,
                     ticket_text)


def hash_known(world):
    """Known hashes, sizes around every boundary by two ways, and errors per file."""
    empty = world.file("empty", 0)
    done = world.copse("hash", empty).expect(OK)
    require(done.out == f"{EMPTY_HASH}  {empty}", f"got {done.out!r}")
    for size in (1, 1024, 1025, 16384, 262144, 262145, 3_000_001):
        path = world.file(f"sized {size}", size)
        whole = world.copse("hash", path).expect(OK).out.split("  ")[0]
        with open(path, "rb") as stdin:
            streamed = world.copse("hash", "-", stdin=stdin).expect(OK).out
        require(streamed == f"{whole}  -", f"{size}: {whole} as file and {streamed} as stream")
        for threads in ("1", "3"):
            again = world.copse("hash", "--threads", threads, path).expect(OK).out
            require(again == f"{whole}  {path}", f"{threads} threads: another hash")
    done = world.copse("hash", "absent", empty, world.scratch).expect(OTHER, "absent")
    require(done.out == f"{EMPTY_HASH}  {empty}", "a missing file stopped the others")
    require(len(done.err.splitlines()) == 2, "not one line for each failure")


def hash_like_b3sum(world):
    b3sum = shutil.which("b3sum")
    if not b3sum:
        raise Skipped("b3sum is not installed")
    folder = world.folder("names")
    for i, name in enumerate([b"plain", b"back\\slash", b"line\nend", b"both\\\n", b"inv\xffalid",
                              b"\xc3\xa4 \xe4\xb8\x96", b" spaces  ", b"-dash"]):
        with open(os.path.join(os.fsencode(folder), name), "wb") as out:
            out.write(bytes(i) * 1000)
    paths = [os.path.join(os.fsencode(folder), name) for name in entries(os.fsencode(folder))]
    paths += [os.fsencode(world.file("sized 3000001", 3_000_001)), b"absent"]
    results = [subprocess.run([*tool, *paths], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=LIMIT_S, check=False, cwd=world.scratch)
               for tool in ([b3sum], [str(world.options.copse), "hash"])]
    require(results[0].stdout == results[1].stdout,
            f"b3sum {results[0].stdout!r}, copse {results[1].stdout!r}")
    require(results[0].returncode == results[1].returncode, "another exit code")
    results = [subprocess.run(tool, stdout=subprocess.PIPE, input=b"x" * 100_000, timeout=LIMIT_S,
                              check=True) for tool in ([b3sum], [str(world.options.copse), "hash"])]
    require(results[0].stdout == results[1].stdout, "standard input")


def hash_interrupted(world):
    """Waiting for standard input ends by Ctrl-C."""
    process = Process(world, [world.options.copse, "hash"], stdin=subprocess.PIPE)
    process.child.stdin.write(b"x")
    process.child.stdin.flush()
    process.kill(signal.SIGINT)
    require(process.finish(STOP_S) != 0, "it went on")


def usage(world):
    world.copse().expect(USAGE, "copse send")
    world.copse("sned").expect(USAGE, "sned")
    world.copse("send").expect(USAGE)
    world.copse("recv").expect(USAGE)
    world.copse("recv", "--out", "x", "y").expect(USAGE, "--out")
    world.copse("recv", "x", "--timeout").expect(USAGE, "--timeout")
    world.copse("recv", "x", "--timeout", "0").expect(USAGE)
    world.copse("hash", "--threads", "many", "x").expect(USAGE, "--threads")
    world.copse("send", "x", "--bind", "nowhere").expect(USAGE, "nowhere")
    require(world.copse("--version").expect(OK).out.startswith("copse "), "no version")
    for command in ("send", "recv", "hash", "id", "ticket"):
        world.copse(command, "--help").expect(OK, f"usage: copse {command}")


def tickets(world):
    id_ = world.copse("id").expect(OK).out
    good = ticket_text(id_, "11" * 32, [("192.0.2.1", 4433)], "https://relay.example./")
    world.copse("ticket", good).expect(OK, "11" * 32, id_, "192.0.2.1:4433",
                                       "https://relay.example./", "hash sequence")
    for bad in ("", "blob", "nonsense", good[:-9], good[:40], good + "!", "endpoint" + good[4:],
                "blob" + "a" * 9000):
        for command in ("ticket", "recv"):
            done = world.copse(command, bad)
            require(done.code == USAGE, f"{command} {bad[:20]}: exit code {done.code}")
            require(done.err.startswith("copse: "), "no message")
    only(world.scratch)


def key_file(world):
    home = world.folder("home")
    world.environment["COPSE_HOME"] = str(home / "made")
    try:
        id_ = world.copse("id").expect(OK).out
        key = home / "made" / "key"
        require(re.fullmatch(r"[0-9a-f]{64}", id_), f"no id: {id_!r}")
        require(stat.S_IMODE(key.stat().st_mode) == 0o600, "mode of the key file")
        require(stat.S_IMODE(key.parent.stat().st_mode) == 0o700, "mode of its folder")
        require(world.copse("id").expect(OK).out == id_, "another id")
        only(key.parent, "key")
        key.chmod(0o640)
        world.copse("id").expect(FILES, "read by others", str(key))
        world.copse("send", world.file("empty", 0)).expect(FILES, "read by others")
        key.chmod(0o600)
        text = key.read_text()
        for broken in ("", text[:-3], text + "00", "z" * 64, text.upper()):
            key.write_text(broken)
            if broken != text:
                world.copse("id").expect(FILES, "does not hold a key")
        other = home / "other"
        other_id = world.copse("id", "--key", other).expect(OK).out
        require(other_id != id_ and other.exists(), "--key made no key of its own")
    finally:
        del world.environment["COPSE_HOME"]
    id_ = world.copse("id").expect(OK).out
    require((world.home / ".config/copse/key").exists(), "not at the documented place")
    _, ticket = world.send(world.file("empty", 0))
    require(id_ in world.copse("ticket", ticket).expect(OK).out, "send has another id")


SCENARIOS = {
    "hash/known": hash_known,
    "hash/like-b3sum": hash_like_b3sum,
    "hash/interrupted": hash_interrupted,
    "usage": usage,
    "tickets": tickets,
    "key-file": key_file,
}
