"""How Steps run on one driver connection: statement by statement on asyncpg, in one hop to the connection's thread on
SQLite.

Nothing here leases connections or begins sessions; `lanes.py` and `database.py` do.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import aiosqlite

from app.data import faults
from app.data.joining import joined
from app.data.steps import Statement, Steps

T = TypeVar("T")
Observe = Callable[[str], None]


def unobserved(sql: str) -> None:
    """The hook of databases that nobody watches."""


async def run_on_asyncpg(driver: Any, steps: Steps[T], seconds: float, observe: Observe = unobserved) -> T:
    """Each statement may take so many seconds. Raises the driver's errors; Unavailable 57014 after the time-out."""
    try:
        statement = next(steps)
        while True:
            for part in statement.parts or (statement,):
                observe(part.sql)
            rows: Sequence[Any]
            if statement.parts:
                (rows,) = await driver.fetch(*joined(statement.parts), timeout=seconds)
            elif statement.rows is not None:
                rows = await _copy(driver, statement, seconds)
            elif statement.many:
                rows = await driver.fetchmany(statement.sql, statement.args, timeout=seconds)
            else:
                rows = await driver.fetch(statement.sql, *statement.args, timeout=seconds)
            statement = steps.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except TimeoutError as exc:
        raise faults.too_slow() from exc
    finally:
        steps.close()


async def _copy(driver: Any, statement: Statement, seconds: float) -> Sequence[Any]:
    columns, rows = list(statement.columns), statement.rows
    await driver.copy_records_to_table(statement.table, columns=columns, records=rows, timeout=seconds)
    return ()


class Job(Generic[T]):
    """All statements of a unit, as one function for SQLite's thread. Without an `opening` they share one snapshot; else
    they are part of a transaction, which the opening begins unless it is open, or a `share` of one.
    """

    def __init__(
        self, steps: Steps[T], *, opening: str = "", share: Share | None = None, observe: Observe = unobserved
    ) -> None:
        self.steps = steps
        self.opening = opening
        self.share = share
        self.observe = observe
        self.stopped = False  # no further statement may start
        self.done = False
        self.connection: sqlite3.Connection | None = None

    def __call__(self, connection: sqlite3.Connection) -> T:
        self.connection = connection
        try:
            self._stop_here()
            if self.share is not None:
                self.share.open(connection, self.opening)
            elif self.opening and not connection.in_transaction:
                connection.execute(self.opening)
            if self.opening:
                return self._run(connection)
            connection.execute("BEGIN")
            try:
                return self._run(connection)
            finally:
                _end_snapshot(connection)
        finally:
            self.done = True

    def _run(self, connection: sqlite3.Connection) -> T:
        steps = self.steps
        try:
            statement = next(steps)
            while True:
                self._stop_here()
                for part in statement.parts or (statement,):
                    self.observe(part.sql)
                statement = steps.send(_rows(connection, statement, self._stop_here))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            steps.close()

    def _stop_here(self) -> None:
        if self.stopped:
            raise sqlite3.OperationalError("interrupted")

    async def stop(self, patience: float = 0) -> None:
        """Ask until the job is over: an interrupt stops only a statement that is running at that moment. One that ends
        by itself within so many seconds is left alone.
        """
        self.stopped = True
        until = time.monotonic() + patience
        while not self.done:
            if self.connection is not None and time.monotonic() >= until:
                self.connection.interrupt()
            await asyncio.sleep(0.002)


def _end_snapshot(connection: sqlite3.Connection) -> None:
    """Of reads alone. The last interrupt may come late and hit this instead."""
    try:
        if connection.in_transaction:
            connection.execute("COMMIT")
    except sqlite3.OperationalError:
        connection.rollback()


def _rows(connection: sqlite3.Connection, statement: Statement, stop_here: Callable[[], None]) -> Sequence[Any]:
    if statement.parts:
        return [connection.execute(part.sql, part.args).fetchall() for part in statement.parts]
    if statement.rows is not None:
        return _fill(connection, statement, stop_here)
    if not statement.many:
        return connection.execute(statement.sql, statement.args).fetchall()
    found: list[Any] = []
    for args in statement.args:
        try:
            found += connection.execute(statement.sql, args).fetchall()
        except sqlite3.IntegrityError as exc:
            raise faults.about(exc, statement.table, dict(zip(statement.columns, args, strict=False))) from None
    return found


def _fill(connection: sqlite3.Connection, statement: Statement, stop_here: Callable[[], None]) -> Sequence[Any]:
    row: tuple[Any, ...] = ()

    def remembered() -> Iterator[tuple[Any, ...]]:
        nonlocal row
        for row in statement.rows or ():  # the last one is needed after an error
            stop_here()  # an interrupt between two rows stops neither
            yield row

    try:
        connection.executemany(statement.sql, remembered())
    except sqlite3.IntegrityError as exc:
        raise faults.about(exc, statement.table, dict(zip(statement.columns, row, strict=False))) from None
    return ()


async def run_on_sqlite(driver: Any, job: Job[T], seconds: float) -> T:
    """The whole job may take so many seconds, then Unavailable 57014. A cancelled caller must still `stop` the job."""
    stopping: list[asyncio.Task[None]] = []
    timer = asyncio.get_running_loop().call_later(seconds, lambda: stopping.append(asyncio.ensure_future(job.stop())))
    try:
        return await on_thread(driver, job)
    except sqlite3.OperationalError as exc:
        if stopping:
            raise faults.too_slow() from exc
        raise
    finally:
        timer.cancel()


class Share:
    """One unit's share of a transaction in which units of work follow each other. Its functions run on the thread."""

    __slots__ = ("opened", "saved")

    def __init__(self) -> None:
        self.opened = False
        self.saved = False  # a savepoint stands, its own or that of the unit before

    def open(self, connection: sqlite3.Connection, opening: str) -> None:
        """Before the first statement: begins the transaction, or sets a savepoint behind what others wrote in it."""
        if self.opened and connection.in_transaction:
            return
        if self.opened:  # SQLite has ended it: what follows would be kept at once
            raise faults.undone()
        if not connection.in_transaction:
            connection.execute(opening)
            self.saved = False
        else:
            if self.saved:
                connection.execute("RELEASE unit")
            connection.execute("SAVEPOINT unit")
            self.saved = True
        self.opened = True

    def undo(self, connection: sqlite3.Connection) -> None:
        """What this unit did; all of it where SQLite cannot tell them apart."""
        if not self.opened:
            return
        self.opened = False
        with contextlib.suppress(sqlite3.OperationalError):  # the last interrupt may come late and hit this instead
            if self.saved and connection.in_transaction:
                connection.execute("ROLLBACK TO unit")
                return
        connection.rollback()


def commit(connection: sqlite3.Connection) -> None:
    """What cannot be committed is rolled back."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.rollback()
        raise


class CursorsKnown(sqlite3.Connection):
    """Can end what is half read: an interrupt holds, for ROLLBACK too, until no statement is left in the middle."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        made = super().cursor(*arguments, **options)
        self._cursors.add(made)
        return made

    def close_cursors(self) -> None:
        for cursor in list(self._cursors):
            cursor.close()


class SqliteConnection(aiosqlite.Connection):
    """May be stopped while it is closed, as SQLAlchemy does where it is cancelled there: one of the two would wait for
    a thread that the other has ended, and the file would stay open.

    With a `share`, what SQLAlchemy takes for a transaction of its own is that.
    """

    share: Share | None = None

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(partial(sqlite3.connect, path, factory=CursorsKnown, **options), iter_chunk_size=64)
        self._thread.daemon = True  # as SQLAlchemy has it
        self._stopping: asyncio.Future[Any] | None = None

    def stop(self) -> asyncio.Future[Any] | None:
        if self._stopping is None:
            self._stopping = super().stop()
        return self._stopping

    async def open(self, opening: str) -> None:
        """The share. Not even a cancelled caller leaves before that is done."""
        assert self.share is not None
        await finish(on_thread(self, partial(self.share.open, opening=opening)))

    async def commit(self) -> None:
        if self.share is None:  # else not before all the others
            await super().commit()

    async def rollback(self) -> None:
        if self.share is None:
            await super().rollback()
        else:
            await on_thread(self, self.share.undo)

    async def close(self) -> None:
        if self._stopping is None:
            await super().close()
        else:
            await self._stopping


async def on_thread(driver: Any, work: Callable[[sqlite3.Connection], T]) -> T:
    """The one place that uses the private executor of aiosqlite, which has no public way to run a function of ours
    there.
    """
    try:
        result: T = await driver._execute(work, driver._conn)
    except ValueError as exc:
        if "connection" not in str(exc).lower():
            raise
        raise sqlite3.OperationalError("connection closed") from exc  # as SQLAlchemy's adapter has it
    return result


async def halt(driver: Any) -> None:
    """End the statement that runs on a SQLite connection, if one does, and its transaction."""
    reached = False

    def roll_back(connection: sqlite3.Connection) -> None:
        nonlocal reached
        reached = True
        if isinstance(connection, CursorsKnown):
            connection.close_cursors()
        with contextlib.suppress(sqlite3.OperationalError):  # the last interrupt may come late and hit this instead
            connection.rollback()
        connection.rollback()

    ending = asyncio.ensure_future(on_thread(driver, roll_back))
    while not reached and not ending.done():
        await driver.interrupt()
        await asyncio.sleep(0.002)
    await ending


async def finish(work: Awaitable[T]) -> T:
    """Await to the end, however often the caller is cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await _over(task)
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # seen: the cancellation goes first
    raise cancelled


async def _over(task: asyncio.Future[Any]) -> None:
    """Back when it is; a caller who is cancelled does not take it along. `asyncio.wait` takes four times as long."""
    waiter = asyncio.get_running_loop().create_future()

    def wake(task: asyncio.Future[Any]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    await waiter
