"""Runs every example of `docs/query.md`: the request, the status and the answer must be those on the page."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM
from app.http.app import create_app
from app.query import writer
from app.resources import CATALOG
from app.settings import Settings
from tests.conftest import Clock
from tests.http.conftest import client_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "query.md"


@dataclass(frozen=True)
class Example:
    method: str
    path: str
    secret: bool
    body: str
    status: int
    answer: str


def examples() -> list[Example]:
    found = re.findall(r"```http\n(\w+) (\S+)( #)?\n(.*?)```\n```json ?(\d*)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [
        Example(method, path, bool(secret), body.strip(), int(status or 200), answer.strip())
        for method, path, secret, body, status, answer in found
    ]


@pytest.fixture
async def client(spare_url: str, settings: Settings, clock: Clock) -> AsyncGenerator[httpx2.AsyncClient]:
    """The small blog of the page, on a database whose ids begin at 1."""

    async def authenticate(headers: Any, database: Database) -> Any:
        return SERVICE if "apikey" in headers else ANONYMOUS

    async with Database(spare_url, CATALOG, clock=clock) as database:
        await fill(database, clock)
        app = create_app(settings, authenticate=authenticate, database=database)
        async with client_of(app) as client:
            yield client


async def fill(database: Database, clock: Clock) -> None:
    def published(title: str, user: int, hours: int, text: str, *tags: str) -> dict[str, Any]:
        at = clock.now - timedelta(hours=hours)
        return {
            "user_id": user,
            "title": title,
            "content": text,
            "status": "published",
            "published_at": at,
            "tags": list(tags),
        }

    rows: dict[str, list[dict[str, Any]]] = {
        "users": [
            {"username": "ada", "email": "ada@example.org", "role": "author"},
            {"username": "grace", "role": "author"},
        ],
        "tags": [{"name": "news"}, {"name": "python"}],
        "posts": [
            published("Hello", 1, 2, "First!", "news", "python"),
            published("Async in depth", 2, 1, "Loops.", "python"),
            {"user_id": 1, "title": "Plans", "content": "A draft."},
        ],
    }
    for name, values in rows.items():
        resource = CATALOG.get(name)
        assert resource is not None
        async with database.writing(SYSTEM) as session:
            await writer.insert(session, resource, values)


async def test_examples_answer_as_the_page_says(client: httpx2.AsyncClient) -> None:
    assert len(examples()) == PAGE.read_text().count("```http")
    for example in examples():
        headers = {"apikey": "secret"} if example.secret else {}
        if example.body:
            headers["content-type"] = "application/json"
        answer = await client.request(example.method, example.path, headers=headers, content=example.body or None)
        assert (answer.status_code, answer.text) == (example.status, example.answer), f"{example.method} {example.path}"
        if answer.text:
            msgspec.json.decode(answer.content)
