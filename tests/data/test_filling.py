"""A statement with many rows: COPY on PostgreSQL, executemany on SQLite. What fails in the middle leaves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import pytest
from sqlalchemy import select

from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.steps import Statement, Steps
from app.errors import Conflict, Unavailable
from app.settings import Limits
from tests.library.catalog import LIBRARY
from tests.library.models import Genre

Rows = Iterable[tuple[str]]


def fill(rows: Rows) -> Steps[object]:
    return (yield Statement("INSERT INTO genres (label) VALUES (?)", (), table="genres", columns=("label",), rows=rows))


async def write(database: Database, rows: Rows) -> object:
    async with database.writing(SYSTEM) as session:
        return await session.run(fill(rows))


async def labels(database: Database) -> list[str]:
    async with database.reading(SYSTEM) as session:
        rows = await session.execute(select(Genre.__table__.c.label).order_by(Genre.__table__.c.id))
        return list(rows.scalars())


async def test_all_rows_are_written_in_their_order_and_nothing_comes_back(database: Database) -> None:
    rows = iter([("b",), ("ä\t\\N\n",), ("a",)])
    assert await write(database, rows) == ()
    assert await labels(database) == ["b", "ä\t\\N\n", "a"]
    assert next(rows, None) is None


async def test_row_that_is_there_is_named(database: Database) -> None:
    await write(database, [("a",)])
    with pytest.raises(Conflict) as caught:
        await write(database, [("b",), ("a",), ("c",)])
    assert (caught.value.code, caught.value.details) == ("23505", "Key (label)=(a) already exists.")
    assert await labels(database) == ["a"]


async def test_rows_that_fail_leave_nothing(database: Database) -> None:
    def rows() -> Iterator[tuple[str]]:
        yield ("a",)
        raise LookupError("no more")

    with pytest.raises(LookupError):
        await write(database, rows())
    assert await labels(database) == []
    await write(database, [("b",)])
    assert await labels(database) == ["b"]


async def test_cancelled_in_the_middle_it_leaves_nothing(database: Database) -> None:
    loop = asyncio.get_running_loop()

    def rows() -> Iterator[tuple[str]]:
        for number in range(1000):
            if number == 500:
                loop.call_soon_threadsafe(writing.cancel)
            yield (f"genre {number}",)

    writing = asyncio.ensure_future(write(database, rows()))
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await labels(database) == []
    await write(database, [("b",)])
    assert await labels(database) == ["b"]


async def test_too_many_rows_for_the_time_are_stopped(spare_url: str) -> None:
    async with Database(spare_url, LIBRARY, limits=Limits(statement_service=0.1)) as database:
        many = ((f"genre {number}",) for number in range(300_000))  # a second's work
        with pytest.raises(Unavailable) as caught:
            await write(database, many)
        assert caught.value.code == "57014"
        assert await labels(database) == []
