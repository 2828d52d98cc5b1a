"""The echo protocol of the examples against the same over iroh: streams and datagrams, both ways."""
from harness import require
from programs import EchoServer, echo


def talk(server, dialer, streams, size, datagrams):
    def scenario(world):
        serving = EchoServer(world, server)
        lines = echo(world, dialer, serving.where, str(streams), str(size), str(datagrams))
        require(lines.one("streams") == str(streams), "not every stream came back")
        if datagrams:
            require(int(lines.one("max-datagram")) > 1100, "the path takes only small datagrams")
            require(lines.one("datagrams") == str(datagrams), "not every datagram came back")
        serving.stop()

    return scenario


CASES = {
    "a-stream": (1, 1000, 0),
    "empty-streams": (20, 0, 0),
    "many-streams": (400, 100_000, 0),
    "large-streams": (3, 30_000_000, 0),
    "datagrams": (0, 0, 200),
    "streams-then-datagrams": (100, 50_000, 50),
}


def scenarios(self_test):
    pairs = [("peer", "peer")] if self_test else [("peer", "copse"), ("copse", "peer")]
    return {f"echo/{dialer}-to-{server}/{name}": talk(server, dialer, *case)
            for server, dialer in pairs for name, case in CASES.items()}
