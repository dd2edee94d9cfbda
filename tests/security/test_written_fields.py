"""Nobody writes a field that the rules do not let them write, whatever else the body holds and however it is sent: the
request is refused and no row changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from app.data.catalog import Resource
from app.data.rules import Role
from app.resources import CATALOG
from tests.accounts.conftest import Installation
from tests.query.asks import Caller
from tests.security.callers import KINDS, Headers, Kind
from tests.security.fields import (
    ADMIN,
    OTHER,
    OTHER_POST,
    OWN_POST,
    Attempt,
    attempts,
    fields_of,
    small_world,
    value_of,
)
from tests.security.state import changes, state_of
from tests.security.worlds import keep

SERVICE = Kind("service", Caller("admin", -1))
CHOSEN = ("nobody", "member", "author")
KINDS_HERE = {name: KINDS[name] for name in CHOSEN}
KINDS_HERE |= {"admin": Kind("admin", Caller("admin", ADMIN)), "service": SERVICE}
REFUSALS = {
    "42703",
    "PGRST204",
    "42501",
    "428C9",
    "PGRST115",
    "PGRST205",
    "PGRST125",
    "PGRST117",
    "PGRST127",
    "PGRST105",
}
FOR_FIELDS = {"PGRST204", "428C9", "PGRST115"}  # to who may write other fields of the table
BESIDE_TABLES = {"tags": {"tags", "post_tags"}, "password": {"credentials", "sessions"}, "email": {"sessions"}}
BESIDE = {"updated_at", "updated_by", "version", "published_at"}  # that change along with another


async def entered(here: Installation, kind: Kind, hashed: str) -> Headers:
    await keep(here.database, small_world(hashed))
    return dict(here.secret) if kind is SERVICE else await kind.headers(here)


def own_row(resource: Resource, me: int) -> int:
    """A row that the caller may write, if there is one."""
    return {"users": me if me > 0 else OTHER, "posts": OWN_POST}.get(resource.name, 1)


def foreign_row(resource: Resource) -> int:
    return {"users": OTHER, "posts": OTHER_POST}.get(resource.name, 1)


def forbidden(resource: Resource, view: Role, id: int) -> Iterator[tuple[str, Attempt]]:
    for name in fields_of(resource):
        for attempt in attempts(resource, id, name, value_of(resource, name)):
            allowed = resource.rule.writes(view, new=attempt.new)
            if name not in allowed and not (attempt.keyed and name in resource.key):
                yield name, attempt


async def send(client: httpx2.AsyncClient, who: Headers, attempt: Attempt) -> httpx2.Response:
    headers = who | attempt.headers
    return await client.request(attempt.method, attempt.path, headers=headers, content=attempt.content)


@pytest.mark.parametrize("name", [*CHOSEN, "admin"])
async def test_a_field_that_may_not_be_written_is_refused(here: Installation, hashed: str, name: str) -> None:
    kind = KINDS_HERE[name]
    view = Role(kind.sees.view)
    who = await entered(here, kind, hashed)
    before = await state_of(here.database)
    asked = 0
    for resource in CATALOG:
        for field, attempt in forbidden(resource, view, own_row(resource, kind.sees.me)):
            answer = await send(here.client, who, attempt)
            asked += 1
            said = f"{field}: {attempt.way} {attempt.path} {attempt.content}: {answer.status_code} {answer.text}"
            assert 400 <= answer.status_code < 500, said
            expected = FOR_FIELDS if _writes(resource, view, attempt) else REFUSALS
            assert answer.json()["code"] in expected, said
    print(f"{name}, {here.database.name}: {asked} attempts")
    assert asked > 800
    assert list(changes(before, await state_of(here.database))) == []


def _writes(resource: Resource, view: Role, attempt: Attempt) -> bool:
    """Whether this caller may make this kind of write at all."""
    return bool(resource.rule.writes(view)) and (view in resource.rule.inserts or attempt.method != "POST")


@pytest.mark.parametrize("name", CHOSEN)
async def test_no_field_of_a_foreign_row_changes(here: Installation, hashed: str, name: str) -> None:
    """Whether or not one may write the same field in one's own row."""
    who = await entered(here, KINDS_HERE[name], hashed)
    before = await state_of(here.database)
    for resource in CATALOG:
        for field in fields_of(resource):
            for attempt in attempts(resource, foreign_row(resource), field, value_of(resource, field)):
                if not attempt.new:
                    assert (await send(here.client, who, attempt)).status_code < 500, attempt
    assert list(changes(before, await state_of(here.database))) == []


WRITING = {
    "member": ("users",),
    "author": ("users", "posts"),
    "admin": ("users", "posts", "tags"),
    "service": ("users", "posts", "tags"),
}


@pytest.mark.parametrize("name", WRITING)
async def test_a_field_that_may_be_written_changes_alone(here: Installation, hashed: str, name: str) -> None:
    kind = KINDS_HERE[name]
    who = await entered(here, kind, hashed)
    for table in WRITING[name]:
        resource = required(table)
        id = own_row(resource, kind.sees.me)
        for field in sorted(resource.rule.writes(Role(kind.sees.view)) - {"role", "is_active"}):
            before = await state_of(here.database)
            body = {field: value_of(resource, field)}
            answer = await here.client.patch(f"/{table}/{id}", headers=who, json=body)
            assert answer.status_code == 200, (field, answer.text)
            for changed, old, new in changes(before, await state_of(here.database)):
                beside = {"revisions", "events"} | BESIDE_TABLES.get(field, set())
                assert changed in {table} | beside, (field, changed)
                if changed == table and old is not None and new is not None:
                    assert old["id"] == new["id"] == id
                    differing = {column for column in old if old[column] != new[column]}
                    assert differing <= BESIDE | {field} | ({"email_confirmed_at"} if field == "email" else set())


def required(table: str) -> Resource:
    found = CATALOG.get(table)
    assert found is not None
    return found
