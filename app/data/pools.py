"""What an open database holds: an engine that writes and one that reads, and the lanes on both."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractAsyncContextManager

from sqlalchemy import URL, event

from app.data import engines, faults
from app.data.counters import PoolCounters
from app.data.lanes import Lane, Lanes
from app.data.line import Line, Turn
from app.data.running import Observe, unobserved

CLOSING = 5  # seconds for connections to say goodbye
LOCKED = 5  # seconds to wait for the writer on SQLite, as for one of another process
REST = 1  # seconds after which a connection is asked whether it still lives before a unit of work relies on it


class Pools:
    """`lanes` are for reads, those of `writing` for units of work: `size` each on PostgreSQL. SQLite's one writer has a
    `line`.
    """

    def __init__(self, url: URL, size: int, pooler: str, counters: PoolCounters, observe: Observe) -> None:
        self.writer = engines.create(url, write=True, pool_size=size, pooler=pooler)
        self.reader = engines.create(url, write=False, pool_size=size, pooler=pooler)
        self.line: Line | None = None
        self._outdated = engines.Outdated()
        for engine in (self.writer, self.reader):
            event.listen(engine.sync_engine, "connect", counters.count_connect)
            event.listen(engine.sync_engine, "invalidate", counters.count_invalidation)
            if observe is not unobserved:
                engines.observe(engine, observe)
        event.listen(self.writer.sync_engine, "checkout", self._outdated.replace)
        if url.get_backend_name() == "sqlite":
            self.lanes = Lanes(self.reader, engines.SQLITE_READERS, counters, wait=engines.POOL_WAIT, observe=observe)
            self.writing = Lanes(self.writer, engines.SQLITE_WRITERS, counters, wait=LOCKED, observe=observe)
            if engines.SQLITE_WRITERS == 1:
                self.line = Line(self.writing, counters, LOCKED)
        else:
            wait, pooled = engines.POOL_WAIT, bool(pooler)
            self.lanes = Lanes(self.reader, size, counters, wait=wait, transactions=pooled, observe=observe)
            self.writing = Lanes(self.writer, size, counters, wait=wait, rest=REST, observe=observe)

    def turn(self, *, shared: bool) -> AbstractAsyncContextManager[Lane | Turn]:
        """A lane for one unit of work, or its turn there, which others may share."""
        return self.writing.lend() if self.line is None else self.line.turn(shared=shared)

    @property
    def in_use(self) -> int:
        """Connections that are out now: for reads and for open units of work."""
        return self.lanes.leased + self.writing.leased

    def suspect_all(self) -> None:
        """Replace each connection before it is next used."""
        self._outdated.note()
        self.lanes.suspect_all()
        self.writing.suspect_all()

    async def settled(self) -> None:
        """Wait until no connection is busy in the background."""
        await self.lanes.settled()
        await self.writing.settled()

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError, *faults.KINDS):
            async with asyncio.timeout(CLOSING):
                await self.lanes.close()
                await self.writing.close()
                await self.reader.dispose()
                await self.writer.dispose()
