"""Units of work that share a transaction of SQLite: one alone is undone, and the others are repeated where SQLite undid
them too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.data import line, transactions
from app.data.catalog import Catalog
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.data.steps import Statement, Steps
from app.errors import BadQuery, Unavailable
from tests.data.company import Place, Work, add, add_entity, ended, placed
from tests.data.statements import SLOW, names

pytestmark = pytest.mark.parametrize("spare_url", ["sqlite"], indirect=True)

NONE = type(None)
ENDLESS = f"INSERT INTO tags (name, version, created_at, updated_at) SELECT 'x', 1, '', '' FROM ({SLOW['sqlite']})"


@pytest.fixture
async def place(spare_url: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Place]:
    monkeypatch.setattr(line, "LONGEST", 10)
    async with placed(spare_url, catalog) as place:
        yield place


# ---- one alone is undone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("made", [add, add_entity])
async def test_unit_that_raises_is_undone_alone(place: Place, at: int, made: Callable[[str], Work]) -> None:
    works = [made(name) for name in "abc"]

    async def fail(session: AppSession) -> None:
        await made("never")(session)
        raise BadQuery("no")

    works.insert(at, fail)
    ends = await ended(await place.in_one(*works))
    assert [type(end) for end in ends if end is not None] == [BadQuery]
    assert await names(place.database) == ["a", "b", "c"]
    assert place.control.count("COMMIT") == 1


async def test_unit_that_is_not_to_be_kept_is_undone_alone(place: Place) -> None:
    units = [place.database.transact(SYSTEM, add(name), keep=name != "b") for name in "abc"]
    async with place.in_line(*units) as tasks:
        pass
    assert await ended(tasks) == [None] * 3
    assert await names(place.database) == ["a", "c"]
    assert place.control.count("COMMIT") == 1


@pytest.mark.parametrize("at", [0, 1])
async def test_rollback_in_the_middle_of_a_unit_undoes_what_it_did(place: Place, at: int) -> None:
    async def twice(session: AppSession) -> None:
        await add("never")(session)
        await add_entity("never either")(session)
        await session.rollback()
        await add("b")(session)

    works = [add("a"), add("c")]
    works.insert(at, twice)
    assert await ended(await place.in_one(*works)) == [None] * 3
    assert sorted(await names(place.database)) == ["a", "b", "c"]


async def test_cancelled_unit_is_undone_alone(place: Place) -> None:
    first, waits, last = await place.in_one(add("a"), place.wait_for_ever, add("c"))
    await place.waiting.wait()
    waits.cancel()
    assert [type(end) for end in await ended([first, waits, last])] == [NONE, asyncio.CancelledError, NONE]
    assert await names(place.database) == ["a", "c"]
    assert place.database.counters.retries == 0


async def test_statement_of_a_cancelled_unit_may_end_by_itself(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it stopped, it would take along what the others wrote."""
    monkeypatch.setattr(transactions, "PATIENCE", 5)
    first, cancelled = await place.in_one(add("a"), place.add_at_gate)
    await place.at_gate.wait()
    cancelled.cancel()
    await asyncio.sleep(0.01)
    place.gate.set()
    assert [type(end) for end in await ended([first, cancelled])] == [NONE, asyncio.CancelledError]
    assert await names(place.database) == ["a"]
    assert place.database.counters.retries == 0


async def test_who_leaves_the_line_stops_nobody(place: Place) -> None:
    async with place.in_line(*(place.database.transact(SYSTEM, add(name)) for name in "abcd")) as tasks:
        tasks[0].cancel()
        tasks[2].cancel()
    await ended(tasks)
    assert await names(place.database) == ["b", "d"]


@pytest.mark.parametrize("longest", [0, 10])
async def test_who_is_called_in_the_tick_of_its_cancellation_stops_nobody(
    place: Place, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether into a group or to begin one."""
    monkeypatch.setattr(line, "LONGEST", longest)
    loop = asyncio.get_running_loop()

    def cancel_after(ticks: int) -> None:
        loop.call_soon(cancel_after, ticks - 1) if ticks else tasks[1].cancel()

    for ticks in range(30):
        tasks: list[asyncio.Task[Any]] = []

        async def cancel_next(session: AppSession, ticks: int = ticks) -> None:
            await session.run(nothing())
            cancel_after(ticks)

        tasks += await place.in_one(cancel_next, reading, reading)
        async with asyncio.timeout(5):
            first, _, last = await ended(tasks)
        assert (first, last) == (None, None)


def nothing() -> Steps[None]:
    yield Statement("SELECT 1", ())


async def reading(session: AppSession) -> None:
    await session.run(nothing())


# ---- what SQLite ends by itself -------------------------------------------------------------------------------------


def endless(session: AppSession) -> Awaitable[Any]:
    """A write. SQLite ends the whole transaction when it is stopped."""

    def steps() -> Steps[None]:
        yield Statement(ENDLESS, ())

    return session.run(steps())


async def entities_endless(session: AppSession) -> None:
    """SQLAlchemy closes a connection whose statement is cancelled."""
    await session.execute(text(SLOW["sqlite"]))


@pytest.mark.parametrize("work", [endless, entities_endless])
async def test_those_whose_transaction_went_with_a_stopped_write_are_repeated(place: Place, work: Work) -> None:
    first, stopped, last = await place.in_one(add("a"), work, add("c"))
    await place.endless.wait()
    stopped.cancel()
    assert [type(end) for end in await ended([first, stopped, last])] == [NONE, asyncio.CancelledError, NONE]
    assert sorted(await names(place.database)) == ["a", "c"]
    assert dict(place.database.counters.repeated) == {"40001": 1}


async def test_write_that_took_too_long_is_told_so_and_the_others_are_repeated(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.database, "patience", lambda who: 0.1)
    first, slow, last = await ended(await place.in_one(add("a"), endless, add("c")))
    assert (first, slow.code, last) == (None, "57014", None)
    assert sorted(await names(place.database)) == ["a", "c"]
    assert dict(place.database.counters.repeated) == {"40001": 1}


async def test_unit_that_goes_on_after_sqlite_ended_its_transaction_writes_nothing(place: Place) -> None:
    """It would be kept at once."""

    async def stubborn(session: AppSession) -> None:
        def over() -> Steps[None]:
            yield Statement("ROLLBACK", ())

        await session.run(over())
        await add("never")(session)

    with pytest.raises(Unavailable) as caught:
        await place.database.transact(SYSTEM, stubborn, attempts=2)
    assert caught.value.code == "40001"
    assert await names(place.database) == []


async def test_unit_whose_transaction_is_gone_is_not_taken_for_kept(place: Place) -> None:
    async def over(session: AppSession) -> None:
        def steps() -> Steps[None]:
            yield Statement("ROLLBACK", ())

        await add("never")(session)
        await session.run(steps())

    with pytest.raises(Unavailable) as caught:
        await place.database.transact(SYSTEM, over, attempts=2)
    assert caught.value.code == "40001"
