"""The load generator: `python -m bench.client`, an Order as JSON on standard input, what it measured on standard
output.

A closed loop over kept connections: each sends its next request when its answer is there. One process, one thread, no
event loop but the kernel's: it shares its core with PostgreSQL and must cost little. Of an answer it reads status and
length; an unexpected status, a body that is too short and a connection that ends are errors.
"""

from __future__ import annotations

import contextlib
import gc
import json
import select
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from random import Random
from time import perf_counter, process_time

from bench.data import Sizes
from bench.dialects import render, requests_of
from bench.loads import LOADS
from bench.processes import Failed, cpu_seconds

BUFFER = 1 << 18
PATIENCE = 30  # seconds without any answer after which a server is given up
MOST_ERRORS = 1000
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Order:
    """`warmup` seconds are not measured. `ports` take connections in turn. Costs of `servers` and `databases` (pids)
    and of all below them are read at both ends of what is measured.
    """

    dialect: str
    load: str
    sizes: Sizes
    seed: int
    ports: list[int]
    connections: int
    seconds: float
    warmup: float
    headers: dict[str, str] = field(default_factory=dict)
    servers: list[int] = field(default_factory=list)
    databases: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measured:
    """`answers` by status are all that came, also before and after the measured seconds. Costs are seconds of CPU."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int
    first_error: str
    answers: dict[str, int]
    server_cpu: float
    database_cpu: float
    client_cpu: float


class Connection:
    __slots__ = ("began", "body", "chunked", "missing", "port", "sock")

    def __init__(self, port: int) -> None:
        self.port = port
        self.connect()

    def connect(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.missing = 0  # bytes of the body that is on its way
        self.body = 0  # bytes that came of one whose length is not told
        self.chunked = False

    def send(self, request: bytes) -> None:
        self.began = perf_counter()
        if self.sock.send(request) != len(request):
            raise Failed("a request does not fit into the socket's buffer")


class Client:
    """Sends, receives and counts."""

    def __init__(self, order: Order) -> None:
        load = LOADS[order.load]
        self.accepted = {str(status).encode(): 0 for status in load.accepted}
        self.least = load.least
        self.requests = requests(order)
        self.buffer = bytearray(BUFFER)
        self.poll = select.epoll()
        self.connections: dict[int, Connection] = {}
        for number in range(order.connections):
            self.register(Connection(order.ports[number % len(order.ports)]))
        self.latencies: list[float] = []
        self.errors = 0
        self.first_error = ""
        self.stopping = False
        self.busy = 0

    def register(self, connection: Connection) -> None:
        descriptor = connection.sock.fileno()
        self.connections[descriptor] = connection
        self.poll.register(descriptor, select.EPOLLIN)

    def begin(self) -> None:
        for connection in self.connections.values():
            connection.send(next(self.requests))
        self.busy = len(self.connections)

    def run(self, seconds: float) -> float:
        """Answers requests for so long; returns for how long it really did."""
        began = perf_counter()
        until = began + seconds
        while (now := perf_counter()) < until and self.busy:
            self.turn()
        return now - began

    def close(self) -> None:
        for connection in self.connections.values():
            connection.sock.close()
        self.poll.close()

    def finish(self) -> None:
        """Waits for the answers that are on their way."""
        self.stopping = True
        while self.busy:
            self.turn()

    def turn(self) -> None:
        ready = self.poll.poll(PATIENCE)
        if not ready:
            raise Failed(f"no answer within {PATIENCE} seconds")
        connections = self.connections
        for descriptor, _ in ready:
            self.receive(connections[descriptor])

    def receive(self, connection: Connection) -> None:
        try:
            size = connection.sock.recv_into(self.buffer)
        except ConnectionError:
            size = 0
        if not size:
            self.lost(connection)
        elif connection.chunked:
            self.chunk(connection, size)
        elif connection.missing:
            connection.missing -= size
            if connection.missing <= 0:
                self.next(connection)
        else:
            self.head(connection, size)

    def head(self, connection: Connection, size: int) -> None:
        """The first piece of an answer has its whole head: servers write it at once."""
        buffer = self.buffer
        end = buffer.find(b"\r\n\r\n", 0, size) + 4
        if end < 4:
            raise Failed(f"this is no answer: {bytes(buffer[:200])!r}")
        head = buffer[:end].lower()
        status = bytes(head[9:12])
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 : head.index(b"\r\n", at + 17)]) if at >= 0 else 0
        if status in self.accepted and (at < 0 or length >= self.least):
            self.accepted[status] += 1
        else:
            self.wrong(f"{status.decode()} {bytes(buffer[end:size])[:500].decode(errors='replace')}")
        if at < 0 and b"\r\ntransfer-encoding: chunked" in head:
            connection.chunked = True
            connection.body = -end
            self.chunk(connection, size)
            return
        connection.missing = length - (size - end)
        if connection.missing <= 0:
            self.next(connection)

    def chunk(self, connection: Connection, size: int) -> None:
        """JSON holds no line breaks of its own, and only one answer is on its way: this end is the last chunk's."""
        connection.body += size
        if not self.buffer.endswith(LAST_CHUNK, 0, size):
            return
        connection.chunked = False
        if connection.body < self.least:
            self.wrong(f"a body of {connection.body} bytes, with its chunks")
        self.next(connection)

    def next(self, connection: Connection) -> None:
        if connection.missing < 0:
            raise Failed("an answer was longer than it said")
        self.latencies.append(perf_counter() - connection.began)
        if self.stopping:
            self.busy -= 1
        else:
            connection.send(next(self.requests))

    def wrong(self, what: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or what
        if self.errors > MOST_ERRORS:
            raise Failed(f"more than {MOST_ERRORS} errors, the first: {self.first_error}")

    def lost(self, connection: Connection) -> None:
        """Its request counts as an error; another connection takes its place."""
        self.wrong("the connection was closed before the answer")
        self.latencies.append(perf_counter() - connection.began)
        self.poll.unregister(connection.sock)
        del self.connections[connection.sock.fileno()]
        connection.sock.close()
        if self.stopping:
            self.busy -= 1
        else:
            connection.connect()
            self.register(connection)
            connection.send(next(self.requests))


def requests(order: Order) -> Iterator[bytes]:
    """Without an end, the same for the same seed."""
    chance = Random(order.seed)
    load = LOADS[order.load]
    ask = requests_of(order.dialect, order.load)
    if ask is None:
        raise Failed(f"{order.dialect} has no {order.load}")
    while True:
        yield render(ask(load.draw(chance, order.sizes)), order.headers)


def measure(order: Order) -> Measured:
    """Raises Failed."""
    with contextlib.closing(Client(order)) as client:
        client.begin()
        client.run(order.warmup)
        client.latencies, client.errors, client.first_error = [], 0, ""
        before = cpu_seconds(order.servers, order.databases)
        own = process_time()
        seconds = client.run(order.seconds)
        own = process_time() - own
        after = cpu_seconds(order.servers, order.databases)
        latencies, errors = sorted(client.latencies), client.errors
        client.finish()
    return Measured(
        requests=len(latencies) - errors,
        seconds=seconds,
        p50_ms=percentile(latencies, 0.5) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
        errors=client.errors,
        first_error=client.first_error,
        answers={status.decode(): count for status, count in client.accepted.items()},
        server_cpu=after[0] - before[0],
        database_cpu=after[1] - before[1],
        client_cpu=own,
    )


def percentile(ordered: list[float], part: float) -> float:
    """The nearest one, of values in ascending order; 0 of none."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def main() -> int:
    gc.disable()  # nothing here makes cycles
    given = json.load(sys.stdin)
    order = Order(**given | {"sizes": Sizes(**given["sizes"])})
    try:
        measured = measure(order)
    except (Failed, OSError) as exc:
        print(f"{order.load}: {exc}", file=sys.stderr)
        return 1
    with contextlib.suppress(BrokenPipeError):
        json.dump(asdict(measured), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
