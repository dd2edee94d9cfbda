"""A balancer between clients and servers, as small as one can be that honours readiness: it asks each server for
/health/ready, sends requests in turn to those that are ready, and keeps connections on both sides.

It repeats nothing: what a server that it believed in loses is an answer of 502. Without a ready server a request is
refused with 503, and no server has seen it. Knows messages with Content-Length alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.clients.serve import free_socket

INTERVAL = 0.1  # seconds between two questions
ANSWERING = 2.0  # seconds that the answer to one may take
RESTING = 2.0  # seconds after which a connection is not used again: servers close them after 5
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
NOBODY = b"HTTP/1.1 503 Service Unavailable\r\nX-Balancer: nobody\r\nContent-Length: 0\r\n\r\n"
LOST = b"HTTP/1.1 502 Bad Gateway\r\nX-Balancer: lost\r\nContent-Length: 0\r\n\r\n"
READY = b"GET /health/ready HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\n\r\n"
LOSSES = (OSError, asyncio.IncompleteReadError)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Backend:
    """One server: whether it is ready, and the connections to it that rest, with the time since when."""

    port: int
    up: asyncio.Event = field(default_factory=asyncio.Event)
    idle: list[tuple[float, Streams]] = field(default_factory=list)

    async def connection(self) -> Streams:
        now = asyncio.get_running_loop().time()
        while self.idle:
            since, (reader, writer) = self.idle.pop()
            if now - since < RESTING and not reader.at_eof():
                return reader, writer
            await hang_up(writer)
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def leave(self) -> None:
        self.up.clear()
        while self.idle:
            await hang_up(self.idle.pop()[1][1])


class Balancer:
    def __init__(self, ports: list[int]) -> None:
        self.backends = [Backend(port) for port in ports]
        self.turns = itertools.count()
        self.port = 0

    async def watch(self, backend: Backend) -> None:
        while True:
            if await _is_ready(backend.port):
                backend.up.set()
            else:
                await backend.leave()
            await asyncio.sleep(INTERVAL)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(await self.forward(await read_message(reader)))
                await writer.drain()
        except LOSSES:  # the client has gone
            pass
        finally:
            await hang_up(writer)

    async def forward(self, message: bytes) -> bytes:
        ready = [backend for backend in self.backends if backend.up.is_set()]
        if not ready:
            return NOBODY
        backend = ready[next(self.turns) % len(ready)]
        try:
            reader, writer = await backend.connection()
        except OSError:
            return LOST
        try:
            writer.write(message)
            answer = await read_message(reader)
        except BaseException as exc:
            await hang_up(writer)
            if isinstance(exc, LOSSES):
                return LOST
            raise
        if not CLOSE.search(answer):
            backend.idle.append((asyncio.get_running_loop().time(), (reader, writer)))
            return answer
        await hang_up(writer)
        return CLOSE.sub(b"", answer, 1)


async def read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """At once, and not before the socket is closed."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(ANSWERING):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(READY)
                answer = await read_message(reader)
            finally:
                await hang_up(writer)
    except (*LOSSES, TimeoutError):
        return False
    return answer.startswith(b"HTTP/1.1 200 ")


@asynccontextmanager
async def balancing(ports: list[int]) -> AsyncGenerator[Balancer]:
    balancer = Balancer(ports)
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(balancer.serve(reader, writer)))

    server = await asyncio.start_server(accept, sock=free_socket("127.0.0.1"))
    balancer.port = server.sockets[0].getsockname()[1]
    serving |= {asyncio.create_task(balancer.watch(backend)) for backend in balancer.backends}
    try:
        yield balancer
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for backend in balancer.backends:
            await backend.leave()
