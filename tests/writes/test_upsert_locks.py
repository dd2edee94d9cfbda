"""In which order an upsert locks the rows that are there."""

from __future__ import annotations

import asyncio

import pytest

from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.query.upsert import target_of, upsert
from app.query.writer import locked
from tests.data.statements import ask
from tests.writes.support import an_author, insert, resource

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_upsert_locks_rows_by_their_ids_as_every_write_does(database: Database) -> None:
    """By the values of the payload it would hold the second row while it waits for the first: a deadlock with whoever
    comes by ids.
    """
    if database.name == "sqlite":
        pytest.skip("writers take turns")
    author, posts = await an_author(database), resource("posts")
    rows = [{"title": slug, "slug": slug} for slug in ("z", "a")]
    deadlocks = database.counters.repeated["40P01"]
    first, second = [row["id"] for row in await insert(database, author, "posts", *rows)]

    async def merge(session: AppSession) -> int:
        target = target_of(posts, author.view, ("slug",))
        given = [{"slug": slug, "content": "new"} for slug in ("a", "z")]
        return len((await upsert(session, posts, given, target, merge=True)).rows)

    async with database.writing(SYSTEM) as session:
        await locked(session, posts, [first])
        merging = asyncio.create_task(database.transact(author, merge))
        await somebody_waits(database)
        await locked(session, posts, [second])
    assert await merging == 2
    assert database.counters.repeated["40P01"] == deadlocks


async def somebody_waits(database: Database) -> None:
    async with asyncio.timeout(5):
        while await database.read(SYSTEM, ask(WAITING)) == 0:  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.01)
