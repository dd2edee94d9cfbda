"""Reader lanes: hand-out, cancellation, lost connections. What must never happen is that one is not given back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import text

from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.running import Job, SqliteConnection, finish, halt, run_on_sqlite
from app.data.steps import Statement, Steps
from app.errors import NotFound
from tests.conftest import Statements
from tests.data.statements import STOPPED, ask, slow

ONE = ask("SELECT 1 + 0")
OTHERS = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
KILL = f"SELECT pg_terminate_backend(pid) {OTHERS}"


async def kill_backends(database: Database) -> None:
    """Every connection of this database to the server but the one that asks."""
    async with database.writer.connect() as connection:
        await connection.execute(text(KILL))


# ---- reading ----


async def test_read_costs_exactly_its_statements(database: Database, statements: Statements) -> None:
    assert await database.read(SYSTEM, ONE) == 1
    assert statements.texts == ["SELECT 1 + 0"]


async def test_read_sends_no_begin_on_postgresql(database: Database) -> None:
    """One snapshot for all statements on SQLite, one each on PostgreSQL (decisions 3)."""
    async with database.reader(SYSTEM) as driver:
        in_transaction = driver.in_transaction if database.name == "sqlite" else driver.is_in_transaction()
    assert not in_transaction


async def test_statements_of_one_read_share_a_snapshot_on_sqlite(database: Database) -> None:
    insert = "INSERT INTO genres (label) VALUES ('between')"

    def steps() -> Steps[tuple[int, int]]:
        count = Statement("SELECT count(*) FROM genres", ())
        before = yield count
        asyncio.run_coroutine_threadsafe(write(), loop).result(5)
        after = yield count
        return before[0][0], after[0][0]

    async def write() -> None:
        async with database.writer.begin() as connection:
            await connection.execute(text(insert))

    if database.name == "postgresql":
        pytest.skip("the steps run on the loop there, and each statement has its own snapshot")
    loop = asyncio.get_running_loop()
    assert await database.read(SYSTEM, steps) == (0, 0)


async def test_many_runs_one_statement_for_each_row_of_arguments(database: Database) -> None:
    sql = "SELECT ? + 1" if database.name == "sqlite" else "SELECT $1::int + 1"

    def steps() -> Steps[list[int]]:
        rows = yield Statement(sql, [(1,), (2,), (3,)], many=True)
        return [row[0] for row in rows]

    assert await database.read(SYSTEM, steps) == [2, 3, 4]


async def test_errors_of_the_steps_pass_and_the_lane_is_back(database: Database) -> None:
    closed = []

    def steps() -> Steps[None]:
        try:
            yield Statement("SELECT 1", ())
            raise NotFound("nothing here")
        finally:
            closed.append(True)

    with pytest.raises(NotFound):
        await database.read(SYSTEM, steps)
    assert closed == [True]
    assert await database.read(SYSTEM, ONE) == 1


async def test_lanes_are_handed_out_last_in_first_out(database: Database) -> None:
    async with database.lanes.lend() as first:
        pass
    async with database.lanes.lend() as second:
        assert second is first


async def test_waiters_are_served_in_order(database: Database) -> None:
    order: list[int] = []

    async def wait(number: int) -> None:
        async with database.lanes.lend():
            order.append(number)

    held = [await database.lanes.lease() for _ in range(database.lanes.size)]
    waiters = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    database.lanes.give(held.pop())
    await asyncio.gather(*waiters)
    for lane in held:
        database.lanes.give(lane)
    assert order == [0, 1, 2, 3, 4]


# ---- cancellation ----


async def test_cancelled_read_frees_its_caller_and_its_lane_at_once(database: Database) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await database.read(SYSTEM, slow(database))
    await database.pools.settled()
    assert time.monotonic() - began < STOPPED
    assert database.in_use == 0


async def test_cancelled_waiter_does_not_keep_the_lane_it_was_given(database: Database) -> None:
    lanes = database.lanes
    held = [await lanes.lease() for _ in range(lanes.size)]
    waiter = asyncio.create_task(lanes.lease())
    await asyncio.sleep(0)
    lanes.give(held.pop())  # handed over, but the waiter is cancelled before it runs again
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert len(lanes.idle) == 1
    for lane in held:
        lanes.give(lane)


async def test_block_that_is_cancelled_gives_its_lane_back(database: Database) -> None:
    began = time.monotonic()

    async def stream() -> None:
        async with database.reader(SYSTEM) as driver:
            sql = ask_sql(database)
            await (driver.execute_fetchall(sql) if database.name == "sqlite" else driver.fetch(sql))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await stream()
    await database.pools.settled()
    assert time.monotonic() - began < STOPPED
    assert database.in_use == 0


def ask_sql(database: Database) -> str:
    return next(slow(database)()).sql


async def test_finish_outlasts_every_cancellation() -> None:
    done = []

    async def work() -> None:
        await asyncio.sleep(0.02)
        done.append(True)

    task = asyncio.create_task(finish(work()))
    for _ in range(3):
        await asyncio.sleep(0.002)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


# ---- lost connections (PostgreSQL; a file cannot be lost) ----


@pytest.fixture
def postgresql(database: Database) -> Database:
    if database.name == "sqlite":
        pytest.skip("a file has no server to lose")
    return database


async def test_reads_go_on_when_idle_backends_are_killed(postgresql: Database) -> None:
    size = postgresql.lanes.size
    await asyncio.gather(*(postgresql.read(SYSTEM, ask("SELECT 1 FROM pg_sleep(0.01)")) for _ in range(size)))
    await kill_backends(postgresql)
    assert await asyncio.gather(*(postgresql.read(SYSTEM, ONE) for _ in range(4 * size))) == [1] * (4 * size)


async def test_reads_go_on_when_backends_are_killed_under_load(postgresql: Database) -> None:
    lost = postgresql.counters.retries
    short = ask("SELECT 1 FROM pg_sleep(0.02)")
    reads = [asyncio.create_task(postgresql.read(SYSTEM, short)) for _ in range(60)]
    await asyncio.sleep(0.03)
    await kill_backends(postgresql)
    done = await asyncio.gather(*reads, return_exceptions=True)
    assert done == [1] * 60
    assert postgresql.counters.retries > lost
    assert await postgresql.read(SYSTEM, ONE) == 1


async def test_sessions_go_on_after_idle_backends_are_killed(postgresql: Database) -> None:
    for _ in range(2):
        async with postgresql.reading(SYSTEM) as session:
            await (await session.connection()).execute(text("SELECT 1"))
        await kill_backends(postgresql)
        await asyncio.sleep(0.02)  # they are told now, and gone a moment later; a session in between has to answer 503
    async with postgresql.writing(SYSTEM) as session:
        await (await session.connection()).execute(text("SELECT 1"))


# ---- what we use of aiosqlite ----


def test_private_executor_of_aiosqlite_is_where_we_use_it() -> None:
    """`running.on_thread` is the one place. A new release that renames these must fail here."""
    assert callable(aiosqlite.Connection._execute)
    assert isinstance(aiosqlite.Connection._conn, property)


@pytest.mark.parametrize("first", ["stop", "close"])
async def test_file_that_is_stopped_while_it_is_closed_is_closed(tmp_path: Path, first: str) -> None:
    """SQLAlchemy does both where it is cancelled in the middle of closing; one of them used to wait for ever."""
    driver = await SqliteConnection(str(tmp_path / "x.db"))
    if first == "stop":
        driver.stop()
    closing = asyncio.create_task(driver.close())
    await asyncio.sleep(0)
    driver.stop()
    async with asyncio.timeout(5):
        await closing
    driver._thread.join(5)
    assert not driver._thread.is_alive()


async def test_transaction_is_ended_where_the_interrupt_hits_the_rollback(tmp_path: Path) -> None:
    driver = await SqliteConnection(str(tmp_path / "x.db"), isolation_level=None)
    for statement in ("CREATE TABLE x (y)", "BEGIN IMMEDIATE", "INSERT INTO x VALUES (1)"):
        await driver.execute(statement)
    hits = iter([1])
    await driver.set_progress_handler(lambda: next(hits, 0), 1)
    await halt(driver)
    assert next(hits, None) is None
    assert not driver.in_transaction
    await driver.close()


async def test_snapshot_is_ended_where_the_interrupt_hits_its_commit(tmp_path: Path) -> None:
    """Else the lane could begin no other one."""
    driver = await SqliteConnection(str(tmp_path / "x.db"), isolation_level=None)

    def steps() -> Steps[Any]:
        yield Statement("SELECT 1", ())
        hits = iter([1])
        driver._conn.set_progress_handler(lambda: next(hits, 0), 1)
        return hits

    hits = await run_on_sqlite(driver, Job(steps()), 5)
    assert next(hits, None) is None
    assert not driver.in_transaction
    await driver.close()


async def test_pooler_mode_reads_in_a_transaction(spare_url: str, catalog: Catalog) -> None:
    if spare_url.startswith("sqlite"):
        pytest.skip("a file has no pooler")
    state = ask("SELECT current_setting('transaction_read_only') || (SELECT count(*) FROM pg_prepared_statements)")
    async with Database(spare_url, catalog, pooler="transaction") as database:
        assert await database.read(SYSTEM, state) == "on0"
        async with database.reading(SYSTEM) as session:
            shown = await (await session.connection()).scalar(text("SHOW transaction_read_only"))
        assert shown == "on"
        async with database.reader(SYSTEM) as driver:
            assert await driver.fetchval("SHOW transaction_read_only") == "on"
            assert await driver.fetchval("SHOW application_name") == ""
