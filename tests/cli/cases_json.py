"""--json: a record a line, whatever happens, and nothing else on either output."""
import json
import re
import signal

from harness import (INTERRUPTED, OK, OTHER, REFUSED, STOP_S, UNREACHABLE, USAGE, Process, Result, find_ticket,
                     require, same, ticket_text)

PAGE = "docs/reference/json.md"


def records(result):
    """The records of a command that ended, each of them checked in form."""
    require(result.err == "", f"text beside the records: {result.err[-300:]!r}")
    out = []
    before = 0.0
    for line in result.out.splitlines():
        value = json.loads(line)
        require(isinstance(value, dict) and list(value)[:2] == ["type", "elapsed_ms"], f"no record: {line}")
        require(value["elapsed_ms"] >= before, f"time goes back: {line}")
        before = value["elapsed_ms"]
        out.append(value)
    return out


def one(result, kind):
    found = [record for record in records(result) if record["type"] == kind]
    require(len(found) == 1, f"{len(found)} records of type {kind}: {result.out[-500:]}")
    return found[0]


def failed(result, code, name):
    """The error is the last record, and says what the exit code says."""
    require(result.code == code, f"exit code {result.code} instead of {code}: {result.out[-300:]}")
    last = records(result)[-1]
    require((last["type"], last["code"], last["class"]) == ("error", code, name), f"{last}")
    require(last["message"], "an error without words")
    return last


def json_texts(world):
    """hash, id and ticket."""
    empty = world.file("empty", 0)
    odd = world.folder("odd") / 'quote" back\\slash tab\t csi\x9b next\x85 line\u2028'
    odd.write_text("x")
    done = world.copse("hash", "--json", empty, odd, "absent").expect(OTHER)
    hashes = [record for record in records(done) if record["type"] == "hash"]
    require([h["path"] for h in hashes] == [str(empty), str(odd)], f"{hashes}")
    require(hashes[0]["hash"] == world.copse("hash", empty).out.split("  ")[0], "another hash")
    error = records(done)[-1]
    require((error["type"], error["path"], error["class"]) == ("error", "absent", "files"), f"{error}")
    id_ = one(world.copse("id", "--json").expect(OK), "id")["id"]
    require(id_ == world.copse("id").out, "another id")
    text = ticket_text(id_, "11" * 32, [("192.0.2.1", 4433)], "https://relay.example./")
    ticket = one(world.copse("ticket", "--json", text).expect(OK), "ticket")
    expected = {"kind": "blob", "format": "hash_seq", "hash": "11" * 32, "id": id_,
                "addresses": ["192.0.2.1:4433"], "relays": ["https://relay.example./"]}
    require({key: ticket.get(key) for key in expected} == expected, f"{ticket}")


def json_usage(world):
    """Wrong usage is a record, too, wherever it is found."""
    for command in (("sned", "--json"), ("hash", "--json", "--threads", "0"), ("recv", "--json"), ("recv", "x", "--json"),
                    ("send", "--json"), ("ticket", "nonsense", "--json"), ("id", "x", "--json"),
                    ("recv", "--json", "--unknown"), ("send", "--json", "--qr", "/etc/hostname")):
        failed(world.copse(*command), USAGE, "usage")


def json_transfer(world):
    """A transfer, both sides."""
    source = world.file("medium", 3_000_001)
    sender = Process(world, [world.options.copse, "send", source, "--json", "--once", "--bind", "127.0.0.1:0"])
    ticket = json.loads(sender.line_until(lambda line: '"type":"ticket"' in line and line))["ticket"]
    require(find_ticket(ticket) == ticket, f"no ticket: {ticket!r}")
    out = world.scratch / "out"
    done = world.recv(ticket, out, "--json").expect(OK)
    same(source, out / source.name)
    kinds = [record["type"] for record in records(done)]
    order = [kinds.index(kind) for kind in ("connected", "download", "first-byte", "served", "done")]
    require(order[0] < order[2] < order[4] and order[1] < order[3] < order[4], f"{kinds}")
    end = one(done, "done")
    require((end["files"], end["bytes"], end["here"], end["lost"]) == (1, 3_000_001, 0, []), f"{end}")
    require(end["path"] == str(out / source.name) and end["fetched"] >= 3_000_001, f"{end}")
    require(one(done, "served")["bytes"] == end["fetched"], "the provider served something else")
    served = Result(sender, sender.finish(STOP_S)).expect(OK)
    offer = one(served, "offer")
    require((offer["hash"], offer["files"], offer["bytes"]) == (end["hash"], 1, 3_000_001), f"{offer}")
    getter = one(served, "getter-end")
    require(getter["complete"] and getter["sent"] >= 3_000_001, f"{getter}")
    require(one(served, "getter")["id"] == getter["id"], "two getters")
    require(one(served, "end")["code"] == 0, "no good end")


def json_failures(world):
    """What goes wrong in a transfer is a record, and an interruption is."""
    id_ = world.copse("id").expect(OK).out
    out = world.scratch / "out"
    failed(world.recv(ticket_text(id_, "11" * 32), out, "--json"), UNREACHABLE, "unreachable")
    _, ticket = world.send(world.file("small", 1000))
    address = re.search(r"127\.0\.0\.1:(\d+)", world.copse("ticket", ticket).out).group(1)
    unknown = ticket_text(id_, "11" * 32, [("127.0.0.1", int(address))])
    done = world.recv(unknown, out, "--json", "--timeout", "5")
    failed(done, REFUSED, "refused")
    require("attempt-failed" in [record["type"] for record in records(done)], "no word of the attempts")
    sender = Process(world, [world.options.copse, "send", world.file("small", 1000), "--json", "--once", "--bind",
                             "127.0.0.1:0"])
    sender.line_until(lambda line: '"type":"ticket"' in line)
    sender.kill(signal.SIGINT)
    failed(Result(sender, sender.finish(STOP_S)), INTERRUPTED, "interrupted")


def json_page(world):
    """Every type of record and every key that the program prints is in the reference."""
    page = (world.options.root / PAGE).read_text()
    program = "".join(path.read_text() for path in sorted((world.options.root / "examples/copse").glob("*.cpp")))
    types = set(re.findall(r'record(?: \w+)?\("([\w-]+)"\)', program))
    require({"error", "done", "progress", "getter-end"} <= types, f"found only {types}")
    for kind in types:
        require(f"| `{kind}` |" in page, f"{kind} is not in {PAGE}")
    for key in set(re.findall(r'\.(?:text|flag|decimal|list|number)\("([\w-]+)", (?!1,)', program)):
        require(f"`{key}`" in page, f"{key} is not in {PAGE}")


SCENARIOS = {
    "json/texts": json_texts,
    "json/usage": json_usage,
    "json/transfer": json_transfer,
    "json/failures": json_failures,
    "json/page": json_page,
}
