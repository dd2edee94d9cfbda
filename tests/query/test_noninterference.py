"""What a caller may not see changes no answer: two sets of tables that differ in nothing else answer every request with
the same status, the same headers, the same bytes. The requests probe: they name hidden columns and compare with hidden
values, by filter, order, embed, count, cursor and full text.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, Principal, user
from app.http.app import create_app
from app.settings import Limits, Settings
from tests.conftest import delete_all_rows
from tests.http.conftest import client_of
from tests.query.asks import Caller
from tests.query.printing import request_of
from tests.query.requests import USERS, WORDS, Requests, tables
from tests.query.rows import fill
from tests.query.test_property import MODELS
from tests.query.twins import twin

DATA_SETS, REQUESTS = 2, 60  # for each caller and database
CALLERS = {
    "anonymous": (ANONYMOUS, Caller("anonymous", -1)),
    "member": (user(2, "member"), Caller("member", 2)),
    "author": (user(1, "author"), Caller("author", 1)),
}
OF_THE_MOMENT = {"date", "x-request-id", "server-timing"}
LIMITS = Limits(aggregates=True, embeds=20, page=6, new_shapes=100_000)


async def by_name(headers: Mapping[str, str], database: Database) -> Principal:
    name = headers["x-name"]
    return user(3, "admin") if name == "admin" else CALLERS[name][0]


@pytest.fixture
async def client(settings: Settings, database: Database) -> AsyncGenerator[httpx2.AsyncClient]:
    app = create_app(replace(settings, limits=LIMITS), database=database, authenticate=by_name)
    async with client_of(app) as client:
        yield client


@dataclass(frozen=True)
class Question:
    method: str
    path: str
    headers: dict[str, str]


def questions(r: Random, both: list[dict[str, list[Any]]], caller: Caller) -> list[Question]:
    """Half of them name what only an admin knows. The literals occur in one of the two."""
    out = []
    for _ in range(REQUESTS):
        view = caller.view if r.random() < 0.6 else "admin"
        request = request_of(Requests(r, r.choice(both), view).root())
        if request.startswith(("posts?", "users?")) and r.random() < 0.2:
            request += f"&search=wfts.{quote(r.choice([*WORDS, 'Gone', 'Text']) or 'a')}"
        surface, method = r.choice(["/", "/rest/v1/"]), "HEAD" if r.random() < 0.1 else "GET"
        headers = {} if r.random() < 0.5 else {"prefer": "count=exact"}
        if r.random() < 0.2:
            headers["accept"] = r.choice(["text/csv", "application/vnd.pgrst.object+json"])
        out.append(Question(method, surface + request, headers))
    tables_ = ("users", "posts", "tags", "transfers", "revisions")
    tails = ("", "", "/revisions", "/revisions?select=changes", "/revisions/1")
    items = [f"/{name}/{r.choice([*range(1, 20), 100, 101, 102])}{tail}" for name in tables_ for tail in tails]
    items += [f"/users?email=eq.{r.choice([f'twin{id}@x', f'{id}@x', f'gone{id}@x'])}" for id in range(1, USERS + 1)]
    return out + [Question("GET", item, {}) for item in items]


async def answer(client: httpx2.AsyncClient, name: str, question: Question) -> list[Any]:
    """Status, headers and body; and those of the next page, where it says that there is one."""
    headers = {**question.headers, "x-name": name}
    found = await client.request(question.method, question.path, headers=headers)
    out = _told(found)
    if link := found.links.get("next"):
        out += _told(await client.request("GET", str(link["url"]), headers=headers))
    return out


def _told(found: httpx2.Response) -> list[Any]:
    headers = sorted((key, value) for key, value in found.headers.items() if key not in OF_THE_MOMENT)
    return [found.status_code, headers, found.content]


async def keep(database: Database, data: dict[str, list[Any]]) -> None:
    await delete_all_rows(database)
    await fill(database, {MODELS[table]: rows for table, rows in data.items()})


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("seed", range(DATA_SETS))
async def test_what_is_hidden_changes_no_answer(
    client: httpx2.AsyncClient, database: Database, name: str, seed: int
) -> None:
    r, caller = Random(seed), CALLERS[name][1]
    one = tables(seed)
    other = twin(one, caller, r)
    asked = questions(r, [one, other], caller)
    found = []
    for data in (one, other):
        await keep(database, data)
        found.append([await answer(client, name, question) for question in asked])
    for question, here, there in zip(asked, *found, strict=True):
        assert here == there, question
    statuses = [status for status, *_ in found[0]]
    assert max(statuses) < 500
    assert statuses.count(200) + statuses.count(206) > len(statuses) / 3


@pytest.mark.parametrize("name", CALLERS)
def test_the_twin_differs(name: str) -> None:
    """In every table that has anything to hide from the caller."""
    caller = CALLERS[name][1]
    one = tables(0)
    other = twin(one, caller, Random(0))
    for table in ("users", "posts", "post_tags", "transfers", "revisions"):
        assert one[table] != other[table], table
        assert len(other[table]) != len(one[table]) or table == "post_tags", table


async def test_an_admin_sees_the_difference(client: httpx2.AsyncClient, database: Database) -> None:
    """So the test could fail."""
    one = tables(0)
    bodies = []
    for data in (one, twin(one, CALLERS["member"][1], Random(0))):
        await keep(database, data)
        asked = [Question("GET", f"/rest/v1/{table}", {}) for table in MODELS]
        bodies.append([await answer(client, "admin", question) for question in asked])
    same = [table for table, here, there in zip(MODELS, *bodies, strict=True) if here == there]
    assert same == ["tags"]
