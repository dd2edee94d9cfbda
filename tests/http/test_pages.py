"""The header Link: pages behind an opaque cursor, which cost the same at any depth."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import SYSTEM
from tests.conftest import Clock, Statements
from tests.factories import make_post, make_user
from tests.http.asking import REST, SURFACES, make_tags, prefer
from tests.http.conftest import Headers


@pytest.fixture
async def posts(database: Database, clock: Clock) -> list[int]:
    """Twelve posts of three authors; some share their time of publishing."""
    async with database.writing(SYSTEM) as session:
        authors = [await make_user(session, username=name) for name in ("ada", "bob", "cleo")]
        made = [
            await make_post(session, authors[n % 3], title=f"Post {n}", published_at=clock() - timedelta(hours=n // 2))
            for n in range(12)
        ]
        return [post.id for post in made]


def link_of(response: httpx2.Response) -> str | None:
    link = response.headers.get("link")
    if link is None:
        return None
    url, _, rel = str(link).partition(">; ")
    assert rel == 'rel="next"'
    return url.removeprefix("<")


async def walk(client: httpx2.AsyncClient, path: str, headers: Any = None) -> list[list[Any]]:
    """All pages from this one on."""
    pages: list[list[Any]] = []
    url: str | None = path
    while url is not None and len(pages) < 20:
        response = await client.get(url, headers=headers)
        assert response.status_code == 200, response.text
        pages.append(response.json())
        url = link_of(response)
    return pages


async def walked(client: httpx2.AsyncClient, path: str) -> list[Any]:
    """The rows of all pages."""
    return [row for page in await walk(client, path) for row in page]


@SURFACES
@pytest.mark.parametrize(
    "order",
    ["", "order=published_at.desc", "order=published_at", "order=author(username),title.desc", "order=user_id,id.desc"],
)
async def test_pages_together_are_the_whole(
    client: httpx2.AsyncClient, posts: list[int], prefix: str, order: str
) -> None:
    query = f"select=id,title,author(username)&{order}"
    whole = (await client.get(f"{prefix}/posts?{query}&limit=100")).json()
    pages = await walk(client, f"{prefix}/posts?{query}&limit=5")
    assert [len(page) for page in pages] == [5, 5, 2]
    assert [row for page in pages for row in page] == whole


@pytest.mark.parametrize(
    "order", ["full_name", "full_name.desc", "full_name.nullsfirst", "full_name.desc.nullslast,id"]
)
async def test_nulls_stand_on_the_page_where_they_sort(
    client: httpx2.AsyncClient, database: Database, order: str
) -> None:
    async with database.writing(SYSTEM) as session:
        for n in range(9):
            await make_user(session, username=f"user{n}", full_name=None if n % 3 else f"Name {n}")
    whole = (await client.get(f"/users?select=id&order={order}&limit=100")).json()
    assert await walked(client, f"/users?select=id&order={order}&limit=2") == whole


async def test_masked_column_in_the_order(client: httpx2.AsyncClient, database: Database) -> None:
    """To those who may not read it, it is NULL in the cursor too."""
    async with database.writing(SYSTEM) as session:
        for n in range(4):
            await make_user(session, username=f"user{n}", email=f"u{9 - n}@example.org")
    response = await client.get("/users?select=username&order=email&limit=2")
    assert [row["username"] for row in response.json()] == ["user0", "user1"]
    cursor = httpx2.URL("http://test" + str(link_of(response))).params["cursor"]
    assert "example.org" not in base64.urlsafe_b64decode(cursor).decode()
    assert (await walked(client, "/users?select=username&order=email&limit=2"))[3] == {"username": "user3"}


async def test_page_behind_a_cursor_knows_its_place(client: httpx2.AsyncClient, posts: list[int]) -> None:
    headers = prefer("count=exact")
    first = await client.get("/posts?limit=5&order=id", headers=headers)
    assert (first.status_code, first.headers["content-range"]) == (206, "0-4/12")
    second = await client.get(str(link_of(first)), headers=headers)
    assert (second.status_code, second.headers["content-range"]) == (206, "5-9/12")
    third = await client.get(str(link_of(second)), headers=headers)
    assert (third.status_code, third.headers["content-range"]) == (206, "10-11/12")
    assert link_of(third) is None


async def test_last_full_page_has_no_next_one_if_it_is_counted(client: httpx2.AsyncClient, posts: list[int]) -> None:
    path = "/posts?limit=6&offset=6"
    assert link_of(await client.get(path, headers=prefer("count=exact"))) is None
    behind = await client.get(str(link_of(await client.get(path))))
    assert (behind.json(), behind.headers["content-range"]) == ([], "*/*")


async def test_offset_gives_way_to_the_cursor(client: httpx2.AsyncClient, posts: list[int]) -> None:
    url = str(link_of(await client.get("/posts?select=id&order=id&limit=3&offset=3")))
    assert "offset" not in url
    assert [row["id"] for row in (await client.get(url)).json()] == posts[6:9]
    response = await client.get(f"{url}&offset=3")
    assert (response.status_code, response.json()["code"]) == (400, "PGRST100")


async def test_limit_may_change_on_the_way(client: httpx2.AsyncClient, posts: list[int]) -> None:
    url = str(link_of(await client.get("/posts?select=id&order=id&limit=3")))
    response = await client.get(url.replace("limit=3", "limit=100"))
    assert [row["id"] for row in response.json()] == posts[3:]


async def test_range_goes_on_as_a_limit(client: httpx2.AsyncClient, posts: list[int]) -> None:
    response = await client.get("/posts?select=id&order=id", headers={"range": "2-4"})
    url = str(link_of(response))
    assert "limit=3" in url
    assert [row["id"] for row in (await client.get(url)).json()] == posts[5:8]


async def test_page_without_a_limit_has_a_next_one_too(client: httpx2.AsyncClient, secret: Headers) -> None:
    await make_tags(client, secret, *(f"tag {n:02}" for n in range(25)))
    assert [len(page) for page in await walk(client, "/tags?order=name")] == [20, 5]
    assert [len(page) for page in await walk(client, f"{REST}/tags?order=name")] == [25]


async def test_page_behind_a_cursor_takes_one_statement(
    client: httpx2.AsyncClient, posts: list[int], statements: Statements
) -> None:
    url = str(link_of(await client.get("/posts?order=published_at.desc&limit=5")))
    statements.clear()
    assert (await client.get(url)).status_code == 200
    assert statements.count == 1
    assert "(t1.published_at, t1.id) <" in statements.texts[0]


async def test_rows_made_meanwhile_shift_nothing(client: httpx2.AsyncClient, posts: list[int], secret: Headers) -> None:
    url = str(link_of(await client.get("/posts?select=id&order=id.desc&limit=4", headers=secret)))
    author = (await client.get("/users?select=id&limit=1")).json()[0]["id"]
    row = {"title": "New", "user_id": author, "status": "published"}
    assert (await client.post("/posts", json=row, headers=secret)).status_code == 201
    assert [row["id"] for row in (await client.get(url)).json()] == posts[7:3:-1]


# ---- bad cursors ----------------------------------------------------------------------------------------------------


def encoded(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["x", "", "%ff", "A" * 5000, "W10=", base64.urlsafe_b64encode(b"[" * 3000).decode(), encoded({}), encoded("x", 1)],
)
async def test_damaged_cursor_is_refused(client: httpx2.AsyncClient, posts: list[int], cursor: str) -> None:
    response = await client.get(f"/posts?order=id&cursor={cursor}")
    assert (response.status_code, response.json()["code"]) == (400, "PGRST100")


@pytest.mark.parametrize(
    "values", [[], [1, 2], ["x"], [{}], [10**30], [True], [None, None], ["\ud800"], ["2026-01-01"], [-1, 1]]
)
async def test_cursor_with_other_values_is_refused(client: httpx2.AsyncClient, posts: list[int], values: Any) -> None:
    """As somebody would make one who knows how they are made."""
    url = str(link_of(await client.get("/posts?order=id&limit=2")))
    own = json.loads(base64.urlsafe_b64decode(httpx2.URL("http://test" + url).params["cursor"]))
    response = await client.get(f"/posts?order=id&limit=2&cursor={encoded(own[0], 2, *values)}")
    assert (response.status_code, response.json()["code"]) == (400, "PGRST100")


async def test_cursor_of_another_query_is_refused(client: httpx2.AsyncClient, posts: list[int]) -> None:
    url = str(link_of(await client.get("/posts?order=id&limit=2")))
    for other in (url.replace("order=id", "order=title"), url.replace("/posts", "/users"), f"{url}&title=like.P*"):
        response = await client.get(other)
        assert (response.status_code, response.json()["message"]) == (400, "the cursor belongs to another query")
    response = await client.get(f"{url}&{url.partition('&')[2]}")
    assert (response.status_code, response.json()["code"]) == (400, "PGRST100")
