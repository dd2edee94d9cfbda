"""A request whose unit of work had to be run again answers as if nothing had been, and has one effect: nothing of the
attempts before it is left in what is answered, written or recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
import pytest
from sqlalchemy import Table, select

from app.data import failpoints
from app.data.audit import Revision
from app.data.database import Database
from app.data.failpoints import Point
from app.data.rules import SERVICE, SYSTEM, Principal, user
from app.errors import Unavailable
from app.models import Event, PostStatus
from app.settings import Settings
from tests.conftest import delete_all_rows
from tests.factories import make_post, make_user
from tests.http.asking import client_as

SHOWN = "select=title,slug,version,created_at,updated_at,tags(name),author(username)"
MERGE = {"prefer": "resolution=merge-duplicates,return=representation"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; `{ada}`, `{one}` and `{two}` in its path and body stand for an author and her posts."""

    name: str
    method: str
    path: str
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


REQUESTS = [
    Asked("post", "POST", f"/posts?{SHOWN}", '{"title": "New", "user_id": {ada}, "tags": ["new", "old"]}'),
    Asked("posts", "POST", f"/posts?{SHOWN}", '[{"title": "A", "user_id": {ada}}, {"title": "A", "user_id": {ada}}]'),
    Asked("user", "POST", "/users?select=username,version", '{"username": "eve", "password": "correct horse battery"}'),
    Asked("item", "PATCH", f"/posts/{{one}}?{SHOWN}", '{"title": "Changed", "tags": ["new"]}'),
    Asked("whole item", "PUT", f"/posts/{{one}}?{SHOWN}", '{"title": "Whole", "user_id": {ada}, "slug": "whole"}'),
    Asked("matching", "PATCH", f"/posts?id=in.({{one}},{{two}})&{SHOWN}", '{"content": "Both", "tags": ["both"]}'),
    Asked(
        "upsert",
        "POST",
        f"/posts?on_conflict=slug&{SHOWN}",
        '[{"slug": "one", "title": "Met", "user_id": {ada}}, {"slug": "three", "title": "Made", "user_id": {ada}}]',
        tuple(MERGE.items()),
    ),
    Asked("delete", "DELETE", "/posts/{one}", headers=(("prefer", "return=representation"),)),
    Asked("cascade", "DELETE", "/users/{ada}"),
    Asked(
        "batch",
        "POST",
        "/batch",
        '[{"method": "PATCH", "path": "/posts/{one}?select=title,version", "body": {"title": "In a batch"}},'
        ' {"method": "GET", "path": "/posts?select=title&order=title"}]',
    ),
    Asked("keyed", "POST", f"/posts?{SHOWN}", '{"title": "K", "user_id": {ada}}', (("idempotency-key", "k"),)),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was answered, and what it left: revisions and recorded reads without their ids."""

    status: int
    body: Any
    revisions: list[Any]
    events: list[Any]


async def outcome(database: Database, settings: Settings, who: Principal, asked: Asked, failures: int) -> Outcome:
    """On a small blog of its own; the unit of work fails so many times before its COMMIT."""
    await delete_all_rows(database)
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, username="ada", email="ada@example.org", full_name="Ada", role="author")
        draft: dict[str, Any] = {"content": "Text", "status": PostStatus.DRAFT, "tags": ("old",)}
        posts = [await make_post(session, ada, title=title, **draft) for title in ("one", "two")]
        known = {"{ada}": str(ada.id), "{one}": str(posts[0].id), "{two}": str(posts[1].id)}
    async with client_as(who, settings, database) as client:
        with failpoints.armed({Point.COMMITTING: failing(failures)}):
            answer = await send(client, asked, known)
    revisions = await rows_of(database, Revision.__table__, "table_name", "version", "operation", "changes")
    events = await rows_of(database, Event.__table__, "kind", "details")
    body = msgspec.json.decode(answer.content) if answer.content else None
    return Outcome(answer.status_code, unnumbered(body), unnumbered(revisions), unnumbered(events))


async def send(client: httpx2.AsyncClient, asked: Asked, known: dict[str, str]) -> httpx2.Response:
    path, body = asked.path, asked.body
    for name, value in known.items():
        path, body = path.replace(name, value), body.replace(name, value)
    headers = {"content-type": "application/json", **dict(asked.headers)}
    return await client.request(asked.method, path, content=body.encode() or None, headers=headers)


def failing(times: int) -> Callable[[], Awaitable[None]]:
    left = [Unavailable("not now", code="40001") for _ in range(times)]

    async def fault() -> None:
        if left:
            raise left.pop()

    return fault


async def rows_of(database: Database, table: Any, *names: str) -> list[Any]:
    assert isinstance(table, Table)
    async with database.reading(SYSTEM) as session:
        rows = await session.execute(select(*(table.c[name] for name in names)).order_by(table.c.id))
        return [list(row) for row in rows]


IDS = frozenset(["id", "user_id", "uid", "ids", "rows", "etag", "ETag", "Location"])


def unnumbered(value: Any) -> Any:
    """Without what a sequence gave: it goes on where an attempt was undone."""
    match value:
        case dict():
            return {name: unnumbered(part) for name, part in value.items() if name not in IDS}
        case list():
            return [unnumbered(part) for part in value]
        case _:
            return value


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: asked.name)
async def test_repeated_write_is_as_one_that_was_not(database: Database, settings: Settings, asked: Asked) -> None:
    at_once = await outcome(database, settings, SERVICE, asked, 0)
    repeated = database.counters.repeated["40001"]
    again = await outcome(database, settings, SERVICE, asked, 3)
    assert database.counters.repeated["40001"] == repeated + 3
    assert at_once.status < 300
    assert again == at_once


async def test_foreign_rows_of_a_repeated_write_are_recorded_once(database: Database, settings: Settings) -> None:
    """An admin's write answers with somebody's draft, which is recorded; the attempts that were undone are not."""
    async with database.writing(SYSTEM) as session:
        admin = user((await make_user(session, role="admin")).id, "admin")
    (asked,) = [asked for asked in REQUESTS if asked.name == "matching"]
    at_once = await outcome(database, settings, admin, asked, 0)
    again = await outcome(database, settings, admin, asked, 3)
    assert len(at_once.events) == 1
    assert again == at_once
