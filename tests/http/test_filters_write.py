"""PATCH and DELETE of the rows that filters name."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, user
from app.settings import Settings
from tests.conftest import Statements
from tests.http.asking import REST, SURFACES, client_as, make_tags, prefer, service_client
from tests.http.conftest import Blog, Headers

REPRESENTATION = prefer("return=representation")


async def titles(client: httpx2.AsyncClient, secret: Headers) -> list[str]:
    return [row["title"] for row in (await client.get("/posts?select=title&order=id", headers=secret)).json()]


# ---- PATCH ----------------------------------------------------------------------------------------------------------


async def test_patch_changes_what_matches(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    response = await client.patch(f"{REST}/posts?status=eq.published", json={"title": "New"}, headers=secret)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["content-range"] == "0-1/*"
    assert await titles(client, secret) == ["New", "Draft", "New"]


async def test_patch_answers_the_rows(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    path = f"{REST}/posts?id=in.({blog.post},{blog.draft})&select=title,version,tags(name)&tags.name=eq.sql"
    response = await client.patch(path, json={"title": "New"}, headers={**secret, **prefer("return=representation")})
    assert (response.status_code, response.json()) == (
        200,
        [{"title": "New", "version": 2, "tags": [{"name": "sql"}]}, {"title": "New", "version": 2, "tags": []}],
    )
    counted = {**secret, **prefer("return=representation", "count=exact")}
    response = await client.patch(path, json={"title": "Newer"}, headers=counted)
    assert response.headers["content-range"] == "0-1/2"
    plain = await client.patch(f"/posts?id=eq.{blog.post}&select=title", json={"title": "x"}, headers=secret)
    assert (plain.status_code, plain.json()) == (200, [{"title": "x"}])


@SURFACES
@pytest.mark.parametrize("order", ["title.desc", "author(username).desc,title", "published_at.nullsfirst"])
async def test_order_sorts_the_answer_and_limit_does_not_cut_it(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str, order: str
) -> None:
    query = f"select=title,author(username)&order={order}&id=gt.0"
    response = await client.patch(
        f"{prefix}/posts?{query}&limit=1&offset=1", json={"content": "x"}, headers={**secret, **REPRESENTATION}
    )
    assert response.json() == (await client.get(f"/posts?{query}", headers=secret)).json()
    assert len(response.json()) == 3


@SURFACES
async def test_patch_of_nothing(client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str) -> None:
    """No row matches, or the body names nothing: success without a change, the latter without a filter too."""
    headers = {**secret, **prefer("return=representation", "count=exact")}
    missing = await client.patch(f"{prefix}/posts?id=lt.0", json={"title": "x"}, headers=headers)
    assert (missing.status_code, missing.json(), missing.headers["content-range"]) == (200, [], "*/0")
    bodies: tuple[Any, ...] = ({}, [], [{}])
    for body in bodies:
        response = await client.patch(f"{prefix}/posts", json=body, headers=headers)
        assert (response.status_code, response.json(), response.headers["content-range"]) == (200, [], "*/0")
        minimal = await client.patch(f"{prefix}/posts", json=body, headers={**secret, **prefer("return=minimal")})
        assert (minimal.status_code, minimal.content, minimal.headers["content-range"]) == (204, b"", "*/*")
    assert await titles(client, secret) == ["Hello", "Draft", "Soon"]


async def test_embeds_only_shape_the_answer(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    path = f"{REST}/posts?id=gt.0&select=title,tags!inner(name)&tags.name=eq.sql"
    response = await client.patch(path, json={"content": "x"}, headers={**secret, **REPRESENTATION})
    assert response.headers["content-range"] == "0-2/*"
    changed = await client.get("/posts?select=content", headers=secret)
    assert {row["content"] for row in changed.json()} == {"x"}


@SURFACES
@pytest.mark.parametrize(("method", "verb"), [("PATCH", "UPDATE"), ("DELETE", "DELETE")])
async def test_write_without_a_filter_is_refused(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str, method: str, verb: str
) -> None:
    for query in ("", "select=title", "order=id&limit=1", "select=tags(name)&tags.name=eq.sql"):
        response = await client.request(method, f"{prefix}/posts?{query}", json={"title": "x"}, headers=secret)
        assert (response.status_code, response.json()["code"]) == (400, "21000")
        assert response.json()["message"] == f"{verb} requires a WHERE clause"
    assert await titles(client, secret) == ["Hello", "Draft", "Soon"]


async def test_different_objects_are_no_update(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    url = f"{REST}/posts?id=eq.{blog.post}"
    response = await client.patch(url, json=[{"title": "a"}, {"title": "b"}], headers=secret)
    assert (response.status_code, response.json()["code"]) == (400, "PGRST127")
    response = await client.patch(url, json=[{"title": "a"}, {"title": "a"}], headers=secret)
    assert response.status_code == 204


async def test_patch_takes_tags_along(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    path = f"{REST}/posts?id=in.({blog.post},{blog.draft})&select=version,tags(name)"
    response = await client.patch(path, json={"tags": ["new"]}, headers={**secret, **REPRESENTATION})
    assert response.json() == [{"version": 2, "tags": [{"name": "new"}]}] * 2


async def test_patch_keeps_its_budget(client: httpx2.AsyncClient, secret: Headers, statements: Statements) -> None:
    for n in range(20):
        assert (await client.post("/users", json={"username": f"user{n}"}, headers=secret)).status_code == 201
    path = f"{REST}/users?username=like.user*&select=id,posts(id)"
    statements.clear()
    response = await client.patch(path, json={"full_name": "Same"}, headers={**secret, **REPRESENTATION})
    assert len(response.json()) == 20
    assert statements.count == 6  # keys, locked rows, update, revisions; the answer and its embed
    statements.clear()
    await client.patch(path, json={"full_name": "Same"}, headers=secret)
    assert statements.count == 2  # nothing changes


@SURFACES
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_too_many_rows_are_refused(settings: Settings, database: Database, prefix: str, method: str) -> None:
    async with service_client(settings, database, limits={"affected": 3}) as client:
        await make_tags(client, {}, "a", "b", "c", "d")
        response = await client.request(method, f"{prefix}/tags?name=like.*", json={"name": "x"})
        assert (response.status_code, response.json()["code"]) == (400, "54000")
        assert len((await client.get("/tags")).json()) == 4
        response = await client.request("DELETE", f"{prefix}/tags?name=neq.d")
        assert (response.status_code, response.headers["content-range"]) == (204, "*/*")


async def test_bad_value_changes_nothing(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    response = await client.patch(f"{REST}/posts?id=gt.0", json={"title": "x" * 201}, headers=secret)
    assert (response.status_code, response.json()["code"]) == (400, "22001")
    response = await client.patch(f"{REST}/posts?id=gt.0", json={"slug": "same"}, headers=secret)
    assert (response.status_code, response.json()["code"]) == (409, "23505")
    assert await titles(client, secret) == ["Hello", "Draft", "Soon"]


# ---- If-Match -------------------------------------------------------------------------------------------------------


async def test_versions_guard_writes_by_filter(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    """Every row must have one of them."""
    url = f"{REST}/posts?id=in.({blog.post},{blog.draft})"
    await client.patch(f"/posts/{blog.draft}", json={"title": "Moved on"}, headers=secret)
    for method in ("PATCH", "DELETE"):
        headers = {**secret, "if-match": '"1"'}
        response = await client.request(method, url, json={"title": "x"}, headers=headers)
        assert (response.status_code, response.json()["code"]) == (412, "BRD412")
    response = await client.patch(url, json={"title": "x"}, headers={**secret, "if-match": '"1", "2"'})
    assert response.status_code == 204


# ---- DELETE ---------------------------------------------------------------------------------------------------------


@SURFACES
async def test_delete_removes_what_matches(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str
) -> None:
    """The body means nothing, and nothing is answered unless asked, on both surfaces."""
    path = f"{prefix}/posts?status=eq.published"
    headers = {**secret, **prefer("count=exact"), "content-type": "text/x-odd"}
    response = await client.request("DELETE", path, content=b"{}", headers=headers)
    assert (response.status_code, response.content, response.headers["content-range"]) == (204, b"", "*/2")
    assert await titles(client, secret) == ["Draft"]
    again = await client.delete(path, headers=headers)
    assert (again.status_code, again.headers["content-range"]) == (204, "*/0")


@SURFACES
async def test_delete_shows_the_rows_as_they_were(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str
) -> None:
    path = f"{prefix}/posts?id=in.({blog.post},{blog.draft})&select=title,version,deleted_at,tags(name)&order=title"
    response = await client.delete(path, headers={**secret, **REPRESENTATION})
    assert (response.status_code, response.json()) == (
        200,
        [
            {"title": "Draft", "version": 1, "deleted_at": None, "tags": []},
            {"title": "Hello", "version": 1, "deleted_at": None, "tags": [{"name": "python"}, {"name": "sql"}]},
        ],
    )
    assert response.headers["content-range"] == "*/*"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_deleted_rows_are_out_of_reach(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, method: str
) -> None:
    """Also for those who may see them."""
    url = f"{REST}/posts?deleted_at=not.is.null"
    assert len((await client.get(url, headers=secret)).json()) == 1
    headers = {**secret, **prefer("return=representation", "count=exact")}
    response = await client.request(method, url, json={"title": "x"}, headers=headers)
    assert (response.status_code, response.json(), response.headers["content-range"]) == (200, [], "*/0")


async def test_refused_delete_keeps_all_rows(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    response = await client.delete(f"{REST}/users?id=gt.0", headers=secret)
    assert (response.status_code, response.json()["code"]) == (409, "BRD409")
    assert len((await client.get("/users")).json()) == 2


async def test_delete_keeps_its_budget(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, statements: Statements
) -> None:
    statements.clear()
    await client.delete(f"{REST}/posts?id=gt.0", headers=secret)
    assert statements.count == 4  # keys, locked rows, stamps, revisions


# ---- who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_author_changes_only_own_rows(settings: Settings, database: Database, blog: Blog, method: str) -> None:
    """Others' rows do not match, seen or not."""
    async with client_as(user(blog.bob, "author"), settings, database) as client:
        made = await client.post("/posts?select=id", json={"title": "Of Bob"})
        headers = prefer("return=representation")
        response = await client.request(method, f"{REST}/posts?id=gt.0&select=id", json={"title": "x"}, headers=headers)
        assert (response.status_code, response.json()) == (200, [made.json()])
    async with service_client(settings, database) as client:
        rows = (await client.get("/posts?select=title&id=neq." + str(made.json()["id"]))).json()
        assert [row["title"] for row in rows] == ["Hello", "Draft", "Soon"]


async def test_member_changes_only_the_own_row(settings: Settings, database: Database, blog: Blog) -> None:
    async with client_as(user(blog.bob, "member"), settings, database) as client:
        headers = prefer("return=representation")
        path = f"{REST}/users?id=gt.0&select=username"
        response = await client.patch(path, json={"full_name": "Bob"}, headers=headers)
        assert (response.status_code, response.json()) == (200, [{"username": "bob"}])
        for body, code in (({"email": "x@example.org"}, "PGRST204"), ({"role": "admin"}, "PGRST204")):
            response = await client.patch(path, json=body, headers=headers)
            assert (response.status_code, response.json()["code"]) == (400, code)
        removed = await client.delete(path, headers=headers)
        assert (removed.status_code, removed.json()["code"]) == (403, "42501")


@SURFACES
@pytest.mark.parametrize("method", ["PATCH", "DELETE", "PUT", "POST"])
async def test_nobody_writes_without_a_key(
    settings: Settings, database: Database, blog: Blog, prefix: str, method: str
) -> None:
    async with client_as(ANONYMOUS, settings, database) as client:
        row: Any = {"id": blog.post, "title": "x"} if method == "PUT" else {"title": "x"}
        response = await client.request(method, f"{prefix}/posts?id=eq.{blog.post}", json=row)
        assert (response.status_code, response.json()["code"]) == (401, "42501")


async def test_hidden_columns_cannot_choose_rows(settings: Settings, database: Database, blog: Blog) -> None:
    async with client_as(user(blog.bob, "author"), settings, database) as client:
        for name in ("created_by", "nothing"):
            response = await client.delete(f"{REST}/posts?{name}=eq.1")
            assert (response.status_code, response.json()["code"]) == (400, "42703")
            assert response.json()["message"] == f"column posts.{name} does not exist"
