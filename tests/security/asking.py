"""Asks one world after the other the same, and compares what they answer: status, headers and bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2

from app.data.database import Database
from app.settings import AccountSettings, Limits, Settings
from tests.accounts.conftest import Installation, opened
from tests.security.callers import Headers, Kind
from tests.security.probes import Question
from tests.security.worlds import World, keep

OF_THE_MOMENT = {"date", "x-request-id", "server-timing", "ratelimit", "ratelimit-policy"}
LIMITS = Limits(aggregates=True, embeds=20, page=6, new_shapes=100_000)
Told = list[Any]


@asynccontextmanager
async def installation(settings: Settings, database: Database, **options: Any) -> AsyncGenerator[Installation]:
    """A service with small pages, so that there are next ones."""
    changed = replace(settings, limits=LIMITS, accounts=AccountSettings(mailer="none"))
    async with opened(changed, database, **options) as here:
        yield here


async def settled(here: Installation, kind: Kind, world: World) -> Headers:
    """This world, in which the caller has signed in."""
    await keep(here.database, world)
    return await kind.headers(here)


async def answers(here: Installation, who: Headers, asked: Sequence[Question]) -> list[Told]:
    return [await answer(here.client, who, question) for question in asked]


async def answer(client: httpx2.AsyncClient, who: Headers, question: Question) -> Told:
    """What is told; also by the next page, where there is one, and to who has the same bytes already."""
    headers = {**question.headers, **who}
    found = await client.request(question.method, question.path, headers=headers, json=question.body)
    out = told(found)
    if link := found.links.get("next"):
        out += told(await client.request("GET", str(link["url"]), headers=headers))
    if "etag" in found.headers and question.method == "GET":
        again = {**headers, "if-none-match": found.headers["etag"]}
        out += told(await client.request("GET", question.path, headers=again))
    return out


def told(found: httpx2.Response) -> Told:
    headers = sorted((key, value) for key, value in found.headers.items() if key not in OF_THE_MOMENT)
    return [found.status_code, headers, found.content]


def leaks(asked: Sequence[Question], here: Sequence[Told], there: Sequence[Told]) -> list[str]:
    """The questions that the two answer differently."""
    differing = [(q, a, b) for q, a, b in zip(asked, here, there, strict=True) if a != b]
    return [f"{q.method} {q.path} {q.headers} {q.body}\n  {a}\n  {b}" for q, a, b in differing]


def features(asked: Sequence[Question]) -> Counter[str]:
    return Counter(question.feature for question in asked)
