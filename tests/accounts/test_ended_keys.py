"""Named keys that end: revoked, rotated, and listed in the state that they are in."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from app.accounts.api_keys import ApiKeys, State, present, revoke, rotate
from app.accounts.keys import fingerprint
from app.accounts.vault import hash_of
from app.data.database import Database
from app.data.rules import SYSTEM
from app.errors import NotFound, Unauthorized
from app.models import KeyKind
from tests.accounts.keeping import events, made, new_user, set_user
from tests.conftest import Clock


async def test_revoked_key_is_refused_and_its_use_is_an_event_once_a_minute(database: Database, clock: Clock) -> None:
    keys, key = ApiKeys(), await made(database)
    async with database.writing(SYSTEM) as session:
        (id,) = await revoke(session, "app")
    for _ in range(3):
        with pytest.raises(Unauthorized, match="revoked"):
            await keys.principal(key, database)
        clock.advance(19)
    assert [event.kind for event in await events(database)] == ["key_created", "key_revoked", "revoked_key_used"]
    clock.advance(3)
    await keys.find(database, key)
    used = (await events(database))[3]
    assert (used.kind, used.subject, used.key_id) == ("revoked_key_used", f"key {id}", fingerprint(hash_of(key)))


async def test_running_service_notices_a_revocation_within_five_seconds(database: Database, clock: Clock) -> None:
    keys, key = ApiKeys(), await made(database)
    await keys.find(database, key)
    async with database.writing(SYSTEM) as session:
        await revoke(session, "app")
    clock.advance(5)
    assert (await keys.find(database, key)).state is State.REVOKED


async def test_key_is_revoked_by_id_too(database: Database) -> None:
    await made(database, "one")
    await made(database, "two")
    async with database.writing(SYSTEM) as session:
        id = (await present(session))[0].id
        assert await revoke(session, str(id)) == [id]
    async with database.reading(SYSTEM) as session:
        assert [key.state for key in await present(session)] == [State.REVOKED, State.LIVE]


@pytest.mark.parametrize("name", ["nothing", "7", "9" * 40, "secret", ""])
async def test_revoking_what_is_not_there_is_refused(database: Database, name: str) -> None:
    with pytest.raises(NotFound):
        async with database.writing(SYSTEM) as session:
            await revoke(session, name)


async def test_revoked_key_cannot_be_revoked_again(database: Database) -> None:
    await made(database)
    async with database.writing(SYSTEM) as session:
        await revoke(session, "app")
        with pytest.raises(NotFound):
            await revoke(session, "app")


async def test_rotation_keeps_what_a_key_may_do(database: Database, clock: Clock) -> None:
    ada = await new_user(database)
    old = await made(database, kind=KeyKind.USER, user_id=ada, scopes=["*:read"], expires_at=clock() + timedelta(9))
    clock.advance(86_400)
    async with database.writing(SYSTEM) as session:
        new = await rotate(session, "app")
    keys = ApiKeys()
    assert (await keys.find(database, old)).state is State.REVOKED
    who = await keys.principal(new, database)
    assert (who.user_id, who.scopes) == (ada, frozenset({"*:read"}))
    async with database.reading(SYSTEM) as session:
        assert (await present(session))[1].expires_at == clock() + timedelta(9)


async def test_old_key_works_through_the_grace_of_a_rotation(database: Database, clock: Clock) -> None:
    keys, old = ApiKeys(), await made(database)
    async with database.writing(SYSTEM) as session:
        new = await rotate(session, "app", timedelta(hours=24))
    clock.advance(24 * 3600 - 1)
    assert (await keys.find(database, old)).state is State.LIVE
    clock.advance(1)
    assert (await keys.find(database, old)).state is State.REVOKED
    assert (await keys.find(database, new)).state is State.LIVE
    rotated = (await events(database))[1]
    assert (rotated.kind, rotated.details["grace"]) == ("key_rotated", 86_400)


async def test_revoking_a_name_ends_the_key_in_grace_too(database: Database) -> None:
    old = await made(database)
    async with database.writing(SYSTEM) as session:
        new = await rotate(session, "app", timedelta(hours=24))
    async with database.writing(SYSTEM) as session:
        assert len(await revoke(session, "app")) == 2
    for key in (old, new):
        assert (await ApiKeys().find(database, key)).state is State.REVOKED


async def test_of_two_rotations_at_once_one_key_is_left(database: Database) -> None:
    await made(database)

    async def again() -> str:
        async with database.writing(SYSTEM) as session:
            return await rotate(session, "app")

    keys = ApiKeys()
    found = [(await keys.find(database, key)).state for key in await asyncio.gather(again(), again(), again())]
    assert sorted(found) == [State.LIVE, State.REVOKED, State.REVOKED]


async def test_rotating_what_is_not_there_is_refused(database: Database) -> None:
    with pytest.raises(NotFound, match="nothing"):
        async with database.writing(SYSTEM) as session:
            await rotate(session, "nothing")


async def test_list_says_the_state_of_each_key_and_shows_none(database: Database, clock: Clock) -> None:
    ada = await new_user(database)
    shown = [await made(database, "a", KeyKind.USER, user_id=ada, scopes=["*"]), await made(database, "b")]
    shown.append(await made(database, "c", expires_at=clock() + timedelta(seconds=1)))
    async with database.writing(SYSTEM) as session:
        await revoke(session, "b")
    await set_user(database, ada, is_active=False)
    clock.advance(1)
    async with database.reading(SYSTEM) as session:
        found = await present(session)
    assert [(key.name, key.state) for key in found] == [("a", "barred"), ("b", "revoked"), ("c", "expired")]
    assert (found[0].scopes, found[1].scopes, found[0].fingerprint) == (["*"], None, hash_of(shown[0])[:16])
    assert not any(key in repr(found) for key in shown)
