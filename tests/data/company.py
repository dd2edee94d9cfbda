"""SQLite's writer with several units of work in line, and what they do there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.data.steps import Statement, Steps
from app.models import Tag

Work = Callable[[AppSession], Awaitable[Any]]

INSERT = "INSERT INTO tags (name, version, created_at, updated_at) VALUES (?, 1, '', '')"
CONTROL = ("BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT")


@dataclass
class Place:
    """A database whose writer tells its statements. COMMIT, and what says so, waits at the gate while it is closed."""

    database: Database
    sent: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    at_gate: asyncio.Event = field(default_factory=asyncio.Event)
    endless: asyncio.Event = field(default_factory=asyncio.Event)  # a statement that is has begun

    waiting: asyncio.Event = field(default_factory=asyncio.Event)  # a unit is

    async def add_at_gate(self, session: AppSession) -> None:
        self.gate.clear()
        await add("at the gate")(session)

    async def wait_for_ever(self, session: AppSession) -> None:
        await add("never")(session)
        self.waiting.set()
        await asyncio.Event().wait()

    @property
    def control(self) -> list[str]:
        """What was sent of BEGIN, SAVEPOINT and the like."""
        return [sql for sql in self.sent if sql.startswith(CONTROL)]

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        self.gate.set()

        def tell(sql: str) -> None:
            self.sent.append(sql)
            if "RECURSIVE" in sql:
                loop.call_soon_threadsafe(self.endless.set)
            if ("COMMIT" in sql or "at the gate" in sql) and not self.gate.is_set():
                loop.call_soon_threadsafe(self.at_gate.set)
                self.gate.wait(10)

        async with self.database.pools.writing.lend() as lane:
            await lane.driver.set_trace_callback(tell)

    async def in_one(self, *works: Work) -> list[asyncio.Task[Any]]:
        """Tasks whose units of work are all in line before the first one begins. They share a transaction."""
        units = [self.database.transact(SYSTEM, work) for work in works]
        async with self.in_line(*units) as tasks:
            return tasks

    @asynccontextmanager
    async def in_line(self, *units: Coroutine[Any, Any, Any]) -> AsyncGenerator[list[asyncio.Task[Any]]]:
        """Units that are in line, while the block stands before them."""
        waits = self.database.counters.waits
        async with self.database.writing(SYSTEM):
            tasks = [asyncio.create_task(unit) for unit in units]
            await asyncio.sleep(0)
            assert self.database.counters.waits == waits + len(units)
            yield tasks


@asynccontextmanager
async def placed(url: str, catalog: Catalog) -> AsyncGenerator[Place]:
    async with Database(url, catalog) as database:
        place = Place(database)
        await place.watch()
        yield place
        await database.pools.settled()
        assert database.in_use == 0


def add(name: str) -> Work:
    """By steps."""

    def steps() -> Steps[None]:
        yield Statement(INSERT, (name,))

    return lambda session: session.run(steps())


def add_entity(name: str) -> Work:
    async def work(session: AppSession) -> None:
        session.add(Tag(name=name))
        await session.flush()

    return work


def refused(name: str, exc: Exception) -> Work:
    async def work(session: AppSession) -> None:
        await add(name)(session)
        raise exc

    return work


async def ended(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def unfit(session: AppSession) -> Awaitable[Any]:
    """Its COMMIT fails."""

    def steps() -> Steps[None]:
        yield Statement("PRAGMA defer_foreign_keys = on", ())
        yield Statement("INSERT INTO post_tags (post_id, tag_id) VALUES (1, 1)", ())

    return session.run(steps())
