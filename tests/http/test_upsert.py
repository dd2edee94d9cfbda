"""POST with `columns`, `missing` and `resolution`, and PUT by filter."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import user
from app.settings import Settings
from tests.conftest import Statements
from tests.http.asking import REST, SURFACES, client_as, make_tags, prefer
from tests.http.conftest import Blog, Headers

MERGE = "resolution=merge-duplicates"
IGNORE = "resolution=ignore-duplicates"


def wishing(secret: Headers, *preferences: str) -> dict[str, str]:
    return {**secret, **prefer("return=representation", *preferences)}


# ---- columns and missing --------------------------------------------------------------------------------------------


@SURFACES
async def test_rows_of_different_keys_need_columns(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str
) -> None:
    rows = [{"title": "One", "user_id": blog.ada, "content": "x"}, {"title": "Two", "user_id": blog.ada}]
    response = await client.post(f"{prefix}/posts", json=rows, headers=secret)
    assert (response.status_code, response.json()["message"]) == (400, "All object keys must match")
    path = f'{prefix}/posts?select=title,published_at&columns="title",user_id,published_at'
    response = await client.post(path, json=[*rows, {"title": 3, "user_id": blog.ada, "x": 1}], headers=wishing(secret))
    assert (response.status_code, response.json()) == (
        201,
        [{"title": title, "published_at": None} for title in ("One", "Two", "3")],
    )


async def test_absent_columns_are_null_or_their_default(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers
) -> None:
    rows = [{"title": "One", "user_id": blog.ada, "status": "archived"}, {"title": "Two", "user_id": blog.ada}]
    path = f"{REST}/posts?select=title,status,slug&columns=title,user_id,status,slug"
    response = await client.post(path, json=rows, headers=wishing(secret))
    assert (response.status_code, response.json()["code"]) == (400, "23502")
    headers = wishing(secret, "missing=default")
    response = await client.post(path, json=rows, headers=headers)
    assert response.json() == [
        {"title": "One", "status": "archived", "slug": "one"},
        {"title": "Two", "status": "draft", "slug": "two"},
    ]
    assert response.headers["preference-applied"] == "missing=default, return=representation"


async def test_absent_columns_of_a_change(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    path = f"{REST}/posts?id=eq.{blog.post}&select=title,content,published_at&columns=content,published_at"
    response = await client.patch(path, json={"title": "ignored"}, headers=wishing(secret, "missing=default"))
    assert response.json() == [{"title": "Hello", "content": "", "published_at": "2026-01-01T12:00:00+00:00"}]
    response = await client.patch(path, json={}, headers=wishing(secret))
    assert (response.status_code, response.json()["code"]) == (400, "23502")


@pytest.mark.parametrize(
    ("columns", "code"), [("titel", "PGRST204"), ("version", "PGRST204"), ("id", "428C9"), ("", "PGRST100")]
)
@pytest.mark.parametrize("rows", [[], [{"title": "x", "user_id": 1}]])
async def test_columns_that_cannot_be_written(
    client: httpx2.AsyncClient, secret: Headers, columns: str, code: str, rows: Any
) -> None:
    response = await client.post(f"{REST}/posts?columns={columns}", json=rows, headers=secret)
    if rows or code != "428C9":
        assert (response.status_code, response.json()["code"]) == (400, code)


async def test_unknown_column_goes_before_preferences_and_media_types(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers
) -> None:
    bad = {**secret, **prefer("handling=strict", "x"), "accept": "image/png"}
    order = []
    for headers, row in (
        (bad, {"status": "nonsense", "titel": 1}),
        (bad, {"status": "nonsense"}),
        ({**bad, "prefer": "return=minimal"}, {"status": "nonsense"}),
        (secret, {"status": "nonsense"}),
    ):
        response = await client.post(f"{REST}/posts", json={**row, "title": "x", "user_id": blog.ada}, headers=headers)
        order.append(response.json()["code"])
    assert order == ["PGRST204", "PGRST122", "PGRST107", "23514"]


# ---- merge ----------------------------------------------------------------------------------------------------------


@SURFACES
async def test_merge_updates_what_is_there_and_inserts_the_rest(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str
) -> None:
    rows = [
        {"slug": "new-one", "title": "New one", "user_id": blog.bob},
        {"slug": "hello", "title": "Hello again", "user_id": blog.ada},
    ]
    path = f"{prefix}/posts?on_conflict=slug&select=slug,title,version,content,tags(name)&tags.order=name"
    response = await client.post(path, json=rows, headers=wishing(secret, MERGE, "count=exact"))
    assert (response.status_code, response.json()) == (
        201,
        [
            {"slug": "new-one", "title": "New one", "version": 1, "content": "", "tags": []},
            {
                "slug": "hello",
                "title": "Hello again",
                "version": 2,
                "content": "Text",
                "tags": [{"name": "python"}, {"name": "sql"}],
            },
        ],
    )
    assert response.headers["content-range"] == "*/2"
    assert response.headers["preference-applied"] == f"{MERGE}, return=representation, count=exact"
    path = f"/revisions?select=operation,changes&table_name=eq.posts&row_id=eq.{blog.post}&order=id"
    assert (await client.get(path, headers=secret)).json()[1:] == [
        {"operation": "update", "changes": {"title": ["Hello", "Hello again"]}}
    ]


@SURFACES
async def test_merge_that_inserts_nothing_is_200(client: httpx2.AsyncClient, secret: Headers, prefix: str) -> None:
    await make_tags(client, secret, "one", "two")
    path = f"{prefix}/tags?on_conflict=name&select=name"
    rows = [{"name": "two"}, {"name": " one "}]
    response = await client.post(path, json=rows, headers=wishing(secret, MERGE))
    assert (response.status_code, response.json()) == (200, [{"name": "two"}, {"name": "one"}])
    response = await client.post(path, json=[], headers=wishing(secret, MERGE))
    assert (response.status_code, response.json()) == (200, [])
    response = await client.post(path, json=rows, headers={**secret, **prefer("return=minimal", MERGE)})
    assert (response.status_code, response.content) == (200, b"")


async def test_merge_by_id(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    """The key of a row that is there may be sent along; the database makes all others."""
    rows = [{"id": blog.post, "title": "By id", "user_id": blog.ada}]
    response = await client.post(f"{REST}/posts?select=id,title", json=rows, headers=wishing(secret, MERGE))
    assert (response.status_code, response.json()) == (200, [{"id": blog.post, "title": "By id"}])
    for key in (999_999, blog.deleted):
        response = await client.post(f"{REST}/posts", json=[{**rows[0], "id": key}], headers=wishing(secret, MERGE))
        assert (response.status_code, response.json()["code"]) == (400, "428C9")
    mixed = [{**rows[0], "title": "Again"}, {"id": None, "title": "Without", "user_id": blog.ada}]
    response = await client.post(f"{REST}/posts?select=title", json=mixed, headers=wishing(secret, MERGE))
    assert (response.status_code, response.json()) == (201, [{"title": "Again"}, {"title": "Without"}])


async def test_merge_names_only_some_columns(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    """Required ones may be absent where the row is there, as everywhere in a change."""
    path = f"{REST}/posts?on_conflict=slug&select=title,content"
    row = {"slug": "hello", "content": "Only this"}
    response = await client.post(path, json=row, headers=wishing(secret, MERGE))
    assert (response.status_code, response.json()) == (200, [{"title": "Hello", "content": "Only this"}])
    response = await client.post(path, json={**row, "slug": "other"}, headers=wishing(secret, MERGE))
    assert (response.status_code, response.json()["code"]) == (400, "23502")


async def test_key_that_does_not_fit_the_row_is_refused(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers
) -> None:
    row = {"id": blog.draft, "slug": "hello", "title": "x", "user_id": blog.ada}
    for resolution in (MERGE, IGNORE):
        response = await client.post(f"{REST}/posts?on_conflict=slug", json=row, headers=wishing(secret, resolution))
        assert (response.status_code, response.json()["code"]) == (400, "428C9")


@pytest.mark.parametrize(("surface", "status"), [(REST, 500), ("", 422)])
async def test_two_rows_with_one_key_are_refused_before_any_statement(
    client: httpx2.AsyncClient, secret: Headers, statements: Statements, surface: str, status: int
) -> None:
    rows = [{"name": "same"}, {"name": " same"}]
    response = await client.post(f"{surface}/tags?on_conflict=name", json=rows, headers=wishing(secret, MERGE))
    assert (response.status_code, response.json()["code"]) == (status, "21000")
    assert response.json()["message"] == "ON CONFLICT DO UPDATE command cannot affect row a second time"
    assert statements.count == 0


async def test_row_of_a_deleted_slug_is_new(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    row = {"slug": "gone", "title": "Gone again", "user_id": blog.ada}
    path = f"{REST}/posts?on_conflict=slug&select=version"
    response = await client.post(path, json=row, headers=wishing(secret, MERGE))
    assert (response.status_code, response.json()) == (201, [{"version": 1}])


async def test_merge_keeps_its_budget(client: httpx2.AsyncClient, secret: Headers, statements: Statements) -> None:
    names = [f"tag {n}" for n in range(20)]
    await make_tags(client, secret, *names[:10])
    path = f"{REST}/tags?on_conflict=name"
    headers = {**secret, **prefer(MERGE)}
    statements.clear()
    assert (await client.post(path, json=[{"name": n} for n in names], headers=headers)).status_code == 201
    assert len(set(statements.texts)) == 2  # what is there; the rest
    author = {"username": "writer", "full_name": "One"}
    await client.post(f"{REST}/users?on_conflict=username", json=author, headers=headers)
    statements.clear()
    await client.post(f"{REST}/users?on_conflict=username", json={**author, "full_name": "Two"}, headers=headers)
    assert statements.count == 3  # what is there; the update; its revision


# ---- ignore ---------------------------------------------------------------------------------------------------------


@SURFACES
async def test_ignore_leaves_what_is_there(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str
) -> None:
    rows = [{"slug": slug, "title": "New", "user_id": blog.ada} for slug in ("hello", "other", "other")]
    path = f"{prefix}/posts?on_conflict=slug&select=slug,title"
    response = await client.post(path, json=rows, headers=wishing(secret, IGNORE))
    assert (response.status_code, response.json()) == (201, [{"slug": "other", "title": "New"}])
    response = await client.post(path, json=rows, headers=wishing(secret, IGNORE))
    assert (response.status_code, response.json()) == (201, [])
    assert (await client.get(f"/posts/{blog.post}")).json()["title"] == "Hello"


async def test_ignore_by_id(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    row = {"id": blog.post, "title": "x", "user_id": blog.ada}
    response = await client.post(f"{REST}/posts", json=row, headers=wishing(secret, IGNORE))
    assert (response.status_code, response.json()) == (201, [])


# ---- what on_conflict may name --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "columns", "code"),
    [
        ("posts", "title", "42P10"),
        ("posts", "slug,title", "42P10"),
        ("posts", "slag", "42703"),
        ("users", "hashed_password", "42703"),
        ("users", "email", ""),
        ("users", "uid", ""),
    ],
)
async def test_conflict_columns(
    client: httpx2.AsyncClient, secret: Headers, table: str, columns: str, code: str
) -> None:
    row = {"title": "x", "user_id": 1} if table == "posts" else {"username": "new", "email": "new@example.org"}
    response = await client.post(f"{REST}/{table}?on_conflict={columns}", json=row, headers=wishing(secret, MERGE))
    if code:
        assert (response.status_code, response.json()["code"]) == (400, code)
    else:
        assert response.status_code == 201


async def test_email_is_met_as_it_is_stored(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    row = {"username": "ada", "email": "ADA@Example.org", "full_name": "Ada"}
    path = f"{REST}/users?on_conflict=email&select=id,full_name"
    response = await client.post(path, json=row, headers=wishing(secret, MERGE))
    assert (response.status_code, response.json()) == (200, [{"id": blog.ada, "full_name": "Ada"}])


async def test_other_constraint_is_still_a_conflict(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    row = {"username": "third", "email": "bob@example.org"}
    path = f"{REST}/users?on_conflict=username"
    for resolution in (MERGE, IGNORE):
        response = await client.post(path, json=row, headers=wishing(secret, resolution))
        assert (response.status_code, response.json()["code"]) == (409, "23505")


# ---- rules ----------------------------------------------------------------------------------------------------------


async def test_author_reaches_only_own_rows(settings: Settings, database: Database, blog: Blog) -> None:
    """A visible post of somebody else is refused, a hidden one is a conflict that names no row."""
    async with client_as(user(blog.bob, "author"), settings, database) as client:
        path = f"{REST}/posts?on_conflict=slug&select=title"
        wish = prefer("return=representation", MERGE)
        visible = await client.post(path, json={"slug": "hello", "title": "Mine"}, headers=wish)
        assert (visible.status_code, visible.json()["code"]) == (403, "42501")
        hidden = await client.post(path, json={"slug": "draft", "title": "Mine"}, headers=wish)
        assert (hidden.status_code, hidden.json()["code"]) == (409, "23505")
        skipped = await client.post(
            path, json={"slug": "hello", "title": "Mine"}, headers=prefer("return=representation", IGNORE)
        )
        assert (skipped.status_code, skipped.json()) == (201, [])
        own = await client.post(path, json={"slug": "own", "title": "Mine"}, headers=wish)
        assert own.status_code == 201
        again = await client.post(path, json={"slug": "own", "title": "Still mine"}, headers=wish)
        assert (again.status_code, again.json()) == (200, [{"title": "Still mine"}])
    async with client_as(user(blog.ada, "author"), settings, database) as client:
        assert (await client.get(f"/posts/{blog.post}")).json()["title"] == "Hello"


async def test_masked_column_is_unknown_to_on_conflict(settings: Settings, database: Database, blog: Blog) -> None:
    async with client_as(user(blog.ada, "author"), settings, database) as client:
        wish = prefer(MERGE)
        for name in ("created_by", "nothing"):
            response = await client.post(f"{REST}/posts?on_conflict={name}", json={"title": "x"}, headers=wish)
            assert (response.status_code, response.json()["code"]) == (400, "42703")


async def test_the_same_upsert_at_once_makes_one_row(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    row = {"slug": "contended", "title": "One", "user_id": blog.ada}
    path = f"{REST}/posts?on_conflict=slug"
    headers = {**secret, **prefer(MERGE)}
    answers = await asyncio.gather(
        *(client.post(path, json={**row, "title": f"Title {n}"}, headers=headers) for n in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    (kept,) = (await client.get("/posts?slug=eq.contended&select=version", headers=secret)).json()
    assert kept["version"] == 8


# ---- POST -----------------------------------------------------------------------------------------------------------


async def test_query_of_a_post_restricts_nothing(client: httpx2.AsyncClient, secret: Headers) -> None:
    rows = [{"name": name} for name in ("b", "c", "a")]
    path = f"{REST}/tags?select=name&name=eq.x&limit=1&offset=1"
    response = await client.post(path, json=rows, headers=wishing(secret))
    assert [row["name"] for row in response.json()] == ["b", "c", "a"]
    rows = [{"name": name} for name in ("y", "z", "x")]
    response = await client.post(f"{REST}/tags?select=name&order=name.desc", json=rows, headers=wishing(secret))
    assert [row["name"] for row in response.json()] == ["z", "y", "x"]


async def test_counted_post(client: httpx2.AsyncClient, secret: Headers) -> None:
    headers = {**secret, **prefer("count=exact")}
    response = await client.post(f"{REST}/tags", json=[{"name": "a"}, {"name": "b"}], headers=headers)
    assert (response.status_code, response.headers["content-range"]) == (201, "*/2")
    assert response.headers["preference-applied"] == "count=exact"


async def test_location_of_one_row(client: httpx2.AsyncClient, secret: Headers) -> None:
    headers = {**secret, **prefer("return=headers-only")}
    one = await client.post(f"{REST}/tags", json={"name": "a"}, headers=headers)
    assert (one.status_code, one.content) == (201, b"")
    (row,) = (await client.get(REST + one.headers["location"])).json()
    assert row["name"] == "a"
    many = await client.post(f"{REST}/tags", json=[{"name": "b"}, {"name": "c"}], headers=headers)
    assert "location" not in many.headers


# ---- PUT by filter --------------------------------------------------------------------------------------------------


async def test_put_by_filter_changes_the_row(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    url = f"{REST}/posts?id=eq.{blog.post}&select=title,content"
    row = {"id": blog.post, "title": "Put"}
    response = await client.put(url, json=row, headers=wishing(secret))
    assert (response.status_code, response.json()) == (200, [{"title": "Put", "content": "Text"}])
    assert "content-range" not in response.headers
    response = await client.put(url, json=[row, {"id": 1, "title": "ignored"}], headers=secret)
    assert (response.status_code, response.content) == (204, b"")
    plain = await client.put(f"/posts?id=eq.{blog.post}&select=title", json=row, headers=secret)
    assert (plain.status_code, plain.json()) == (200, {"title": "Put"})


async def test_put_makes_no_row(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    row = {"id": 999_999, "title": "Put", "user_id": blog.ada}
    response = await client.put(f"{REST}/posts?id=eq.999999", json=row, headers=secret)
    assert (response.status_code, response.json()["code"]) == (400, "428C9")


@pytest.mark.parametrize(
    ("query", "row", "status", "code"),
    [
        ("id=eq.1&limit=1", {"id": 1}, 400, "PGRST114"),
        ("id=eq.1&offset=1", {"id": 1}, 400, "PGRST114"),
        ("", {"id": 1}, 405, "PGRST105"),
        ("id=gt.1", {"id": 1}, 405, "PGRST105"),
        ("id=not.eq.1", {"id": 1}, 405, "PGRST105"),
        ("id=eq.1&title=eq.x", {"id": 1}, 405, "PGRST105"),
        ("title=eq.x", {"id": 1}, 405, "PGRST105"),
        ("and=(id.eq.1)", {"id": 1}, 405, "PGRST105"),
        ("id=eq.1", {"id": 2}, 400, "PGRST115"),
        ("id=eq.1", {"title": "x"}, 400, "PGRST115"),
        ("id=eq.1", [], 400, "PGRST115"),
        ("id=eq.x", {"id": 1}, 400, "22P02"),
        ("id=eq.1", {"id": 1, "titel": "x"}, 400, "PGRST204"),
    ],
)
async def test_bad_put(
    client: httpx2.AsyncClient, secret: Headers, query: str, row: Any, status: int, code: str
) -> None:
    response = await client.put(f"{REST}/posts?{query}", json=row, headers=secret)
    assert (response.status_code, response.json()["code"]) == (status, code)
