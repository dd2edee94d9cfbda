"""failpoints: off they do nothing, armed they strike where they stand, and only tests can arm them."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from app.data import failpoints
from app.data.database import Database
from app.data.failpoints import Point
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.errors import BroadsheetError, Unavailable
from app.models import Tag
from app.query import writer
from app.resources import CATALOG
from app.settings import Settings
from tests.data.statements import names
from tests.http.asking import service_client

APP = Path(failpoints.__file__).resolve().parents[1]


class Walk:
    """Notes the points that are passed."""

    def __init__(self) -> None:
        self.passed: list[Point] = []

    def armed(self) -> dict[Point, Callable[[], Awaitable[None]]]:
        return {point: self._at(point) for point in Point}

    def _at(self, point: Point) -> Callable[[], Awaitable[None]]:
        async def note() -> None:
            self.passed.append(point)

        return note


def raising(exc: BaseException) -> Callable[[], Awaitable[None]]:
    async def fault() -> None:
        raise exc

    return fault


async def rename(session: AppSession) -> None:
    """A unit that locks, on tags that are there."""
    (number,) = (await session.execute(Tag.__table__.select())).scalars().all()
    await writer.update(session, CATALOG.of(Tag), [number], {"name": "renamed"})


@pytest.fixture
async def tagged(database: Database) -> Database:
    async with database.writing(SYSTEM) as session:
        session.add(Tag(name="named"))
    return database


# ---- arming ---------------------------------------------------------------------------------------------------------


async def test_nothing_is_armed_outside_of_the_block(tagged: Database) -> None:
    walk = Walk()
    with failpoints.armed(walk.armed()):
        assert failpoints.ON
    assert not failpoints.ON
    await tagged.transact(SYSTEM, rename)
    await failpoints.reach(Point.LOCKED)
    assert walk.passed == []


async def test_block_that_raises_disarms_too() -> None:
    with pytest.raises(ZeroDivisionError), failpoints.armed({Point.LOCKED: raising(ValueError())}):
        raise ZeroDivisionError
    assert not failpoints.ON
    await failpoints.reach(Point.LOCKED)


async def test_only_the_named_point_strikes(tagged: Database) -> None:
    with failpoints.armed({Point.SENDING: raising(ValueError())}):
        await tagged.transact(SYSTEM, rename)
    assert await names(tagged) == ["renamed"]


def test_nothing_of_the_service_arms_them() -> None:
    """No setting and no request: what stands in `app` only looks and reaches."""
    used = set()
    for path in APP.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "failpoints":
                used.add(node.attr)
            if isinstance(node, ast.ImportFrom) and node.module == "app.data.failpoints":
                used |= {alias.name for alias in node.names}
    assert used == {"ON", "reach", "Point"}


# ---- where they stand -----------------------------------------------------------------------------------------------


async def test_unit_of_work_passes_its_points_in_order(tagged: Database) -> None:
    walk = Walk()
    with failpoints.armed(walk.armed()):
        await tagged.transact(SYSTEM, rename)
    assert walk.passed == [Point.CHECKED_OUT, Point.LOCKED, Point.COMMITTING, Point.COMMITTED]


async def test_unit_that_raises_comes_to_no_commit(tagged: Database) -> None:
    walk = Walk()
    with failpoints.armed(walk.armed()), pytest.raises(Unavailable):
        async with tagged.writing(SYSTEM):
            raise Unavailable("not now")
    assert walk.passed == [Point.CHECKED_OUT]


async def test_request_ends_where_its_answer_is_sent(tagged: Database, settings: Settings) -> None:
    walk = Walk()
    async with service_client(settings, tagged) as client:
        with failpoints.armed(walk.armed()):
            answer: httpx2.Response = await client.patch("/tags?name=eq.named", json={"name": "renamed"})
    assert answer.status_code == 200
    assert walk.passed == [Point.CHECKED_OUT, Point.LOCKED, Point.COMMITTING, Point.COMMITTED, Point.SENDING]


async def test_read_passes_the_last_point_alone(tagged: Database, settings: Settings) -> None:
    walk = Walk()
    async with service_client(settings, tagged) as client:
        with failpoints.armed(walk.armed()):
            await client.get("/tags")
    assert walk.passed == [Point.SENDING]


# ---- what comes of it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", [Point.CHECKED_OUT, Point.LOCKED, Point.COMMITTING])
@pytest.mark.parametrize(
    ("fault", "code"), [(ConnectionResetError(), "PGRST001"), (Unavailable("busy", code="40001"), "40001")]
)
async def test_fault_before_the_commit_leaves_nothing(
    tagged: Database, point: Point, fault: Exception, code: str
) -> None:
    with failpoints.armed({point: raising(fault)}), pytest.raises(BroadsheetError) as caught:
        await tagged.transact(SYSTEM, rename, attempts=2)
    assert (caught.value.code, await names(tagged)) == (code, ["named"])


@pytest.mark.parametrize("fault", [ConnectionResetError(), Unavailable("busy", code="40001")])
async def test_fault_after_the_commit_is_never_taken_for_one_before_it(tagged: Database, fault: Exception) -> None:
    """A repeat would do it twice."""
    with failpoints.armed({Point.COMMITTED: raising(fault)}), pytest.raises(BroadsheetError) as caught:
        await tagged.transact(SYSTEM, rename)
    assert (caught.value.code, caught.value.status, await names(tagged)) == ("08007", 503, ["renamed"])


@pytest.mark.parametrize("point", [Point.CHECKED_OUT, Point.LOCKED, Point.COMMITTING, Point.COMMITTED])
async def test_cancelled_unit_is_whole_or_nothing(tagged: Database, point: Point) -> None:
    reached = asyncio.Event()

    async def wait() -> None:
        reached.set()
        await asyncio.Event().wait()

    with failpoints.armed({point: wait}):
        task = asyncio.create_task(tagged.transact(SYSTEM, rename))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await names(tagged) == ["renamed" if point is Point.COMMITTED else "named"]
    await tagged.pools.settled()
    assert tagged.in_use == 0
