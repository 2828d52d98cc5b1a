"""The programs as a scenario uses them."""
import re
import subprocess

from harness import START_S, TRANSFER_S, Process, require

TICKET = re.compile(r"\bblob[a-z2-7]{60,}\b")


class Sendme:
    name = "sendme"
    quiet = ["--relay", "disabled", "--no-progress", "--magic-ipv4-addr", "127.0.0.1:0"]

    def __init__(self, world):
        self.world = world
        self.path = world.program("sendme")

    def send(self, source):
        process = Process(self.world, [self.path, "send", "--ticket-type", "addresses", *self.quiet,
                                       source], cwd=self.world.folder("sendme-send"))
        return process, process.line_until(find_ticket, START_S + TRANSFER_S)

    def receive(self, ticket, folder):
        """sendme writes to the current folder."""
        code, _ = self.world.call([self.path, "receive", *self.quiet, ticket], cwd=folder)
        return code


class Copse:
    name = "copse"

    def __init__(self, world):
        self.world = world
        self.path = world.program("copse")

    def send(self, source, *more):
        process = Process(self.world, [self.path, "send", source, "--bind", "127.0.0.1:0", *more],
                          cwd=self.world.folder("copse-send"))
        return process, process.line_until(find_ticket, START_S + TRANSFER_S)

    def receive(self, ticket, folder, *more):
        code, _ = self.world.call([self.path, "recv", ticket, "-o", folder, *more],
                                  cwd=self.world.folder("copse-recv"))
        return code


class Driver:
    """`peer` and `copse_probe`: one command line, one output."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.path = world.program(name)

    def provide(self, *arguments):
        process = Process(self.world, [self.path, "provide", *arguments], stdin=subprocess.PIPE,
                          cwd=self.world.folder(f"{self.name}-provide"))
        process.line_until(lambda line: line == "ready", TRANSFER_S)
        lines = Lines(process.seen)
        lines.process = process
        return lines

    def ask(self, mode, *arguments, seconds=TRANSFER_S):
        """Exit code 0 or 1 with the lines; another one is the program's own failure."""
        code, seen = self.world.call([self.path, *mode.split(" "), *arguments], seconds=seconds)
        require(code in (0, 1), f"{self.name} {mode} failed with code {code}")
        lines = Lines(seen)
        agree = (code == 0) == (lines.one("result") == "ok")
        require(agree, f"{self.name} {mode}: exit code and result line differ")
        return lines

    def get(self, *arguments, seconds=TRANSFER_S):
        return self.ask("get", *arguments, seconds=seconds)

    def start(self, mode, *arguments):
        return Process(self.world, [self.path, mode, *arguments])

    def raw(self, *arguments):
        code, seen = self.world.call([self.path, "raw", *arguments], seconds=START_S)
        require(code in (0, 1), f"{self.name} raw failed with code {code}")
        return Lines(seen)

    def ticket(self, text):
        code, seen = self.world.call([self.path, "ticket", text], seconds=START_S)
        require(code == 0, f"the ticket is not understood by {self.name}")
        return Lines(seen)

    def hash(self, path):
        code, seen = self.world.call([self.path, "hash", path])
        require(code == 0, f"{self.name} hash failed")
        return seen[0].split(" ")[1]


class EchoServer:
    """`peer echo serve`, or the program quickstart-echo of a user."""

    def __init__(self, world, name):
        self.name = name
        if name == "peer":
            command, stdin = [world.program("peer"), "echo", "serve"], subprocess.PIPE
        else:
            command, stdin = [world.program("echo")], subprocess.DEVNULL
        self.process = Process(world, command, stdin=stdin)
        self.process.line_until(lambda line: line == "ready", START_S)
        lines = Lines(self.process.seen)
        self.where = lines.one("id"), lines.one("addr")

    def stop(self):
        self.process.stop()
        code = self.process.child.returncode
        require(code == 0, f"{self.name}: the echo server ended with code {code}")


def echo(world, name, where, streams, size, datagrams):
    """The lines of a dialer, which checks what comes back."""
    if name == "peer":
        # What it may send is not always what the server may send back: see README.md.
        command = [world.program("peer"), "echo", "dial", "--id", where[0], "--addr", where[1],
                   "--streams", streams, "--bytes", size, "--datagrams", datagrams,
                   "--datagram-bytes", "1400"]
    else:
        command = [world.program("echo_client"), *where, streams, size, datagrams]
    code, seen = world.call(command)
    require(code == 0, f"{name} {streams}x{size}, {datagrams} datagrams: code {code}")
    return Lines(seen)


class Lines:
    """`key value` lines."""

    def __init__(self, lines):
        self.process = None  # the provider that printed them, while it runs
        self.pairs = [tuple(line.split(" ", 1)) if " " in line else (line, "") for line in lines]

    def all(self, key):
        return [value for name, value in self.pairs if name == key]

    def one(self, key):
        values = self.all(key)
        require(len(values) == 1, f"{len(values)} lines `{key}` instead of one")
        return values[0]

    def first(self, key):
        values = self.all(key)
        require(values, f"no line `{key}`")
        return values[0]

    def ticket(self, what, index=0):
        found = [value.split(" ")[2] for value in self.all("ticket") if value.split(" ")[0] == what]
        require(index < len(found), f"no ticket for {what}")
        return found[index]

    def picked(self, *keys):
        return [pair for pair in self.pairs if pair[0] in keys]


def find_ticket(line):
    match = TICKET.search(line)
    return match and match.group(0)
