"""The ring of signing keys: made once, kept encrypted, shown in public only by half, and which of them signs."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from app.accounts.signing import KEYS, KeyRing, add_pair, rotate
from app.accounts.vault import Vault
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import SigningKey
from tests.accounts.conftest import Ticks
from tests.conftest import EPOCH, Clock, Statements

VAULT = Vault(b"the secret of this installation!")
LIFE = timedelta(hours=1)  # of an access token
OTHER = Vault(b"the secret of another, not this!")


@pytest.fixture
def ring(clock: Clock) -> KeyRing:
    return KeyRing(VAULT, Ticks())


async def rotated(database: Database, *, now: bool = False) -> str:
    async with database.writing(SYSTEM) as session:
        return await rotate(session, VAULT, LIFE, now=now)


async def kids(database: Database) -> list[str]:
    """Of the keys that are not retired, as a process sees them that starts now."""
    return [pair.kid for pair in await KeyRing(VAULT).pairs(database)]


async def test_first_pair_is_made_when_it_is_asked_for(database: Database, ring: KeyRing) -> None:
    (pair,) = await ring.pairs(database)
    assert isinstance(pair.private, ec.EllipticCurvePrivateKey)
    assert pair.private.curve.name == "secp256r1"
    assert pair.created_at == EPOCH
    assert await kids(database) == [pair.kid]


async def test_many_who_ask_first_make_one_pair(database: Database) -> None:
    """Processes that start at once, and the first requests of one."""
    rings = [KeyRing(VAULT) for _ in range(5)]
    found = await asyncio.gather(*(ring.pairs(database) for ring in rings * 2))
    assert len({pair.kid for pairs in found for pair in pairs}) == 1


async def test_ring_is_read_again_after_five_seconds(database: Database, statements: Statements) -> None:
    ticks = Ticks()
    ring = KeyRing(VAULT, ticks)
    await ring.pairs(database)
    statements.clear()
    ticks.seconds += 5
    assert len(await ring.pairs(database)) == 1
    assert statements.count == 0
    await rotated(database)
    assert len(await ring.pairs(database)) == 1
    ticks.seconds += 0.1
    assert len(await ring.pairs(database)) == 2


# ---- what is kept and shown ----------------------------------------------------------------------------------------


async def test_private_keys_are_kept_encrypted(database: Database, ring: KeyRing) -> None:
    (pair,) = await ring.pairs(database)
    assert pair.private is not None
    async with database.reading(SYSTEM) as session:
        row = (await session.execute(select(KEYS))).one()
    number = pair.private.private_numbers().private_value
    assert "BEGIN" not in str(row)
    assert str(number) not in str(row)
    assert f"{number:x}" not in str(row)
    pem = VAULT.decrypt(row.private_key)
    assert pem is not None
    assert pem.startswith("-----BEGIN PRIVATE KEY-----")


async def test_keys_show_no_secret_of_theirs(database: Database, ring: KeyRing) -> None:
    (pair,) = await ring.pairs(database)
    assert "private" not in repr(pair)
    assert "xxx" not in repr(SigningKey(kid=pair.kid, private_key="x" * 9))


async def test_published_keys_are_the_public_halves(database: Database, ring: KeyRing) -> None:
    await ring.pairs(database)
    await rotated(database)
    found = await KeyRing(VAULT).published(database)
    assert len(found) == 2
    for jwk in found:
        assert jwk.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use", "key_ops"}
        assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) == ("EC", "P-256", "ES256", "sig")
        assert jwk["key_ops"] == ["verify"]
        json.dumps(jwk)


async def test_key_of_another_secret_verifies_and_does_not_sign(database: Database, ring: KeyRing) -> None:
    """Whoever loses the secret gets new keys, without a word."""
    (old,) = await ring.pairs(database)
    other = KeyRing(OTHER)
    found = await other.pairs(database)
    assert [pair.kid for pair in found][:1] == [old.kid]
    assert [pair.private is None for pair in found] == [True, False]
    assert (await other.signer(database)).kid == found[1].kid
    assert await other.verifier(database, old.kid) is not None


# ---- rotation -------------------------------------------------------------------------------------------------------


async def signs(database: Database) -> str:
    return (await KeyRing(VAULT).signer(database)).kid


async def test_new_pair_signs_when_clients_have_had_ten_minutes_to_learn_of_it(
    database: Database, ring: KeyRing, clock: Clock
) -> None:
    first = (await ring.signer(database)).kid
    second = await rotated(database)
    clock.advance(599.9)
    assert await signs(database) == first
    clock.advance(0.1)
    assert await signs(database) == second


async def test_pair_that_is_the_only_one_signs_at_once(database: Database, ring: KeyRing) -> None:
    await ring.pairs(database)
    kid = await rotated(database, now=True)
    assert await signs(database) == kid


async def test_two_pairs_live_where_rotations_are_rare(database: Database, ring: KeyRing, clock: Clock) -> None:
    made = [(await ring.signer(database)).kid]
    for _ in range(3):
        made.append(await rotated(database))
        assert await kids(database) == made[-2:]
        clock.advance(86400)


async def test_pair_verifies_until_the_last_of_its_tokens_has_ended(
    database: Database, ring: KeyRing, clock: Clock
) -> None:
    """It signs for ten minutes after the next was made, an hour is a token's life, and clocks differ by a minute."""
    first = (await ring.signer(database)).kid
    await rotated(database)
    clock.advance(600 + 3600 + 59)
    await rotated(database)
    assert first in await kids(database)
    clock.advance(1)
    await rotated(database)
    assert first not in await kids(database)


async def test_rotations_in_a_hurry_end_no_token(database: Database, ring: KeyRing) -> None:
    made = [(await ring.signer(database)).kid]
    made += [await rotated(database), await rotated(database)]
    assert await kids(database) == made
    assert await signs(database) == made[0]


async def test_rotation_now_leaves_the_new_pair_alone(database: Database, ring: KeyRing) -> None:
    await ring.pairs(database)
    await rotated(database)
    kid = await rotated(database, now=True)
    assert await kids(database) == [kid]
    assert [jwk["kid"] for jwk in await KeyRing(VAULT).published(database)] == [kid]


async def test_retired_key_verifies_nothing(database: Database, ring: KeyRing, clock: Clock) -> None:
    old = (await ring.signer(database)).kid
    await rotated(database, now=True)
    assert await KeyRing(VAULT).verifier(database, old) is None
    async with database.reading(SYSTEM) as session:
        retired = await session.scalar(select(KEYS.c.retired_at).where(KEYS.c.kid == old))
    assert retired == clock()


async def test_kids_are_not_made_twice(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        made = {await add_pair(session, VAULT) for _ in range(5)}
    assert len(made) == 5
