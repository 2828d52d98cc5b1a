"""What every scenario uses: processes that end, a temporary folder, generated files."""
import contextlib
import filecmp
import os
import queue
import random
import shutil
import signal
import subprocess
import threading
import time

START_S = float(os.environ.get("COPSE_INTEROP_START_S", "60"))  # until a ticket is printed
TRANSFER_S = float(os.environ.get("COPSE_INTEROP_TRANSFER_S", "600"))  # for one transfer
STOP_S = 15.0  # from the request to end to the end
BIG_MIB = int(os.environ.get("COPSE_INTEROP_BIG_MIB", "1024"))
SMALL_FILES = 1000


class Failed(Exception):
    """What a scenario found wrong."""


class Skipped(Exception):
    """Why a scenario cannot run here."""


def require(condition, why):
    if not condition:
        raise Failed(why)


class Process:
    """A child in its own session, so that ending it can never reach anything else."""

    def __init__(self, world, command, cwd=None, stdin=subprocess.DEVNULL):
        self.name = os.path.basename(command[0])
        self.stderr_path = world.scratch / f"{self.name}.{world.next_number()}.stderr"
        self.lines = queue.Queue()
        self.seen = []
        world.log.append(self)
        with open(self.stderr_path, "wb") as stderr:
            self.child = subprocess.Popen(
                [str(part) for part in command], cwd=cwd, stdin=stdin, stderr=stderr,
                stdout=subprocess.PIPE, env=world.environment, start_new_session=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for raw in self.child.stdout:
            self.lines.put(raw.decode("utf-8", "replace").rstrip("\r\n"))
        self.lines.put(None)

    def line_until(self, accept, seconds):
        """The first line for which accept() gives a true value, and that value."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Failed(f"{self.name}: expected line not printed in {seconds:g} s") from None
            if line is None:
                raise Failed(f"{self.name} ended early with code {self.child.wait(STOP_S)}")
            self.seen.append(line)
            value = accept(line)
            if value:
                return value

    def finish(self, seconds):
        """Waits for the end; the exit code."""
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end in {seconds:g} s") from None
        self.drained()
        return code

    def drained(self):
        """All lines of a child that has ended."""
        self.reader.join(STOP_S)
        while True:
            try:
                line = self.lines.get_nowait()
            except queue.Empty:
                return self.seen
            if line is not None:
                self.seen.append(line)

    def stop(self):
        """Ends the child if it still runs: end of input, then SIGINT, SIGTERM, SIGKILL."""
        steps = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
        if self.child.stdin:
            with contextlib.suppress(OSError):
                self.child.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(STOP_S)
        for step in steps:
            if self.child.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, step)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(STOP_S)
        self.reader.join(STOP_S)

    def tail(self):
        text = self.stderr_path.read_text("utf-8", "replace") if self.stderr_path.exists() else ""
        lines = [f"out: {line}" for line in self.seen[-12:]]
        return lines + [f"err: {line}" for line in text.splitlines()[-12:]]


class World:
    """The temp folder, the programs, and every process a scenario started."""

    def __init__(self, options, root):
        self.options = options
        self.root = root
        self.scratch = root / "scratch"
        self.number = 0
        self.log = []
        # Nothing of the person who runs this is read or written: keys, caches, stores.
        self.environment = dict(os.environ)
        home = root / "home"
        home.mkdir()
        for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
                     "XDG_CACHE_HOME"):
            self.environment[name] = str(home)
        self.environment["TMPDIR"] = str(self.scratch)
        self.environment.pop("IROH_SECRET", None)
        self.samples = Samples(root / "samples")

    def next_number(self):
        self.number += 1
        return self.number

    @contextlib.contextmanager
    def scenario(self):
        self.log = []
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        try:
            yield
        finally:
            for process in reversed(self.log):
                process.stop()

    def folder(self, name):
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def program(self, name):
        path = getattr(self.options, name)
        if path is None:
            option = "examples" if name.startswith("echo") else name
            raise Skipped(f"no --{option} given")
        if not os.access(path, os.X_OK):
            raise Skipped(f"{name} is not there: tests/interop/setup builds it")
        return str(path)

    def call(self, command, seconds=TRANSFER_S, cwd=None):
        """Runs a command to its end; exit code and its lines."""
        process = Process(self, command, cwd=cwd)
        code = process.finish(seconds)
        return code, process.seen


class Samples:
    """Generated inputs: made once, never changed, the same in each run."""

    def __init__(self, root):
        self.root = root
        root.mkdir()

    def file(self, name, size):
        path = self.root / name
        if not path.exists():
            generator = random.Random(f"copse {name} {size}")
            with open(path, "wb") as out:
                while size > 0:
                    part = min(size, 1 << 20)
                    out.write(generator.randbytes(part))
                    size -= part
        return path

    def big(self):
        return self.file("big file.bin", BIG_MIB << 20)

    def empty(self):
        return self.file("empty.bin", 0)

    def tree(self):
        """A folder of many small files: nested, with unicode, with spaces, some of them empty."""
        root = self.root / "many files \u00e4\u4e16"
        if root.exists():
            return root
        generator = random.Random("copse tree")
        folders = ["", "plain", "with space", "with space/and  two",
                   "nested/a/b/c/d/e/f/g", "\u00fcml\u00e4ut", "\u65e5\u672c\u8a9e/\u6587\u5b57",
                   "emoji \U0001f333", ".hidden", "e\u0301 combined", "UPPER", "dots...", "-dash"]
        names = ["file {}", "f{}.txt", "na\u00efve {}.md",
                 "{} \u043f\u0440\u0438\u0432\u0435\u0442", "-{}-",
                 "'quoted' {}", ".dot{}", "tab{}~", "{}%20 #&;$(x)"]
        sizes = [0, 1, 31, 32, 33, 1023, 1024, 1025, 4096, 16383, 16384, 16385, 40000]
        for i in range(SMALL_FILES):
            folder = root / folders[i % len(folders)]
            folder.mkdir(parents=True, exist_ok=True)
            name = names[i % len(names)].format(i)
            (folder / name).write_bytes(generator.randbytes(sizes[generator.randrange(len(sizes))]))
        return root


def same_file(a, b):
    require(b.exists(), f"{b.name} did not arrive")
    require(b.is_file() and not b.is_symlink(), f"{b.name} is not a plain file")
    require(a.stat().st_size == b.stat().st_size,
            f"{b.name}: {b.stat().st_size} bytes instead of {a.stat().st_size}")
    require(filecmp.cmp(a, b, shallow=False), f"{b.name} differs")


def same_tree(a, b):
    require(b.is_dir(), f"folder {b.name} did not arrive")
    result = subprocess.run(["diff", "-r", "--no-dereference", str(a), str(b)], timeout=TRANSFER_S,
                            capture_output=True, text=True, errors="replace", check=False)
    require(result.returncode == 0, "diff -r: " + " | ".join(result.stdout.splitlines()[:3]))
    count = sum(len(files) for _, _, files in os.walk(b))
    require(count == SMALL_FILES, f"{count} files instead of {SMALL_FILES}")


def same(a, b):
    (same_tree if a.is_dir() else same_file)(a, b)


def no_leftovers(folder, expected):
    extra = sorted(set(os.listdir(folder)) - {expected})
    require(not extra, f"left behind: {extra}")
