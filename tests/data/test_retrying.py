"""retrying: which units are run again, how often, after what pause, and which never. `test_transact` has those that
fail by themselves.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from app.data import failpoints, faults
from app.data.counters import PoolCounters
from app.data.database import Database
from app.data.failpoints import Point
from app.data.retrying import ATTEMPTS, repeat, repeats_of
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.errors import Conflict, Unavailable
from app.models import Tag
from tests.data.statements import names


class Unit:
    """Raises an error with each of these codes in turn, then returns how often it ran."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.runs = 0

    async def __call__(self) -> int:
        self.runs += 1
        if self.codes:
            raise Unavailable("not now", code=self.codes.pop(0))
        return self.runs


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Between which bounds each pause was drawn; none is made."""
    bounds: list[tuple[float, float]] = []

    def draw(least: float, most: float) -> float:
        bounds.append((least, most))
        return 0

    monkeypatch.setattr("app.data.retrying.random.uniform", draw)
    return bounds


# ---- how often ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "repeats"),
    [
        ("40001", 100),
        ("40P01", 100),
        ("55P03", 2),
        ("0A000", 1),
        ("25006", 1),
        ("25P03", 1),
        ("PGRST001", 1),
        ("57P01", 1),
        ("57P03", 1),
        ("08003", 1),
        ("08006", 1),
        ("08007", 0),
        ("57014", 0),
        ("53300", 0),
        ("53100", 0),
        ("23505", 0),
        ("PGRST000", 0),
        ("PGRST003", 0),
        ("BRD409", 0),
    ],
)
def test_codes_and_their_repeats(code: str, repeats: int) -> None:
    assert repeats_of(code) == repeats


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "0A000", "25006", "PGRST001"])
async def test_unit_that_never_succeeds_is_given_up(pauses: list[tuple[float, float]], code: str) -> None:
    unit, counters = Unit(*[code] * 20), PoolCounters()
    with pytest.raises(Unavailable) as caught:
        await repeat(unit, counters)
    repeats = min(repeats_of(code), ATTEMPTS - 1)
    assert (caught.value.code, unit.runs, counters.repeated) == (code, repeats + 1, Counter({code: repeats}))


async def test_each_error_is_counted_under_its_code(pauses: list[tuple[float, float]]) -> None:
    unit, counters = Unit("40001", "40P01", "40001"), PoolCounters()
    assert await repeat(unit, counters) == 4
    assert counters.repeated == {"40001": 2, "40P01": 1}


async def test_errors_of_different_kinds_share_the_attempts(pauses: list[tuple[float, float]]) -> None:
    """An error that may be repeated once is not, after another one was."""
    unit = Unit("40001", "PGRST001")
    with pytest.raises(Unavailable) as caught:
        await repeat(unit, PoolCounters())
    assert (caught.value.code, unit.runs) == ("PGRST001", 2)


async def test_refusal_is_not_repeated() -> None:
    runs = 0

    async def unit() -> None:
        nonlocal runs
        runs += 1
        raise Conflict("taken")

    with pytest.raises(Conflict):
        await repeat(unit, PoolCounters())
    assert runs == 1


# ---- pauses ---------------------------------------------------------------------------------------------------------


async def test_pauses_are_drawn_from_nothing_to_a_bound_that_doubles(pauses: list[tuple[float, float]]) -> None:
    with pytest.raises(Unavailable):
        await repeat(Unit(*["40001"] * 20), PoolCounters())
    assert pauses == [(0, 0.02), (0, 0.04), (0, 0.08), (0, 0.16)]


async def test_no_pause_is_drawn_from_more_than_a_second(pauses: list[tuple[float, float]]) -> None:
    with pytest.raises(Unavailable):
        await repeat(Unit(*["40001"] * 20), PoolCounters(), attempts=12)
    assert max(most for _, most in pauses) == 1.0


async def test_cancelled_pause_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = asyncio.Event()

    def draw(least: float, most: float) -> float:
        drawn.set()
        return 60

    monkeypatch.setattr("app.data.retrying.random.uniform", draw)
    unit = Unit("40001")
    task = asyncio.create_task(repeat(unit, PoolCounters()))
    await drawn.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert unit.runs == 1


# ---- a lost COMMIT --------------------------------------------------------------------------------------------------


async def test_lost_commit_is_not_repeated() -> None:
    unit = Unit(faults.UNKNOWN)
    with pytest.raises(Unavailable):
        await repeat(unit, PoolCounters())
    assert unit.runs == 1


async def test_lost_commit_of_a_keyed_unit_is_repeated_once(pauses: list[tuple[float, float]]) -> None:
    counters = PoolCounters()
    assert await repeat(Unit(faults.UNKNOWN), counters, keyed=True) == 2
    assert counters.repeated == {faults.UNKNOWN: 1}
    with pytest.raises(Unavailable):
        await repeat(Unit(faults.UNKNOWN, faults.UNKNOWN), counters, keyed=True)


class Once:
    """Work of a unit that finds out by itself whether it was done: a tag of this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs = 0

    async def __call__(self, session: AppSession) -> None:
        self.runs += 1
        found = await session.scalar(text("SELECT count(*) FROM tags WHERE name = :name"), {"name": self.name})
        if not found:
            session.add(Tag(name=self.name))


def lose() -> Callable[[], Awaitable[None]]:
    """The connection, the first time."""
    left = [ConnectionResetError]

    async def fault() -> None:
        if left:
            raise left.pop()

    return fault


@pytest.mark.parametrize("point", [Point.CHECKED_OUT, Point.COMMITTING])
async def test_connection_lost_before_commit_is_repeated(database: Database, point: Point) -> None:
    repeated = database.counters.repeated["PGRST001"]
    with failpoints.armed({point: lose()}):
        await database.transact(SYSTEM, Once("kept"))
    assert await names(database) == ["kept"]
    assert database.counters.repeated["PGRST001"] == repeated + 1


async def test_commit_whose_answer_is_lost_is_unknown_and_stands(database: Database) -> None:
    work = Once("kept")
    with failpoints.armed({Point.COMMITTED: lose()}), pytest.raises(Unavailable) as caught:
        await database.transact(SYSTEM, work)
    assert (caught.value.code, work.runs, await names(database)) == (faults.UNKNOWN, 1, ["kept"])


async def test_commit_whose_answer_is_lost_has_one_effect_of_a_keyed_unit(database: Database) -> None:
    work = Once("kept")
    with failpoints.armed({Point.COMMITTED: lose()}):
        await database.transact(SYSTEM, work, keyed=True)
    assert (work.runs, await names(database)) == (2, ["kept"])


# ---- what a unit leaves behind --------------------------------------------------------------------------------------


async def test_repeated_unit_begins_with_an_empty_session(database: Database) -> None:
    held: list[int] = []

    async def work(session: AppSession) -> None:
        held.append(len(session.identity_map) + len(session.new) + len(session.info))
        session.info["left"] = True
        session.add(Tag(name=f"run {len(held)}"))
        await session.flush()
        if len(held) < 3:
            raise Unavailable("not now", code="40001")

    await database.transact(SYSTEM, work)
    assert held == [held[0]] * 3
    assert await names(database) == ["run 3"]
