"""The transaction of one unit of work, on the driver's own connection: begun by its first statement, ended by the
Database.

SQLAlchemy's session joins it where entities are used, and then ends it too; units that run Steps alone never pay for
that. Which of the two began is not remembered: the drivers know whether a transaction is open.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.data import faults
from app.data.line import Turn
from app.data.running import Job, Observe, finish, on_thread, run_on_asyncpg, run_on_sqlite
from app.data.steps import Steps

T = TypeVar("T")

PATIENCE = 0.02  # seconds


class Transaction:
    """Of a connection that SQLAlchemy has checked out, with its `driver`. `opening` is what begins it on SQLite, where
    it may be a `turn` in one that others share.
    """

    __slots__ = ("_adapter", "connection", "driver", "observe", "opening", "sqlite", "turn")

    def __init__(
        self, connection: AsyncConnection, driver: Any, opening: str, observe: Observe, turn: Turn | None = None
    ) -> None:
        self.connection = connection
        self.driver = driver
        self.opening = opening
        self.observe = observe
        self.turn = turn
        self.sqlite = connection.dialect.name == "sqlite"
        self._adapter: Any = None if self.sqlite else _adapter_of(connection)

    async def run(self, steps: Steps[T], seconds: float) -> T:
        """Run the steps inside. Raises the driver's errors, Unavailable 57014."""
        if self.sqlite:
            return await self._run_on_sqlite(steps, seconds)
        try:
            await self._begin()
            return await run_on_asyncpg(self.driver, steps, seconds, self.observe)
        except OSError as exc:
            raise faults.lost() from exc
        finally:
            if self.driver.is_closed() and not self.connection.invalidated:
                await self.connection.invalidate()  # else the session would keep it

    async def _run_on_sqlite(self, steps: Steps[T], seconds: float) -> T:
        """Not even a cancelled caller leaves before the job is over: the rollback that follows uses the same thread."""
        share = None if self.turn is None else self.turn.share
        job = Job(steps, opening=self.opening, share=share, observe=self.observe)
        try:
            return await run_on_sqlite(self.driver, job, seconds)
        except asyncio.CancelledError:
            # a write that is stopped takes along what other units wrote
            await finish(job.stop(PATIENCE if share is not None and share.saved else 0))
            raise

    async def _begin(self) -> None:
        if self._adapter._transaction is None:
            transaction = self.driver.transaction(readonly=self._adapter.readonly)
            try:
                await transaction.start()
            except BaseException:
                self.driver.terminate()  # whether it has begun is not known
                raise
            self._adapter._transaction = transaction  # SQLAlchemy's, which would begin another one

    @property
    def is_open(self) -> bool:
        if self.connection.invalidated:
            return False
        if self.turn is not None:
            return self.turn.share.opened and not self.turn.kept
        return bool(self.driver.in_transaction) if self.sqlite else self._adapter._transaction is not None

    async def commit(self) -> None:
        """Where a transaction is open still. Not even a cancelled caller is back before that is done."""
        await finish(self._end("commit")) if self.turn is None else await self.turn.keep()

    async def rollback(self) -> None:
        """What SQLAlchemy knows of the connection is rolled back by itself."""
        if self.is_open and (self.sqlite or not self.driver.is_closed()):
            await self._end("rollback")

    async def _end(self, how: str) -> None:
        if self.turn is not None:
            await on_thread(self.driver, self.turn.share.undo)
            return
        if self.sqlite:
            if self.driver.in_transaction:
                await on_thread(self.driver, _committed if how == "commit" else _rolled_back)
            return
        transaction, self._adapter._transaction = self._adapter._transaction, None
        if transaction is not None:
            await getattr(transaction, how)()


def _adapter_of(connection: AsyncConnection) -> Any:
    """SQLAlchemy's own view of an asyncpg connection. Its `_transaction` is the one private thing that is used."""
    assert connection.sync_connection is not None
    return connection.sync_connection.connection.dbapi_connection


def _committed(connection: sqlite3.Connection) -> None:
    connection.commit()


def _rolled_back(connection: sqlite3.Connection) -> None:
    connection.rollback()
