"""Fixtures over both databases: a test that takes `database` runs on SQLite and on PostgreSQL, on the migrated schema.

One PostgreSQL serves the whole run. It is started when the first test needs it, or by the controller for xdist's
workers. BROADSHEET_TEST_DATABASE_URL names a server to use instead; databases with a random prefix are made there and
dropped.

Tests commit for real; all rows are deleted after each.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Table, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.data import engines, migrating
from app.data.base import Base
from app.data.catalog import Catalog
from app.data.database import Database
from app.resources import CATALOG
from app.settings import Settings
from tests.library import models as library
from tests.localpg import LocalPostgres

EPOCH = datetime(2026, 1, 1, 12, tzinfo=UTC)


# ---- the server of the run, and the templates that are migrated once ----


class Server:
    """A PostgreSQL for this run and two migrated templates. What it hands to workers is `info`."""

    def __init__(self, info: dict[str, str] | None = None) -> None:
        self._info = info
        self.local: LocalPostgres | None = None
        self.folder: Path | None = None

    @property
    def info(self) -> dict[str, str]:
        if self._info is None:
            self._info = self._start()
        return self._info

    def _start(self) -> dict[str, str]:
        given = os.environ.get("BROADSHEET_TEST_DATABASE_URL")
        if given is None:
            self.local = LocalPostgres().start()
        # the server's own folder is found and removed by a later run, should this one be killed
        self.folder = self.local.root if self.local else Path(tempfile.mkdtemp(prefix="broadsheet-tests-"))
        admin = engines.parse(given or (self.local.url() if self.local else ""))
        prefix = f"broadsheet_test_{secrets.token_hex(4)}"
        info = {
            "admin": admin.render_as_string(hide_password=False),
            "prefix": prefix,
            "postgresql": f"{prefix}_template",
            "sqlite": str(self.folder / "template.db"),
            "strategy": "STRATEGY FILE_COPY" if self.local else "",  # 12 ms against 22; a given server may be too old
        }
        administer(info, f'CREATE DATABASE "{info["postgresql"]}"')
        for url in (database_of(info, info["postgresql"]), sqlite_of(info["sqlite"])):
            migrating.migrate(url)
            in_thread(add_library(url))
        return info

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """In xdist's controller, once for each worker."""
        node.workerinput["server"] = self.info

    def pytest_unconfigure(self) -> None:
        """Also after an interrupt."""
        if self.local is not None:
            self.local.stop()
        elif self._info is not None and self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            administer(self._info, f'DROP DATABASE IF EXISTS "{self._info["postgresql"]}" WITH (FORCE)')


SERVER = pytest.StashKey[Server]()


def pytest_configure(config: pytest.Config) -> None:
    worker = getattr(config, "workerinput", None)
    config.stash[SERVER] = server = Server(worker["server"] if worker is not None else None)
    if worker is None:
        config.pluginmanager.register(server, "broadsheet-server")


def in_thread(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end on a loop of its own, whatever the caller's thread is doing."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, work).result()


def administer(info: dict[str, str], sql: str) -> None:
    in_thread(execute_alone(info["admin"], sql))


async def execute_alone(url: str, sql: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(sql))
    await engine.dispose()


def database_of(info: dict[str, str], name: str) -> URL:
    return make_url(info["admin"]).set(database=name)


def sqlite_of(path: str) -> URL:
    return URL.create("sqlite+aiosqlite", database=path)


async def add_library(url: URL) -> None:
    """The tables of the suite's second application, which no migration knows."""
    tables = [table for table in library.TABLES if isinstance(table, Table)]
    engine = engines.migration_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: Base.metadata.create_all(sync, tables=tables))
    await engine.dispose()


# ---- databases ----


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    return pytestconfig.stash[SERVER]


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_url(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Generator[str]:
    """A migrated database of this worker's own, one on each backend."""
    yield from fresh_database(request.param, server, tmp_path_factory.mktemp("database"))


@pytest.fixture(params=["sqlite", "postgresql"])
def spare_url(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Generator[str]:
    """A migrated database that the test may break; about 40 ms on PostgreSQL."""
    yield from fresh_database(request.param, server, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Generator[str]:
    """A database without any tables."""
    yield from fresh_database(request.param, server, tmp_path, empty=True)


def fresh_database(backend: str, server: Server, folder: Path, *, empty: bool = False) -> Generator[str]:
    info = server.info
    if backend == "sqlite":
        path = folder / "broadsheet.db"
        if not empty:
            shutil.copyfile(info["sqlite"], path)
        yield f"sqlite:///{path}"
        return
    name = f"{info['prefix']}_{secrets.token_hex(4)}"
    template = "template0" if empty else info["postgresql"]
    administer(info, f'CREATE DATABASE "{name}" TEMPLATE "{template}" {info["strategy"]}')
    yield database_of(info, name).render_as_string(hide_password=False)
    administer(info, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return CATALOG


@pytest.fixture(scope="session")
async def shared_database(
    database_url: str, catalog: Catalog, shared_clock: Clock, recorder: Statements
) -> AsyncGenerator[Database]:
    """Use `database`, which cleans up."""
    async with Database(database_url, catalog, clock=shared_clock, observe=recorder.record) as database:
        yield database


@pytest.fixture
async def database(shared_database: Database, clock: Clock) -> AsyncGenerator[Database]:
    """An empty, migrated database. Fails the test that leaves a connection checked out."""
    yield shared_database
    await shared_database.pools.settled()
    in_use = shared_database.in_use
    await delete_all_rows(shared_database)
    assert in_use == 0, f"{in_use} connections are still checked out"


async def delete_all_rows(database: Database) -> None:
    """DELETE, not TRUNCATE: 1.4 ms against 3.4."""
    statements = [f'DELETE FROM "{table.name}"' for table in reversed(Base.metadata.sorted_tables)]
    async with database.writer.begin() as connection:
        if database.name == "postgresql":
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute(";".join(statements))  # one round trip
            return
        for statement in statements:
            await connection.exec_driver_sql(statement)


# ---- time, statements, settings ----


@dataclass
class Clock:
    """Stands still. Call it for the time, as `app.data.clock.now`."""

    now: datetime = EPOCH

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def shared_clock() -> Clock:
    return Clock()


@pytest.fixture
def clock(shared_clock: Clock) -> Clock:
    """The clock of `database`, at noon of 1 January 2026 when a test begins."""
    shared_clock.now = EPOCH
    return shared_clock


@dataclass
class Statements:
    """The SQL that reached the driver. Transaction control, and the statement that only makes BEGIN happen, are left
    out.
    """

    texts: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.texts)

    def record(self, sql: str) -> None:
        if sql != "SELECT 1":
            self.texts.append(sql)

    def clear(self) -> None:
        self.texts.clear()


@pytest.fixture(scope="session")
def recorder() -> Statements:
    return Statements()


@pytest.fixture
def statements(recorder: Statements, database: Database) -> Statements:
    """What `database` sends from here on: `assert statements.count == 2`."""
    recorder.clear()
    return recorder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)
