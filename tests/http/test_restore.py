"""Deleted rows: who finds them, and who brings them back with what went along."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.data.database import Database
from app.models import User
from app.resources import CATALOG
from app.settings import Settings
from tests.conftest import Clock, Statements
from tests.http.conftest import Blog
from tests.http.persons import Ask, as_absent, persons, told
from tests.security.state import changes, state_of

USERS: Any = User.__table__
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "history.md").read_text()
ABSENT = 999
UUID = "5f1c5ed7-9c6e-4a52-b0a5-2f9b7b1c1a11"


@pytest.fixture
async def ask(settings: Settings, database: Database, blog: Blog) -> AsyncGenerator[Ask]:
    async with persons(settings, database, blog) as ask:
        yield ask


# ---- finding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/posts", "/rest/v1/posts"])
async def test_deleted_rows_are_found_by_those_who_ask_for_them_and_may(ask: Ask, blog: Blog, path: str) -> None:
    query = f"{path}?deleted_at=not.is.null&select=id"
    for who, found in (("ada", [{"id": blog.deleted}]), ("root", [{"id": blog.deleted}]), ("eve", [])):
        assert await ask.one(who, query) == found
        assert {"id": blog.deleted} not in await ask.one(who, f"{path}?select=id")
    for who in ("bob", "nobody"):
        assert (await ask(who, "GET", query)).json()["code"] == "42703"


async def test_item_stays_absent_while_it_is_deleted(ask: Ask, blog: Blog) -> None:
    for who in ("ada", "eve", "bob", "nobody", "root"):
        absent = as_absent(await ask(who, "GET", f"/posts/{ABSENT}"), ABSENT, ABSENT)
        assert as_absent(await ask(who, "GET", f"/posts/{blog.deleted}"), blog.deleted, ABSENT) == absent


# ---- bringing back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["ada", "root"])
async def test_deleted_row_comes_back(ask: Ask, blog: Blog, clock: Clock, who: str) -> None:
    path = f"/posts/{blog.deleted}"
    clock.advance(60)
    back = await ask(who, "POST", f"{path}/restore?select=id,title,deleted_at,updated_at,version,author(username)")
    assert back.status_code == 200
    assert back.json() == {
        "id": blog.deleted,
        "title": "Gone",
        "deleted_at": None,
        "updated_at": "2026-01-01T12:01:00+00:00",
        "version": 3,
        "author": {"username": "ada"},
    }
    item = await ask(who, "GET", f"{path}?select=id,title,deleted_at,updated_at,version,author(username)")
    assert (back.content, back.headers["etag"]) == (item.content, item.headers["etag"])
    revision = (await ask.one(who, f"{path}/revisions"))[0]
    assert (revision["operation"], revision["version"]) == ("restore", 3)
    assert revision["changes"] == {"deleted_at": ["2026-01-01T12:00:00+00:00", None]}


async def test_row_that_is_not_deleted_is_answered_as_it_is(ask: Ask, blog: Blog, database: Database) -> None:
    before = await state_of(database)
    answer = await ask("ada", "POST", f"/posts/{blog.post}/restore")
    assert (answer.status_code, answer.json()) == (200, await ask.one("ada", f"/posts/{blog.post}"))
    assert list(changes(before, await state_of(database))) == []


async def test_answer_is_shaped_as_that_of_other_writes(ask: Ask, blog: Blog) -> None:
    path = f"/posts/{blog.deleted}/restore"
    undone = await ask("ada", "POST", f"{path}?select=nothing")
    assert undone.json()["code"] == "42703"
    assert (await ask("ada", "POST", f"{path}?title=eq.x")).status_code == 400
    minimal = await ask("ada", "POST", path, prefer="return=minimal")
    assert (minimal.status_code, minimal.content) == (204, b"")
    assert minimal.headers["preference-applied"] == "return=minimal"


async def test_restore_names_the_version_that_it_restores(ask: Ask, blog: Blog) -> None:
    path = f"/posts/{blog.deleted}"
    stale = await ask("ada", "POST", f"{path}/restore", if_match='"1"')
    assert (stale.status_code, stale.json()["code"]) == (412, "BRD412")
    assert (await ask("ada", "GET", path)).status_code == 404
    assert (await ask("ada", "POST", f"{path}/restore", if_match='"2-0123"')).status_code == 200


async def test_restore_under_a_key_is_done_once(ask: Ask, blog: Blog) -> None:
    path = f"/posts/{blog.deleted}"
    first = await ask("ada", "POST", f"{path}/restore", idempotency_key=UUID)
    await ask("ada", "DELETE", path)
    again = await ask("ada", "POST", f"{path}/restore", idempotency_key=UUID)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert (await ask("ada", "GET", path)).status_code == 404


async def test_batch_restores(ask: Ask, blog: Blog) -> None:
    path = f"/posts/{blog.deleted}"
    requests = [{"method": "POST", "path": f"{path}/restore"}, {"path": f"{path}?select=version"}]
    answers = (await ask("ada", "POST", "/batch", requests)).json()
    assert [answer["status"] for answer in answers] == [200, 200]
    assert answers[1]["body"] == {"version": 3}


async def test_taken_slug_keeps_a_post_away(ask: Ask, blog: Blog) -> None:
    made = await ask("eve", "POST", "/posts", {"title": "Gone", "slug": "gone"})
    assert made.status_code == 201
    refused = await ask("ada", "POST", f"/posts/{blog.deleted}/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "23505")
    await ask("eve", "DELETE", made.headers["location"])
    assert (await ask("ada", "POST", f"/posts/{blog.deleted}/restore")).status_code == 200


async def test_restore_takes_a_constant_number_of_statements(
    ask: Ask, blog: Blog, database: Database, statements: Statements
) -> None:
    await ask("ada", "POST", f"/posts/{blog.deleted}/restore")
    await ask("ada", "DELETE", f"/posts/{blog.deleted}")
    statements.clear()
    await ask("ada", "POST", f"/posts/{blog.deleted}/restore")
    # the row's lock, its author, the row, its revision, the answer; on PostgreSQL the author's lock before
    assert statements.count == (5 if database.name == "sqlite" else 6)


# ---- with what went along -------------------------------------------------------------------------------------------


async def delete_ada(ask: Ask, blog: Blog) -> None:
    taken = await ask("root", "PATCH", f"/posts/{blog.post}", {"title": "Before"})
    assert taken.status_code == 200
    gone = await ask("root", "DELETE", f"/users/{blog.ada}")
    assert gone.status_code == 204, gone.text


@pytest.fixture
async def poor(database: Database, blog: Blog) -> None:
    """ada without her balance, which would keep her."""
    async with database.writer.begin() as connection:
        await connection.execute(update(USERS).values(balance=0))


@pytest.mark.usefixtures("poor")
async def test_user_comes_back_with_the_posts_that_went_along(ask: Ask, blog: Blog, clock: Clock) -> None:
    clock.advance(60)
    await delete_ada(ask, blog)
    assert await ask.one("root", "/posts?select=id&user_id=eq." + str(blog.ada)) == []
    clock.advance(60)
    back = await ask("root", "POST", f"/users/{blog.ada}/restore")
    assert (back.status_code, back.json()["deleted_at"]) == (200, None)
    posts = await ask.one("root", f"/posts?select=id&user_id=eq.{blog.ada}&order=id")
    assert [row["id"] for row in posts] == [blog.post, blog.draft, blog.scheduled]  # the other was deleted before


@pytest.mark.usefixtures("poor")
async def test_post_of_a_deleted_author_does_not_come_back(ask: Ask, blog: Blog, clock: Clock) -> None:
    clock.advance(60)
    await delete_ada(ask, blog)
    for id in (blog.post, blog.deleted):
        refused = await ask("root", "POST", f"/posts/{id}/restore")
        assert (refused.status_code, refused.json()["code"]) == (409, "23503")
        assert refused.json()["details"] == f'Key (user_id)=({blog.ada}) is not present in table "users".'
    found = await ask.one("root", "/posts?deleted_at=not.is.null&select=id&order=id")
    assert [row["id"] for row in found] == [blog.post, blog.draft, blog.scheduled, blog.deleted]


@pytest.mark.usefixtures("poor")
async def test_post_does_not_come_back_while_its_author_goes(
    ask: Ask, blog: Blog, clock: Clock, database: Database
) -> None:
    """Whoever is first: no post is left without its author, and neither waits for the other for ever."""
    before = database.counters.repeated["40P01"]
    for turn in range(6):
        clock.advance(60)
        both = [ask("root", "POST", f"/posts/{blog.deleted}/restore"), ask("root", "DELETE", f"/users/{blog.ada}")]
        answers = await asyncio.gather(*(both if turn % 2 else reversed(both)))
        assert {answer.status_code for answer in answers} in ({200, 204}, {409, 204})
        assert await ask.one("root", f"/posts?select=id&user_id=eq.{blog.ada}") == []
        clock.advance(60)
        assert (await ask("root", "POST", f"/users/{blog.ada}/restore")).status_code == 200
        await ask("root", "DELETE", f"/posts/{blog.deleted}")
    assert database.counters.repeated["40P01"] == before


def test_page_says_what_goes_along() -> None:
    table = re.findall(r"^\| (\w+) \|([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|$", PAGE, re.MULTILINE)
    said = {name: [set(filter(None, cell.strip().split(", "))) for cell in cells] for name, *cells in table}
    rules = {resource.name: resource.rule for resource in CATALOG}
    told = {
        name: [set(names) for names in (rule.cascades, rule.drops, rule.touches, rule.keeps)]
        for name, rule in rules.items()
    }
    assert said.pop("table")
    assert said == {name: names for name, names in told.items() if any(names)}


# ---- who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["eve", "bob", "nobody"])
async def test_outsider_restores_nothing_and_learns_nothing(ask: Ask, blog: Blog, database: Database, who: str) -> None:
    before = await state_of(database)
    absent = as_absent(await ask(who, "POST", f"/posts/{ABSENT}/restore"), ABSENT, ABSENT)
    for id in (blog.deleted, blog.draft, blog.scheduled):
        assert as_absent(await ask(who, "POST", f"/posts/{id}/restore"), id, ABSENT) == absent
    delete = await ask(who, "DELETE", f"/posts/{blog.post}")
    assert told(await ask(who, "POST", f"/posts/{blog.post}/restore")) == told(delete)
    assert absent[0] == {"eve": 404, "bob": 403, "nobody": 401}[who]
    assert list(changes(before, await state_of(database))) == []


async def test_nobody_but_admins_restores_users(ask: Ask, blog: Blog) -> None:
    await ask("root", "DELETE", f"/users/{blog.bob}")
    for who, status in (("ada", 403), ("bob", 403), ("nobody", 401), ("root", 200)):
        assert (await ask(who, "POST", f"/users/{blog.bob}/restore")).status_code == status
