"""Small batches wait a little for those that run, so that they grow; nobody waits for long."""

from __future__ import annotations

import asyncio

import pytest

from app.data import batching
from app.data.batching import Batches
from tests.data.shelf import Shelf, ask, turns


async def test_a_small_batch_waits_for_the_one_that_runs(closed: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PATIENCE", 60)
    batches = Batches(running=2, least=3)
    tasks = [ask(batches, closed, 0)]
    await turns()
    for key in (1, 2):
        tasks.append(ask(batches, closed, key))
        await turns()
    assert closed.reads == [[0]]
    tasks.append(ask(batches, closed, 3))
    await turns()
    assert closed.reads == [[0], [1, 2, 3]], "enough of them are worth a read beside it"
    tasks.append(ask(batches, closed, 4))
    await turns()
    closed.door.set()
    assert await asyncio.gather(*tasks) == [f"row {key}" for key in range(5)]
    assert closed.reads == [[0], [1, 2, 3], [4]]
    assert not batches.lines


async def test_a_small_batch_does_not_wait_for_long(closed: Shelf) -> None:
    batches = Batches(running=2, least=3)
    first = ask(batches, closed, 0)
    await turns()
    second = ask(batches, closed, 1)
    async with asyncio.timeout(10):
        while len(closed.reads) < 2:  # noqa: ASYNC110  # a timer begins it
            await asyncio.sleep(0.005)
    third = ask(batches, closed, 2)  # both places are taken
    await asyncio.sleep(2 * batching.PATIENCE)
    assert closed.reads == [[0], [1]]
    closed.door.set()
    assert list(await asyncio.gather(first, second, third)) == ["row 0", "row 1", "row 2"]
    assert not batches.lines


async def test_those_who_leave_a_small_batch_leave_nothing(closed: Shelf) -> None:
    batches = Batches(running=2, least=3)
    first = ask(batches, closed, 0)
    await turns()
    others = [ask(batches, closed, key) for key in (1, 2)]
    await turns()
    for task in others:
        task.cancel()
    await asyncio.sleep(2 * batching.PATIENCE)
    closed.door.set()
    assert await first == "row 0"
    assert closed.reads == [[0]]
    assert not batches.lines
