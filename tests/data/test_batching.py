"""Reads that callers share: who is served by which, and what the others notice when one goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.data.batching import Batches
from app.errors import BroadsheetError, NotFound, Unavailable
from tests.data.shelf import Shelf, ask, turns


async def wholly_taken(batches: Batches, shelf: Shelf) -> list[asyncio.Task[Any]]:
    """As many reads run as may."""
    tasks = []
    for number in range(batches.running):
        tasks.append(ask(batches, shelf, 90 + number))
        await turns()
    assert len(shelf.reads) == batches.running
    return tasks


# ---- who shares -----------------------------------------------------------------------------------------------------


async def test_lone_caller_is_served_alone(shelf: Shelf) -> None:
    batches = Batches()
    assert await batches.get("kind", 1, shelf.load) == "row 1"
    assert shelf.reads == [[1]]


async def test_callers_of_one_moment_share_a_read(shelf: Shelf) -> None:
    batches = Batches()
    found = await asyncio.gather(*[batches.get("kind", key, shelf.load) for key in (1, 2, 3)])
    assert found == ["row 1", "row 2", "row 3"]
    assert shelf.reads == [[1, 2, 3]]


async def test_one_key_is_asked_for_once(shelf: Shelf) -> None:
    batches = Batches()
    assert await asyncio.gather(*[batches.get("kind", 1, shelf.load) for _ in range(3)]) == ["row 1"] * 3
    assert shelf.reads == [[1]]


async def test_key_without_a_row_disturbs_nobody(shelf: Shelf) -> None:
    batches = Batches()
    assert await asyncio.gather(*[batches.get("kind", key, shelf.load) for key in (1, 999)]) == ["row 1", None]


async def test_kinds_are_not_mixed(shelf: Shelf) -> None:
    batches = Batches()
    await asyncio.gather(*[batches.get(kind, 1, shelf.load) for kind in ("one", "other")])
    assert shelf.reads == [[1], [1]]


async def test_those_who_come_while_reads_run_share_the_next(closed: Shelf) -> None:
    batches = Batches(running=1)
    tasks = await wholly_taken(batches, closed)
    tasks += [ask(batches, closed, key) for key in (1, 2)]
    await turns()
    tasks.append(ask(batches, closed, 3))
    await turns()
    closed.door.set()
    await asyncio.gather(*tasks)
    assert closed.reads == [[90], [1, 2, 3]]


async def test_nobody_is_served_by_a_read_that_began_before_they_asked(closed: Shelf) -> None:
    batches = Batches(running=1)
    early = ask(batches, closed, 1)
    await closed.begun.wait()
    closed.rows[1] = "written"
    late = ask(batches, closed, 1)
    await turns()
    closed.door.set()
    assert (await early, await late) == ("row 1", "written")


async def test_everybody_sees_what_they_wrote_under_load(shelf: Shelf) -> None:
    batches = Batches(width=3, running=2)

    async def write_and_read(number: int) -> None:
        for _ in range(50):
            version = shelf.rows["shared"] = shelf.rows.get("shared", 0) + 1
            await asyncio.sleep(0)
            assert await batches.get("kind", "shared", shelf.load) >= version
            assert await batches.get("kind", number, shelf.load) == f"row {number}"

    await asyncio.gather(*map(write_and_read, range(10)))
    assert len(shelf.reads) < 1000, "some were shared"


async def test_who_may_begin_at_once_waits_for_nobody_and_the_others_share_the_next_read(shelf: Shelf) -> None:
    batches = Batches(running=2)
    found = await asyncio.gather(*[batches.get("kind", 1, shelf.load, at_once=True) for _ in range(5)])
    assert (found, shelf.reads) == (["row 1"] * 5, [[1], [1], [1]])
    assert batches.lines == {}


# ---- bounds ---------------------------------------------------------------------------------------------------------


async def test_read_is_no_wider_than_it_may_be(shelf: Shelf) -> None:
    batches = Batches(width=4)
    await asyncio.gather(*[batches.get("kind", key, shelf.load) for key in range(10)])
    assert shelf.reads == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_no_more_reads_of_one_kind_run_than_may(shelf: Shelf) -> None:
    batches = Batches(width=1, running=2)
    await asyncio.gather(*[batches.get("kind", key, shelf.load) for key in range(10)])
    assert (shelf.most, len(shelf.reads)) == (2, 10)


async def test_slow_kind_holds_up_no_other(closed: Shelf) -> None:
    batches = Batches(running=1)
    slow = await wholly_taken(batches, closed)
    other = Shelf({1: "quick"})
    other.door.set()
    assert await batches.get("other", 1, other.load) == "quick"
    closed.door.set()
    await asyncio.gather(*slow)


async def test_first_come_are_first_served(closed: Shelf) -> None:
    batches = Batches(width=2, running=1)
    tasks = await wholly_taken(batches, closed)
    for key in range(6):
        tasks.append(ask(batches, closed, key))
        await turns()
    closed.door.set()
    await asyncio.gather(*tasks)
    assert closed.reads == [[90], [0, 1], [2, 3], [4, 5]]


async def test_who_waits_too_long_is_told_so_and_those_behind_are_served(closed: Shelf) -> None:
    batches = Batches(running=1, wait=0.01)
    tasks = await wholly_taken(batches, closed)
    with pytest.raises(Unavailable) as refusal:
        await batches.get("kind", 1, closed.load)
    assert refusal.value.code == "PGRST003"
    later = ask(batches, closed, 2)
    await turns()
    closed.door.set()
    assert await later == "row 2"
    assert await asyncio.gather(*tasks) == ["row 90"]
    assert closed.reads == [[90], [2]]


async def test_nothing_is_left_of_kinds_that_are_over(shelf: Shelf) -> None:
    batches = Batches(width=2)
    await asyncio.gather(*[batches.get(kind, key, shelf.load) for kind in "abc" for key in range(5)])
    await batches.settled()
    assert (batches.lines, batches.tasks) == ({}, set())


# ---- those who go ---------------------------------------------------------------------------------------------------


async def test_caller_who_goes_hurts_nobody(closed: Shelf) -> None:
    batches = Batches()
    stays, goes = ask(batches, closed, 1), ask(batches, closed, 2)
    await closed.begun.wait()
    goes.cancel()
    closed.door.set()
    assert await stays == "row 1"
    with pytest.raises(asyncio.CancelledError):
        await goes


async def test_one_of_two_who_ask_for_a_key_may_go(closed: Shelf) -> None:
    batches = Batches()
    stays, goes = ask(batches, closed, 1), ask(batches, closed, 1)
    await closed.begun.wait()
    goes.cancel()
    await turns()
    closed.door.set()
    assert await stays == "row 1"


async def test_first_of_a_batch_may_go_before_it_begins(shelf: Shelf) -> None:
    batches = Batches()
    goes, stays = ask(batches, shelf, 1), ask(batches, shelf, 2)
    await turns(1)
    goes.cancel()
    assert await stays == "row 2"
    assert shelf.reads == [[2]]


async def test_shared_read_that_nobody_waits_for_any_more_is_ended(closed: Shelf) -> None:
    batches = Batches(running=1)
    tasks = [ask(batches, closed, key) for key in (1, 2)]
    await closed.begun.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await batches.settled()
    assert (closed.cancelled, closed.ended, batches.lines) == (1, 1, {})


async def test_those_behind_a_lone_caller_who_goes_are_served(closed: Shelf) -> None:
    batches = Batches(running=1)
    (lone,) = await wholly_taken(batches, closed)
    later = ask(batches, closed, 1)
    await turns()
    lone.cancel()
    closed.door.set()
    assert await later == "row 1"


async def test_key_that_nobody_waits_for_is_not_asked_for(closed: Shelf) -> None:
    batches = Batches(running=1)
    tasks = await wholly_taken(batches, closed)
    goes, stays = ask(batches, closed, 1), ask(batches, closed, 2)
    await turns()
    goes.cancel()
    closed.door.set()
    await asyncio.gather(*tasks, stays)
    assert closed.reads == [[90], [2]]


async def test_read_that_nobody_waits_for_is_ended(closed: Shelf) -> None:
    batches = Batches(running=1)
    (task,) = await wholly_taken(batches, closed)
    task.cancel()
    await asyncio.wait([task])
    assert (closed.cancelled, closed.ended) == (1, 1)
    closed.door.set()
    assert await batches.get("kind", 1, closed.load) == "row 1"


async def test_storm_of_cancellations_leaves_nothing(shelf: Shelf) -> None:
    batches = Batches(width=3, running=2)
    for round in range(30):
        tasks = [ask(batches, shelf, (round + number) % 20) for number in range(20)]
        await turns(round % 4)
        for task in tasks[round % 3 :: 2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) or str(one).startswith("row ") for one in found)
    await batches.settled()
    assert (batches.lines, batches.tasks, shelf.inside) == ({}, set(), 0)


async def test_read_that_was_begun_at_once_ends_with_its_caller_and_the_next_begins(closed: Shelf) -> None:
    batches = Batches(running=1)
    first = asyncio.create_task(batches.get("kind", 1, closed.load, at_once=True))
    await closed.begun.wait()
    closed.rows[1] = "written"
    second = asyncio.create_task(batches.get("kind", 1, closed.load, at_once=True))
    await turns()
    first.cancel()
    closed.door.set()
    assert await second == "written"
    assert (closed.reads, closed.cancelled, batches.lines) == ([[1], [1]], 1, {})


# ---- errors ---------------------------------------------------------------------------------------------------------


async def test_error_of_a_read_goes_to_all_who_share_it(shelf: Shelf) -> None:
    shelf.rows["fault"] = Unavailable("gone")
    batches = Batches()
    found = await asyncio.gather(*[batches.get("kind", key, shelf.load) for key in (1, 2)], return_exceptions=True)
    assert [str(one) for one in found] == ["gone", "gone"]


async def test_error_of_a_lone_caller_is_raised(shelf: Shelf) -> None:
    shelf.rows[2] = NotFound("no row")
    with pytest.raises(NotFound):
        await Batches().get("kind", 2, shelf.load)


async def test_error_of_one_key_goes_to_those_who_asked_for_it(shelf: Shelf) -> None:
    shelf.rows[2] = NotFound("no row")
    batches = Batches()
    found = await asyncio.gather(*[batches.get("kind", key, shelf.load) for key in (1, 2, 2)], return_exceptions=True)
    assert found[0] == "row 1"
    assert [type(one) for one in found[1:]] == [NotFound, NotFound]


async def test_reads_after_an_error_begin_as_ever(closed: Shelf) -> None:
    batches = Batches(running=1)
    tasks = await wholly_taken(batches, closed)
    closed.rows["fault"] = BroadsheetError("broken")
    closed.door.set()
    with pytest.raises(BroadsheetError):
        await tasks[0]
    del closed.rows["fault"]
    assert await batches.get("kind", 1, closed.load) == "row 1"
