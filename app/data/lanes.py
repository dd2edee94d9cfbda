"""Lanes: connections kept checked out of SQLAlchemy's pool, so that nobody pays for a checkout, and reads for no BEGIN.

A lane is a slot that survives an empty connection: the next lease connects again. Lanes are handed out last in, first
out, so that few connections stay warm; waiters are served first in, first out, and give up after `wait` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.data import engines, faults
from app.data.counters import PoolCounters
from app.data.running import Job, Observe, finish, halt, run_on_asyncpg, run_on_sqlite, unobserved
from app.data.steps import Steps
from app.errors import BroadsheetError

T = TypeVar("T")

SETTLE = 2  # seconds that a connection has to prove itself after a cancelled statement, or a long rest

# What asyncpg raises when the connection is gone. The loop may not have noticed yet that the server closed it: then the
# protocol is found in the wrong state, which is InternalClientError.
GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InternalClientError,
    ConnectionError,
)
CLOSING = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    sqlite3.Error,
    OSError,
)


class Lane:
    """A slot for one connection. `driver` is the driver's own connection beneath it, `used` when it was given back."""

    __slots__ = ("born", "connection", "driver", "used")

    def __init__(self) -> None:
        self.connection: AsyncConnection | None = None
        self.driver: Any = None
        self.born = self.used = 0.0


class ConnectionLost(Exception):
    """A read found its connection dead: it may be repeated once. Never leaves this module."""


class Lanes:
    """`transactions` puts each read into BEGIN READ ONLY, for poolers that know no sessions. A connection that rested
    for `rest` seconds must answer before it is lent: what writes may not always be repeated.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        size: int,
        counters: PoolCounters,
        *,
        wait: float,
        recycle: float = engines.RECYCLE,
        rest: float = float("inf"),
        transactions: bool = False,
        observe: Observe = unobserved,
    ) -> None:
        self.engine = engine
        self.size = size
        self.counters = counters
        self.wait = wait
        self.recycle = recycle
        self.rest = rest
        self.transactions = transactions
        self.observe = observe
        self.sqlite = engine.dialect.name == "sqlite"
        self.idle = [Lane() for _ in range(size)]
        self.waiters: deque[asyncio.Future[Lane]] = deque()
        self.tasks: set[asyncio.Task[None]] = set()
        self.suspect = 0.0  # lanes born before the last loss are not trusted, as SQLAlchemy's pool does

    @property
    def leased(self) -> int:
        """How many lanes are out, those that settle in the background included."""
        return self.size - len(self.idle)

    # ---- reads ----

    async def read(self, make: Callable[[], Steps[T]], seconds: float) -> T:
        """Run the steps on a lane; once more, from the start, when the connection was lost. Raises as
        `run_on_asyncpg`.
        """
        try:
            return await self._read_once(make(), seconds)
        except ConnectionLost:
            self.counters.count_retry(faults.LOST)
        try:
            return await self._read_once(make(), seconds)
        except ConnectionLost as exc:
            raise faults.lost() from exc.__cause__

    async def _read_once(self, steps: Steps[T], seconds: float) -> T:
        lane = await self.lease()
        job: Job[T] | None = None
        try:
            if self.sqlite:
                job = Job(steps, observe=self.observe)
                result = await run_on_sqlite(lane.driver, job, seconds)
            else:
                result = await self._run_on_asyncpg(lane.driver, steps, seconds)
        except BaseException as exc:
            if self._take_back(lane, exc, job):
                raise ConnectionLost from exc
            raise
        self.give(lane)
        return result

    async def _run_on_asyncpg(self, driver: Any, steps: Steps[T], seconds: float) -> T:
        if not self.transactions:
            return await run_on_asyncpg(driver, steps, seconds, self.observe)
        async with driver.transaction(readonly=True):
            return await run_on_asyncpg(driver, steps, seconds, self.observe)

    def _take_back(self, lane: Lane, exc: BaseException, job: Job[Any] | None) -> bool:
        """Give back a lane whose read failed, at once or when it is well again; whether its connection was lost.

        Nothing is awaited here: the caller may be cancelled.
        """
        if self._is_lost(lane, exc):
            self.suspect_all()
            self._later(self._replace(lane))
            return True
        if job is not None:
            self._later(self._give_after(lane, job))
        elif isinstance(exc, asyncio.CancelledError) or (isinstance(exc, BroadsheetError) and exc.code == "57014"):
            self._later(self._settle(lane))
        else:
            self.give(lane)
        return False

    def _is_lost(self, lane: Lane, exc: BaseException) -> bool:
        if isinstance(exc, asyncio.CancelledError):
            return False
        if self.sqlite:
            return isinstance(exc, sqlite3.Error) and faults.CLOSED.search(str(exc)) is not None
        return isinstance(exc, GONE) or bool(lane.driver.is_closed())

    # ---- lending ----

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncGenerator[Lane]:
        """A lane for as long as the block runs. What it leaves running or open is ended before the lane is lent
        again.
        """
        lane = await self.lease()
        cancelled = False
        try:
            yield lane
        except (asyncio.CancelledError, GeneratorExit):
            cancelled = True  # a statement may still run
            raise
        finally:
            if cancelled or self._is_used_up(lane):
                self._later(self._settle(lane))
            else:
                self.give(lane)

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncGenerator[AsyncConnection]:
        """A lane's connection for statements of SQLAlchemy, rolled back at the end."""
        async with self.lend() as lane:
            assert lane.connection is not None
            try:
                yield lane.connection
            finally:
                await finish(lane.connection.rollback())

    def _is_used_up(self, lane: Lane) -> bool:
        assert lane.connection is not None
        if lane.connection.invalidated or (not self.sqlite and lane.driver.is_closed()):
            self.suspect_all()
            return True
        if lane.connection.get_transaction() is not None:  # its rollback failed
            return True
        return bool(lane.driver.in_transaction if self.sqlite else lane.driver.is_in_transaction())

    async def lease(self) -> Lane:
        """A lane with a connection that seems alive. Raises Unavailable PGRST003 after `wait` seconds, PGRST000 without
        a server.
        """
        self.counters.checkouts += 1
        lane = self.idle.pop() if self.idle else await self._queue()
        try:
            await self._connected(lane)
        except BaseException:
            self.give(lane)  # empty, as it is: the next lease tries again
            raise
        return lane

    def give(self, lane: Lane) -> None:
        """Hand the lane to the first waiter that is still there."""
        lane.used = time.monotonic()
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(lane)
                return
        self.idle.append(lane)

    async def _queue(self) -> Lane:
        self.counters.waits += 1
        waiter: asyncio.Future[Lane] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            async with asyncio.timeout(self.wait):
                return await waiter
        except BaseException as exc:
            if waiter.done() and not waiter.cancelled():  # handed over in the very tick of the cancellation
                self.give(waiter.result())
            if not isinstance(exc, TimeoutError):
                raise
            self.counters.timeouts += 1
            raise faults.no_connection() from exc

    async def _connected(self, lane: Lane) -> None:
        if lane.connection is not None and (self._is_stale(lane) or await self._died(lane)):
            await self._drop(lane)
        if lane.connection is None:
            await self._open(lane)

    def _is_stale(self, lane: Lane) -> bool:
        if lane.connection is None or lane.connection.invalidated:
            return True
        oldest = max(self.suspect, time.monotonic() - self.recycle)
        return not self.sqlite and (lane.born < oldest or lane.driver.is_closed())

    async def _died(self, lane: Lane) -> bool:
        """While it rested."""
        if self.sqlite or time.monotonic() - lane.used < self.rest:
            return False
        try:
            async with asyncio.timeout(SETTLE):
                await lane.driver.fetchval("SELECT 1")
        except CLOSING:
            self.suspect_all()
            return True
        return False

    async def _open(self, lane: Lane) -> None:
        born = time.monotonic()
        try:
            connection = await self.engine.connect()
        except OSError as exc:
            raise faults.unreachable() from exc
        try:
            lane.driver = (await connection.get_raw_connection()).driver_connection
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        lane.connection, lane.born = connection, born

    async def _drop(self, lane: Lane) -> None:
        connection, lane.connection, lane.driver = lane.connection, None, None
        if connection is None:
            return
        for close in (connection.invalidate, connection.close):
            with contextlib.suppress(*CLOSING):
                await close()

    # ---- in the background ----

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self.tasks.discard)

    async def _replace(self, lane: Lane) -> None:
        try:
            await self._drop(lane)
        finally:
            self.give(lane)

    async def _give_after(self, lane: Lane, job: Job[Any]) -> None:
        """Not before the job is over: an interrupt that comes late would hit the next read."""
        try:
            await job.stop()
        finally:
            self.give(lane)

    async def _settle(self, lane: Lane) -> None:
        """Ask the connection something: asyncpg has sent a CancelRequest by itself and makes this wait for its
        outcome.
        """
        well = False
        try:
            async with asyncio.timeout(SETTLE):
                well = await self._is_well(lane)
        except CLOSING:  # asyncio's TimeoutError is an OSError
            well = False
        finally:
            if not well:
                await self._drop(lane)
            self.give(lane)

    async def _is_well(self, lane: Lane) -> bool:
        if lane.connection is None or lane.connection.invalidated or lane.connection.get_transaction():
            return False
        if self.sqlite:
            await halt(lane.driver)
            return True
        await lane.driver.fetchval("SELECT 1")
        return not lane.driver.is_in_transaction()

    def suspect_all(self) -> None:
        """Replace each connection when it is next used."""
        self.suspect = time.monotonic()

    async def settled(self) -> None:
        """Wait until no lane is busy in the background."""
        while self.tasks:
            await asyncio.wait(self.tasks)

    async def close(self) -> None:
        """Close the idle lanes; leased ones are their holders'."""
        await self.settled()
        for lane in self.idle:
            if lane.connection is not None:
                await lane.connection.close()
                lane.connection = None
