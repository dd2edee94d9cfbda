"""GET of collections and items: pages, tags and conditions, statement budgets, and a few ends of the rules."""

from __future__ import annotations

import hashlib

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import SYSTEM
from tests.conftest import Clock, Statements
from tests.factories import make_post, make_tag, make_user
from tests.http.conftest import Blog, Headers

SURFACES = pytest.mark.parametrize("prefix", ["", "/rest/v1"], ids=["plain", "rest"])


@SURFACES
async def test_page_with_embeds(client: httpx2.AsyncClient, blog: Blog, prefix: str) -> None:
    response = await client.get(f"{prefix}/posts?select=id,title,author(username),tags(name)&tags.order=name")
    assert response.status_code == 200
    assert response.json() == [
        {
            "id": blog.post,
            "title": "Hello",
            "author": {"username": "ada"},
            "tags": [{"name": "python"}, {"name": "sql"}],
        }
    ]
    assert response.headers["content-range"] == "0-0/*"
    assert response.headers["content-type"] == "application/json; charset=utf-8"


async def test_page_with_embeds_takes_three_statements(
    client: httpx2.AsyncClient, blog: Blog, statements: Statements
) -> None:
    """Posts, their authors, their tags: 3, whatever the number of rows."""
    statements.clear()
    response = await client.get("/posts?select=*,author(id,username,full_name),tags(id,name)&order=published_at.desc")
    assert response.status_code == 200
    assert statements.count == 3


async def test_item_takes_one_statement(client: httpx2.AsyncClient, blog: Blog, statements: Statements) -> None:
    statements.clear()
    assert (await client.get(f"/posts/{blog.post}")).status_code == 200
    assert statements.count == 1


@pytest.mark.parametrize(
    ("path", "rows", "content_range"),
    [
        ("/tags", 20, "0-19/*"),
        ("/rest/v1/tags", 25, "0-24/*"),
        ("/tags?limit=5&offset=3", 5, "3-7/*"),
        ("/tags?limit=100", 25, "0-24/*"),
        ("/tags?offset=100", 0, "*/*"),
        ("/tags?limit=0", 0, "*/*"),
    ],
)
async def test_pages(client: httpx2.AsyncClient, database: Database, path: str, rows: int, content_range: str) -> None:
    async with database.writing(SYSTEM) as session:
        for _ in range(25):
            await make_tag(session)
    response = await client.get(path)
    assert (len(response.json()), response.headers["content-range"]) == (rows, content_range)


async def test_page_is_capped(client: httpx2.AsyncClient, database: Database, secret: Headers) -> None:
    async with database.writing(SYSTEM) as session:
        await make_tag(session)
    rows = [{"name": f"t{number}"} for number in range(1000)]
    assert (await client.post("/rest/v1/tags", json=rows, headers=secret)).status_code == 201
    assert len((await client.get("/rest/v1/tags")).json()) == 1000
    assert len((await client.get("/tags?limit=5000")).json()) == 1000
    assert len((await client.get("/rest/v1/tags", headers=secret)).json()) == 1001


# ---- items ----------------------------------------------------------------------------------------------------------


async def test_item_is_one_object(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.get(f"/posts/{blog.post}?select=title,tags(name)&tags.order=name.desc&tags.limit=1")
    assert response.json() == {"title": "Hello", "tags": [{"name": "sql"}]}
    assert "content-range" not in response.headers


@pytest.mark.parametrize("text", ["abc", "0", "1.0", "+1", "01", "-1", "9" * 30, "%20", "1%20", "%E2%9C%93", "1;2"])
async def test_bad_id_is_a_row_that_does_not_exist(client: httpx2.AsyncClient, blog: Blog, text: str) -> None:
    response = await client.get(f"/posts/{text}")
    assert (response.status_code, response.json()["code"]) == (404, "BRD404")


async def test_hidden_row_reads_as_one_that_does_not_exist(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers
) -> None:
    missing = (await client.get("/posts/999999")).json()
    for number in (blog.draft, blog.scheduled, blog.deleted):
        response = await client.get(f"/posts/{number}")
        assert response.status_code == 404
        text = response.text.replace(str(number), "999999")
        assert text == httpx2.Response(200, json=missing).text
    assert (await client.get(f"/posts/{blog.draft}", headers=secret)).status_code == 200


@pytest.mark.parametrize("query", ["title=eq.x", "order=id", "limit=1", "offset=1"])
async def test_item_takes_no_filter_order_or_page(client: httpx2.AsyncClient, blog: Blog, query: str) -> None:
    response = await client.get(f"/posts/{blog.post}?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "PGRST100")
    assert query.partition("=")[0] in response.json()["message"]


async def test_items_are_not_on_the_rest_surface(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.get(f"/rest/v1/posts/{blog.post}")
    assert (response.status_code, response.json()["code"]) == (404, "PGRST125")


async def test_rows_with_a_composite_key_have_no_items(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.get("/post_tags/1")
    assert (response.status_code, response.json()["code"]) == (404, "PGRST125")
    assert len((await client.get("/post_tags")).json()) == 2


# ---- tags and conditions --------------------------------------------------------------------------------------------


async def test_item_tag_has_version_and_hash(client: httpx2.AsyncClient, blog: Blog) -> None:
    """Also when the version is not among the selected columns; and it does not come into the body."""
    response = await client.get(f"/posts/{blog.post}?select=title")
    assert response.content == b'{"title":"Hello"}'
    assert response.headers["etag"] == f'"1-{hashlib.sha256(response.content).hexdigest()[:32]}"'
    selected = await client.get(f"/posts/{blog.post}?select=version,title")
    assert selected.json() == {"version": 1, "title": "Hello"}
    assert selected.headers["etag"].startswith('"1-')


async def test_other_tags_are_hashes(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    page = await client.get("/posts?select=title")
    assert page.headers["etag"] == f'"{hashlib.sha256(page.content).hexdigest()[:32]}"'
    transfer = await client.get(f"/transfers/{blog.transfer}", headers=secret)
    assert "-" not in transfer.headers["etag"]


@pytest.mark.parametrize("path", ["/posts?select=title", "/posts/{post}"])
async def test_known_answer_is_not_sent_again(client: httpx2.AsyncClient, blog: Blog, path: str) -> None:
    path = path.format(post=blog.post)
    etag = (await client.get(path)).headers["etag"]
    for given in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = await client.get(path, headers={"if-none-match": given})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == etag
    other = '"1-0000"' if "-" in etag else '"0000"'
    assert (await client.get(path, headers={"if-none-match": other})).status_code == 200


async def test_head_has_the_headers_of_get(client: httpx2.AsyncClient, blog: Blog) -> None:
    for path in ("/posts?select=title", f"/posts/{blog.post}", "/"):
        get, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        names = get.headers.keys() - {"x-request-id", "date"}
        assert {name: head.headers[name] for name in names} == {name: get.headers[name] for name in names}


# ---- rules, end to end ----------------------------------------------------------------------------------------------


@SURFACES
async def test_anonymous_sees_only_public_rows(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str
) -> None:
    assert [row["id"] for row in (await client.get(f"{prefix}/posts")).json()] == [blog.post]
    assert (await client.get(f"{prefix}/transfers")).json() == []
    embedded = (await client.get(f"{prefix}/users?select=posts(id)&username=eq.ada")).json()
    assert embedded == [{"posts": [{"id": blog.post}]}]
    service = (await client.get(f"{prefix}/posts?order=id", headers=secret)).json()
    assert [row["id"] for row in service] == [blog.post, blog.draft, blog.scheduled]


async def test_scheduled_post_appears_when_its_time_comes(client: httpx2.AsyncClient, blog: Blog, clock: Clock) -> None:
    """The plan is kept, the time is not."""
    path = f"/posts/{blog.scheduled}?select=title"
    assert (await client.get(path)).status_code == 404
    clock.advance(3600)
    assert (await client.get(path)).json() == {"title": "Soon"}


async def test_masked_column_is_null_to_others(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    path = f"/users/{blog.ada}?select=username,email,balance"
    assert (await client.get(path)).json() == {"username": "ada", "email": None, "balance": None}
    service = (await client.get(path, headers=secret)).json()
    assert service == {"username": "ada", "email": "ada@example.org", "balance": 500}


async def test_plan_of_one_role_does_not_serve_another(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    assert "role" in (await client.get("/users", headers=secret)).json()[0]
    assert "role" not in (await client.get("/users")).json()[0]


async def test_keyed_answers_are_not_for_caches(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    assert (await client.get("/posts", headers=secret)).headers["cache-control"] == "no-store"
    response = await client.get("/posts")
    assert "cache-control" not in response.headers
    assert "Authorization, apikey" in response.headers["vary"]


async def test_many_rows_on_a_page_keep_the_budget(
    client: httpx2.AsyncClient, database: Database, statements: Statements
) -> None:
    async with database.writing(SYSTEM) as session:
        for _ in range(30):
            await make_post(session, await make_user(session), tags=("a", "b"))
    statements.clear()
    response = await client.get("/posts?select=*,author(username),tags(name)&limit=30")
    assert len(response.json()) == 30
    assert statements.count == 3
