"""A column or table that does not exist for a caller answers as a name that was never there, in every place of a
request, and no answer offers it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest

from app.data.catalog import Resource
from app.data.rules import Role
from app.resources import CATALOG, PRIVATE
from tests.accounts.conftest import Installation
from tests.security.callers import KINDS, Kind
from tests.security.probes import EMBEDS, PLACES
from tests.security.worlds import keep, worlds

NAMES = ("nobody", "member", "author")
PRIVATE_NAMES = [model.__tablename__ for model in PRIVATE]


def hidden(resource: Resource, view: Role) -> list[str]:
    return [name for name in resource.columns if name not in resource.rule.readable(view)]


def made_up(name: str) -> str:
    """A name of the same length that is near to nothing."""
    return "q" * len(name)


def questions(view: Role) -> Iterator[tuple[str, str]]:
    """(hidden name, request with {n} in its place)."""
    for resource in CATALOG:
        if not resource.rule.readable(view):
            yield resource.name, "{n}?select=id"
            continue
        for name in hidden(resource, view):
            for place in PLACES:
                yield name, place.format(t=resource.name, c="{n}", v="1")
        for name in (*PRIVATE_NAMES, *resource.relations):
            if name in PRIVATE_NAMES or not CATALOG.exposes(resource.relations[name].target):
                for place in EMBEDS:
                    yield name, place.format(t=resource.name, c="{n}")
    for name in PRIVATE_NAMES:
        yield name, "{n}?select=id"


async def told(client: httpx2.AsyncClient, who: dict[str, str], name: str, request: str) -> tuple[int, str]:
    """Status and body, the name left out, and a hint that only who knows a near name gets."""
    answer = await client.get("/" + request.replace("{n}", name), headers=who)
    text = re.sub(r'"hint":"Perhaps[^"\\]*(\\.[^"\\]*)*"', '"hint":null', answer.text)
    return answer.status_code, text.replace(name, "NAME")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", NAMES)
async def test_what_does_not_exist_for_a_caller_does_not_exist(here: Installation, hashed: str, name: str) -> None:
    kind = KINDS[name]
    view = Role(kind.sees.view)
    who = await signed_in(here, kind, hashed)
    asked = list(questions(view))
    assert len(asked) > 300
    refused = 0
    for secret, request in asked:
        found = await told(here.client, who, secret, request)
        assert found == await told(here.client, who, made_up(secret), request), request.replace("{n}", secret)
        refused += 400 <= found[0] < 500
    assert refused > len(asked) * 0.9  # a parameter that only writes look at is not one of a read


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", NAMES)
async def test_no_hint_offers_what_is_hidden(here: Installation, hashed: str, name: str) -> None:
    """To a name that is one letter off."""
    kind = KINDS[name]
    view = Role(kind.sees.view)
    who = await signed_in(here, kind, hashed)
    for resource in CATALOG:
        for secret in [*hidden(resource, view), *PRIVATE_NAMES, "events"]:
            near = secret[:-1] + "q"
            for request in (f"{resource.name}?select={near}", f"{resource.name}?select={near}(*)", near):
                if secret in request:
                    continue
                answer = await here.client.get(f"/{request}", headers=who)
                assert answer.status_code >= 400
                said = " ".join(str(text) for text in answer.json().values())
                assert not re.search(rf"\b{secret}\b", said), said


async def signed_in(here: Installation, kind: Kind, hashed: str) -> dict[str, str]:
    await keep(here.database, worlds(0, kind, hashed)[0])
    return await kind.headers(here)
