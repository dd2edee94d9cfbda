"""The check-up of databases: what a server or a file says of itself, and what is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, make_url

from app.cli.checkup import databases
from app.cli.checkup.examine import examine_database
from app.cli.checkup.finding import Finding, Level
from app.data.database import Database
from app.data.posture import FileFacts, ServerFacts, file_facts, server_facts
from app.resources import CATALOG, open_database
from app.settings import Settings
from tests.conftest import Server, fresh_database

OK, WARN, REFUSE = Level.OK, Level.WARN, Level.REFUSE
GRACE = 40.0


@pytest.fixture
async def opened(spare_url: str) -> AsyncGenerator[Database]:
    async with open_database(Settings(database_url=spare_url)) as database:
        yield database


async def levels_of(database: Database, **more: Any) -> dict[str, Level]:
    found = await examine_database(database, Settings(), GRACE, **more)
    return {finding.name: finding.level for finding in found}


async def test_our_own_databases_are_well_but_for_the_role(opened: Database) -> None:
    found = await levels_of(opened, thorough=True)
    found.pop("database")  # SQLite may be an older one
    if opened.name == "postgresql":
        assert found.pop("role") is WARN  # the suite's server has a superuser alone
    assert set(found.values()) == {OK}


async def test_schema_that_is_behind_is_refused_unless_it_is_about_to_be_migrated(empty_url: str) -> None:
    async with open_database(Settings(database_url=empty_url)) as database:
        assert (await levels_of(database))["schema"] is REFUSE
        assert (await levels_of(database, migrates=True))["schema"] is OK
        await database.migrate("0002")
        assert (await levels_of(database))["schema"] is REFUSE


@pytest.mark.parametrize(
    ("revision", "changes", "migrates", "level", "said"),
    [
        ("0008", False, True, OK, "at revision 0008"),
        ("0007", True, True, OK, "on its way to 0008"),
        ("0007", True, False, REFUSE, "run: broadsheet migrate"),
        ("0007", False, True, REFUSE, "this role may not change it"),
        (None, False, True, REFUSE, "without tables"),
        ("0009", True, True, REFUSE, "this program knows 0008"),
    ],
)
def test_schema(revision: str | None, changes: bool, migrates: bool, level: Level, said: str) -> None:
    found = databases.schema(revision, "0008", changes=changes, migrates=migrates)
    assert found.level is level
    assert said in found.sentence


async def facts_of(database: Database) -> ServerFacts | FileFacts:
    if database.name == "sqlite":
        return await file_facts(database, thorough=True)
    return await server_facts(database, append_only=(), read_only=(), needed=())


def judged(facts: ServerFacts | FileFacts, name: str, settings: Settings | None = None) -> Finding:
    chosen = settings or Settings()
    if isinstance(facts, ServerFacts):
        found = [check(facts, chosen) for check in databases.SERVER_CHECKS]
    else:
        found = [finding for check in databases.FILE_CHECKS if (finding := check(facts)) is not None]
    found.append(databases.ladder(facts, chosen, GRACE))
    return next(finding for finding in found if finding.name == name)


async def test_readers_that_can_write_are_refused(opened: Database) -> None:
    facts = await facts_of(opened)
    assert facts.writing == "25006"
    assert judged(replace(facts, writing=None), "readers").level is REFUSE
    assert judged(replace(facts, writing="42501"), "readers").level is REFUSE


async def test_trying_to_write_leaves_nothing_behind(opened: Database) -> None:
    before = await tables_of(opened)
    await facts_of(opened)
    assert await tables_of(opened) == before


async def tables_of(database: Database) -> list[str]:
    async with database.writer.connect() as connection:
        return await connection.run_sync(lambda sync: inspect(sync).get_table_names())


async def test_time_outs_that_are_out_of_order_are_a_warning(opened: Database) -> None:
    facts = await facts_of(opened)
    assert judged(facts, "time-outs").level is OK
    assert databases.ladder(facts, Settings(), 30).level is WARN
    if isinstance(facts, ServerFacts):
        assert judged(replace(facts, lock_timeout=40), "time-outs").level is WARN
        endless = judged(replace(facts, statement_timeout=0), "time-outs")
        assert endless.level is WARN
        assert "statement without end" in endless.found


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 40, 1), WARN),
        ((3, 44, 5), WARN),
        ((3, 44, 6), OK),
        ((3, 45, 0), WARN),
        ((3, 50, 7), OK),
        ((3, 51, 2), WARN),
        ((3, 51, 3), OK),
        ((3, 53, 0), OK),
    ],
)
def test_sqlite_with_the_wal_reset_bug_is_a_warning(version: tuple[int, int, int], level: Level) -> None:
    assert databases.library(facts_with(version)).level is level


def facts_with(version: tuple[int, int, int] = (3, 53, 0)) -> FileFacts:
    return FileFacts(version, "wal", True, 2, [], "25006")


@pytest.mark.parametrize("change", [{"journal_mode": "delete"}, {"foreign_keys": False}, {"synchronous": 1}])
def test_sqlite_with_other_pragmas_is_refused(change: dict[str, Any]) -> None:
    facts = facts_with()
    assert databases.connection(facts).level is OK
    assert databases.connection(replace(facts, **change)).level is REFUSE


async def test_damaged_file_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    async with open_database(settings) as database:
        await database.migrate()
    path = tmp_path / "broadsheet.db"
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes([255]) * 4096
    path.write_bytes(content)
    async with open_database(settings) as database:
        facts = await file_facts(database, thorough=True)
        assert facts.damage
        assert judged(facts, "quick-check").level is REFUSE
        assert (await file_facts(database, thorough=False)).damage is None


# ---- PostgreSQL alone -----------------------------------------------------------------------------------------------


@pytest.fixture
def server_url(server: Server, tmp_path: Path) -> Generator[str]:
    yield from fresh_database("postgresql", server, tmp_path)


@pytest.mark.parametrize(("minutes", "level"), [(4, OK), (-4, OK), (6, REFUSE), (-6, REFUSE)])
async def test_clock_that_is_far_from_the_servers_is_refused(server_url: str, minutes: int, level: Level) -> None:
    def ours() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=minutes)

    async with Database(server_url, CATALOG, clock=ours) as database:
        found = judged(await facts_of(database), "clock")
    assert found.level is level
    if level is REFUSE:
        assert ("behind ours" in found.found) is (minutes > 0)


async def test_pool_that_the_server_has_no_room_for_is_a_warning(server_url: str) -> None:
    async with Database(server_url, CATALOG) as database:
        facts = await facts_of(database)
    assert isinstance(facts, ServerFacts)
    fitting = (facts.room - 1) // 2
    assert judged(facts, "connections", Settings(pool_size=fitting)).level is OK
    assert judged(facts, "connections", Settings(pool_size=fitting + 1)).level is WARN


@asynccontextmanager
async def pooler_before(url: str) -> AsyncGenerator[str]:
    """What a pooler looks like to a client: another address, and a process id that is no server's."""
    parsed = make_url(url)
    folder = parsed.query.get("host")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if folder:
            there = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{parsed.port or 5432}")
        else:
            there = await asyncio.open_connection(parsed.host, parsed.port or 5432)
        tasks.add(asyncio.create_task(pass_on(reader, there[1])))
        await pass_on(there[0], writer, key_data=b"K\0\0\0\x0c")

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, key_data: bytes = b"") -> None:
        while data := await source.read(65536):
            head, found, tail = data.partition(key_data) if key_data else (data, b"", b"")
            target.write(head + found + (b"\x7f" + tail[1:] if found else tail))
            key_data = b"" if found else key_data
        target.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield parsed.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    await asyncio.gather(*tasks)


async def test_pooler_that_was_not_named_is_a_warning(server_url: str) -> None:
    async with pooler_before(server_url) as url, Database(url, CATALOG) as database:
        facts = await facts_of(database)
    assert judged(facts, "pooler").level is WARN
    assert judged(facts, "pooler", Settings(pooler="transaction")).level is OK


async def test_other_time_zone_is_refused(server_url: str) -> None:
    async with Database(server_url, CATALOG) as database:
        facts = await facts_of(database)
    assert isinstance(facts, ServerFacts)
    assert judged(facts, "time-zone").level is OK
    found = judged(replace(facts, time_zone="Europe/Berlin"), "time-zone")
    assert found.level is REFUSE
    assert "SET timezone = 'UTC'" in found.advice
