"""Between client and provider: a NAT that forgets, and a look at the packets of a handshake."""
import contextlib
import selectors
import socket
import threading

from harness import require
from programs import Driver
from ranges import check_blob, finished

SIZE = 24 << 20
BUFFER = 4 << 20


class Nat:
    """Carries datagrams of one client to a server, from a new port whenever `period` have passed."""

    RETRY = b"\xf0", b"\0\0\0\1"  # form and type, and the version (RFC 9000 section 17.2.5)

    def __init__(self, server, period):
        host, port = server.rsplit(":", 1)
        self.server = host, int(port)
        self.period = period
        self.ports = set()
        self.carried = 0
        self.retries = 0
        self.client = None
        self.inside = self.bound()
        self.outside = None
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.inside, selectors.EVENT_READ)
        self.wake, wait = socket.socketpair()
        self.selector.register(wait, selectors.EVENT_READ)
        self.stopped = wait
        self.move()
        self.address = "127.0.0.1:%d" % self.inside.getsockname()[1]
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    @staticmethod
    def bound():
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            out.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        out.bind(("127.0.0.1", 0))
        out.setblocking(False)
        return out

    def move(self):
        old, self.outside = self.outside, self.bound()
        self.ports.add(self.outside.getsockname()[1])
        self.selector.register(self.outside, selectors.EVENT_READ)
        if old:
            self.selector.unregister(old)
            old.close()

    def carry(self):
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.stopped:
                    return
                if key.fileobj is self.inside:
                    self.outwards()
                elif key.fileobj is self.outside:
                    self.inwards()

    def outwards(self):
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                data, self.client = self.inside.recvfrom(65536)
                with contextlib.suppress(OSError):  # lost, as datagrams are
                    self.outside.sendto(data, self.server)

    def inwards(self):
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(64):
                data = self.outside.recv(65536)
                kind = bytes([data[0] & 0xf0]) if data else b""
                self.retries += (kind, data[1:5]) == self.RETRY
                with contextlib.suppress(OSError):
                    self.inside.sendto(data, self.client)
                self.carried += 1
                if self.carried % self.period == 0:
                    self.move()
                    return

    def close(self):
        self.wake.send(b"x")
        self.thread.join()
        for each in (self.inside, self.outside, self.wake, self.stopped):
            each.close()
        self.selector.close()


def download(provider, client):
    """The client's address changes several times; the transfer goes on where it was."""

    def scenario(world):
        source = world.samples.file("moving.bin", SIZE)
        served = Driver(world, provider).provide("--mem", source)
        nat = Nat(served.one("addr"), 4000)
        try:
            out = world.scratch / "out"
            lines = Driver(world, client).get("--id", served.one("id"), "--addr", nat.address, "--hash",
                                              served.one("hash").split(" ")[0], "--out", out)
            finished(lines, 1)
            check_blob(world, lines, 0, source, "all", out)
        finally:
            nat.close()
        require(len(nat.ports) >= 4, f"the address changed {len(nat.ports) - 1} times only")

    return scenario


def validated(provider, client):
    """A client that must prove its address first, and one that need not."""

    def scenario(world):
        source = world.samples.file("odd.bin", 1_000_003)
        for options, retries in ((["--retry"], 1), ([], 0)):
            served = Driver(world, provider).provide("--mem", *options, source)
            nat = Nat(served.one("addr"), 1 << 40)
            try:
                out = world.scratch / "out"
                lines = Driver(world, client).get(
                    "--id", served.one("id"), "--addr", nat.address, "--hash",
                    served.one("hash").split(" ")[0], "--out", out)
                finished(lines, 1)
                check_blob(world, lines, 0, source, "all", out)
            finally:
                nat.close()
            require((nat.retries > 0) == (retries > 0), f"{options}: {nat.retries} Retry packets")

    return scenario


def scenarios(self_test):
    pairs = [("peer", "peer")] if self_test else [("probe", "peer"), ("peer", "probe")]
    found = {}
    for provider, client in pairs:
        found[f"moving/{client}-from-{provider}"] = download(provider, client)
        found[f"retry/{client}-from-{provider}"] = validated(provider, client)
    return found
