"""A server on a real socket, in the process of the test or in one of its own, and clients that speak byte by byte.

    python -m tests.http.serving DIR LIMITS

serves an empty database in DIR; LIMITS is JSON, the fields of ConnectionLimits. Prints its port when it serves.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from app import logs
from app.cli.serve import Server
from app.http.app import create_app
from app.http.armour import ConnectionLimits
from app.http.metrics import Metrics
from app.http.middleware import SECURITY, Front
from app.http.protocol import Connection
from app.resources import open_database
from app.settings import Settings
from tests.clients.serve import free_socket

SOON = 5.0  # seconds that anything may take on a busy machine


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Site:
    """An application of which a test holds the doors: `/door` and `/body` wait for `opened` before they go on."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.opened.set()
        self.entered = asyncio.Event()
        routes = [
            Route("/", self.hello, methods=["GET", "POST"]),
            Route("/body", self.body, methods=["POST"]),
            Route("/early", self.hello, methods=["POST"]),
            Route("/door", self.door),
            Route("/large", self.large),
        ]
        self.app: ASGIApp = Front(Router(routes), Metrics())

    async def hello(self, request: Request) -> Response:
        return Response(request.url.query or "hello")

    async def body(self, request: Request) -> Response:
        self.entered.set()
        await self.opened.wait()
        body = await request.body()
        return Response(f"{len(body)} {request.headers.get('trailing')}")

    async def door(self, request: Request) -> Response:
        self.entered.set()
        await self.opened.wait()
        return Response("opened")

    async def large(self, request: Request) -> Response:
        self.entered.set()
        return Response(bytes(int(request.url.query)))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection. What it sends is what the test says, and it reads when the test does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    @asynccontextmanager
    async def dripping(self, data: bytes, seconds: float) -> AsyncGenerator[None]:
        """Sends byte by byte, with so many seconds between them, while the body of the context runs."""

        async def drip() -> None:
            for byte in data:
                self.writer.write(bytes([byte]))
                await asyncio.sleep(seconds)

        task = asyncio.create_task(drip())
        try:
            yield
        finally:
            task.cancel()

    async def answer(self) -> Answer:
        async with asyncio.timeout(SOON):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(head[0].split()[1]), headers, body)

    async def closed(self) -> bytes:
        """Waits for the end of the connection; what came until then."""
        rest = bytearray()
        async with asyncio.timeout(SOON):
            try:
                while part := await self.reader.read(65536):
                    rest += part
            except ConnectionError:
                pass
        return bytes(rest)


@dataclass(frozen=True, slots=True)
class Running:
    server: Server
    task: asyncio.Task[None]
    port: int

    @asynccontextmanager
    async def client(self, sent: bytes = b"", *, receives: int = 2**16) -> AsyncGenerator[Client]:
        """`receives` bounds what it holds unread."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=receives)
        try:
            writer.write(sent)
            yield Client(reader, writer)
        finally:
            writer.transport.abort()

    async def stop(self) -> float:
        """As a signal does. The seconds that it took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self.server.should_exit = True
        await self.task
        return loop.time() - begun

    async def has(self, connections: int) -> None:
        """Waits until no more than these are open."""
        await until(lambda: len(self.server.server_state.connections) <= connections)


async def assert_refused(running: Running, sent: bytes, status: int, code: str) -> None:
    async with running.client(sent) as client:
        answer = await client.answer()
        assert await client.closed() == b""
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"code", "message", "details", "hint"}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["connection"] == "close"
    assert "server" not in answer.headers
    for name, value in SECURITY:
        assert answer.headers[name.decode()] == value.decode().lower()


@asynccontextmanager
async def serving(
    app: ASGIApp,
    *,
    grace: int = 5,
    ws: Any = "none",
    timeout_keep_alive: float = 5,
    buffer: int = 2**18,
    **limits: Any,
) -> AsyncGenerator[Running]:
    """`buffer` is what the system takes of an answer that nobody reads, about. `limits` are those of ConnectionLimits;
    the sweep is quicker than in earnest.
    """
    started = asyncio.Event()
    chosen: dict[str, Any] = {"sweep_seconds": 0.02, "linger_seconds": 0.2} | limits
    sock = free_socket("127.0.0.1")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    config = config_of(
        app, ws=ws, lifespan="off", timeout_keep_alive=timeout_keep_alive, timeout_graceful_shutdown=grace
    )
    server = Server(config, started.set, ConnectionLimits(**chosen))
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        await started.wait()
        yield Running(server, task, sock.getsockname()[1])
    finally:
        server.should_exit = True
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110  # nobody sets an event for it
            await asyncio.sleep(0.01)


def config_of(app: ASGIApp, **changes: Any) -> uvicorn.Config:
    """As `broadsheet serve` has it."""
    given: dict[str, Any] = {"http": Connection, "ws": "none", "timeout_graceful_shutdown": 25} | changes
    return uvicorn.Config(app, log_config=None, access_log=False, server_header=False, proxy_headers=False, **given)


async def migrate(settings: Settings) -> None:
    async with open_database(settings) as database:
        await database.migrate()


def main(folder: str, limits: str) -> None:
    settings = Settings(data_dir=Path(folder))
    logs.configure("info")
    asyncio.run(migrate(settings))
    sock = free_socket("127.0.0.1")
    port = sock.getsockname()[1]
    config = config_of(create_app(settings))
    Server(config, lambda: print(port, flush=True), ConnectionLimits(**json.loads(limits))).run(sockets=[sock])


if __name__ == "__main__":
    main(*sys.argv[1:])
