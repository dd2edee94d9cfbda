"""The line before SQLite's writer: units of work that share a COMMIT, and when each of them is told what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from sqlalchemy import text

from app.data import line
from app.data.catalog import Catalog
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.errors import Conflict, NotFound
from tests.data.company import Place, add, add_entity, ended, placed, refused, unfit
from tests.data.statements import names

pytestmark = pytest.mark.parametrize("spare_url", ["sqlite"], indirect=True)


@pytest.fixture
async def place(spare_url: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Place]:
    monkeypatch.setattr(line, "LONGEST", 10)
    async with placed(spare_url, catalog) as place:
        yield place


# ---- what is shared -------------------------------------------------------------------------------------------------


async def test_units_in_line_share_one_commit_each_on_a_savepoint(place: Place) -> None:
    assert await ended(await place.in_one(add("a"), add_entity("b"), add("c"))) == [None] * 3
    again = ["RELEASE unit", "SAVEPOINT unit"]
    assert place.control == ["BEGIN IMMEDIATE", "SAVEPOINT unit", *again, "COMMIT"]
    assert await names(place.database) == ["a", "b", "c"]


async def test_unit_that_nobody_follows_is_a_plain_transaction(place: Place) -> None:
    await place.database.transact(SYSTEM, add("a"))
    assert place.control == ["BEGIN IMMEDIATE", "COMMIT"]


async def test_units_come_in_the_order_of_asking_and_see_what_was_written_before(place: Place) -> None:
    async def count(session: AppSession) -> int:
        return int(await session.scalar(text("SELECT count(*) FROM tags")) or 0)

    async def counted(session: AppSession) -> int:
        before = await count(session)
        await add(f"number {before}")(session)
        return before

    assert await ended(await place.in_one(*[counted] * 5)) == [0, 1, 2, 3, 4]


async def test_block_of_writing_shares_with_nobody(place: Place) -> None:
    """It could not be repeated."""

    async def block() -> None:
        async with place.database.writing(SYSTEM) as session:
            await add("block")(session)

    shared = [place.database.transact(SYSTEM, add(name)) for name in "ab"]
    async with place.in_line(shared[0], block(), shared[1]) as tasks:
        pass
    await ended(tasks)
    assert place.control == ["BEGIN IMMEDIATE", "COMMIT"] * 3
    assert await names(place.database) == ["a", "block", "b"]


async def test_group_is_bounded_in_number(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "MOST", 2)
    await ended(await place.in_one(*(add(name) for name in "abcde")))
    assert place.control.count("COMMIT") == 3


async def test_group_is_bounded_in_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "LONGEST", 0)
    await ended(await place.in_one(add("a"), add("b")))
    assert place.control == ["BEGIN IMMEDIATE", "COMMIT"] * 2


# ---- when they are told ---------------------------------------------------------------------------------------------


async def test_nobody_is_told_anything_before_the_commit(place: Place) -> None:
    """Not even a refusal or what was found: both may rest on what another unit wrote and could still lose."""

    async def look(session: AppSession) -> list[str]:
        return list((await session.execute(text("SELECT name FROM tags"))).scalars())

    place.gate.clear()
    tasks = await place.in_one(add("a"), add_entity("a"), refused("b", NotFound("no")), look)
    await place.at_gate.wait()
    assert await asyncio.wait(tasks, timeout=0.05) == (set(), set(tasks))
    assert await names(place.database) == []  # others see nothing either
    place.gate.set()
    first, twice, absent, found = await ended(tasks)
    assert (first, twice.code, absent.message, found) == (None, "23505", "no", ["a"])
    assert await names(place.database) == ["a"]


async def test_all_have_failed_when_the_commit_does(place: Place) -> None:
    """Also who was refused because of what is not there now."""

    tasks = await place.in_one(add("a"), unfit, refused("b", Conflict("no", code="x")))
    assert [error.code for error in await ended(tasks)] == ["23503"] * 3
    assert await names(place.database) == []
    await place.database.transact(SYSTEM, add("after"))
    assert await names(place.database) == ["after"]


async def test_who_is_cancelled_hears_of_nothing_else(place: Place) -> None:
    unfit_, cancelled = await place.in_one(unfit, place.wait_for_ever)
    await place.waiting.wait()
    cancelled.cancel()
    error, end = await ended([unfit_, cancelled])
    assert (error.code, type(end)) == ("23503", asyncio.CancelledError)


async def test_who_is_cancelled_before_the_commit_is_kept_and_back_after_it(place: Place) -> None:
    place.gate.clear()
    tasks = await place.in_one(add("a"), add("b"))
    await place.at_gate.wait()
    for task in tasks:
        task.cancel()
    assert await asyncio.wait(tasks, timeout=0.05) == (set(), set(tasks))
    place.gate.set()
    assert [type(end) for end in await ended(tasks)] == [asyncio.CancelledError] * 2
    assert await names(place.database) == ["a", "b"]
