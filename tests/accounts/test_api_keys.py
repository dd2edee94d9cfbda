"""Named keys: how they are made, and what is found of them by what a caller sends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.accounts import api_keys
from app.accounts.api_keys import ApiKeys, State, revoke
from app.accounts.keys import fingerprint, make_key
from app.accounts.vault import hash_of
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, Role, user
from app.errors import BadValue, Conflict, Forbidden, Unauthorized
from app.models import KeyKind, User
from app.query.removal import remove
from app.resources import CATALOG
from tests.accounts.keeping import KEYS, confirm, events, made, new_user, set_user
from tests.conftest import Clock, Statements

# ---- made -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "form"), [(KeyKind.PUBLISHABLE, "sb_publishable_"), (KeyKind.SECRET, "sb_secret_")])
async def test_database_holds_the_hash_of_a_key_alone(database: Database, kind: KeyKind, form: str) -> None:
    key = await made(database, kind=kind)
    assert key.startswith(form)
    async with database.reading(SYSTEM) as session:
        row = (await session.execute(select(KEYS))).one()
    assert row.key_hash == hash_of(key)
    assert key not in str(row)


async def test_making_a_key_is_an_event_without_the_key(database: Database) -> None:
    key = await made(database, "reader", scopes=["posts:read"])
    (event,) = await events(database)
    assert event.kind == "key_created"
    assert event.details == {"name": "reader", "kind": "secret", "scopes": ["posts:read"]}
    assert key not in str(event)


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "12", "secret", "publishable", "signing", "a\x07b"])
async def test_name_that_would_be_mistaken_is_refused(database: Database, name: str) -> None:
    with pytest.raises(BadValue):
        await made(database, name)


async def test_name_is_unique_among_the_keys_that_are_not_revoked(database: Database) -> None:
    await made(database, "app")
    with pytest.raises(Conflict, match="a key called app"):
        await made(database, " app ")
    async with database.writing(SYSTEM) as session:
        await revoke(session, "app")
    await made(database, "app")


async def test_of_two_who_take_a_name_at_once_one_gets_it(database: Database) -> None:
    found = await asyncio.gather(made(database), made(database), made(database), return_exceptions=True)
    assert [type(one) for one in found if not isinstance(one, str)] == [Conflict, Conflict]


async def test_key_has_a_user_exactly_when_it_is_a_users(database: Database) -> None:
    with pytest.raises(BadValue, match="has a user"):
        await made(database, kind=KeyKind.USER)
    with pytest.raises(BadValue, match="has a user"):
        await made(database, user_id=await new_user(database))


async def test_key_that_has_expired_before_it_is_made_is_refused(database: Database, clock: Clock) -> None:
    with pytest.raises(BadValue, match="expire"):
        await made(database, expires_at=clock())


# ---- found ----------------------------------------------------------------------------------------------------------


async def test_secret_and_publishable_keys_are_the_service_and_the_visitor(database: Database) -> None:
    keys = ApiKeys()
    for kind, role in ((KeyKind.SECRET, Role.SERVICE), (KeyKind.PUBLISHABLE, Role.ANONYMOUS)):
        key = await made(database, kind.value + " key", kind)
        assert await keys.principal(key, database) == Principal(role, key_id=fingerprint(hash_of(key)))


async def test_key_of_a_user_acts_as_that_user_within_its_scopes(database: Database) -> None:
    ada = await new_user(database, "author")
    key = await made(database, kind=KeyKind.USER, user_id=ada, scopes=["posts:write", "posts:write", "rpc/search"])
    who = await ApiKeys().principal(key, database)
    assert (who.role, who.user_id, who.scopes) == (Role.AUTHOR, ada, frozenset({"posts:write", "rpc/search"}))


async def test_wrong_checksum_is_unknown_without_a_question_to_the_database(
    database: Database, statements: Statements
) -> None:
    key = make_key("secret")
    for text in (key[:-1] + ("a" if key[-1] != "a" else "b"), "", "sb_secret_", "x" * 5000, key + " "):
        assert (await ApiKeys().find(database, text)).state is State.UNKNOWN
    assert statements.count == 0


async def test_key_is_asked_for_once_in_five_seconds(database: Database, clock: Clock, statements: Statements) -> None:
    keys, known, unknown = ApiKeys(), await made(database), make_key("secret")
    statements.clear()
    for _ in range(3):
        assert (await keys.find(database, known)).state is State.LIVE
        assert (await keys.find(database, unknown)).state is State.UNKNOWN
    assert statements.count == 2
    clock.advance(5)
    await keys.find(database, known)
    assert statements.count == 3


async def test_memory_of_keys_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "KEPT", 3)
    keys = ApiKeys()
    for _ in range(5):
        await keys.find(database, make_key("secret"))
    assert len(keys._kept) == 3


async def test_key_expires_to_the_moment(database: Database, clock: Clock) -> None:
    keys = ApiKeys()
    key = await made(database, expires_at=clock() + timedelta(seconds=2))
    clock.advance(1.9)
    assert (await keys.find(database, key)).state is State.LIVE
    clock.advance(0.1)  # its row is remembered still
    with pytest.raises(Unauthorized, match="has expired"):
        await keys.principal(key, database)


async def test_unknown_key_is_refused(database: Database) -> None:
    with pytest.raises(Unauthorized, match="not known"):
        await ApiKeys().principal(make_key("secret"), database)


@pytest.mark.parametrize("how", ["inactive", "banned", "deleted"])
async def test_key_of_a_user_who_may_not_sign_in_is_refused(database: Database, clock: Clock, how: str) -> None:
    ada = await new_user(database)
    key = await made(database, kind=KeyKind.USER, user_id=ada)
    ways: dict[str, dict[str, Any]] = {
        "inactive": {"is_active": False},
        "banned": {"banned_until": clock() + timedelta(hours=1)},
        "deleted": {"deleted_at": clock()},
    }
    await set_user(database, ada, **ways[how])
    with pytest.raises(Unauthorized, match="may not sign in"):
        await ApiKeys().principal(key, database)


async def test_ban_that_is_over_refuses_nobody(database: Database, clock: Clock) -> None:
    ada = await new_user(database)
    key = await made(database, kind=KeyKind.USER, user_id=ada)
    await set_user(database, ada, banned_until=clock())
    assert (await ApiKeys().find(database, key)).state is State.LIVE


async def test_removing_a_user_ends_the_users_keys(database: Database) -> None:
    ada = await new_user(database)
    key = await made(database, kind=KeyKind.USER, user_id=ada)
    async with database.writing(SYSTEM) as session:
        await remove(session, CATALOG.of(User), [ada])
    with pytest.raises(Unauthorized):
        await ApiKeys().principal(key, database)


# ---- inside a write -------------------------------------------------------------------------------------------------


async def test_write_by_a_users_key_asks_again_inside_its_transaction(database: Database) -> None:
    """What reads remember for seconds must not let a write through."""
    ada = await new_user(database, "author")
    key = await made(database, kind=KeyKind.USER, user_id=ada)
    who = await ApiKeys().principal(key, database)
    async with database.writing(who) as session:
        await confirm(session)
    await set_user(database, ada, role="member")
    with pytest.raises(Forbidden, match="role was changed"):
        async with database.writing(who) as session:
            await confirm(session)
    async with database.writing(SYSTEM) as session:
        await revoke(session, "app")
    with pytest.raises(Unauthorized, match="revoked"):
        async with database.writing(who) as session:
            await confirm(session)


async def test_writes_of_others_ask_nothing_more(database: Database, statements: Statements) -> None:
    for who in (SERVICE, ANONYMOUS, user(1, "author")):
        async with database.writing(who) as session:
            await confirm(session)
    assert statements.count == 0
