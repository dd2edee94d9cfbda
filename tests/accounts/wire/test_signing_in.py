"""POST /token: sign-in by password, refresh, and what they cost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher

from app.accounts import passwords, people
from app.accounts.passwords import WAITING, NewPassword, needs_rehash, verify
from app.accounts.people import Account
from app.data.database import Database
from app.data.rules import SYSTEM
from tests.accounts.conftest import (
    AUTH,
    PASSWORD,
    Installation,
    Installed,
    add,
    entered,
    refusal,
    row_of,
    sessions_of,
    set_user,
)
from tests.accounts.hashing import held, until, waiting
from tests.accounts.test_sessions import until_it_waits
from tests.conftest import EPOCH, Clock, Statements

pytestmark = pytest.mark.usefixtures("quick")

BOB, EVE = "bob@example.org", "eve@example.org"
WRONG = (400, "invalid_credentials")


# ---- sign-in --------------------------------------------------------------------------------------------------------


async def test_sign_in_opens_a_session(here: Installation, bob: Account) -> None:
    for email in (BOB, " BOB@example.org "):
        found = entered(await here.enter(email))
        assert found["user"]["id"] == str(bob.uid)
        assert "weak_password" not in found
    assert len(await sessions_of(here.database, bob)) == 2


async def test_username_does_as_well_as_an_address(here: Installation, bob: Account) -> None:
    """Who has no address has no other way in; clients send it as `email`."""
    for name in ("bob", " BOB "):
        assert entered(await here.enter(name))["user"]["id"] == str(bob.uid)
    assert refusal(await here.enter("bob", "wrong password")) == WRONG


async def test_sign_in_that_goes_wrong_has_one_answer(here: Installation, bob: Account) -> None:
    """For a wrong password, an unknown address, and an account without a password."""
    eve = await add(here.database, "eve")
    tried = [
        (BOB, "wrong password"),
        ("nobody@example.org", PASSWORD),
        (str(eve.email), PASSWORD),
        ("nobody", PASSWORD),
    ]
    tried += [(BOB, PASSWORD + "\u00a0"), (BOB, PASSWORD.upper()), (BOB, "x" * 100_000), (BOB, "\u0301" * 500_000)]
    answers = [await here.enter(*one) for one in tried]
    assert [refusal(answer) for answer in answers] == [WRONG] * len(tried)
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["msg"] == "Invalid login credentials"


@pytest.mark.parametrize("values", [{"is_active": False}, {"banned_until": EPOCH + timedelta(hours=1)}], ids=str)
async def test_banned_user_is_told_so_after_the_right_password_alone(
    here: Installation, bob: Account, values: dict[str, Any]
) -> None:
    await set_user(here.database, bob.id, **values)
    assert refusal(await here.enter(BOB, "wrong password")) == WRONG
    assert refusal(await here.enter(BOB)) == (400, "user_banned")
    assert await sessions_of(here.database, bob) == set()
    assert (await row_of(here.database, bob)).last_sign_in_at is None


async def test_ban_that_is_over_lets_in(here: Installation, bob: Account, clock: Clock) -> None:
    await set_user(here.database, bob.id, banned_until=EPOCH + timedelta(hours=1))
    clock.advance(3600)
    entered(await here.enter(BOB))


async def test_deleted_user_does_not_come_in(here: Installation, bob: Account) -> None:
    await set_user(here.database, bob.id, deleted_at=EPOCH)
    assert refusal(await here.enter(BOB)) == WRONG


async def test_password_may_be_typed_in_any_form(here: Installation) -> None:
    entered(await here.sign_up(email=EVE, password="ﬁve wooden shíps"))
    entered(await here.enter(EVE, "five wooden shi\u0301ps"))


async def test_sign_in_changes_no_version(here: Installation, bob: Account, clock: Clock) -> None:
    """Only last_sign_in_at, which is no part of it: a cached row stays right."""
    clock.advance(60)
    entered(await here.enter(BOB))
    row = await row_of(here.database, bob)
    assert row.last_sign_in_at == clock()
    assert (row.version, row.updated_at, row.updated_by) == (1, EPOCH, None)
    revisions = await here.client.get("/revisions?select=operation&table_name=eq.users", headers=here.secret)
    assert revisions.json() == [{"operation": "insert"}]


async def test_sign_in_needs_both(here: Installation) -> None:
    bodies: list[dict[str, str]] = [{}, {"email": BOB}, {"password": PASSWORD}, {"email": "", "password": ""}]
    for body in bodies:
        answer = await here.client.post(f"{AUTH}/token?grant_type=password", json=body)
        assert refusal(answer) == (400, "validation_failed"), body


async def test_other_ways_to_come_in_are_refused(here: Installation) -> None:
    expected = {
        "": (400, "invalid_credentials"),
        "?grant_type=": (400, "invalid_credentials"),
        "?grant_type=PASSWORD": (400, "invalid_credentials"),
        "?grant_type=client_credentials": (400, "invalid_credentials"),
        "?grant_type=id_token": (400, "provider_disabled"),
        "?grant_type=web3": (422, "web3_provider_disabled"),
    }
    for query, wanted in expected.items():
        answer = await here.client.post(f"{AUTH}/token{query}", json={"email": BOB, "password": PASSWORD})
        assert refusal(answer) == wanted, query
    phone = {"phone": "+4912345", "password": PASSWORD}
    answer = await here.client.post(f"{AUTH}/token?grant_type=password", json=phone)
    assert refusal(answer) == (400, "phone_provider_disabled")


async def test_password_that_would_not_be_taken_today_is_told_of(
    installed: Installed, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(password_bytes=40) as here:
        weak = entered(await here.enter(BOB))["weak_password"]
        assert weak["reasons"] == ["length"]
    monkeypatch.setattr(passwords, "COMMON", frozenset({PASSWORD}))
    async with installed() as here:
        assert entered(await here.enter(BOB))["weak_password"]["reasons"] == ["characters"]


# ---- hashes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def old(database: Database, clock: Clock) -> Account:
    """Somebody whose hash was made when parameters were others."""
    return await add(database, "old", PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD))


async def test_hash_with_old_parameters_is_renewed(here: Installation, old: Account) -> None:
    assert refusal(await here.enter("old@example.org", "wrong password")) == WRONG
    assert (await row_of(here.database, old)).hashed_password == old.hashed_password
    entered(await here.enter("old@example.org"))
    row = await row_of(here.database, old)
    assert not needs_rehash(row.hashed_password)
    assert await verify(PASSWORD, row.hashed_password)
    assert (row.changed_at, row.version) == (EPOCH, 1)
    entered(await here.enter("old@example.org"))
    assert (await row_of(here.database, old)).hashed_password == row.hashed_password


async def test_two_who_sign_in_at_once_with_an_old_hash_both_come_in(here: Installation, old: Account) -> None:
    answers = await asyncio.gather(*(here.enter("old@example.org") for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    entered(await here.enter("old@example.org"))


async def test_password_that_changes_while_it_is_checked_lets_nobody_in(
    here: Installation, bob: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session would be one that the change was meant to end."""
    with held(monkeypatch) as hasher:
        asking = asyncio.ensure_future(here.enter(BOB))
        await until(lambda: hasher.running == 1)
        clock.advance(1)
        async with here.database.writing(SYSTEM) as session:
            await people.change(session, bob.id, {"password": NewPassword("$argon2id$")})
        hasher.may_go.set()
        assert refusal(await asking) == WRONG
    assert await sessions_of(here.database, bob) == set()


async def test_password_that_changes_while_a_sign_in_waits_for_the_user_lets_nobody_in(
    here: Installation, bob: Account, clock: Clock
) -> None:
    """What a statement that waited sees of other rows is older than its wait."""
    clock.advance(1)
    async with here.database.writing(SYSTEM) as session:
        await people.lock(session, bob.id)
        asking = asyncio.ensure_future(here.enter(BOB))
        await until_it_waits(here.database)
        await people.change(session, bob.id, {"password": NewPassword("$argon2id$")})
        assert not asking.done()
    assert refusal(await asking) == WRONG
    assert await sessions_of(here.database, bob) == set()
    assert (await row_of(here.database, bob)).last_sign_in_at is None


async def test_user_who_is_deleted_meanwhile_does_not_come_in(
    here: Installation, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(monkeypatch) as hasher:
        asking = asyncio.ensure_future(here.enter(BOB))
        await until(lambda: hasher.running == 1)
        assert (await here.client.delete(f"/users/{bob.id}", headers=here.secret)).status_code == 204
        hasher.may_go.set()
        assert refusal(await asking) == WRONG


async def test_when_too_many_sign_in_others_are_told_to_come_again(
    here: Installation, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429, which clients understand; never a 5xx, which they repeat by themselves."""
    with held(monkeypatch) as hasher:
        line = [asyncio.ensure_future(passwords.verify("x", None)) for _ in range(2 + WAITING)]
        await until(lambda: waiting() == WAITING)
        calls = (here.enter(BOB), here.enter(EVE), here.sign_up(email=EVE))
        for answer in [await asyncio.wait_for(call, 5) for call in calls]:
            assert refusal(answer) == (429, "over_request_rate_limit")
            assert answer.headers["retry-after"] == "1"
        answer = await here.client.post("/users", json={"username": "eve", "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (429, "BRD429")
        assert answer.headers["retry-after"] == "1"
        hasher.may_go.set()
        await asyncio.gather(*line)


# ---- what it costs --------------------------------------------------------------------------------------------------


class Counted:
    """Counts what is asked of the hasher."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._hasher = passwords._HASHER

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._hasher, name)


async def test_unknown_and_wrong_take_the_same_way(
    here: Installation, bob: Account, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same statements and one check of a password each."""
    await here.authenticate.ring.pairs(here.database)
    eve = await add(here.database, "eve")
    hasher = Counted()
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    found = []
    for email, password in ((BOB, "wrong password"), ("nobody@example.org", PASSWORD), (str(eve.email), PASSWORD)):
        statements.clear()
        hasher.calls.clear()
        assert refusal(await here.enter(email, password)) == WRONG
        found.append((list(statements.texts), list(hasher.calls)))
    assert found[0] == found[1] == found[2]
    assert found[0][1] == ["verify"]
    assert len(found[0][0]) == 1


async def test_statements_of_each_call(here: Installation, bob: Account, statements: Statements) -> None:
    await here.authenticate.ring.pairs(here.database)

    async def cost(call: Any) -> tuple[int, Any]:
        statements.clear()
        answer = entered(await call)
        return statements.count, answer

    sign_up, _ = await cost(here.sign_up(email=EVE))
    sign_in, found = await cost(here.enter(BOB))
    refresh, found = await cost(here.refresh(found["refresh_token"]))
    statements.clear()
    bearer = {"authorization": f"Bearer {found['access_token']}"}
    assert (await here.client.get(f"{AUTH}/user", headers=bearer)).status_code == 200
    show = statements.count
    turns = 2 if here.database.name == "postgresql" else 0
    # the address, the name, user, credentials, revision, the user again, then the session's three
    assert sign_up == 9 + turns
    # the hash; in the unit of work the user with the last sign-in, and the session
    assert sign_in == 3
    # the session, its next token, the account
    assert refresh == 3
    # the standing, the account
    assert show == 2


# ---- refresh --------------------------------------------------------------------------------------------------------


async def test_refresh_gives_a_session_with_the_user_as_it_is_now(here: Installation, bob: Account) -> None:
    signed = await here.sign_in(bob)
    await set_user(here.database, bob.id, email="new@example.org", user_metadata='{"x":1}')
    found = entered(await here.refresh(signed.refresh_token))
    assert (found["user"]["email"], found["user"]["user_metadata"]) == ("new@example.org", {"x": 1})
    assert found["refresh_token"] != signed.refresh_token


async def test_refresh_needs_a_token(here: Installation) -> None:
    tokens: list[Any] = [None, "", 5, ["x"], {}]
    for token in tokens:
        assert refusal(await here.refresh(token)) == (400, "validation_failed")


async def test_unknown_refresh_token_is_refused(here: Installation) -> None:
    for token in ("x", "x" * 900_000, "a.0.b", "\u0661", "null"):
        answer = await here.refresh(token)
        assert refusal(answer) == (400, "refresh_token_not_found"), token[:8]
        assert answer.json()["msg"] == "Invalid Refresh Token: Refresh Token Not Found"


async def test_expired_access_token_beside_a_refresh_is_not_looked_at(
    here: Installation, bob: Account, clock: Clock
) -> None:
    """The Python client sends it along."""
    signed = await here.sign_in(bob)
    clock.advance(4000)
    body = {"refresh_token": signed.refresh_token}
    answer = await here.client.post(f"{AUTH}/token?grant_type=refresh_token", json=body, headers=signed.bearer)
    entered(answer)
