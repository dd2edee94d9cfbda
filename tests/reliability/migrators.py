"""T15, two migrators: several processes bring an empty database to the newest revision at once, some with a server that
starts beside them, and one is killed at some statement of its migration. Each revision is applied once, all others end
well, no lock stays, and the schema is the one that a single process makes.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.data import engines
from tests.clients.serve import free_socket
from tests.reliability.nursery import Begun, Ended, Nursery, nursery
from tests.reliability.trial import Conditions, Figures, Trial

CROWD = 4
ROUNDS = {"short": 4, "long": 60, "broken": 6}  # in which somebody is killed; every other one has a server
SOON = 5.0  # seconds in which a server is ready, and a database notices that its client was killed
LOCK = "the lock of migrations"
T = TypeVar("T")


async def work(conditions: Conditions) -> Figures:
    chance = random.Random(conditions.seed)
    rounds = ROUNDS["broken" if conditions.without else "long" if conditions.long else "short"]
    async with nursery(conditions.folder) as processes:
        trial = Migrations(conditions, processes)
        statements = await trial.alone()
        await trial.together()
        for number in range(rounds):
            if conditions.without and trial.found:
                break
            # a moment from each part of the migration, so that a few rounds see all of it
            moment = 1 + int(statements / rounds * (number + chance.random()))
            await trial.together(dies_at=moment, serves=number % 2 == 1)
    return trial.figures


@contextmanager
def unlocked() -> Generator[None]:
    """The lock is one of other processes: the trial tells them to leave it out."""
    yield


MIGRATORS = Trial("T15", "two migrators", work, {LOCK: unlocked})


@dataclass(slots=True)
class Migrations:
    conditions: Conditions
    processes: Nursery
    tally: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0
    found: list[str] = field(default_factory=list)
    schema: list[Any] = field(default_factory=list)

    @property
    def figures(self) -> Figures:
        return Figures({**self.tally, "worst round s": self.worst}, self.found)

    async def alone(self) -> int:
        """One process makes the schema to which all others must come. How many statements change something."""
        async with empty_database(self.conditions, "alone") as url:
            begun = await self.processes.begin("migrate", environment={"BROADSHEET_DATABASE_URL": url})
            ended = await self.processes.end(begun)
            assert ended.code == 0, ended.said
            self.schema = await asking(url, schema)
        return ended.statements

    async def together(self, *, dies_at: int = 0, serves: bool = False) -> None:
        """Several at once, of which one dies where `dies_at` is not 0, unless the server is the one that migrates."""
        began = time.monotonic()
        self.tally["rounds"] += 1
        name = f"round {self.tally['rounds']}"
        async with empty_database(self.conditions, name) as url:
            server = await self._serve(url, name) if serves else None
            ended = await self._migrate(url, name, dies_at)
            if server is not None:
                ended.append(await self._stopped(server, name))
            self._check(ended, name)
            self.expect(await asking(url, schema) == self.schema, f"{name}: another schema than one migrator makes")
            self.expect(await asking(url, is_free), f"{name}: a lock or a migrator's connection is still there")
        self.worst = max(self.worst, time.monotonic() - began)

    async def _migrate(self, url: str, name: str, dies_at: int) -> list[Ended]:
        environment = {"BROADSHEET_DATABASE_URL": url}
        more = {"token": str(self.conditions.folder / name), "dies_at": dies_at}
        more["unlocked"] = self.conditions.without is not None
        begun = [await self.processes.begin("migrate", environment=environment, **more) for _ in range(CROWD)]
        ended = [await self.processes.end(one) for one in begun]
        killed = [one for one in ended if one.code == -signal.SIGKILL]
        self.tally += Counter({"migrators": CROWD, "killed": len(killed)})
        return [one for one in ended if one not in killed or not dies_at]

    def _check(self, ended: Iterable[Ended], name: str) -> None:
        """Of those that came to their end. On PostgreSQL who was killed may have committed the first revisions; what
        is left for the others is the rest without a gap, which the schema shows too.
        """
        for one in ended:
            self.expect(one.code == 0, f"{name}: a process ended with {one.code}: {one.said}")
        applied = sorted(revision for one in ended for revision in set(one.revisions))
        doubled = [revision for revision, number in Counter(applied).items() if number > 1]
        self.expect(not doubled, f"{name}: applied more than once: {', '.join(doubled)}")
        self.tally["revisions applied"] += len(applied)
        self.tally["processes that applied some"] += sum(bool(one.revisions) for one in ended)

    # ---- a server beside them ----

    async def _serve(self, url: str, name: str) -> tuple[Begun, int]:
        with free_socket("127.0.0.1") as sock:
            port: int = sock.getsockname()[1]
        environment = {"BROADSHEET_DATABASE_URL": url, "BROADSHEET_PORT": str(port)}
        environment |= {"BROADSHEET_DATA_DIR": str(self.conditions.folder / f"data of {name}")}
        unlocked = self.conditions.without is not None
        return await self.processes.begin("serve", environment=environment, unlocked=unlocked), port

    async def _stopped(self, server: tuple[Begun, int], name: str) -> Ended:
        begun, port = server
        self.tally["servers"] += 1
        self.expect(await is_ready(port), f"{name}: the server is not ready: {begun.said}")
        return await self.processes.stop(begun)

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.found.append(otherwise)


async def is_ready(port: int) -> bool:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            try:
                return (await client.get("/health/ready")).status_code == 200
            except httpx2.TransportError:  # it does not listen yet, or has given up
                await asyncio.sleep(0.02)
    return False


# ---- databases ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def empty_database(conditions: Conditions, name: str) -> AsyncGenerator[str]:
    """Beside that of the trial: a file in its folder, or a database of the same server."""
    if conditions.backend == "sqlite":
        yield f"sqlite:///{conditions.folder / name}.db"
        return
    url = make_url(conditions.url)
    own = f"{url.database}_{name.replace(' ', '_')}"
    await administer(conditions.url, f'CREATE DATABASE "{own}" TEMPLATE template0')
    try:
        yield url.set(database=own).render_as_string(hide_password=False)
    finally:
        await administer(conditions.url, f'DROP DATABASE "{own}" WITH (FORCE)')


async def administer(url: str, sql: str) -> None:
    engine = create_async_engine(engines.parse(url), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(sql))
    await engine.dispose()


async def asking(url: str, question: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Outside transactions, in which PostgreSQL would show the same activity again and again."""
    engine = create_async_engine(engines.parse(url), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            return await question(connection)
    finally:
        await engine.dispose()


async def schema(connection: AsyncConnection) -> list[Any]:
    """Tables, columns, constraints, indexes, triggers, and the revision."""
    queries = SCHEMA[connection.dialect.name]
    found: list[Any] = []
    for query in queries:
        try:
            found += sorted(map(repr, (await connection.execute(text(query))).all()))
        except DBAPIError as exc:  # there is no table of revisions
            found.append(str(exc.orig))
    return found


async def is_free(connection: AsyncConnection) -> bool:
    if connection.dialect.name == "sqlite":
        return await asyncio.to_thread(takes_a_writer, Path(str(connection.engine.url.database)))
    deadline = time.monotonic() + SOON
    while await connection.scalar(text(LEFT)):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def takes_a_writer(path: Path) -> bool:
    """At once, and the file is whole."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        whole: bool = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("ROLLBACK")
    return whole


LEFT = """SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
    (SELECT oid FROM pg_database WHERE datname = current_database()))
    + (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())"""
SCHEMA = {
    "sqlite": (
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'",
        "SELECT version_num FROM alembic_version",
    ),
    "postgresql": (
        """SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name
        FROM information_schema.columns WHERE table_schema = 'public'""",
        """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
        """SELECT indexdef, indisvalid::text FROM pg_indexes JOIN pg_index ON indexrelid = indexname::regclass
        WHERE schemaname = 'public'""",
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT version_num FROM alembic_version",
    ),
}
