"""copse in pipes, with records for programs, and with several providers, beside the real programs."""
import json
import os
import signal

from harness import (BIG_MIB, START_S, STOP_S, TRANSFER_S, Process, Skipped, no_leftovers, require, same,
                     same_file)
from programs import Copse, Driver, Sendme, find_ticket


def from_standard_input(world):
    """`producer | copse send -` to sendme."""
    source = world.samples.file("medium.bin", 3_000_001)
    name = "from a pipe \u00e4.bin"
    copse = Copse(world)
    with open(source, "rb") as stdin:
        process = Process(world, [copse.path, "send", "-", "--name", name, "--once",
                                  "--bind", "127.0.0.1:0"], stdin=stdin)
        ticket = process.line_until(find_ticket, START_S)
    folder = world.folder("received")
    require(Sendme(world).receive(ticket, folder) == 0, "sendme did not receive")
    same_file(source, folder / name)
    no_leftovers(folder, name)
    require(process.finish(START_S) == 0, "copse send - --once did not end well")


def to_standard_output(world):
    """`copse recv -o - | consumer` from sendme: the bytes and nothing else."""
    copse = Copse(world)
    for source in (world.samples.file("eight.bin", 8 << 20), world.samples.empty()):
        sender, ticket = Sendme(world).send(source)
        out = world.scratch / "out"
        code, _ = world.call(["sh", "-c", 'out=$1; shift; exec "$@" >"$out"', "sh", str(out),
                              copse.path, "recv", ticket, "-o", "-"], cwd=world.folder("pipe"))
        require(code == 0, f"copse recv -o - ended with code {code}")
        same_file(source, out)
        sender.stop()


def records(world):
    """--json on both sides: each line an object, and the ticket in one of them is good for sendme."""
    source = world.samples.file("medium.bin", 3_000_001)
    process, ticket = Copse(world).send(source, "--json", "--once")
    folder = world.folder("received")
    require(Sendme(world).receive(ticket, folder) == 0, "sendme did not receive")
    same(source, folder / source.name)
    require(process.finish(START_S) == 0, "copse send did not end well")
    _, ticket = Sendme(world).send(source)
    folder = world.folder("received again")
    code, lines = world.call([Copse(world).path, "recv", ticket, "-o", folder, "--json"])
    require(code == 0, f"copse recv ended with code {code}")
    same(source, folder / source.name)
    for line in process.seen + lines:
        require(isinstance(json.loads(line), dict), f"no record: {line}")


def dead_provider(world):
    """The first ticket leads nowhere: the second one is used."""
    source = world.samples.file("medium.bin", 3_000_001)
    peer = Driver(world, "peer")
    first, second = (peer.provide("--collection", f"{source.name}={source}") for _ in range(2))
    first.process.stop()
    folder = world.folder("received")
    code = Copse(world).receive(first.ticket("collection"), folder, second.ticket("collection"),
                                "--timeout", "3")
    require(code == 0, f"copse recv ended with code {code}")
    same_file(source, folder / source.name)


def provider_dies(world):
    """The first provider is killed in the middle: the second one gives the rest, in the same run."""
    if BIG_MIB < 256:
        raise Skipped("needs COPSE_INTEROP_BIG_MIB of 256 or more")
    source = world.samples.big()
    size = source.stat().st_size
    peer, copse = Driver(world, "peer"), Copse(world)
    first, second = (peer.provide("--log", "--collection", f"{source.name}={source}")
                     for _ in range(2))
    folder = world.folder("received")
    receiver = Process(world, [copse.path, "recv", first.ticket("collection"),
                               second.ticket("collection"), "-o", folder, "--timeout", "3"])
    first.process.line_until(lambda line: line.startswith("sent ") and
                             int(line.split(" ")[2]) > size // 4, TRANSFER_S)
    os.killpg(first.process.child.pid, signal.SIGKILL)
    first.process.finish(STOP_S)
    require(receiver.finish(TRANSFER_S) == 0, "copse recv failed although a provider was left")
    same_file(source, folder / source.name)
    second.process.stop()
    served = sum(int(line.split(" ")[1]) for line in second.process.drained()
                 if line.startswith("served "))
    if served == 0:
        raise Skipped("the transfer was over before the provider could be killed")
    require(served < size, f"{served} bytes fetched from the second provider, all of it again")


def scenarios(self_test):
    if self_test:
        return {}
    return {"copse-send/standard-input": from_standard_input,
            "copse-recv/standard-output": to_standard_output,
            "copse/records": records,
            "copse-recv/dead-provider": dead_provider,
            "copse-recv/provider-dies": provider_dies}
