"""transact: whole units of work again, when and only when that is safe."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.errors import Unavailable
from app.models import Tag
from tests.data.statements import names
from tests.factories import make_tag


async def test_nothing_is_lost_by_eight_who_read_modify_and_write(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        number = (await make_tag(session, "0")).id

    async def add_one(session: AppSession) -> None:
        tag = await session.get_one(Tag, number)
        await asyncio.sleep(0.001)
        tag.name = str(int(tag.name) + 1)

    await asyncio.gather(*(database.transact(SYSTEM, add_one, attempts=100) for _ in range(8)))
    assert await names(database) == ["8"]


async def test_nothing_is_lost_between_processes(spare_url: str, catalog: Catalog) -> None:
    """Two databases on the same tables share no lock of ours: on SQLite, BEGIN IMMEDIATE alone keeps them apart."""
    async with Database(spare_url, catalog) as one, Database(spare_url, catalog) as two:
        async with one.writing(SYSTEM) as session:
            number = (await make_tag(session, "0")).id

        async def add_one(session: AppSession) -> None:
            tag = await session.get_one(Tag, number)
            await asyncio.sleep(0.005)  # a reader that became a writer now would be told "database is locked" at once
            tag.name = str(int(tag.name) + 1)

        await asyncio.gather(*(d.transact(SYSTEM, add_one, attempts=100) for d in (one, two) for _ in range(4)))
        assert await names(two) == ["8"]
        assert one.name == "postgresql" or one.counters.retries + two.counters.retries == 0


class Flaky:
    """Work that raises the given errors, one at each run, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.runs = 0

    async def __call__(self, session: AppSession) -> int:
        self.runs += 1
        session.add(Tag(name=f"run {self.runs}"))
        if self.errors:
            raise self.errors.pop(0)
        return self.runs


def busy(code: str) -> Unavailable:
    return Unavailable("busy", code=code)


async def test_transact_repeats_the_whole_unit(database: Database) -> None:
    before = database.counters.retries
    assert await database.transact(SYSTEM, Flaky(busy("40001"), busy("40P01"))) == 3
    assert await names(database) == ["run 3"]
    assert database.counters.retries == before + 2


@pytest.mark.parametrize(
    ("code", "runs"), [("40001", 5), ("55P03", 3), ("0A000", 2), ("08006", 2), ("57P01", 2), ("08007", 1)]
)
async def test_transact_gives_up(database: Database, code: str, runs: int) -> None:
    work = Flaky(*(busy(code) for _ in range(9)))
    with pytest.raises(Unavailable):
        await database.transact(SYSTEM, work)
    assert work.runs == runs


async def test_transact_repeats_after_a_deadlock(database: Database) -> None:
    """PostgreSQL finds it after a second (deadlock_timeout), which makes this test slow. SQLite has one writer."""
    async with database.writing(SYSTEM) as session:
        one, two = [(await make_tag(session)).id for _ in range(2)]
    both_hold_a_row = asyncio.Barrier(2)
    repeated = database.counters.retries

    async def rename(session: AppSession, first: int, second: int) -> None:
        (await session.get_one(Tag, first)).name = f"{first} first"
        await session.flush()
        if database.name == "postgresql" and database.counters.retries == repeated:
            await both_hold_a_row.wait()
        (await session.get_one(Tag, second)).name = f"{second} second"

    await asyncio.gather(
        database.transact(SYSTEM, lambda session: rename(session, one, two)),
        database.transact(SYSTEM, lambda session: rename(session, two, one)),
    )
    assert database.counters.retries - repeated == (0 if database.name == "sqlite" else 1)


async def test_lost_commit_is_neither_repeated_nor_hidden(database: Database) -> None:
    if database.name == "sqlite":
        pytest.skip("a file has no server to lose")
    runs = 0

    async def work(session: AppSession) -> None:
        nonlocal runs
        runs += 1
        session.add(Tag(name="in doubt"))
        await session.flush()
        pid = await session.scalar(text("SELECT pg_backend_pid()"))
        async with database.writer.connect() as other:
            await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

    with pytest.raises(Unavailable) as caught:
        await database.transact(SYSTEM, work)
    assert caught.value.code == "08007"
    assert runs == 1
