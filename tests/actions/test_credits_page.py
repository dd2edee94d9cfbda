"""Runs every example of `docs/credits.md`, in order, on one database: status and body must be those on the page."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.actions import ACTIONS
from app.actions.credits import MOST
from app.data.database import Database
from app.data.rules import SERVICE, SYSTEM, Principal, user
from app.http.app import create_app
from app.resources import CATALOG
from app.settings import Settings
from tests.conftest import Clock
from tests.factories import make_user
from tests.http.conftest import client_of
from tests.test_query_page import PAIR, message

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "credits.md").read_text()
FUNCTION = re.compile(r"^\| `(\w+)\(([\w, ]+)\)` \|", re.MULTILINE)


@pytest.fixture
async def client(spare_url: str, settings: Settings, clock: Clock) -> AsyncGenerator[httpx2.AsyncClient]:
    """Ada is user 1, Bob user 2."""

    async def authenticate(headers: Any, database: Database) -> Principal:
        return SERVICE if headers.get("apikey") == "SECRET" else user({"Bearer ADA": 1}[headers["authorization"]])

    async with Database(spare_url, CATALOG, clock=clock) as database:
        async with database.writing(SYSTEM) as session:
            for name in ("ada", "bob"):
                await make_user(session, username=name)
        async with client_of(create_app(settings, authenticate=authenticate, database=database)) as client:
            yield client


async def test_examples_answer_as_the_page_says(client: httpx2.AsyncClient) -> None:
    found = PAIR.findall(PAGE)
    assert len(found) == PAGE.count("```http\n") > 5
    for method, path, _, sent, status, came in found:
        request = message(sent)
        headers = {**request.headers, "content-type": "application/json"}
        answer = await client.request(method, path, headers=headers, content=request.body or None)
        assert (answer.status_code, answer.text) == (int(status or 200), came.strip()), f"{method} {path}"


def test_the_page_names_functions_codes_and_limits() -> None:
    ours = {name: action for name, action in ACTIONS.items() if name not in ("dashboard", "search")}
    assert dict(FUNCTION.findall(PAGE)) == {name: ", ".join(action.parameters) for name, action in ours.items()}
    folder = Path(__file__).resolve().parents[2] / "app" / "actions"
    codes = {code for path in folder.glob("*.py") for code in re.findall(r'"(BRD\d+)"', path.read_text())}
    assert codes == set(re.findall(r"^\| (BRD\d+) \|", PAGE, re.MULTILINE))
    assert str(MOST) in PAGE
