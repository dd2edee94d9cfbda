"""The same page, asked for by many at once: the answers of requests that come alone, from one read of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, user
from app.settings import Settings
from tests.conftest import Clock, Statements
from tests.http.asking import OBJECT, REST, client_as, prefer
from tests.http.conftest import Blog, Headers
from tests.http.crowd import MANY, make_posts, recorded, told, write_among_readers
from tests.http.persons import edited, persons

PATH = "/posts?select=id,title,author(id,username),tags(name)&order=id.desc&limit=5"
Asked = tuple[str, str, Mapping[str, str]]


@pytest.fixture
async def posts(database: Database, blog: Blog) -> list[int]:
    return await make_posts(database, blog)


async def ask_at_once(client: httpx2.AsyncClient, asked: list[Asked]) -> list[httpx2.Response]:
    return list(
        await asyncio.gather(*[client.request(method, path, headers=headers) for method, path, headers in asked])
    )


async def many(client: httpx2.AsyncClient, path: str = PATH, number: int = MANY, **headers: str) -> list[Any]:
    return await ask_at_once(client, [("GET", path, headers)] * number)


# ---- the same answers -----------------------------------------------------------------------------------------------


async def test_answers_are_those_of_requests_that_come_alone(client: httpx2.AsyncClient, posts: list[int]) -> None:
    """Whatever belongs to one request: its method, tag, range, count, form, zone, surface, its place in a series."""
    first = await client.get(PATH)
    behind = first.headers["link"].partition(">")[0].removeprefix("<")
    asked: list[Asked] = [
        ("GET", PATH, {}),
        ("HEAD", PATH, {}),
        ("GET", REST + PATH, {}),
        ("HEAD", REST + PATH, {}),
        ("GET", behind, {}),
        ("GET", PATH, {"if-none-match": first.headers["etag"]}),
        ("GET", PATH, {"if-none-match": '"another"'}),
        *[("GET", PATH, prefer(f"count={count}")) for count in ("exact", "planned", "estimated")],
        ("GET", PATH, prefer("handling=strict")),
        ("GET", PATH, {"range": "1-3"}),
        ("GET", PATH, {"range": "3-1"}),
        ("GET", f"{PATH}&offset=999", {}),
        ("GET", f"{PATH}&offset=999", prefer("count=exact")),
        ("GET", PATH, {"accept": "text/csv"}),
        ("GET", PATH, {"accept": OBJECT}),
        ("GET", f"{PATH}&offset=999", {"accept": OBJECT, **prefer("count=exact")}),
        ("GET", "/posts?select=created_at&id=gt.0", prefer("timezone=Asia/Tokyo")),
        ("GET", "/posts?select=created_at&id=gt.0", {}),
        ("GET", "/posts?select=nothing", {}),
    ]
    alone = [told((await ask_at_once(client, [one]))[0]) for one in asked]
    assert [told(answer) for answer in await ask_at_once(client, asked * 3)] == alone * 3
    statuses = [status for status, _, _ in alone]
    assert statuses == [200] * 5 + [304, 200, 206, 206, 206, 200, 200, 416, 200, 416, 200, 406, 416, 200, 200, 400]


async def test_all_but_the_first_share_a_read_and_each_request_says_how_many_statements_served_it(
    client: httpx2.AsyncClient, posts: list[int], statements: Statements, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get(PATH)
    statements.clear()
    with caplog.at_level(logging.INFO, "broadsheet.access"):
        await many(client)
    assert statements.count == 9, "two begin at once, and the others share the next read"
    assert [vars(record)["statements"] for record in caplog.records] == [3] * MANY


async def test_heads_and_known_tags_share_the_read_of_the_page(
    client: httpx2.AsyncClient, posts: list[int], statements: Statements
) -> None:
    tag = (await client.get(PATH)).headers["etag"]
    statements.clear()
    asked: list[Asked] = [("GET", PATH, {}), ("HEAD", PATH, {}), ("GET", PATH, {"if-none-match": tag})]
    await ask_at_once(client, asked * 3)
    assert statements.count == 9


@pytest.mark.parametrize(
    ("other", "headers"),
    [
        (PATH.replace("limit=5", "limit=4"), {}),
        (REST + PATH, {}),
        (PATH, prefer("count=exact")),
        (PATH, {"range": "0-2"}),
        (PATH, {"accept": "text/csv"}),
        (PATH, prefer("timezone=Asia/Tokyo")),
    ],
)
async def test_what_differs_is_read_apart(
    client: httpx2.AsyncClient, posts: list[int], statements: Statements, other: str, headers: dict[str, str]
) -> None:
    one: list[Asked] = [("GET", PATH, {})] * 4
    another: list[Asked] = [("GET", other, headers)] * 4
    counts = []
    for asked in (one, another, one + another):
        statements.clear()
        await ask_at_once(client, asked)
        counts.append(statements.count)
    assert counts[2] == counts[0] + counts[1], "what would be shared is shared among the same alone"


@pytest.mark.parametrize("headers", [{"accept": "text/csv"}, prefer("timezone=Asia/Tokyo")], ids=["csv", "zone"])
async def test_other_forms_and_zones_are_each_ones_own(
    client: httpx2.AsyncClient, posts: list[int], statements: Statements, headers: dict[str, str]
) -> None:
    await many(client, number=1, **headers)
    statements.clear()
    await many(client, number=4, **headers)
    assert statements.count == 12


async def test_shared_page_is_that_of_the_present(client: httpx2.AsyncClient, blog: Blog, clock: Clock) -> None:
    path = f"/posts?select=id&published_at=lte.now&id=eq.{blog.scheduled}"
    assert [answer.json() for answer in await many(client, path, 3)] == [[]] * 3
    clock.advance(7200)
    assert [answer.json() for answer in await many(client, path, 3)] == [[{"id": blog.scheduled}]] * 3


# ---- rights ---------------------------------------------------------------------------------------------------------


async def test_each_caller_sees_what_is_its_own(settings: Settings, database: Database, blog: Blog) -> None:
    """ada wrote the draft, and sees her own address alone."""
    async with persons(settings, database, blog) as ask:
        paths = ["/posts?select=title&order=id", "/users?select=id,email&order=id"]
        callers = ["ada", "eve", "bob", "root", "nobody"]
        alone = [told(await ask(who, "GET", path)) for who in callers for path in paths]
        together = await asyncio.gather(*[ask(who, "GET", path) for who in callers * 3 for path in paths])
        assert [told(answer) for answer in together] == alone * 3
        assert len({content for _, content, _ in alone[::2]}) == 2, "of ada and root, and of the others"
        assert len({content for _, content, _ in alone[1::2]}) == 5


async def test_revisions_are_those_of_the_row(settings: Settings, database: Database, blog: Blog, clock: Clock) -> None:
    async with persons(settings, database, blog) as ask:
        await edited(ask, blog, clock)
        paths = [f"/posts/{id}/revisions?select=row_id,version" for id in (blog.post, blog.draft, ask.foreign, 0)]
        alone = [told(await ask("ada", "GET", path)) for path in paths]
        together = await asyncio.gather(*[ask("ada", "GET", path) for path in paths * 3])
        assert [told(answer) for answer in together] == alone * 3
        assert len(json.loads(alone[0][1])) == 3
        assert [status for status, _, _ in alone] == [200, 200, 404, 404]


async def test_reads_that_are_recorded_by_person_are_recorded(
    settings: Settings, database: Database, blog: Blog
) -> None:
    async with client_as(user(blog.bob, "admin"), settings, database) as client:
        await many(client, f"/posts?id=eq.{blog.draft}", 3)
    assert await recorded(database) == [{"kind": "foreign_rows_read", "subject": "posts"}] * 3


# ---- own writes -----------------------------------------------------------------------------------------------------


async def test_writers_see_what_they_wrote_while_many_read(
    client: httpx2.AsyncClient, posts: list[int], secret: Headers
) -> None:
    await write_among_readers(client, secret, dict.fromkeys(reversed(posts), PATH))


# ---- refusals, and those who go -------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [ANONYMOUS, SERVICE], ids=lambda who: str(who.role))
async def test_page_that_is_too_heavy_is_refused_to_all(
    settings: Settings, database: Database, posts: list[int], who: Any
) -> None:
    async with client_as(who, settings, database, limits={"answer_rows": 10}) as client:
        alone = told(await client.get(PATH))
        assert (alone[0], json.loads(alone[1])["code"]) == (400, "54000")
        assert [told(answer) for answer in await many(client)] == [alone] * MANY
        assert (await client.get(PATH.replace("limit=5", "limit=2"))).status_code == 200


@pytest.mark.parametrize("goes", [0, 1], ids=["the first", "another"])
async def test_caller_who_goes_hurts_nobody(client: httpx2.AsyncClient, posts: list[int], goes: int) -> None:
    alone = told(await client.get(PATH))
    for moment in range(12):
        tasks = [asyncio.ensure_future(client.get(PATH)) for _ in range(3)]
        for _ in range(moment):
            await asyncio.sleep(0)
        tasks.pop(goes).cancel()
        assert [told(answer) for answer in await asyncio.gather(*tasks)] == [alone] * 2


async def test_storm_of_cancelled_requests_leaves_no_lane_leased(
    client: httpx2.AsyncClient, database: Database, posts: list[int]
) -> None:
    for round in range(20):
        tasks = [asyncio.ensure_future(client.get(PATH)) for _ in range(MANY)]
        for _ in range(round % 10):
            await asyncio.sleep(0)
        for task in tasks[round % 2 :: 2] if round % 3 else tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        stayed: list[Any] = [one for one in found if not isinstance(one, asyncio.CancelledError)]
        assert [answer.status_code for answer in stayed] == [200] * len(stayed)
    await database.pools.settled()
    assert database.in_use == 0
    assert (await client.get(PATH)).status_code == 200
