"""What tests of reads that many share need: posts, answers to compare, and writers among the readers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2

from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import User
from app.query.fetch import fetch
from tests.factories import make_post
from tests.http.conftest import Blog, Headers

MANY = 12


async def make_posts(database: Database, blog: Blog) -> list[int]:
    """More public posts, with tags."""
    async with database.writing(SYSTEM) as session:
        ada = await session.get_one(User, blog.ada)
        made = [await make_post(session, ada, title=f"Post {n}", tags=(f"t{n}", "all")) for n in range(MANY)]
        return [post.id for post in made]


def told(answer: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
    return answer.status_code, answer.content, headers


async def recorded(database: Database) -> Any:
    """What was recorded of reads."""
    async with database.reading(SYSTEM) as session:
        return json.loads(await fetch(session, "events?select=kind,subject"))


async def write_among_readers(client: httpx2.AsyncClient, secret: Headers, path_of: dict[int, str]) -> None:
    """Some change the titles of the first four of these posts, each at its path, and find them there at once, while
    many ask for all of the paths.
    """
    over = asyncio.Event()

    async def keep_reading(path: str) -> None:
        while not over.is_set():
            assert (await client.get(path)).status_code == 200

    async def write_and_read(id: int) -> None:
        for number in range(8):
            title = f"{id} for the {number}. time"
            wrote = await client.patch(f"/posts/{id}", json={"title": title}, headers=secret)
            assert wrote.status_code == 200, wrote.text
            found = (await client.get(path_of[id])).json()
            assert title in [row["title"] for row in (found if isinstance(found, list) else [found])]

    readers = [asyncio.create_task(keep_reading(path)) for path in path_of.values()]
    try:
        await asyncio.gather(*map(write_and_read, list(path_of)[:4]))
    finally:
        over.set()
    await asyncio.gather(*readers)
