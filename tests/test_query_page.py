"""Runs every example of `docs/query.md`: the request, the status, headers and answer must be those on the page.

An example is a block `http` and the block that follows it. The first has a request line (`#` at its end: with the
secret key), headers, and a body; the second, `json`, `csv` or `text`, may have a status behind its name (200 unless
given), headers that must be there, an empty line, and the body. Examples run in order on one database.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM
from app.http.app import create_app
from app.query import writer
from app.query.operators import OPERATORS
from app.resources import CATALOG
from app.settings import Limits, Settings
from tests.conformance.cases import SAFE
from tests.conftest import Clock
from tests.http.conftest import client_of

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "query.md").read_text()
PAIR = re.compile(r"```http\n([A-Z]+) (.+?)( #)?\n(.*?)```\n+```(?:json|csv|text) ?(\d*)\n(.*?)```", re.DOTALL)
HEADER = re.compile(r"([A-Za-z-]+): (.*)\n")
ROW = re.compile(r"^\| `([a-z]+)` \| .* \| `(.*?)`(?:, .*)? \|$", re.MULTILINE)


@dataclass(frozen=True)
class Message:
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Example:
    method: str
    path: str
    secret: bool
    request: Message
    status: int
    answer: Message


def examples() -> list[Example]:
    return [
        Example(method, quote(path, safe=SAFE), bool(secret), message(sent), int(status or 200), message(came))
        for method, path, secret, sent, status, came in PAIR.findall(PAGE)
    ]


def message(text: str) -> Message:
    """Header lines, an empty line if there were some, and the rest."""
    headers = {}
    while found := HEADER.match(text):
        headers[found[1].lower()] = found[2]
        text = text[found.end() :]
    return Message(headers, text.removeprefix("\n").removesuffix("\n"))


@pytest.fixture
async def client(spare_url: str, settings: Settings, clock: Clock) -> AsyncGenerator[httpx2.AsyncClient]:
    """The small blog of the page, on a database whose ids begin at 1; aggregates are switched on."""

    async def authenticate(headers: Any, database: Database) -> Any:
        return SERVICE if "apikey" in headers else ANONYMOUS

    async with Database(spare_url, CATALOG, clock=clock) as database:
        await fill(database, clock)
        settings = Settings(data_dir=settings.data_dir, limits=Limits(aggregates=True))
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
    assert len(examples()) == PAGE.count("```http\n")
    for example in examples():
        body = example.request.body
        headers = {"apikey": "secret"} if example.secret else {}
        headers |= {"content-type": "application/json"} if body else {}
        answer = await client.request(
            example.method, example.path, headers=headers | dict(example.request.headers), content=body or None
        )
        shown = (answer.status_code, answer.text.removesuffix("\n"))
        assert shown == (example.status, example.answer.body), f"{example.method} {example.path}"
        for name, value in example.answer.headers.items():
            assert answer.headers.get(name) == value, f"{example.method} {example.path}: {name}"
        if "json" in answer.headers.get("content-type", "") and answer.content:
            msgspec.json.decode(answer.content)


async def test_filters_of_the_tables_can_be_asked_of_posts(client: httpx2.AsyncClient) -> None:
    found = ROW.findall(PAGE)
    assert {name for name, _ in found} == set(OPERATORS)
    for name, example in found:
        path = quote(f"/posts?{example.replace('&', '%26')}", safe=SAFE).replace("%5C%7C", "|")
        answer = await client.get(path)
        assert answer.status_code == 200, f"{name}: {path}: {answer.text}"
        assert f".{name}" in path or f"={name}" in path
