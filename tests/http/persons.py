"""Several people at one service: the header `x-who` of a request says who asks.

async with persons(settings, database, blog) as ask:
    answer = await ask("ada", "GET", "/posts/1/revisions")
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, Principal, user
from app.http.app import create_app
from app.settings import Settings
from tests.conftest import Clock
from tests.factories import author_with_post
from tests.http.conftest import Blog, client_of
from tests.library.catalog import LIBRARY

OUTSIDERS = ("bob", "nobody")  # who see no revisions at all
OF_THE_MOMENT = {"date", "x-request-id", "server-timing"}
Told = tuple[int, list[tuple[str, str]], bytes]


@dataclass(frozen=True, slots=True)
class Ask:
    """`foreign` is a public post of eve's."""

    client: httpx2.AsyncClient
    foreign: int

    async def __call__(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """Underscores of header names stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, path, json=body, headers={"x-who": who, **given})

    async def one(self, who: str, path: str, **headers: str) -> Any:
        """What a GET finds."""
        answer = await self(who, "GET", path, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def persons(settings: Settings, database: Database, blog: Blog, **changes: Any) -> AsyncGenerator[Ask]:
    """ada and eve are authors, bob is a member, root has the secret key, and whoever else is anonymous; `changes` are
    settings.
    """
    eve, foreign = await author_with_post(database, title="Foreign")
    people = {"ada": user(blog.ada, "author"), "eve": eve, "bob": user(blog.bob), "root": SERVICE}

    async def authenticate(headers: Any, database: Database) -> Principal:
        return people.get(headers.get("x-who", ""), ANONYMOUS)

    app = create_app(replace(settings, **changes), authenticate=authenticate, database=database)
    async with client_of(app) as client:
        yield Ask(client, foreign)


async def edited(ask: Ask, blog: Blog, clock: Clock) -> str:
    """The path of ada's post after two changes, a minute apart: it is at version 3."""
    path = f"/posts/{blog.post}"
    for change in ({"title": "Again", "tags": ["new", "sql"]}, {"content": "More", "slug": "again"}):
        clock.advance(60)
        assert (await ask("ada", "PATCH", path, change)).status_code == 200
    return path


@asynccontextmanager
async def librarian(settings: Settings, url: str, **changes: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    """The second application, asked by one who may do everything."""

    async def authenticate(headers: Any, database: Database) -> Principal:
        return SERVICE

    async with Database(url, LIBRARY) as database:
        given = replace(settings, **changes)
        app = create_app(given, catalog=LIBRARY, authenticate=authenticate, database=database)
        async with client_of(app) as client:
            yield client


def told(answer: httpx2.Response) -> Told:
    """All that an answer tells: status, headers and bytes."""
    headers = sorted((key, value) for key, value in answer.headers.items() if key not in OF_THE_MOMENT)
    return answer.status_code, headers, answer.content


def as_absent(answer: httpx2.Response, id: int, absent: int) -> Told:
    """What it tells, with another id in the place of the row's, so that answers about two rows can be compared."""
    status, headers, content = told(answer)
    other = content.replace(f"id {id}".encode(), f"id {absent}".encode())
    return status, [(k, "*" if k == "content-length" else v) for k, v in headers], other
