"""Performs `docs/extending.md` in a process of its own: `python -m tests.extending DATABASE_URL` runs its blocks,
migrates up, down and up, asks.

A process of its own because the new class joins Base and its backrefs join Post and User for good.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection

from app.data.catalog import Catalog, Resource
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, user
from app.http.app import create_app
from app.query import writer
from app.resources import CATALOG
from app.settings import Settings
from tests.http.conftest import client_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "extending.md"


def blocks() -> ModuleType:
    """The code blocks of the page, run in order as one module."""
    module = ModuleType("comments")
    sys.modules["comments"] = module  # annotations of the mapped class are looked up here
    for source in re.findall(r"```python \w+\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(source, str(PAGE), "exec"), module.__dict__)
    return module


def migrate(connection: Connection, page: ModuleType) -> None:
    operations = Operations(MigrationContext.configure(connection))
    for step in (page.upgrade, page.downgrade, page.upgrade):
        with operations.context(operations.migration_context):
            step()


async def main(url: str) -> None:
    page = blocks()
    # Anew: the resources of CATALOG were built before the class existed.
    catalog = Catalog([*(Resource(r.model, r.rule, r.repository) for r in CATALOG), page.COMMENT_RESOURCE])
    async with Database(url, catalog) as database:
        await database.migrate()
        async with database.writer.begin() as connection:
            await connection.run_sync(migrate, page)
        post = await sample(database, catalog)
        await ask(database, catalog, post)


async def sample(database: Database, catalog: Catalog) -> int:
    """A published post and a draft by ada."""
    users, posts = catalog.get("users"), catalog.get("posts")
    assert users is not None
    assert posts is not None
    async with database.writing(SYSTEM) as session:
        (ada,) = await writer.insert(session, users, [{"username": "ada", "role": "author"}])
    async with database.writing(user(ada["id"], "author")) as session:
        rows = await writer.insert(session, posts, [{"title": "Open", "status": "published"}, {"title": "Draft"}])
    return int(rows[0]["id"])


async def ask(database: Database, catalog: Catalog, post: int) -> None:
    async def authenticate(headers: Any, database: Database) -> Any:
        return {"secret": SERVICE, "ada": user(1)}.get(headers.get("apikey", ""), ANONYMOUS)

    app = create_app(Settings(), catalog=catalog, authenticate=authenticate, database=database)
    async with client_of(app) as client:
        await check(client, post)


async def check(client: httpx2.AsyncClient, post: int) -> None:
    secret, ada = {"apikey": "secret"}, {"apikey": "ada"}
    made = await client.post("/comments", json={"post_id": post, "content": "Well said."}, headers=ada)
    assert (made.status_code, made.json()["user_id"]) == (201, 1), made.text
    on_draft = {"post_id": post + 1, "user_id": 1, "content": "Hidden."}
    assert (await client.post("/comments", json=on_draft, headers=secret)).status_code == 201
    assert (await client.post("/comments", json=on_draft)).status_code == 401
    shown = await client.get("/posts?select=title,comments(content,author(username))")
    expected = [{"title": "Open", "comments": [{"content": "Well said.", "author": {"username": "ada"}}]}]
    assert shown.json() == expected, shown.text
    assert [c["content"] for c in (await client.get("/comments")).json()] == ["Well said."]
    changed = await client.patch("/comments/1", json={"content": "Better."}, headers={**ada, "if-match": '"1"'})
    assert changed.json()["version"] == 2, changed.text
    stale = await client.patch("/comments/1", json={"content": "Late."}, headers={**ada, "if-match": '"1"'})
    assert stale.status_code == 412
    assert (await client.delete("/comments/1", headers=ada)).status_code == 204
    assert (await client.get("/comments")).json() == []
    history = await client.get("/revisions?select=operation&table_name=eq.comments&row_id=eq.1", headers=secret)
    assert [row["operation"] for row in history.json()] == ["insert", "update", "delete"]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
