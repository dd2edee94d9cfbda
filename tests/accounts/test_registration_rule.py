"""The rule of users that POST /users, the account API and Python share. Nobody waits with a lock for a hash."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx2
import pytest

from app.accounts.passwords import NewPassword, verify
from app.accounts.people import Account
from app.accounts.registration import free_username
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.errors import BadValue
from app.models import User, UserRole
from app.query import writer
from app.query.fetch import fetch
from tests.accounts.conftest import (
    PASSWORD,
    Installation,
    events_of,
    row_of,
    set_user,
    users,
)
from tests.accounts.hashing import held, until
from tests.conftest import EPOCH, Statements

pytestmark = pytest.mark.usefixtures("quick")

EVE = {"username": "eve", "password": PASSWORD}


async def register(
    here: Installation, body: Any, prefix: str = "", headers: dict[str, str] | None = None
) -> httpx2.Response:
    return await here.client.post(f"{prefix}/users", json=body, headers=headers)


# ---- hashing and locks ----------------------------------------------------------------------------------------------


def registering(here: Installation, way: str, account: Account, bearer: dict[str, str]) -> Any:
    """A request that hashes a password."""
    new = {"password": "another long one"}
    match way:
        case "POST /users":
            return register(here, EVE)
        case "POST /signup":
            return here.sign_up(email="eve@example.org")
        case "PATCH":
            return here.client.patch(f"/users/{account.id}", json=new, headers=here.secret)
        case "PUT":
            body = new | {"username": "ada", "role": "member", "is_active": True}
            return here.client.put(f"/users/{account.id}", json=body, headers=here.secret)
        case "upsert":
            headers = here.secret | {"prefer": "resolution=merge-duplicates"}
            return here.client.post("/users?on_conflict=username", json=new | {"username": "ada"}, headers=headers)
        case "PUT /user":
            return here.client.put("/auth/v1/user", json=new, headers=bearer)
        case _:
            return here.enter()


WAYS = ["POST /users", "POST /signup", "POST /token", "PUT /user", "PATCH", "PUT", "upsert"]


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_waits_with_a_lock_for_a_hash(
    here: Installation, ada: Account, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """While a password is hashed others write, and no connection is out."""
    signed = await here.sign_in(ada)
    with held(monkeypatch) as hasher:
        asking = asyncio.ensure_future(registering(here, way, ada, signed.bearer))
        await until(lambda: hasher.running == 1)
        assert here.database.in_use == 0
        async with asyncio.timeout(3):
            made = await here.client.post("/tags", json={"name": "meanwhile"}, headers=here.secret)
        assert made.status_code == 201
        assert not asking.done()
        hasher.may_go.set()
        assert (await asking).status_code < 500


async def test_password_of_a_payload_never_reaches_the_revisions(here: Installation) -> None:
    made = (await register(here, EVE, headers=here.secret)).json()
    await here.client.patch(f"/users/{made['id']}", json={"password": "another long one"}, headers=here.secret)
    shown = await here.client.get("/revisions?table_name=eq.users&order=id", headers=here.secret)
    assert [row["operation"] for row in shown.json()] == ["insert", "update"]
    for text in (PASSWORD, "another long one", "argon2", "password"):
        assert text not in shown.text


# ---- the rule, from Python ------------------------------------------------------------------------------------------


async def insert(database: Database, who: Principal, **values: Any) -> int:
    async with database.writing(who) as session:
        (row,) = await writer.insert(session, session.catalog.of(User), [values])
    found: int = row["id"]
    return found


@pytest.mark.parametrize("who", [ANONYMOUS, user(1), user(1, "author")], ids=str)
async def test_registering_takes_a_password_that_accounts_have_accepted(
    database: Database, who: Principal, hashed: str
) -> None:
    for values in ({}, {"password": PASSWORD}, {"password": None}, {"password": {"hashed_password": hashed}}):
        with pytest.raises(BadValue, match="a new user needs a password"):
            await insert(database, who, username="eve", **values)
    await insert(database, who, username="eve", password=NewPassword(hashed, UserRole.AUTHOR))
    assert await users(database, "role") == ["author"]


async def test_entities_follow_the_same_rule(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        session.add(User(username="Eve", email="EVE@example.org"))
    async with database.reading(SERVICE) as session:
        rows = await fetch(session, "users?select=username,email")
    assert rows == b'[{"username":"eve","email":"eve@example.org"}]'
    with pytest.raises(BadValue, match="a new user needs a password"):
        async with database.writing(ANONYMOUS) as session:
            session.add(User(username="mallory"))


@pytest.mark.parametrize(
    ("values", "confirmed"),
    [
        ({}, False),
        ({"email": None}, False),
        ({"email": "eve@example.org"}, True),
        ({"email": "eve@example.org", "email_confirmed_at": None}, False),
    ],
    ids=str,
)
async def test_address_counts_as_confirmed_unless_somebody_says_otherwise(
    database: Database, values: dict[str, Any], confirmed: bool
) -> None:
    async with database.writing(SYSTEM) as session:
        (row,) = await writer.insert(session, session.catalog.of(User), [{"username": "eve"} | values])
    assert row["email_confirmed_at"] == (database.clock() if confirmed else None)


async def test_new_address_is_confirmed_anew_and_none_is_not(database: Database, ada: Account) -> None:
    async with database.writing(SYSTEM) as session:
        resource = session.catalog.of(User)
        (row,) = await writer.update(session, resource, [ada.id], {"email": "ADA@example.org", "full_name": "x"})
        assert row["email_confirmed_at"] == EPOCH
        (row,) = await writer.update(session, resource, [ada.id], {"email": None})
        assert row["email_confirmed_at"] is None
        (row,) = await writer.update(session, resource, [ada.id], {"full_name": "Ada"})
        assert row["email_confirmed_at"] is None


async def test_changed_role_is_an_event(here: Installation, ada: Account) -> None:
    for role in ("admin", "admin", "member"):
        changed = await here.client.patch(f"/users/{ada.id}", json={"role": role}, headers=here.secret)
        assert changed.status_code == 200
    events = await events_of(here.database, "role_changed")
    assert [event.details for event in events] == [
        {"from": "author", "to": "admin"},
        {"from": "admin", "to": "member"},
    ]
    assert {event.subject for event in events} == {f"user {ada.id}"}


async def test_password_from_python_is_hashed(database: Database, ada: Account) -> None:
    async with database.writing(SERVICE) as session:
        await writer.update(session, session.catalog.of(User), [ada.id], {"password": "another long one"})
    row = await row_of(database, ada)
    assert await verify("another long one", row.hashed_password)
    assert row.version == 2


# ---- usernames ------------------------------------------------------------------------------------------------------


async def name_for(database: Database, wanted: str) -> str:
    async with database.writing(SYSTEM) as session:
        return await free_username(session, wanted)


MADE = [
    ("ada.lovelace", r"ada-lovelace"),
    ("Élodie", r"elodie"),
    ("ada+news", r"ada-news"),
    ("x" * 60, r"x{40}"),
    ("-_-Ada-", r"ada"),
    ("李", r"user-[0-9a-f]{8}"),
    ("a", r"user-[0-9a-f]{8}"),
    ("", r"user-[0-9a-f]{8}"),
]


async def test_username_is_made_from_a_text(database: Database) -> None:
    for wanted, pattern in MADE:
        name = await name_for(database, wanted)
        assert re.fullmatch(pattern, name), wanted
        assert await insert(database, SYSTEM, username=name)


async def test_name_that_is_taken_gets_four_digits(database: Database, ada: Account) -> None:
    names = {await name_for(database, "ada") for _ in range(5)}
    assert all(name.startswith("ada-") and len(name) == 8 for name in names)
    await set_user(database, ada.id, deleted_at=EPOCH)
    assert await name_for(database, "ada") == "ada", "of somebody who is gone it is free"


async def test_those_who_want_one_name_at_once_all_get_one(here: Installation) -> None:
    """Nobody is refused for a name that they have not chosen."""
    answers = await asyncio.gather(*(here.sign_up(email=f"ada@host{n}.example") for n in range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6, answers[-1].text
    names = await users(here.database)
    assert len(set(names)) == 6
    assert "ada" in names


async def test_registering_costs_few_statements(here: Installation, statements: Statements) -> None:
    await here.authenticate.ring.pairs(here.database)
    statements.clear()
    await register(here, EVE)
    assert statements.count == 4, statements.texts  # the user, the credentials, the revision, the answer
