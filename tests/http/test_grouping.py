"""New rows of one caller that are sent at the same time: answered as if each came alone, from one unit of work."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from app.data import failpoints
from app.data.database import Database
from app.data.failpoints import Point
from app.data.rules import SERVICE, SYSTEM, user
from app.errors import Unavailable
from app.query.fetch import fetch
from app.settings import Settings
from tests.conftest import Statements
from tests.http.asking import client_as, prefer
from tests.http.conftest import Blog, Headers
from tests.http.crowd import MANY
from tests.http.persons import persons

SHOWN = "select=id,title,slug,author(username),tags(name)"
NUMBERS = re.compile(rb"\d+")


def post(blog: Blog, number: int, **more: Any) -> dict[str, Any]:
    return {"user_id": blog.ada, "title": f"Post {number}", "content": "Text", "tags": ["sql", f"t{number}"]} | more


async def at_once(
    client: httpx2.AsyncClient, bodies: list[Any], headers: Headers, path: str = f"/posts?{SHOWN}"
) -> list[httpx2.Response]:
    asked = [
        client.post(path, json=body, headers={**headers, "x-request-id": f"r{n}"}) for n, body in enumerate(bodies)
    ]
    return list(await asyncio.gather(*asked))


def told(answer: httpx2.Response) -> Any:
    """Without the numbers, which are those of the rows."""
    headers = {k: NUMBERS.sub(b"", v.encode()) for k, v in answer.headers.items() if k not in ("date", "etag")}
    return answer.status_code, NUMBERS.sub(b"", answer.content), headers


async def rows(database: Database, query: str) -> Any:
    async with database.reading(SYSTEM) as session:
        return (await fetch(session, query)).decode()


def inserts(statements: Statements) -> int:
    return sum("INSERT INTO posts " in text for text in statements.texts)


def failing(code: str, times: int = 1) -> Callable[[], Awaitable[None]]:
    """A fault that comes so many times."""
    left = times

    async def fail() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Unavailable("on purpose", code=code, retry_after=1)

    return fail


# ---- the same answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"/posts?{SHOWN}", f"/rest/v1/posts?{SHOWN}", "/posts", "/rest/v1/posts"])
@pytest.mark.parametrize("wish", ["", "return=representation", "return=minimal", "return=headers-only", "count=exact"])
async def test_answers_are_those_of_requests_that_come_alone(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, statements: Statements, path: str, wish: str
) -> None:
    headers = {**secret, **(prefer(wish) if wish else {})}
    alone = await client.post(path, json=post(blog, 99), headers={**headers, "x-request-id": "r99"})
    statements.clear()
    answers = await at_once(client, [post(blog, number) for number in range(MANY)], headers, path)
    assert {answer.status_code for answer in answers} == {201}
    assert [told(answer) for answer in answers] == [told(alone)] * MANY
    assert inserts(statements) == 1
    if answers[0].content:
        shown = [answer.json() if isinstance(answer.json(), dict) else answer.json()[0] for answer in answers]
        assert [row["title"] for row in shown] == [f"Post {number}" for number in range(MANY)]


async def test_a_list_of_one_is_answered_as_a_list(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    bodies: list[Any] = [[post(blog, 0)], post(blog, 1), [post(blog, 2), post(blog, 3)]]
    answers = await at_once(client, bodies, secret)
    assert [type(answer.json()) for answer in answers] == [list, dict, list]
    assert [len(answer.json()) for answer in (answers[0], answers[2])] == [1, 2]


async def test_each_revision_has_the_id_of_its_own_request(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, database: Database
) -> None:
    answers = await at_once(client, [post(blog, number) for number in range(MANY)], secret)
    for number, answer in enumerate(answers):
        found = (await client.get(f"/posts/{answer.json()['id']}/revisions", headers=secret)).json()
        assert [(one["operation"], one["request_id"]) for one in found] == [("insert", f"r{number}")]


async def test_equal_titles_get_slugs_of_their_own(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    answers = await at_once(client, [post(blog, 0) for _ in range(MANY)], secret)
    assert [answer.status_code for answer in answers] == [201] * MANY
    assert len({answer.json()["slug"] for answer in answers}) == MANY


async def test_statements_are_told_to_each(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "broadsheet.access"):
        await at_once(client, [post(blog, number) for number in range(MANY)], secret)
    assert [vars(record)["statements"] for record in caplog.records] == [3] * MANY


# ---- who does not join ----------------------------------------------------------------------------------------------


async def test_callers_do_not_share_with_others(settings: Settings, database: Database, blog: Blog) -> None:
    """What one may write another may not."""
    async with persons(settings, database, blog) as ask:
        bodies: list[tuple[str, dict[str, Any]]] = [
            (who, {"title": who, "content": "Text"}) for who in ("ada", "eve", "bob", "nobody")
        ]
        bodies.append(("service", {"title": "x", "content": "Text", "user_id": blog.bob}))
        alone = [await ask(who, "POST", "/posts?select=title", body) for who, body in bodies]
        together = await asyncio.gather(*[ask(who, "POST", "/posts?select=title", body) for who, body in bodies * 3])
    assert [answer.status_code for answer in together] == [answer.status_code for answer in alone] * 3
    assert {answer.status_code for answer in alone} == {201, 401, 403}


@pytest.mark.parametrize(
    "header",
    [{"prefer": "tx=rollback"}, {"prefer": "resolution=merge-duplicates"}, {"accept": "text/csv"}],
    ids=["trial", "upsert", "other form"],
)
async def test_what_is_asked_otherwise_is_done_alone(
    settings: Settings, database: Database, blog: Blog, statements: Statements, header: dict[str, str]
) -> None:
    async with client_as(SERVICE, settings, database, allow_rollback=True) as client:
        answers = await at_once(client, [post(blog, number) for number in range(3)], header)
    assert [answer.status_code for answer in answers] == [201] * 3
    assert inserts(statements) == 3


async def test_keys_of_idempotency_hold(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    bodies = [post(blog, 0)] * 4
    answers = await at_once(client, bodies, {**secret, "idempotency-key": "one"}) + await at_once(
        client, bodies, secret
    )
    assert len({answer.json()["id"] for answer in answers}) == 5


async def test_what_an_admin_sees_is_recorded(settings: Settings, database: Database, blog: Blog) -> None:
    async with client_as(user(blog.bob, "admin"), settings, database) as client:
        answers = await at_once(client, [post(blog, number, status="draft") for number in range(3)], {}, "/posts")
    assert [answer.status_code for answer in answers] == [201] * 3
    recorded = await rows(database, "events?select=kind&kind=eq.foreign_rows_read")
    assert recorded.count("foreign_rows_read") == 3


# ---- refusals and faults --------------------------------------------------------------------------------------------


async def test_who_is_refused_harms_nobody_else(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, database: Database
) -> None:
    """All are done again, each alone: nothing is there twice."""
    bodies = [post(blog, number) for number in range(MANY)]
    bodies[3] = post(blog, 3, user_id=999_999_999)
    bodies[5] = post(blog, 5, tags=[999_999_999])
    bodies[7] = post(blog, 7, title=None)
    alone = [await client.post("/posts", json=bodies[number], headers=secret) for number in (3, 5, 7)]
    answers = await at_once(client, bodies, secret)
    assert [answer.status_code for answer in answers] == [
        *[201] * 3,
        *(alone[0].status_code, 201, alone[1].status_code, 201, alone[2].status_code),
        *[201] * 4,
    ]
    assert [answers[number].json() for number in (3, 5, 7)] == [answer.json() for answer in alone]
    made = Counter(answer.json()["title"] for answer in answers if answer.status_code == 201)
    found = await rows(database, "posts?select=title&title=like.Post*")
    assert {title: found.count(f'"{title}"') for title in made} == made == dict.fromkeys(made, 1)


@pytest.mark.parametrize("point", [Point.CHECKED_OUT, Point.LOCKED, Point.COMMITTING])
async def test_a_unit_of_work_that_fails_is_done_again_one_by_one(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, database: Database, point: Point
) -> None:
    retries = database.counters.retries
    with failpoints.armed({point: failing("40001")}):
        answers = await at_once(client, [post(blog, number) for number in range(MANY)], secret)
    assert [answer.status_code for answer in answers] == [201] * MANY
    assert (await rows(database, "posts?select=id&title=like.Post*")).count("id") == MANY
    assert database.counters.retries == retries + 1
    assert database.in_use == 0


async def test_after_a_lost_commit_nobody_is_done_again(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, database: Database
) -> None:
    with failpoints.armed({Point.COMMITTED: failing("08006")}):
        answers = await at_once(client, [post(blog, number) for number in range(MANY)], secret)
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "08007")}
    assert (await rows(database, "posts?select=id&title=like.Post*")).count("id") == MANY


@pytest.mark.parametrize("leaving", [[0], [1, 5], list(range(1, MANY)), list(range(MANY))], ids=len)
async def test_who_leaves_takes_nobody_along(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, database: Database, leaving: list[int]
) -> None:
    """Each of the others is served once; of those who left, at most."""
    reached, door = asyncio.Event(), asyncio.Event()

    async def stop() -> None:
        reached.set()
        await door.wait()

    def ask(number: int) -> asyncio.Task[httpx2.Response]:
        return asyncio.create_task(client.post(f"/posts?{SHOWN}", json=post(blog, number), headers=secret))

    with failpoints.armed({Point.LOCKED: stop}):
        tasks = [ask(number) for number in range(MANY)]
        await reached.wait()
        for number in leaving:
            tasks[number].cancel()
        await asyncio.sleep(0.01)
        door.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    stayed = [answer for answer in answers if isinstance(answer, httpx2.Response)]
    assert [answer.status_code for answer in stayed] == [201] * (MANY - len(leaving))
    await database.pools.settled()
    found = await rows(database, "posts?select=title&title=like.Post*")
    counts = [found.count(f'"Post {number}"') for number in range(MANY)]
    assert all(counts[number] == 1 for number in range(MANY) if number not in leaving)
    assert set(counts) <= {0, 1}
    if len(leaving) == MANY:
        assert set(counts) == {0}, "nothing runs on for nobody"
    assert database.in_use == 0
    assert (await client.post("/posts", json=post(blog, 50), headers=secret)).status_code == 201
