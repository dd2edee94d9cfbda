"""A PostgreSQL server that keeps what it is told: durable, with the settings that the benchmarks state, on the core of
the clients. Its data outlive a run.

    with Cluster(folder / "postgres", cores) as cluster:
        cluster.create("blog")                       an empty database
        cluster.copy("blog", "blog_litestar")        a copy of one that nobody uses
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # the package ships no types

from tests.localpg import LocalPostgres

SETTINGS = (
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "wal_level=replica",
    "jit=off",
    "random_page_cost=1.1",
    "shared_buffers=512MB",
    "max_wal_size=4GB",
    "autovacuum=on",
    "max_connections=200",
)


class Cluster(LocalPostgres):
    """The folder is made where it is missing; its owner is whoever PostgreSQL runs as."""

    def __init__(self, folder: Path, cores: Iterable[int]) -> None:
        super().__init__(SETTINGS)
        self._scratch = self.root  # for the socket alone: its path has room for some 100 bytes
        self.root = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self._cores = set(cores)
        self.data.mkdir(parents=True, exist_ok=True)
        self.data.chmod(0o700)
        if self.account.user is not None and self.account.group is not None:
            os.chown(self.data, self.account.user, self.account.group)

    def stop(self) -> None:
        """Stops the server; what it keeps stays."""
        self.halt()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._cores)  # a new process inherits it
        try:
            return super()._spawn()
        finally:
            os.sched_setaffinity(0, before)

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server is not running"
        return self.process.pid

    def plain_url(self, database: str) -> str:
        """The URL as libpq, asyncpg and psycopg read it."""
        return f"postgresql://postgres@/{database}?host={self.socket}"

    def create(self, database: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {database} (FORCE)", f"CREATE DATABASE {database}")

    def copy(self, source: str, target: str) -> None:
        copied = f"CREATE DATABASE {target} TEMPLATE {source} STRATEGY FILE_COPY"
        self.run(f"DROP DATABASE IF EXISTS {target} (FORCE)", copied)

    def drop(self, database: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {database} (FORCE)")

    def drop_others(self, kept: Iterable[str]) -> None:
        """All databases but these and the server's own."""
        there = self.run("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
        for (database,) in there:
            if database not in set(kept):
                self.drop(database)

    def run(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of the last statement."""
        return asyncio.run(self._run(statements, database))

    async def _run(self, statements: Iterable[str], database: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.plain_url(database))
        rows: list[Any] = []
        try:
            for statement in statements:
                rows = await connection.fetch(statement)
        finally:
            await connection.close()
        return [tuple(row) for row in rows]

    def version(self) -> str:
        return _version(self.bindir)


@functools.cache
def _version(bindir: Path) -> str:
    told = subprocess.run([bindir / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return told.split()[2]
