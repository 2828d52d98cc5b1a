"""Providers that lie, stop, or are not there."""
import re
import socket
import time

from harness import INTEGRITY, OK, REFUSED, UNREACHABLE, only, require, same, ticket_text, varint


def collection(world, folder, names, *files):
    """The metadata blob of a collection with these names."""
    data = b"CollectionV0." + varint(len(names))
    for name in names:
        data += varint(len(name)) + name
    path = folder / "meta"
    path.write_bytes(data)
    return [path, *files]


def hostile_names(world):
    """Names that would leave the folder or garble a terminal: refused, shown, nothing written."""
    file = world.file("medium", 3_000_001)
    small = world.file("small", 1000)
    cases = [(b"../x", "../x"), (b"/etc/x", "/etc/x"), (b"a/../../x", "a/../../x"), (b"", "''"),
             (b".", "'.'"), (b"..", "'..'"), (b"a//b", "a//b"), (b"a/", "a/"),
             (b"back\\slash", "back\\\\slash"), (b"nul\0", "nul\\x00"), (b"esc\x1b[2J", "esc\\x1b[2J"),
             (b"line\nend", "line\\x0aend"), (b"x" * 256, "xxx"), (b"y/" * 3000 + b"z", "y/y"),
             (b".copse-partial/x", ".copse-partial/x"), (b"good", "same name"),
             (b"good/below", "good/below")]
    inputs = world.folder("in")
    for name, shown in cases:
        provider, ticket = world.provide("--mem", "--hashseq",
                                         *collection(world, inputs, [b"good", name], file, small))
        outer = world.folder("outer")
        inner = world.folder("outer/inner")
        done = world.recv(ticket, inner).expect(REFUSED, shown)
        require("\x1b" not in done.err, "an escape code reached the terminal")
        only(outer, "inner")
        only(inner)
        provider.stop()
    for data in (b"CollectionV1." + b"\1\1a", b"CollectionV0.\7\1a", b"", b"\xff" * 100):
        (inputs / "meta").write_bytes(data)
        provider, ticket = world.provide("--mem", "--hashseq", inputs / "meta", file)
        world.recv(ticket, inner).expect(REFUSED)
        only(inner)
        provider.stop()


def corrupted(world):
    """A provider that changes a bit: the place is named, nothing wrong is kept, others can go on."""
    source = world.file("medium", 3_000_001)
    liar, bad = world.provide("--mem", "--corrupt", "2000000", source, what="raw")
    honest, good = world.provide("--mem", source, what="raw")
    name = world.copse("hash", source).out.split("  ")[0]
    out = world.folder("out")
    done = world.recv(bad, out).expect(INTEGRITY, name, "at byte 19")
    liar_id = world.copse("ticket", bad).out
    peer = re.search(r"id +([0-9a-f]{64})", liar_id).group(1)
    require(peer in done.err, "the peer is not named")
    only(out, ".copse-partial")
    done = world.recv(good, out).expect(OK, "resuming: ")
    same(source, out / name)
    only(out, name)
    for one in (liar, honest):
        one.stop()


def truncated(world):
    """A provider that ends too soon, each time: an end in bounded time, what came is kept."""
    source = world.file("medium", 3_000_001)
    liar, bad = world.provide("--mem", "--truncate", "1000000", source, what="raw")
    honest, good = world.provide("--mem", source, what="raw")
    out = world.folder("out")
    done = world.recv(bad, out)
    if done.code != OK:  # it may come through, a piece at a time
        done.expect(REFUSED, "ended too soon")
        world.recv(good, out).expect(OK)
    same(source, out / world.copse("hash", source).out.split("  ")[0])
    for one in (liar, honest):
        one.stop()


def stalled(world):
    """A provider that stops in the middle is given up after --timeout."""
    source = world.file("medium", 3_000_001)
    liar, ticket = world.provide("--mem", "--stall", "1000", source, what="raw")
    began = time.monotonic()
    world.recv(ticket, world.folder("out"), "--timeout", "1").expect(UNREACHABLE)
    took = time.monotonic() - began
    require(took < 20, f"it took {took:.1f} s")
    liar.stop()


def unreachable(world):
    """Nobody there, somebody silent, somebody else, and tickets without a direct address."""
    id_ = world.copse("id").expect(OK).out
    out = world.folder("out")
    sender, ticket = world.send(world.file("small", 1000))
    sender.stop()
    world.recv(ticket, out, "--timeout", "2", seconds=20).expect(UNREACHABLE, "127.0.0.1:", "tried at 0 ms for")
    only(out)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        ticket = ticket_text(id_, "11" * 32, [silent.getsockname()])
        world.recv(ticket, out, "--timeout", "1", seconds=20).expect(UNREACHABLE, id_[:10])
    relay = ticket_text(id_, "11" * 32, [], "https://relay.example./")
    world.recv(relay, out).expect(UNREACHABLE, "relay")
    world.recv(ticket_text(id_, "11" * 32), out).expect(UNREACHABLE, "no address")
    sender, ticket = world.send(world.file("small", 1000))
    address = re.search(r"127\.0\.0\.1:(\d+)", world.copse("ticket", ticket).out).group(1)
    other = world.copse("id", "--key", world.scratch / "other").expect(OK).out
    impostor = ticket_text(other, "11" * 32, [("127.0.0.1", int(address))])
    world.recv(impostor, out, "--timeout", "5").expect(UNREACHABLE)
    unknown = ticket_text(id_, "11" * 32, [("127.0.0.1", int(address))])
    world.recv(unknown, out).expect(REFUSED, "11" * 32)
    only(out)


SCENARIOS = {
    "recv/hostile-names": hostile_names,
    "recv/corrupted": corrupted,
    "recv/truncated": truncated,
    "recv/stalled": stalled,
    "recv/unreachable": unreachable,
}
