"""Rows by their ids, asked for by many at once: the same answers as one after another, from fewer statements."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SYSTEM, user
from app.models import User
from app.settings import Limits, Settings
from tests.conftest import Statements
from tests.factories import make_post
from tests.http.asking import client_as
from tests.http.conftest import Blog, Headers
from tests.http.crowd import MANY, make_posts, recorded, told, write_among_readers
from tests.http.failing import ON_POSTGRESQL, opened
from tests.http.persons import persons

SELECT = "select=id,title,author(id,username),tags(name)"


@pytest.fixture
async def posts(database: Database, blog: Blog) -> list[int]:
    return await make_posts(database, blog)


async def at_once(
    client: httpx2.AsyncClient, paths: list[str], headers: Headers | None = None
) -> list[httpx2.Response]:
    return list(await asyncio.gather(*[client.get(path, headers=headers) for path in paths]))


# ---- the same answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("select", ["", f"?{SELECT}", "?select=title,author(posts(title))&author.posts.limit=2"])
async def test_answers_are_those_of_requests_that_come_alone(
    client: httpx2.AsyncClient, blog: Blog, posts: list[int], select: str
) -> None:
    paths = [f"/posts/{id}{select}" for id in [*posts, blog.draft, 0, blog.post, blog.post]]
    alone = [told(await client.get(path)) for path in paths]
    assert [told(answer) for answer in await at_once(client, paths)] == alone
    assert [status for status, _, _ in alone] == [200] * MANY + [404, 404, 200, 200]


async def test_statements_are_shared_and_each_request_says_how_many_served_it(
    client: httpx2.AsyncClient, posts: list[int], statements: Statements, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get(f"/posts/{posts[0]}?{SELECT}")
    statements.clear()
    with caplog.at_level(logging.INFO, "broadsheet.access"):
        await at_once(client, [f"/posts/{id}?{SELECT}" for id in posts])
    assert statements.count == 3, "one read for all: they came at the same moment"
    assert [vars(record)["statements"] for record in caplog.records] == [3] * MANY


async def test_keys_that_are_none_disturb_nobody(client: httpx2.AsyncClient, posts: list[int]) -> None:
    paths = [f"/posts/{posts[0]}", "/posts/abc", "/posts/99999999999999999999", "/posts/0", f"/posts/{posts[1]}"]
    assert [answer.status_code for answer in await at_once(client, paths)] == [200, 404, 404, 404, 200]


async def test_forms_and_zones_are_each_ones_own(client: httpx2.AsyncClient, posts: list[int]) -> None:
    path = f"/posts/{posts[0]}?select=title,created_at,author(created_at)"
    ways: list[dict[str, str]] = [
        {},
        {"accept": "text/csv"},
        {"prefer": "timezone=Asia/Tokyo"},
        {"accept": "application/vnd.pgrst.object+json;nulls=stripped"},
    ]
    alone = [told(await client.get(path, headers=headers)) for headers in ways]
    together = await asyncio.gather(*[client.get(path, headers=headers) for headers in ways * 3])
    assert [told(answer) for answer in together] == alone * 3
    assert len({body for _, body, _ in alone}) == 3


async def test_known_tag_is_answered_without_a_body(client: httpx2.AsyncClient, posts: list[int]) -> None:
    path = f"/posts/{posts[0]}"
    tag = (await client.get(path)).headers["etag"]
    known, unknown = await asyncio.gather(client.get(path, headers={"if-none-match": tag}), client.get(path))
    assert (known.status_code, unknown.status_code) == (304, 200)


# ---- rights ---------------------------------------------------------------------------------------------------------


async def test_each_caller_sees_what_is_its_own(settings: Settings, database: Database, blog: Blog) -> None:
    """ada wrote the draft, and sees her own address alone."""
    async with persons(settings, database, blog) as ask:
        paths = [
            f"/posts/{blog.draft}?select=title",
            f"/users/{blog.ada}?select=email",
            f"/users/{blog.bob}?select=email",
        ]
        callers = ["ada", "eve", "bob", "root", "nobody"]
        alone = [[told(await ask(who, "GET", path)) for path in paths] for who in callers]
        together = await asyncio.gather(*[ask(who, "GET", path) for who in callers for path in paths])
        assert [told(answer) for answer in together] == [one for own in alone for one in own]
        assert [status for (status, _, _), *_ in alone] == [200, 404, 404, 200, 404]


async def test_reads_that_are_recorded_by_person_are_recorded(
    settings: Settings, database: Database, blog: Blog
) -> None:
    async with client_as(user(blog.bob, "admin"), settings, database) as client:
        await at_once(client, [f"/posts/{blog.draft}"] * 3)
    assert await recorded(database) == [{"kind": "foreign_rows_read", "subject": "posts"}] * 3


# ---- own writes -----------------------------------------------------------------------------------------------------


async def test_writers_see_what_they_wrote_while_many_read(
    client: httpx2.AsyncClient, posts: list[int], secret: Headers
) -> None:
    await write_among_readers(client, secret, {id: f"/posts/{id}?{SELECT}" for id in posts})


# ---- too much together ----------------------------------------------------------------------------------------------


async def test_documents_that_are_too_large_together_are_answered_one_by_one(
    settings: Settings, database: Database, blog: Blog
) -> None:
    async with database.writing(SYSTEM) as session:
        sizes = [1_000, 40_000, 1_000, 200_000]
        ada = await session.get_one(User, blog.ada)
        made = [await make_post(session, ada, title="x", content="x" * size) for size in sizes]
        paths = [f"/posts/{post.id}?select=content" for post in made]
    async with client_as(ANONYMOUS, settings, database, limits={"answer_bytes": 60_000}) as client:
        for _ in range(2):
            answers = await at_once(client, paths)
            assert [answer.status_code for answer in answers] == [200, 200, 200, 400]
            assert answers[3].json()["code"] == "54000"
            assert [len(answer.json()["content"]) for answer in answers[:3]] == sizes[:3]


async def test_rows_that_are_too_many_together_are_answered_one_by_one(
    settings: Settings, database: Database, posts: list[int]
) -> None:
    async with client_as(ANONYMOUS, settings, database, limits={"answer_rows": 10}) as client:
        answers = await at_once(client, [f"/posts/{id}?{SELECT}" for id in posts])
        assert [answer.status_code for answer in answers] == [200] * MANY
        assert all(len(answer.json()["tags"]) == 2 for answer in answers)


SLOWED = (  # a moment for each row that is read
    "ALTER TABLE tags RENAME TO tags_kept",
    "CREATE VIEW tags AS SELECT kept.* FROM tags_kept AS kept,"
    " LATERAL (SELECT pg_sleep(0.1) WHERE kept.id IS NOT NULL OFFSET 0) AS slept",
)


@ON_POSTGRESQL
async def test_what_is_too_slow_together_is_read_one_by_one(spare_url: str, settings: Settings) -> None:
    async with opened(spare_url, settings, limits=Limits(statement_service=0.35)) as site:
        ids = [*site.tags, *[(await site.add(f"tag {n}")).json()["id"] for n in range(4)]]
        await site.sql(*SLOWED)
        answers = await at_once(site.client, [f"/tags/{id}" for id in ids])
        assert [answer.status_code for answer in answers] == [200] * len(ids)
        await site.database.pools.settled()
        assert site.database.in_use == 0


# ---- those who go ---------------------------------------------------------------------------------------------------


async def test_storm_of_cancelled_requests_leaves_no_lane_leased(
    client: httpx2.AsyncClient, database: Database, posts: list[int]
) -> None:
    for round in range(10):
        tasks = [asyncio.ensure_future(client.get(f"/posts/{id}?{SELECT}")) for id in posts]
        for _ in range(round % 5):
            await asyncio.sleep(0)
        for task in tasks[round % 2 :: 2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        stayed: list[Any] = [one for one in found if not isinstance(one, asyncio.CancelledError)]
        assert [answer.status_code for answer in stayed] == [200] * len(stayed)
    await database.pools.settled()
    assert database.in_use == 0
