"""A PostgreSQL of a trial's own that keeps what it acknowledged, to be killed and restarted while the loop of the trial
goes on.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.localpg import LocalPostgres

T = TypeVar("T")

DATABASE = "bank"
# what a kill of the server needs to lose nothing; the suite's own servers have it off
SAFE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
THEIRS = "FROM pg_stat_activity WHERE datname = :name AND application_name = 'broadsheet'"


class Cluster:
    """It ends with the thread that starts it, so one thread does all of that."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.server = LocalPostgres(SAFE)
        self.url = self.server.url(DATABASE)

    async def __aenter__(self) -> Cluster:
        await self.start()
        await self.execute(f"CREATE DATABASE {DATABASE}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._there(self.server.stop)
        self.thread.shutdown()

    async def _there(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)

    async def start(self) -> None:
        """Returns when it accepts connections."""
        await self._there(self.server.start)

    async def restart(self) -> None:
        """As `pg_ctl restart -m fast` does."""
        await self._there(self.server.halt)
        await self.start()

    def kill(self) -> None:
        """SIGKILL for the postmaster, so that it starts no others, and then for its children."""
        process = self.server.process
        assert process is not None
        children = children_of(process.pid)
        for pid in (process.pid, *children):
            os.kill(pid, signal.SIGKILL)

    async def execute(self, sql: str, **values: object) -> list[tuple[object, ...]]:
        """On a connection of its own, outside any transaction."""
        engine = create_async_engine(self.server.url(), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        async with engine.connect() as connection:
            result = await connection.execute(text(sql), values)
            rows = [tuple(row) for row in result] if result.returns_rows else []
        await engine.dispose()
        return rows

    async def terminate(self, most: int) -> int:
        """Ends so many connections of the service, those in a transaction first; how many there were."""
        chosen = f"SELECT pid {THEIRS} ORDER BY xact_start, pid LIMIT :most"
        found = await self.execute(
            f"SELECT pg_terminate_backend(pid) FROM ({chosen}) AS chosen", name=DATABASE, most=most
        )
        return len(found)

    async def busy(self) -> int:
        """Connections of the service that are in a transaction."""
        ((found,),) = await self.execute(f"SELECT count(*) {THEIRS} AND state <> 'idle'", name=DATABASE)
        return int(str(found))


def children_of(pid: int) -> list[int]:
    """None where the system does not tell: there they end by themselves, when they see that the postmaster has."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        return []
    return [int(child) for child in path.read_text().split()]
