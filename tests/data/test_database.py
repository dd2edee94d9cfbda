"""Database: units of work, their repetition, time-outs, lost connections, readiness."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import text

from app.data import engines
from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM
from app.errors import BadSetting, BroadsheetError, Conflict, Unavailable
from app.models import Tag
from app.settings import Limits
from tests.conftest import Clock, Server, Statements, administer, database_of
from tests.data.statements import SLOW, STOPPED, ask, names, slow
from tests.factories import make_tag

QUICK = Limits(statement_anonymous=0.2, statement_service=0.2)


# ---- units of work ----


async def test_unit_of_work_is_committed(database: Database, clock: Clock) -> None:
    async with database.writing(SYSTEM, request_id="r1") as session:
        assert session.unit.request_id == "r1"
        tag = await make_tag(session, "python")
        assert tag.created_at == clock.now
    assert await names(database) == ["python"]


async def test_pending_entities_are_flushed_at_the_end(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        session.add(Tag(name="pending"))
    assert await names(database) == ["pending"]


async def test_unit_of_work_that_raises_leaves_nothing(database: Database) -> None:
    async def unit() -> None:
        async with database.writing(SYSTEM) as session:
            await make_tag(session)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await unit()
    assert await names(database) == []


async def test_unit_of_work_costs_its_statements_and_no_more(database: Database, statements: Statements) -> None:
    async with database.writing(SYSTEM) as session:
        await make_tag(session)
    assert statements.count == 1, statements.texts  # the INSERT


async def test_errors_of_the_database_leave_as_our_own(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        await make_tag(session, "twice")
    with pytest.raises(Conflict) as caught:
        async with database.writing(SYSTEM) as session:
            session.add(Tag(name="twice"))
    assert caught.value.code == "23505"


async def test_reading_session_refuses_new_entities(database: Database) -> None:
    async def unit() -> None:
        async with database.reading(SYSTEM) as session:
            session.add(Tag(name="no"))
            await session.flush()

    with pytest.raises(BroadsheetError, match="read-only"):
        await unit()
    assert await names(database) == []


async def test_database_itself_refuses_writes_of_readers(database: Database) -> None:
    with pytest.raises(BroadsheetError) as caught:
        async with database.reading(SYSTEM) as session:
            await (await session.connection()).execute(text("DELETE FROM tags"))
    assert (caught.value.code, caught.value.status) == ("25006", 405)
    with pytest.raises(BroadsheetError) as caught:
        await database.read(SYSTEM, ask("DELETE FROM tags"))
    assert (caught.value.code, caught.value.status) == ("25006", 405)


# ---- statements in a session ----


async def test_run_sees_what_is_pending_and_is_rolled_back_with_the_unit(database: Database) -> None:
    async def unit() -> None:
        async with database.writing(SYSTEM) as session:
            session.add(Tag(name="pending"))
            assert await session.run(ask("SELECT count(*) FROM tags")()) == 1
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await unit()
    assert await names(database) == []


async def test_run_before_any_statement_of_the_session_is_rolled_back_too(database: Database) -> None:
    insert = "INSERT INTO tags (name, version, created_at, updated_at) VALUES ('x', 1, '{0}', '{0}')"

    async def unit() -> None:
        async with database.writing(SYSTEM) as session:
            await session.run(ask(insert.format("2026-01-01 00:00:00.000000"))())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await unit()
    assert await names(database) == []


async def test_cancelled_run_leaves_a_session_that_rolls_back_at_once(database: Database) -> None:
    async def unit() -> None:
        async with database.writing(SYSTEM) as session:
            await make_tag(session)
            await session.run(slow(database)())

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await unit()
    assert time.monotonic() - began < STOPPED
    assert await names(database) == []
    async with database.writing(SYSTEM) as session:  # the writer is free
        await make_tag(session, "after")


async def test_cancelled_statement_of_the_session_gives_the_writer_back_at_once(database: Database) -> None:
    """A cancelled SQLite statement used to run to its end and keep the write lock for seconds (hazards, finding 4)."""

    async def unit() -> None:
        async with database.writing(SYSTEM) as session:
            await make_tag(session)
            await session.execute(text(SLOW[database.name]))

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(unit(), 0.1)
    async with database.writing(SYSTEM) as session:
        await make_tag(session, "after")
    assert time.monotonic() - began < STOPPED
    assert await names(database) == ["after"]


# ---- time-outs and waits ----


async def test_slow_statement_is_stopped(spare_url: str, catalog: Catalog) -> None:
    async with Database(spare_url, catalog, limits=QUICK) as database:
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await database.read(ANONYMOUS, slow(database))
        assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("57014", 504, 1)
        with pytest.raises(Unavailable) as caught:
            async with database.writing(SERVICE) as session:
                await session.run(slow(database)())
        assert caught.value.code == "57014"
        assert time.monotonic() - began < STOPPED
        assert await database.read(ANONYMOUS, ask("SELECT 1")) == 1
        await database.pools.settled()
        assert database.in_use == 0


async def test_full_pool_of_readers_is_an_answer(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database.lanes, "wait", 0.05)
    waits, timeouts = database.counters.waits, database.counters.timeouts
    readers = [asyncio.create_task(database.read(SYSTEM, slow(database))) for _ in range(database.lanes.size)]
    await asyncio.sleep(0.05)
    for read in (database.read(SYSTEM, ask("SELECT 1")), names(database)):
        with pytest.raises(Unavailable) as caught:
            await read
        assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("PGRST003", 504, 1)
    assert (database.counters.waits, database.counters.timeouts) == (waits + 2, timeouts + 2)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)


async def test_full_pool_of_writers_is_an_answer(
    spare_url: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Database(spare_url, catalog, pool_size=1) as database, database.writing(SYSTEM):
        monkeypatch.setattr(database.pools.writing, "wait", 0.05)
        with pytest.raises(Unavailable) as caught:
            async with database.writing(SYSTEM):
                pass
        assert (caught.value.code, caught.value.status) == ("PGRST003", 504)


# ---- servers that do not suit ----


@pytest.mark.parametrize(("setting", "complaint"), [("no_such_setting", "PostgreSQL 14 or newer")])
async def test_server_that_knows_not_all_settings_is_refused(
    spare_url: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, setting: str, complaint: str
) -> None:
    if spare_url.startswith("sqlite"):
        pytest.skip("SQLite passes over what it does not know")
    monkeypatch.setitem(engines.POSTGRESQL_SETTINGS, setting, "1")
    with pytest.raises(BadSetting, match=complaint):
        await Database(spare_url, catalog).start()


# ---- the schema ----


async def test_ready_only_with_the_newest_schema(empty_url: str, catalog: Catalog) -> None:
    async with Database(empty_url, catalog) as database:
        assert not await database.ready()
        await database.migrate()
        assert await database.ready()
        await database.migrate("base")
        assert not await database.ready()


async def test_ready_is_false_without_a_server(spare_url: str, catalog: Catalog, tmp_path: Any) -> None:
    database = Database(f"postgresql://nobody@/none?host={tmp_path}", catalog)
    with pytest.raises(Unavailable) as caught:
        await database.start()
    assert (caught.value.code, caught.value.status) == ("PGRST000", 503)


async def test_migrating_to_an_unknown_revision_is_refused(database: Database) -> None:
    with pytest.raises(BadSetting, match="9999"):
        await database.migrate("9999")


async def test_sql_of_the_migrations(database: Database) -> None:
    sql = database.sql()
    assert "CREATE TABLE users" in sql
    assert ("AUTOINCREMENT" in sql) is (database.name == "sqlite")
    assert ('COLLATE "C"' in sql) is (database.name == "postgresql")


async def test_closed_database_says_so(spare_url: str, catalog: Catalog) -> None:
    database = Database(spare_url, catalog)
    with pytest.raises(RuntimeError, match="not open"):
        await names(database)
    async with database:
        assert await names(database) == []
    with pytest.raises(RuntimeError, match="not open"):
        await names(database)


async def test_database_that_is_no_utf8_is_refused(server: Server, catalog: Catalog) -> None:
    """It would store some texts and refuse others."""
    name = f"{server.info['prefix']}_latin"
    options = "ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    administer(server.info, f'CREATE DATABASE "{name}" {options}')
    url = database_of(server.info, name).render_as_string(hide_password=False)
    with pytest.raises(BadSetting, match="encoded in LATIN1"):
        await Database(url, catalog).start()
    administer(server.info, f'DROP DATABASE "{name}" WITH (FORCE)')
