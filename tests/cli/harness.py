"""What the scenarios share: processes, files, and what they may expect."""
import base64
import contextlib
import os
import queue
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

TICKET = re.compile(r"\bblob[a-z2-7]{60,}\b")
LIMIT_S = 60.0  # for anything that should take a moment
STOP_S = 15.0  # from the request to end to the end
BIG_MIB = int(os.environ.get("COPSE_CLI_BIG_MIB", "128"))
KILLS = int(os.environ.get("COPSE_CLI_KILLS", "5"))
LOST_AT_MOST = 8 << 20  # of a transfer that is killed: what was not in a checkpoint yet
CODES = {"ok": 0, "other": 1, "usage": 2, "unreachable": 3, "refused": 4, "integrity": 5, "files": 6,
         "disk-full": 7, "limit": 8, "partial": 9, "interrupted": 130}
(OK, OTHER, USAGE, UNREACHABLE, REFUSED, INTEGRITY, FILES, DISK_FULL, LIMIT, PARTIAL,
 INTERRUPTED) = CODES.values()
EMPTY_HASH = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


class Failed(Exception):
    """What a scenario found wrong."""


class Skipped(Exception):
    """Why a scenario cannot run here."""


def require(condition, why):
    if not condition:
        raise Failed(why)


class Process:
    """A child in its own session, so that ending it can never reach anything else."""

    def __init__(self, world, command, stdin=subprocess.DEVNULL):
        self.name = os.path.basename(str(command[0]))
        self.stderr_path = world.root / f"stderr.{len(world.log)}"
        self.lines = queue.Queue()
        self.seen = []
        world.log.append(self)
        with open(self.stderr_path, "wb") as stderr:
            self.child = subprocess.Popen([os.fsencode(part) for part in command], stdin=stdin,
                                          stdout=subprocess.PIPE, stderr=stderr, cwd=world.scratch,
                                          env=world.environment, start_new_session=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for raw in self.child.stdout:
            self.lines.put(raw.decode("utf-8", "surrogateescape").rstrip("\n"))
        self.lines.put(None)

    def line_until(self, accept, seconds=LIMIT_S):
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Failed(f"{self.name}: expected line not printed in {seconds:g} s") from None
            if line is None:
                raise Failed(f"{self.name} ended early with code {self.child.wait(STOP_S)}: "
                             f"{self.stderr().strip()[-300:]}")
            self.seen.append(line)
            value = accept(line)
            if value:
                return value

    def finish(self, seconds=LIMIT_S):
        """Waits for the end; the exit code. 130 stands for a death by SIGINT, too."""
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end in {seconds:g} s") from None
        self.reader.join(STOP_S)
        while True:
            try:
                line = self.lines.get_nowait()
            except queue.Empty:
                return code
            if line is not None:
                self.seen.append(line)

    def kill(self, how=signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, how)

    def stop(self):
        if self.child.stdin:
            with contextlib.suppress(OSError):
                self.child.stdin.close()
        for step in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.child.poll() is not None:
                break
            self.kill(step)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(STOP_S)
        self.reader.join(STOP_S)
        self.child.stdout.close()

    def stderr(self):
        return self.stderr_path.read_text("utf-8", "backslashreplace")

    def tail(self):
        lines = [f"out: {line}" for line in self.seen[-6:]]
        return lines + [f"err: {line}" for line in self.stderr().splitlines()[-8:]]


class Result:
    """A command that has ended."""

    def __init__(self, process, code):
        self.code = code
        self.out = "\n".join(process.seen)
        self.err = process.stderr()

    def expect(self, code, *words):
        """The exit code, and words that the messages must have."""
        require(self.code == code, f"exit code {self.code} instead of {code}: "
                                   f"{self.err.strip()[-300:]}")
        for word in words:
            require(word in self.err + self.out, f"{word!r} is not in: {self.err.strip()[-300:]}")
        return self

    def number(self, pattern):
        match = re.search(pattern, self.out)
        require(match, f"no {pattern!r} in the summary: {self.out!r}")
        return int(match.group(1))

    @property
    def fetched(self):
        return self.number(r"fetched +(\d+) byte")

    @property
    def here(self):
        return self.number(r"(\d+) bytes? were already here")


class World:
    """The temporary folder, the programs, and every process a scenario started."""

    def __init__(self, options, root):
        self.options = options
        self.root = root
        self.scratch = root / "scratch"
        self.samples = root / "samples"
        self.samples.mkdir()
        self.log = []
        home = root / "home"
        home.mkdir()
        # Nothing of the person who runs this is read or written.
        self.environment = dict(os.environ)
        for name in ("COPSE_HOME", "XDG_CONFIG_HOME", "COPSE_BLAKE3"):
            self.environment.pop(name, None)
        self.environment["HOME"] = str(home)
        self.environment["TMPDIR"] = str(root)
        self.home = home

    @contextlib.contextmanager
    def scenario(self):
        self.log = []
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        try:
            yield
        finally:
            for process in reversed(self.log):
                process.stop()
        for process in self.log:
            crashed = -process.child.returncode in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS,
                                                    signal.SIGFPE, signal.SIGILL)
            report = re.search(r"Sanitizer|runtime error:", process.stderr())
            require(not crashed and not report, f"{process.name} crashed: {process.stderr()[-2000:]}")

    # -- programs

    def copse(self, *arguments, seconds=LIMIT_S, stdin=subprocess.DEVNULL):
        process = Process(self, [self.options.copse, *arguments], stdin=stdin)
        return Result(process, process.finish(seconds))

    def send(self, *arguments):
        """A sender that serves, and its ticket."""
        process = Process(self, [self.options.copse, "send", *arguments, "--bind", "127.0.0.1:0"])
        return process, process.line_until(find_ticket)

    def start_recv(self, ticket, folder, *more):
        return Process(self, [self.options.copse, "recv", ticket, "-o", folder, *more])

    def recv(self, ticket, folder, *more, seconds=LIMIT_S):
        process = self.start_recv(ticket, folder, *more)
        return Result(process, process.finish(seconds))

    def provide(self, *arguments, what="hashseq"):
        """A provider that may be dishonest, and the ticket for WHAT."""
        if not self.options.probe:
            raise Skipped("needs copse_probe")
        process = Process(self, [self.options.probe, "provide", *arguments], stdin=subprocess.PIPE)
        process.line_until(lambda line: line == "ready")
        tickets = [line.split(" ") for line in process.seen if line.startswith("ticket ")]
        return process, [t[3] for t in tickets if t[1] == what][-1]

    # -- files

    def file(self, name, size, seed=""):
        """A file of random bytes: the same in each run."""
        path = self.samples / name
        if not path.exists():
            generator = random.Random(f"{name} {size} {seed}")
            with open(path, "wb") as out:
                while size > 0:
                    part = min(size, 1 << 20)
                    out.write(generator.randbytes(part))
                    size -= part
        return path

    def folder(self, name):
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def tree(self):
        root = self.samples / "a tree \u00e4\u4e16"
        if root.exists():
            return root
        generator = random.Random("tree")
        names = ["plain", "some space", "\u00fcml\u00e4ut", "\u65e5\u672c\u8a9e", "-dash", "dots...",
                 "%20 #&;$(x)", "'quote' \"two\"", ".hidden", "emoji \U0001f333", "x" * 255]
        for folder in ("", "sub", "sub/with space/\u00fc", "deep/" + "/".join("abcdefgh")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for name in names:
                size = generator.choice([0, 1, 1023, 1024, 1025, 16384, 16385, 70000])
                (root / folder / name).write_bytes(generator.randbytes(size))
        return root


def find_ticket(line):
    match = TICKET.search(line)
    return match and match.group(0)


def same(a, b):
    if a.is_dir():
        done = subprocess.run(["diff", "-r", "--no-dereference", str(a), str(b)], timeout=LIMIT_S,
                              capture_output=True, text=True, errors="replace", check=False)
        require(done.returncode == 0, "diff -r: " + " | ".join(done.stdout.splitlines()[:3]))
        return
    require(b.exists() and not b.is_symlink(), f"{b.name} did not arrive as a file")
    require(a.read_bytes() == b.read_bytes(), f"{b.name} differs")


def entries(folder):
    return sorted(os.listdir(folder))


def only(folder, *expected):
    require(entries(folder) == sorted(expected),
            f"{folder.name} holds {entries(folder)} instead of {sorted(expected)}")


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def ticket_text(id_, hash_, addresses=(), relay=None, sequence=True):
    """A blob ticket for the given place."""
    data = b"\0" + bytes.fromhex(id_)
    data += b"\1" + varint(len(relay)) + relay.encode() if relay else b"\0"
    data += varint(len(addresses))
    for ip, port in addresses:
        data += b"\0" + socket.inet_aton(ip) + varint(port)
    data += bytes([sequence]) + bytes.fromhex(hash_)
    return "blob" + base64.b32encode(data).decode().rstrip("=").lower()
