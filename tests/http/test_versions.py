"""Versions: a row set back to one, and changes that must name the one that they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from app.data.database import Database
from app.data.rules import Principal, Role
from app.settings import Settings
from tests.conftest import Clock
from tests.http.asking import client_as
from tests.http.conftest import Blog
from tests.http.persons import Ask, as_absent, librarian, persons, told
from tests.security.state import changes, state_of

ABSENT = 999
UUID = "5f1c5ed7-9c6e-4a52-b0a5-2f9b7b1c1a11"


@pytest.fixture
async def ask(settings: Settings, database: Database, blog: Blog) -> AsyncGenerator[Ask]:
    async with persons(settings, database, blog) as ask:
        yield ask


@pytest.fixture
async def strict(settings: Settings, database: Database, blog: Blog) -> AsyncGenerator[Ask]:
    """A service that wants conditions."""
    async with persons(settings, database, blog, require_if_match=True) as ask:
        yield ask


async def edited(ask: Ask, blog: Blog, clock: Clock) -> str:
    """The path of ada's post after a change of all that she may change: it is at version 2."""
    clock.advance(60)
    change = {
        "title": "Again",
        "slug": "again",
        "content": "More",
        "status": "archived",
        "published_at": None,
        "tags": ["new"],
    }
    answer = await ask("ada", "PATCH", f"/posts/{blog.post}", change)
    assert answer.status_code == 200, answer.text
    return f"/posts/{blog.post}"


# ---- the way back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["ada", "root"])
async def test_row_becomes_what_it_was_as_a_new_version(ask: Ask, blog: Blog, clock: Clock, who: str) -> None:
    shape = "select=*,tags(name)&tags.order=name"
    before = await ask.one(who, f"/posts/{blog.post}?{shape}")
    path = await edited(ask, blog, clock)
    clock.advance(60)
    back = await ask(who, "POST", f"{path}/revisions/1/restore?{shape}")
    stamps = {"updated_at": "2026-01-01T12:02:00+00:00", "version": 3}
    stamps |= {} if who == "ada" else {"updated_by": None}
    assert (back.status_code, back.json()) == (200, before | stamps)
    item = await ask(who, "GET", f"{path}?{shape}")
    assert (item.content, item.headers["etag"]) == (back.content, back.headers["etag"])
    revision = (await ask.one(who, f"{path}/revisions"))[0]
    assert (revision["operation"], revision["version"]) == ("update", 3)
    assert revision["changes"]["tags"] == [["new"], ["python", "sql"]]


async def test_version_that_equals_the_present_changes_nothing(
    ask: Ask, blog: Blog, clock: Clock, database: Database
) -> None:
    path = await edited(ask, blog, clock)
    before = await state_of(database)
    answer = await ask("ada", "POST", f"{path}/revisions/2/restore")
    assert (answer.status_code, answer.json()) == (200, await ask.one("ada", path))
    assert list(changes(before, await state_of(database))) == []


async def test_deleted_row_has_no_way_back_to_a_version(ask: Ask, blog: Blog) -> None:
    """It has to come back first; its deletion is no value that a version could set."""
    path = f"/posts/{blog.deleted}"
    absent = as_absent(await ask("ada", "PATCH", f"/posts/{ABSENT}", {"title": "x"}), ABSENT, ABSENT)
    refused = as_absent(await ask("ada", "POST", f"{path}/revisions/1/restore"), blog.deleted, ABSENT)
    assert refused == absent
    await ask("ada", "POST", f"{path}/restore")
    assert (await ask("ada", "POST", f"{path}/revisions/2/restore")).json()["deleted_at"] is None


async def test_way_back_answers_as_patch(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    patched = await ask("ada", "PATCH", f"{path}?select=id,title", {"title": "Hello"}, prefer="handling=strict")
    await edited(ask, blog, clock)
    back = await ask("ada", "POST", f"{path}/revisions/3/restore?select=id,title", prefer="handling=strict")
    assert back.content == patched.content
    assert back.headers["etag"].partition("-")[0] == '"5'
    assert {*back.headers} == {*patched.headers}
    minimal = await ask("ada", "POST", f"{path}/revisions/1/restore", prefer="return=minimal")
    assert (minimal.status_code, minimal.content) == (204, b"")
    assert (await ask("ada", "POST", f"{path}/revisions/1/restore?title=eq.x")).status_code == 400


async def test_way_back_honours_if_match(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    stale = await ask("ada", "POST", f"{path}/revisions/1/restore", if_match='"1"')
    assert (stale.status_code, stale.json()["code"]) == (412, "BRD412")
    assert (await ask.one("ada", path))["version"] == 2
    assert (await ask("ada", "POST", f"{path}/revisions/1/restore", if_match='"2"')).status_code == 200


async def test_way_back_under_a_key_is_taken_once(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    first = await ask("ada", "POST", f"{path}/revisions/1/restore", idempotency_key=UUID)
    await edited(ask, blog, clock)
    again = await ask("ada", "POST", f"{path}/revisions/1/restore", idempotency_key=UUID)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert (await ask.one("ada", path))["title"] == "Again"


async def test_slug_that_is_taken_meanwhile_is_a_conflict(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    assert (await ask("eve", "POST", "/posts", {"title": "Hello", "slug": "hello"})).status_code == 201
    refused = await ask("ada", "POST", f"{path}/revisions/1/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "23505")
    assert (await ask.one("ada", path))["version"] == 2


async def test_owner_who_has_gone_is_a_conflict(ask: Ask, blog: Blog) -> None:
    """An admin's version has the owner; the author's has not, for she may not write that."""
    path = f"/posts/{ask.foreign}"
    owner = (await ask.one("root", path))["user_id"]
    await ask("root", "PATCH", path, {"user_id": blog.ada, "title": "Adas"})
    assert (await ask("root", "DELETE", f"/users/{owner}")).status_code == 204
    refused = await ask("root", "POST", f"{path}/revisions/1/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "23503")
    back = await ask("ada", "POST", f"{path}/revisions/1/restore")
    assert (back.status_code, back.json()["title"], back.json()["user_id"]) == (200, "Foreign", blog.ada)


async def test_tag_that_has_gone_is_made_again(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    tag = (await ask.one("root", "/tags?name=eq.sql"))[0]["id"]
    assert (await ask("root", "DELETE", f"/tags/{tag}")).status_code == 204
    back = await ask("ada", "POST", f"{path}/revisions/1/restore?select=tags(name)&tags.order=name")
    assert back.json() == {"tags": [{"name": "python"}, {"name": "sql"}]}


async def test_user_becomes_what_it_was_but_for_the_password(ask: Ask, blog: Blog) -> None:
    path = f"/users/{blog.bob}"
    await ask("root", "PATCH", path, {"full_name": "Robert", "email": "new@example.org", "role": "author"})
    back = await ask("root", "POST", f"{path}/revisions/1/restore")
    was = await ask.one("root", f"{path}/revisions/1")
    assert {name: back.json()[name] for name in ("full_name", "email", "role")} == {
        name: was[name] for name in ("full_name", "email", "role")
    }
    assert back.json()["balance"] == (await ask.one("root", path))["balance"]


async def test_batch_goes_back(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    requests = [
        {"method": "PATCH", "path": path, "body": {"title": "Batched"}},
        {"method": "POST", "path": f"{path}/revisions/3/restore?select=title,version"},
        {"method": "POST", "path": f"{path}/revisions/1/restore?select=title,version"},
    ]
    answers = (await ask("ada", "POST", "/batch", requests)).json()
    assert [answer["body"] for answer in answers[1:]] == [
        {"title": "Batched", "version": 3},
        {"title": "Hello", "version": 4},
    ]


@pytest.mark.parametrize("who", ["eve", "bob", "nobody"])
async def test_outsider_is_refused_as_by_patch(
    ask: Ask, blog: Blog, clock: Clock, database: Database, who: str
) -> None:
    path = await edited(ask, blog, clock)
    await ask("ada", "PATCH", path, {"status": "published"})
    before = await state_of(database)
    for id in (blog.post, blog.draft, blog.deleted, ABSENT):
        patch = await ask(who, "PATCH", f"/posts/{id}", {"title": "poked"})
        for number in (1, 9):
            assert told(await ask(who, "POST", f"/posts/{id}/revisions/{number}/restore")) == told(patch)
    assert list(changes(before, await state_of(database))) == []


async def test_member_has_no_way_back_in_the_own_row(ask: Ask, blog: Blog) -> None:
    """It may write the row, and knows of no version of it."""
    await ask("bob", "PATCH", f"/users/{blog.bob}", {"full_name": "Robert"})
    refused = await ask("bob", "POST", f"/users/{blog.bob}/revisions/1/restore")
    assert (refused.status_code, refused.json()["code"]) == (404, "BRD404")
    assert (await ask.one("bob", f"/users/{blog.bob}"))["full_name"] == "Robert"


async def test_way_back_needs_both_scopes(settings: Settings, database: Database, blog: Blog) -> None:
    for scopes, status in (
        ({"posts:write"}, 403),
        ({"revisions:read", "posts:read"}, 403),
        ({"posts:write", "revisions:read"}, 200),
    ):
        key = Principal(Role.SERVICE, None, "0123456789abcdef", frozenset(scopes))
        async with client_as(key, settings, database) as client:
            assert (await client.post(f"/posts/{blog.post}/revisions/1/restore")).status_code == status


# ---- changes that must name the version -----------------------------------------------------------------------------


async def test_change_without_a_version_is_refused_where_one_is_wanted(
    strict: Ask, blog: Blog, database: Database
) -> None:
    before = await state_of(database)
    path = f"/posts/{blog.post}"
    body: dict[str, Any] | None = {"title": "Late", "slug": "late", "user_id": blog.ada}
    asked = [(method, path, body) for method in ("PATCH", "PUT", "DELETE")]
    asked += [("POST", f"{path}/revisions/1/restore", None), ("POST", f"/posts/{blog.deleted}/restore", None)]
    for prefix in ("", "/rest/v1"):
        rows = f"{prefix}/posts?id=eq.{blog.post}"
        asked += [("PATCH", rows, body), ("DELETE", rows, None), ("PUT", rows, {"id": blog.post, "title": "x"})]
        asked += [("PATCH", f"{rows}&version=neq.9", body), ("PATCH", f"{rows}&version=not.eq.9", body)]
        asked += [("PATCH", f"{rows}&or=(version.eq.1,id.gt.0)", body), ("PATCH", f"{rows}&version=gte.1", body)]
    for method, url, given in asked:
        for headers in ({}, {"if_match": "*"}):
            refused = await strict("root", method, url, given, **headers)
            assert (refused.status_code, refused.json()["code"]) == (428, "BRD428"), (method, url, refused.text)
            assert refused.json()["hint"]
    assert list(changes(before, await state_of(database))) == []


async def test_change_that_names_the_version_is_made(strict: Ask, blog: Blog) -> None:
    path, rows = f"/posts/{blog.post}", f"/rest/v1/posts?id=eq.{blog.post}"
    body = {"title": "Next"}
    asked = [("PATCH", path, body), ("PUT", path, {"title": "Put", "slug": "put", "user_id": blog.ada})]
    asked += [("PATCH", rows, {"title": "Rows"}), ("PUT", rows, {"id": blog.post, "title": "By key"})]
    asked += [("POST", f"{path}/revisions/1/restore", body), ("DELETE", path, body), ("POST", f"{path}/restore", body)]
    for version, (method, url, given) in enumerate(asked, start=1):
        stale = await strict("root", method, url, given, if_match=f'"{version + 1}"')
        assert (stale.status_code, stale.json()["code"]) == (412, "BRD412"), (method, url)
        answer = await strict("root", method, url, given, if_match=f'"{version}"')
        assert answer.status_code in (200, 204), (method, url, answer.text)


@pytest.mark.parametrize("test", ["version=eq.1", "version=in.(1,2)", "id=gt.0&version=eq(any).{1}"])
async def test_filter_on_the_version_will_do(strict: Ask, blog: Blog, test: str) -> None:
    rows = f"/posts?id=eq.{blog.post}&{test}"
    assert (await strict("root", "PATCH", rows, {"title": "Next"})).json()[0]["version"] == 2
    assert (await strict("root", "DELETE", f"/posts?id=eq.{blog.draft}&{test}")).status_code == 204


async def test_row_without_versions_needs_none(settings: Settings, spare_url: str) -> None:
    async with librarian(settings, spare_url, require_if_match=True) as library:
        path = (await library.post("/genres", json={"label": "novel"})).headers["location"]
        assert (await library.patch(path, json={"label": "essay"})).status_code == 200
        assert (await library.patch("/genres?label=eq.essay", json={"label": "novel"})).status_code == 200
        assert (await library.delete(path)).status_code == 204


async def test_new_rows_and_reads_need_none(strict: Ask, blog: Blog) -> None:
    assert (await strict("ada", "POST", "/posts", {"title": "New"})).status_code == 201
    assert (await strict("ada", "GET", f"/posts/{blog.post}")).status_code == 200


async def test_refusals_of_the_caller_come_first(strict: Ask, blog: Blog) -> None:
    for who, status in (("nobody", 401), ("bob", 403)):
        assert (await strict(who, "PATCH", f"/posts/{blog.post}", {"title": "x"})).status_code == status
        assert (await strict(who, "DELETE", f"/posts/{blog.post}")).status_code == status
    assert (await strict("ada", "PATCH", f"/posts/{blog.post}", {"nothing": 1})).status_code == 422


async def test_requests_of_a_batch_name_versions_too(strict: Ask, blog: Blog) -> None:
    change = {"method": "PATCH", "path": f"/posts/{blog.post}", "body": {"title": "Batched"}}
    assert (await strict("ada", "POST", "/batch", [change])).status_code == 428
    named = {**change, "headers": {"If-Match": '"1"'}}
    assert (await strict("ada", "POST", "/batch", [named])).status_code == 200


async def test_put_by_filter_honours_if_match(ask: Ask, blog: Blog) -> None:
    rows, body = f"/rest/v1/posts?id=eq.{blog.post}", {"id": blog.post, "title": "Put"}
    stale = await ask("ada", "PUT", rows, body, if_match='"9"')
    assert (stale.status_code, stale.json()["code"]) == (412, "BRD412")
    assert (await ask("ada", "PUT", rows, body, if_match='"1"')).status_code == 204
    assert (await ask.one("ada", f"/posts/{blog.post}"))["title"] == "Put"


# ---- editors at the same time ---------------------------------------------------------------------------------------


async def test_filter_on_the_version_changes_the_row_at_that_version_alone(ask: Ask, blog: Blog) -> None:
    rows = f"/rest/v1/posts?id=eq.{blog.post}&version=eq"
    done = await ask("ada", "PATCH", f"{rows}.1", {"title": "One"}, prefer="count=exact")
    assert (done.status_code, done.headers["content-range"]) == (204, "0-0/1")
    late = await ask("ada", "PATCH", f"{rows}.1", {"title": "Two"}, prefer="count=exact")
    assert (late.status_code, late.headers["content-range"]) == (204, "*/0")
    shown = await ask("ada", "PATCH", f"{rows}.1", {"title": "Two"}, prefer="return=representation")
    assert (shown.status_code, shown.json()) == (200, [])
    assert (await ask.one("ada", f"/posts/{blog.post}"))["title"] == "One"


async def test_of_editors_at_one_version_one_succeeds(ask: Ask, blog: Blog) -> None:
    """By filter the others change nothing, by If-Match they are told."""
    for version in range(1, 6):
        rows = f"/rest/v1/posts?id=eq.{blog.post}&version=eq.{version}"
        answers = await asyncio.gather(
            *(ask("ada", "PATCH", rows, {"title": f"{version} {n}"}, prefer="count=exact") for n in range(4))
        )
        assert sorted(answer.headers["content-range"] for answer in answers) == ["*/0"] * 3 + ["0-0/1"]
    for version in range(6, 9):
        path, condition = f"/posts/{blog.post}", f'"{version}"'
        answers = await asyncio.gather(
            *(ask("ada", "PATCH", path, {"title": f"{version} {n}"}, if_match=condition) for n in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    assert (await ask.one("ada", f"/posts/{blog.post}"))["version"] == 9
