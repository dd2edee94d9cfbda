"""The ring of key pairs that sign access tokens: ES256, made at the first start, kept encrypted in the database.

A new pair is published before it signs, so that clients, which keep the public keys for ten minutes, know it when they
meet it; the pair before it verifies until it is retired. Source: supabase 1.6.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from app.accounts import FRESH, events
from app.accounts.vault import Vault
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.models import SigningKey

if TYPE_CHECKING:
    from app.accounts.primitives import PrivateKey, PublicKey

ALGORITHM = "ES256"
PUBLISHED = timedelta(minutes=10)  # how long a new key is shown before it signs; clients keep the list as long
LEEWAY = 60  # seconds for clocks that differ
TURN = "signing keys"

KEYS: Any = SigningKey.__table__


@dataclass(frozen=True, slots=True)
class Pair:
    """One key pair. `private` is None where the installation's secret does not open it."""

    kid: str
    jwk: dict[str, Any]
    public: PublicKey
    private: PrivateKey | None = field(repr=False)
    created_at: datetime


class KeyRing:
    """The pairs that are not retired, the oldest first; read again when they are older than `FRESH`."""

    def __init__(self, vault: Vault, clock: Callable[[], float] = time.monotonic) -> None:
        self._vault = vault
        self._clock = clock
        self._pairs: tuple[Pair, ...] = ()
        self._read_at: float | None = None

    async def pairs(self, database: Database) -> tuple[Pair, ...]:
        """Makes the first pair where there is none that this installation can use."""
        if self._read_at is None or self._clock() - self._read_at > FRESH:
            async with database.reading(SYSTEM) as session:
                found = await self._load(session)
            if not _is_usable(found):
                found = await database.transact(SYSTEM, self._begin)
            self._pairs, self._read_at = found, self._clock()
        return self._pairs

    async def signer(self, database: Database) -> Pair:
        """The newest pair that clients have had time to learn of, else the oldest."""
        usable = [pair for pair in await self.pairs(database) if pair.private is not None]
        known = [pair for pair in usable if pair.created_at <= database.clock() - PUBLISHED]
        return known[-1] if known else usable[0]

    async def verifier(self, database: Database, kid: str) -> Pair | None:
        return next((pair for pair in await self.pairs(database) if pair.kid == kid), None)

    async def published(self, database: Database) -> list[dict[str, Any]]:
        """The public keys, as JWKs."""
        return [pair.jwk for pair in await self.pairs(database)]

    async def _begin(self, session: AppSession) -> tuple[Pair, ...]:
        """The first pair, made by one of all who ask for it at the same time."""
        await session.take_turns(TURN)
        if not _is_usable(await self._load(session)):
            await add_pair(session, self._vault)
        return await self._load(session)

    async def _load(self, session: AppSession) -> tuple[Pair, ...]:
        query = select(KEYS).where(KEYS.c.retired_at.is_(None)).order_by(KEYS.c.created_at, KEYS.c.id)
        return tuple(self._opened(row) for row in (await session.execute(query)).all())

    def _opened(self, row: Any) -> Pair:
        from app.accounts import primitives  # noqa: PLC0415  # heavy, and not needed before

        pem = self._vault.decrypt(row.private_key)
        private = None if pem is None else primitives.private_key(pem)
        return Pair(row.kid, row.public_key, primitives.public_key(row.public_key), private, row.created_at)


def _is_usable(pairs: Iterable[Pair]) -> bool:
    return any(pair.private is not None for pair in pairs)


async def add_pair(session: AppSession, vault: Vault) -> str:
    """A new pair; its kid."""
    from app.accounts import primitives  # noqa: PLC0415  # as above

    kid = secrets.token_hex(8)
    jwk, pem = primitives.new_pair()
    jwk |= {"kid": kid, "alg": ALGORITHM, "use": "sig", "key_ops": ["verify"]}
    values = {
        "kid": kid,
        "algorithm": ALGORITHM,
        "public_key": jwk,
        "private_key": vault.encrypt(pem),
        "created_at": session.unit.now,
    }
    await session.execute(insert(KEYS).values(values))
    return kid


async def rotate(session: AppSession, vault: Vault, life: timedelta, *, now: bool = False) -> str:
    """Adds a pair, and retires those of whose tokens, which live for `life`, none is left: their successor has signed
    for as long. With `now` all older ones are retired, which ends every token at once. The kid of the new pair.
    """
    await session.take_turns(TURN)
    columns = (KEYS.c.id, KEYS.c.created_at)
    query = select(*columns).where(KEYS.c.retired_at.is_(None)).order_by(KEYS.c.created_at.desc(), KEYS.c.id.desc())
    present = (await session.execute(query)).all()
    over = session.unit.now - PUBLISHED - life - timedelta(seconds=LEEWAY)
    past = [old.id for successor, old in itertools.pairwise(present) if successor.created_at <= over]
    await _retire(session, [row.id for row in present] if now else past)
    kid = await add_pair(session, vault)
    await events.record(session, events.Kind.signing_key_rotated, subject=f"key {kid}", details={"now": now})
    return kid


async def _retire(session: AppSession, ids: Iterable[int]) -> None:
    await session.execute(update(KEYS).where(KEYS.c.id.in_(list(ids))).values(retired_at=session.unit.now))
