"""What is known of callers between two looks at the database, and what a write asks before it is done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.accounts import api_keys, people, sessions, standing
from app.accounts.people import Account
from app.accounts.standing import Standings
from app.accounts.tokens import Claims
from app.accounts.vault import Vault
from app.actions import balance_of, grant, transfer
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, Role, user
from app.errors import Forbidden, Unauthorized
from app.models import KeyKind, UserRole
from tests.accounts.conftest import Installation, Ticks, add, set_user
from tests.accounts.keeping import confirm
from tests.conftest import EPOCH, Clock, Statements

VAULT = Vault(b"the secret of this installation!")


async def claims_of(database: Database, account: Account) -> Claims:
    async with database.writing(SYSTEM) as session:
        opened = await sessions.begin(session, VAULT, account.id, "password")
    return Claims(account.uid, opened.uid, int(EPOCH.timestamp()) + 3600)


async def confirmed(database: Database, who: Principal) -> None:
    async with database.writing(who) as session:
        await confirm(session)


# ---- reads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["member", "author", "admin"])
async def test_role_comes_from_the_database(database: Database, role: str) -> None:
    account = await add(database, "eve", role=role)
    claims = await claims_of(database, account)
    found = await Standings().principal(claims, database)
    assert found == Principal(Role(role), account.id, session=claims.session)


async def test_database_is_asked_once_in_five_seconds(database: Database, ada: Account, statements: Statements) -> None:
    ticks = Ticks()
    standings, claims = Standings(ticks), await claims_of(database, ada)
    statements.clear()
    for wait, asked in ((0, 1), (4.9, 1), (0.1, 1), (0.1, 2), (5.0, 2), (0.1, 3)):
        ticks.seconds += wait
        await standings.principal(claims, database)
        assert statements.count == asked


async def test_users_who_do_not_exist_are_remembered_too(
    database: Database, clock: Clock, statements: Statements
) -> None:
    standings, claims = Standings(Ticks()), Claims(uuid4(), uuid4(), 0)
    statements.clear()
    for _ in range(3):
        with pytest.raises(Unauthorized, match="does not exist any more"):
            await standings.principal(claims, database)
    assert statements.count == 1


async def test_sessions_of_one_user_are_remembered_apart(database: Database, ada: Account) -> None:
    standings, first, second = Standings(Ticks()), await claims_of(database, ada), await claims_of(database, ada)
    for claims in (first, second):
        await standings.principal(claims, database)
    async with database.writing(SYSTEM) as session:
        await sessions.end(session, first.session)
    standings.forget(ada.uid)
    with pytest.raises(Unauthorized, match="the session has ended"):
        await standings.principal(first, database)
    assert (await standings.principal(second, database)).user_id == ada.id


async def test_memory_is_bounded(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "KEPT", 3)
    standings = Standings(Ticks())
    for _ in range(10):
        with pytest.raises(Unauthorized):
            await standings.principal(Claims(uuid4(), uuid4(), 0), database)
    assert len(standings._kept) == 3


STATES: dict[str, tuple[dict[str, Any], bool]] = {
    "as ever": ({}, True),
    "inactive": ({"is_active": False}, False),
    "banned for an hour": ({"banned_until": EPOCH + timedelta(hours=1)}, False),
    "banned until now": ({"banned_until": EPOCH}, True),
    "banned once": ({"banned_until": EPOCH - timedelta(hours=1)}, True),
    "deleted": ({"deleted_at": EPOCH}, False),
}


@pytest.mark.parametrize("state", STATES)
async def test_who_may_act(database: Database, ada: Account, state: str) -> None:
    """Reads and writes say the same."""
    values, allowed = STATES[state]
    claims = await claims_of(database, ada)
    if values:
        await set_user(database, ada.id, **values)
    who = Principal(Role.AUTHOR, ada.id, session=claims.session)
    if allowed:
        assert await Standings().principal(claims, database) == who
        await confirmed(database, who)
        return
    with pytest.raises(Unauthorized) as read:
        await Standings().principal(claims, database)
    with pytest.raises(Unauthorized) as written:
        await confirmed(database, who)
    assert (read.value.code, read.value.message) == (written.value.code, written.value.message)


# ---- writes ---------------------------------------------------------------------------------------------------------


async def test_write_with_another_role_than_it_was_asked_with_is_refused(database: Database, ada: Account) -> None:
    claims = await claims_of(database, ada)
    for role in (Role.MEMBER, Role.ADMIN):
        with pytest.raises(Forbidden, match="your role was changed") as caught:
            await confirmed(database, Principal(role, ada.id, session=claims.session))
        assert caught.value.hint == "Send the request again in 5 seconds."


async def test_write_with_an_ended_session_is_refused(database: Database, ada: Account, bob: Account) -> None:
    """Or with one of another user."""
    theirs = await claims_of(database, bob)
    for uid in (uuid4(), theirs.session):
        with pytest.raises(Unauthorized, match="the session has ended"):
            await confirmed(database, Principal(Role.AUTHOR, ada.id, session=uid))


async def test_write_sees_what_its_own_transaction_has_changed(database: Database, ada: Account) -> None:
    claims = await claims_of(database, ada)
    async with database.writing(Principal(Role.AUTHOR, ada.id, session=claims.session)) as session:
        await confirm(session)
        await sessions.end_all(session, ada.id)
        with pytest.raises(Unauthorized):
            await confirm(session)


@pytest.mark.parametrize("who", [ANONYMOUS, SERVICE, SYSTEM, user(1, "author"), people.acting(1)], ids=str)
async def test_callers_without_a_session_are_asked_nothing(
    database: Database, clock: Clock, statements: Statements, who: Principal
) -> None:
    await confirmed(database, who)
    assert statements.count == 0


async def test_write_costs_one_statement(database: Database, ada: Account, statements: Statements) -> None:
    claims = await claims_of(database, ada)
    statements.clear()
    await confirmed(database, Principal(Role.AUTHOR, ada.id, session=claims.session))
    assert statements.count == 1


# ---- keys of users --------------------------------------------------------------------------------------------------


@pytest.fixture
async def key(database: Database, ada: Account) -> str:
    async with database.writing(SYSTEM) as session:
        return await api_keys.create(session, "of ada", KeyKind.USER, user_id=ada.id)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"role": UserRole.MEMBER}, 403),
        ({"banned_until": EPOCH + timedelta(hours=1)}, 401),
        ({"is_active": False}, 401),
    ],
    ids=["role", "ban", "activity"],
)
async def test_writes_by_the_key_of_a_user_see_its_user_at_once(
    here: Installation, ada: Account, key: str, values: dict[str, Any], status: int
) -> None:
    """As those by a token do."""
    headers = {"apikey": key}
    assert (await here.client.post("/tags", json={"name": "one"}, headers=headers)).status_code == 201
    await set_user(here.database, ada.id, **values)
    assert (await here.client.get("/tags", headers=headers)).status_code == 200, "it is remembered"
    answer = await here.client.post("/tags", json={"name": "two"}, headers=headers)
    assert answer.status_code == status, answer.text
    assert [row["name"] for row in (await here.client.get("/tags")).json()] == ["one"]


async def test_revoked_key_of_a_user_writes_nothing_any_more(here: Installation, ada: Account, key: str) -> None:
    headers = {"apikey": key}
    assert (await here.client.get("/tags", headers=headers)).status_code == 200
    async with here.database.writing(SYSTEM) as session:
        await api_keys.revoke(session, "of ada")
    assert (await here.client.post("/tags", json={"name": "x"}, headers=headers)).status_code == 401


async def test_of_a_users_key_and_another_users_token_the_token_wins(
    here: Installation, ada: Account, bob: Account, key: str
) -> None:
    signed = await here.sign_in(bob)
    shown = await here.client.get("/users?select=username,email&order=id", headers=signed.bearer | {"apikey": key})
    assert shown.json() == [{"username": "ada", "email": None}, {"username": "bob", "email": "bob@example.org"}]


async def test_admin_who_is_held_stops_no_transfer(database: Database) -> None:
    """Accounts are locked in ascending id, and the hold comes before: if it stopped others, who holds a lower account
    and wants the admin's would wait for the admin, who wants the lower one.
    """
    if database.name == "sqlite":
        pytest.skip("one writer at a time")
    low, boss = await add(database, "low"), await add(database, "boss", role="admin")
    claims = await claims_of(database, boss)
    async with database.writing(user(boss.id, "admin")) as session:
        await grant(session, to_user_id=low.id, amount=10)
    async with database.writing(Principal(Role.ADMIN, boss.id, session=claims.session)) as session:
        await confirm(session)
        async with database.writing(user(low.id)) as other:
            await transfer(other, to_user_id=boss.id, amount=3)
        await transfer(session, from_user_id=low.id, to_user_id=boss.id, amount=7)
    async with database.reading(SYSTEM) as session:
        assert [await balance_of(session, id) for id in (low.id, boss.id)] == [0, 10]
