"""What a row was: its revisions as a page, each of its versions as a row, and nothing of either for outsiders."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from starlette.routing import Match

from app.data.database import Database
from app.data.rules import SERVICE, VIEWS, Principal, Role
from app.http.routes import resource_routes
from app.http.surfaces import PLAIN
from app.resources import CATALOG
from app.settings import Settings
from tests.conftest import Clock, Statements
from tests.http.asking import client_as
from tests.http.conftest import Blog
from tests.http.persons import OUTSIDERS, Ask, as_absent, edited, persons, told
from tests.http.test_openapi import plain

ABSENT = 999


@pytest.fixture
async def ask(settings: Settings, database: Database, blog: Blog) -> AsyncGenerator[Ask]:
    async with persons(settings, database, blog) as ask:
        yield ask


# ---- the page of revisions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["ada", "root"])
async def test_revisions_of_a_row_are_those_of_the_table(ask: Ask, blog: Blog, clock: Clock, who: str) -> None:
    path = await edited(ask, blog, clock)
    found = await ask(who, "GET", f"{path}/revisions")
    table = await ask(who, "GET", f"/revisions?table_name=eq.posts&row_id=eq.{blog.post}&order=id.desc")
    assert (found.status_code, found.content) == (200, table.content)
    assert [(row["version"], row["operation"]) for row in found.json()] == [(3, "update"), (2, "update"), (1, "insert")]
    assert found.headers["content-range"] == "0-2/*"
    assert found.headers["content-location"] == f"{path}/revisions"
    assert ("key_id" in found.json()[0]) is (who == "root")


async def test_filters_columns_order_and_count_are_those_of_a_page(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    query = "select=version&operation=eq.update&order=version"
    found = await ask("ada", "GET", f"{path}/revisions?{query}", prefer="count=exact")
    assert found.json() == [{"version": 2}, {"version": 3}]
    assert found.headers["content-range"] == "0-1/2"
    counted = await ask("ada", "GET", f"{path}/revisions?select=count")
    assert counted.json() == [{"count": 3}]
    ranged = await ask("ada", "GET", f"{path}/revisions?select=version", range="1-1", prefer="count=exact")
    assert (ranged.status_code, ranged.json(), ranged.headers["content-range"]) == (206, [{"version": 2}], "1-1/3")
    csv = await ask("ada", "GET", f"{path}/revisions?select=version,operation&limit=1", accept="text/csv")
    assert csv.text == "version,operation\n3,update"
    assert (await ask("ada", "GET", f"{path}/revisions?row_id=eq.{blog.draft}")).json() == []
    assert (await ask("ada", "GET", f"{path}/revisions?nothing=eq.1")).json()["code"] == "42703"


async def test_link_leads_through_the_pages(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    found, url = [], f"{path}/revisions?select=version&limit=1"
    while url:
        page = await ask("ada", "GET", url)
        found += page.json()
        url = str(page.links["next"]["url"]) if "next" in page.links else ""
    assert [row["version"] for row in found] == [3, 2, 1]


async def test_cursor_belongs_to_the_history_of_its_row(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    url = str((await ask("ada", "GET", f"{path}/revisions?limit=1")).links["next"]["url"])
    other = url.replace(path, f"/posts/{blog.draft}")
    refused = await ask("ada", "GET", other)
    assert (refused.status_code, refused.json()["code"]) == (400, "PGRST100")


async def test_rows_share_what_is_planned_and_compiled(
    settings: Settings, database: Database, blog: Blog, statements: Statements
) -> None:
    """An allowance of one new shape is enough for the revisions of many rows."""
    async with client_as(SERVICE, settings, database, limits={"new_shapes": 1}) as client:
        statements.clear()
        for id in (blog.post, blog.draft, blog.scheduled, blog.deleted):
            found = await client.get(f"/posts/{id}/revisions")
            assert {row["row_id"] for row in found.json()} == {str(id)}
        assert len(set(statements.texts)) == 1
        assert statements.count == 4  # one for each page


async def test_head_answers_as_get(ask: Ask, blog: Blog) -> None:
    for path in (f"/posts/{blog.post}/revisions", f"/posts/{blog.post}/revisions/1"):
        got, head = await ask("ada", "GET", path), await ask("ada", "HEAD", path)
        assert (head.status_code, head.headers["etag"]) == (200, got.headers["etag"])


async def test_row_without_revisions_is_missing_on_its_first_page_alone(ask: Ask) -> None:
    path = f"/posts/{ABSENT}/revisions"
    missing, item = await ask("root", "GET", path), await ask("root", "GET", f"/posts/{ABSENT}")
    assert told(missing) == told(item)
    for query in ("?operation=eq.update", "?limit=0", "?offset=1"):
        assert (await ask("root", "GET", path + query)).json() == []


# ---- outsiders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", OUTSIDERS)
@pytest.mark.parametrize("table", ["posts", "users"])
async def test_who_sees_no_revisions_is_answered_as_if_the_row_had_never_been(
    ask: Ask, blog: Blog, statements: Statements, who: str, table: str
) -> None:
    """Be the row public, hidden, or the caller's own; and the database is not asked."""
    ids = [blog.post, blog.draft, blog.deleted] if table == "posts" else [blog.ada, blog.bob]
    tails = ["/revisions", "/revisions?select=nothing", "/revisions?operation=eq.insert", "/revisions/1"]
    statements.clear()
    for tail in tails:
        absent = as_absent(await ask(who, "GET", f"/{table}/{ABSENT}{tail}"), ABSENT, ABSENT)
        assert absent[0] == 404
        for id in ids:
            assert as_absent(await ask(who, "GET", f"/{table}/{id}{tail}"), id, ABSENT) == absent
    assert statements.count == 0


async def test_other_author_is_answered_as_if_the_row_had_never_been(ask: Ask, blog: Blog) -> None:
    for tail in ("/revisions", "/revisions?operation=eq.insert", "/revisions?select=count", "/revisions/1"):
        absent = as_absent(await ask("eve", "GET", f"/posts/{ABSENT}{tail}"), ABSENT, ABSENT)
        for id in (blog.post, blog.draft, blog.deleted):
            found = as_absent(await ask("eve", "GET", f"/posts/{id}{tail}"), id, ABSENT)
            assert (found[0], found[2]) == (absent[0], absent[2])
    assert (await ask("eve", "GET", f"/users/{blog.ada}/revisions")).status_code == 404
    assert (await ask("eve", "GET", f"/posts/{ask.foreign}/revisions/1")).status_code == 200


async def test_author_sees_the_history_of_an_own_deleted_post(ask: Ask, blog: Blog) -> None:
    assert len(await ask.one("ada", f"/posts/{blog.deleted}/revisions")) == 2
    assert (await ask.one("ada", f"/posts/{blog.deleted}/revisions/1"))["title"] == "Gone"


async def test_history_needs_the_scope_of_revisions(settings: Settings, database: Database, blog: Blog) -> None:
    paths = (f"/posts/{blog.post}/revisions", f"/posts/{blog.post}/revisions/1")
    for scope, status in (("posts:write", 403), ("revisions:read", 200)):
        key = Principal(Role.SERVICE, None, "0123456789abcdef", frozenset({scope}))
        async with client_as(key, settings, database) as client:
            for path in paths:
                assert (await client.get(path)).status_code == status


# ---- routes ---------------------------------------------------------------------------------------------------------


async def test_each_route_has_its_methods(ask: Ask, blog: Blog) -> None:
    reading, writing = "OPTIONS,GET,HEAD", "OPTIONS,POST"
    tails = {"/revisions": reading, "/revisions/1": reading, "/revisions/1/restore": writing, "/restore": writing}
    for tail, allow in tails.items():
        path = f"/posts/{blog.post}{tail}"
        assert (await ask("nobody", "OPTIONS", path)).headers["allow"] == allow
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - set(allow.split(",")):
            refused = await ask("ada", method, path)
            assert (refused.status_code, refused.headers["allow"]) == (405, allow)


@pytest.mark.parametrize("view", VIEWS)
def test_routes_are_described_to_those_who_may_use_them(view: Role) -> None:
    described = plain(CATALOG, view)
    below = {path for path in described["paths"] if "{id}/" in path}
    own = {f"/posts/{{id}}/{tail}" for tail in ("revisions", "revisions/{number}", "revisions/{number}/restore")}
    may = {Role.AUTHOR: own | {"/posts/{id}/restore"}, Role.ADMIN: own | {"/posts/{id}/restore"}}.get(view, set())
    assert {path for path in below if path.startswith("/posts")} == may
    assert ("/users/{id}/restore" in below) is (view is Role.ADMIN)
    assert ("posts.version" in described["components"]["schemas"]) is bool(may)


async def test_rest_surface_and_tables_without_history_have_none_of_them(ask: Ask) -> None:
    """Nor are words of the routes tables of the other surface."""
    for tail, method in (("/revisions", "GET"), ("/revisions/1", "GET"), ("/revisions/1/restore", "POST")):
        for path in (f"/rest/v1/posts/1{tail}", f"/tags/1{tail}", f"/post_tags/1{tail}", f"/rest/v1{tail}/x"):
            for verb in (method, "OPTIONS"):
                refused = await ask("root", verb, path)
                assert (refused.status_code, refused.json()["code"]) == (404, "PGRST125"), (verb, path)
    for path in ("/rest/v1/posts/1/restore", "/tags/1/restore", "/transfers/1/restore"):
        assert (await ask("root", "POST", path)).json()["code"] == "PGRST125"
    assert (await ask("root", "GET", "/rest/v1/revisions")).status_code == 200
    assert (await ask("root", "GET", "/nothing/1/revisions")).json()["code"] == "PGRST205"


@pytest.mark.parametrize(
    ("path", "name", "id"),
    [
        ("/things/revisions", "plain_item", "revisions"),
        ("/things/restore", "plain_item", "restore"),
        ("/things/revisions/revisions", "plain_revisions", "revisions"),
        ("/things/restore/restore", "plain_restore", "restore"),
        ("/things/revisions/restore", "plain_restore", "revisions"),
        ("/things/revisions/revisions/3", "plain_version", "revisions"),
        ("/things/revisions/revisions/3/restore", "plain_restore_version", "revisions"),
    ],
)
def test_keys_that_are_words_of_the_routes_name_rows(path: str, name: str, id: str) -> None:
    scope = {"type": "http", "method": "GET", "path": path}
    matching = [
        (route, found)
        for route in resource_routes(PLAIN)
        for match, found in [route.matches(scope)]
        if match is Match.FULL
    ]
    assert [(route.name, found["path_params"]["id"]) for route, found in matching] == [(name, id)]


async def test_batch_reads_history_that_it_has_made(ask: Ask, blog: Blog) -> None:
    path = f"/posts/{blog.post}"
    requests = [
        {"method": "PATCH", "path": path, "body": {"title": "Batched"}},
        {"path": f"{path}/revisions?select=version"},
        {"path": f"{path}/revisions/1"},
        {"path": f"{path}/revisions/2"},
    ]
    answer = await ask("ada", "POST", "/batch", requests)
    _, page, first, second = [found["body"] for found in answer.json()]
    assert page == [{"version": 2}, {"version": 1}]
    assert (first["title"], second["title"]) == ("Hello", "Batched")
