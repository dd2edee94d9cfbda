"""Clients of the rolling stop: a steady stream of reads, writes and batches over kept connections, and what the clients
saw. They send again what the balancer refused, since no server has seen it, and nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.reliability.balancer import LOSSES, LOST, NOBODY, Streams, hang_up, read_message

RATE = 100  # requests a second
QUICK, PATIENT = 20, 10  # clients; each patient one sends one batch after the other
AGAIN = 0.05  # seconds after which a refused request is sent again
READS = ("/posts?limit=5", "/tags?order=id.desc&limit=5", "/users?select=id,username&limit=5", "/rest/v1/tags?limit=2")


@dataclass(slots=True)
class Book:
    """`kept` are the names of tags whose making was acknowledged."""

    done: Counter[str] = field(default_factory=Counter)
    kept: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    refused: int = 0
    slowest: float = 0.0
    pause: float = 0.0

    @property
    def figures(self) -> dict[str, int | float | str]:
        return {
            **self.done,
            "acknowledged tags": len(self.kept),
            "failed": len(self.failed),
            "refused by the balancer": self.refused,
            "slowest quick answer ms": self.slowest * 1000,
            "longest pause s": self.pause,
        }


@dataclass(slots=True)
class Visitor:
    """One client with one connection, until `over`."""

    name: str
    port: int
    secret: str
    book: Book
    over: asyncio.Event
    chance: random.Random
    streams: Streams | None = None
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def hurry(self) -> None:
        """Its part of the requests, at about even distances."""
        while not await self._waits(self.chance.uniform(0, 2) * QUICK / RATE):
            if self.chance.random() < 0.3:
                name = self._name()
                await self._write("writes", "/tags", {"name": name}, [name])
            else:
                await self._ask("reads", "GET", self.chance.choice(READS))

    async def tarry(self) -> None:
        """Batches that take two seconds each."""
        await self._waits(self.chance.uniform(0, 2))
        while not self.over.is_set():
            names = [self._name() for _ in range(3)]
            requests = [{"method": "POST", "path": "/tags", "body": {"name": name}} for name in names]
            await self._write("batches", "/batch", {"requests": [*requests, {"path": "/tags?limit=1"}]}, names)

    async def _waits(self, seconds: float) -> bool:
        """Whether it is over."""
        try:
            await asyncio.wait_for(self.over.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _name(self) -> str:
        return f"{self.name}-{next(self.numbers)}"

    async def _write(self, kind: str, path: str, body: object, names: list[str]) -> None:
        if await self._ask(kind, "POST", path, json.dumps(body)):
            self.book.kept += names
        else:
            await self._waits(AGAIN)

    async def _ask(self, kind: str, method: str, path: str, body: str = "") -> bool:
        """Whether it was answered as it should be."""
        slow = "slow" if kind == "batches" else "quick"
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\napikey: {self.secret}\r\nX-Request-Id: {slow}-{self._name()}\r\n"
        )
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        begun = sent = time.monotonic()
        while (answer := await self._exchange((head + body).encode())) == NOBODY:
            self.book.refused += 1
            await asyncio.sleep(AGAIN)
            sent = time.monotonic()
        now = time.monotonic()
        self.book.pause = max(self.book.pause, sent - begun)
        if kind != "batches":
            self.book.slowest = max(self.book.slowest, now - sent)
        self.book.done[kind] += 1
        if not answer.startswith(b"HTTP/1.1 20"):
            self.book.failed.append(f"{method} {path}: {answer[:300]!r}")
            return False
        return True

    async def _exchange(self, message: bytes) -> bytes:
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.port)
            self.streams[1].write(message)
            return await read_message(self.streams[0])
        except LOSSES:
            await self.leave()
            return LOST

    async def leave(self) -> None:
        if self.streams is not None:
            await hang_up(self.streams[1])
            self.streams = None


@asynccontextmanager
async def visiting(port: int, secret: str, seed: int) -> AsyncGenerator[Book]:
    """They come while the block runs, and have all their answers when it has ended."""
    book, over = Book(), asyncio.Event()

    def visitor(name: str) -> Visitor:
        return Visitor(name, port, secret, book, over, random.Random(f"{seed} {name}"))

    quick = [visitor(f"q{number}") for number in range(QUICK)]
    patient = [visitor(f"p{number}") for number in range(PATIENT)]
    async with asyncio.TaskGroup() as group:
        for one in quick:
            group.create_task(one.hurry())
        for one in patient:
            group.create_task(one.tarry())
        try:
            yield book
        finally:
            over.set()
    for one in (*quick, *patient):
        await one.leave()
