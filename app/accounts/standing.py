"""What the database says of a caller now: role, activity, the session's life. A token says who, never what.

Reads take it from a memory of at most `FRESH` seconds; writes ask inside their own transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Select, and_, select

from app.accounts import FRESH
from app.accounts.tokens import Claims, refused
from app.data.database import Database
from app.data.rules import SYSTEM, Principal, Role
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import Forbidden
from app.models import Session, User
from app.query.driver import Lru, prepare, slot
from app.query.statements import statements_of

KEPT = 10_000  # callers

USERS: Any = User.__table__
SESSIONS: Any = Session.__table__
SHOWN = ("id", "role", "is_active", "banned_until")


@dataclass(frozen=True, slots=True)
class Standing:
    """One user and one of their sessions, as the database knows them."""

    user_id: int
    role: Role
    is_active: bool
    banned_until: datetime | None
    has_session: bool

    def refuse(self, now: datetime) -> None:
        """Raises Unauthorized for who may not act any more."""
        if not self.has_session:
            raise refused("the session has ended")
        if is_barred(self.is_active, self.banned_until, now):
            raise refused("this user is banned")


def is_barred(is_active: bool, banned_until: datetime | None, now: datetime) -> bool:
    """Whether such a user may neither sign in nor act."""
    return not is_active or (banned_until is not None and banned_until > now)


class Standings:
    """Remembers standings by user and session, bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: Lru[tuple[float, Standing | None]] = Lru(KEPT)

    async def principal(self, claims: Claims, database: Database) -> Principal:
        """Who the bearer of these claims is. Raises Unauthorized."""
        key = (claims.user, claims.session)
        kept = self._kept.hit(key)
        if kept is None or self._clock() - kept[0] > FRESH:
            async with database.reading(SYSTEM) as session:
                kept = (self._clock(), await standing(session, *key))
            self._kept.store(key, kept)
        return principal_of(kept[1], claims.session, database.clock())

    def forget(self, user: UUID) -> None:
        """What this process has just changed of a user shall be seen at once."""
        for key in [key for key in self._kept if key[0] == user]:  # type: ignore[index]  # keys are pairs
            del self._kept[key]


async def standing(session: AppSession, user: UUID, session_uid: UUID) -> Standing | None:
    """None for a user who does not exist (any more)."""
    return await session.run(_standing(session, USERS.c.uid, user, session_uid))


def confirm(session: AppSession, who: Principal) -> Steps[None]:
    """Inside the transaction of a write, of the bearer of a token: raises Unauthorized for who may not act any more,
    Forbidden where the role is another one than the request was read for. An admin is held as found until the end: of
    two who remove each other at once one stays. Not against transfers, which take accounts in their own order.
    """
    assert who.session is not None
    found = yield from _standing(session, USERS.c.id, who.user_id, who.session, holds=who.role is Role.ADMIN)
    if principal_of(found, who.session, session.unit.now).role is not who.role:
        raise Forbidden("your role was changed", hint=f"Send the request again in {FRESH:.0f} seconds.")


def principal_of(found: Standing | None, session_uid: UUID, now: datetime) -> Principal:
    if found is None:
        raise refused("the user does not exist any more")
    found.refuse(now)
    return Principal(found.role, found.user_id, session=session_uid)


def _standing(
    session: AppSession, known: Column[Any], value: Any, session_uid: UUID, *, holds: bool = False
) -> Steps[Standing | None]:
    statements = statements_of(session)
    name = ("standing", known.name, holds)
    prepared = statements.once(name, lambda: prepare(_query(known, holds=holds), statements.dialect, {}))
    for row in (yield prepared.statement((value, session_uid))):
        user = statements.reader(USERS, SHOWN)(row)
        return Standing(user["id"], Role(user["role"].value), user["is_active"], user["banned_until"], bool(row[-1]))
    return None


def _query(known: Column[Any], *, holds: bool) -> Select[Any]:
    own = and_(SESSIONS.c.user_id == USERS.c.id, SESSIONS.c.uid == slot(1, SESSIONS.c.uid.type))
    columns = (*(USERS.c[name] for name in SHOWN), SESSIONS.c.id.is_not(None))
    query = select(*columns).select_from(USERS.outerjoin(SESSIONS, own))
    query = query.where(known == slot(0, known.type), USERS.c.deleted_at.is_(None))
    return query.with_for_update(read=True, key_share=True, of=USERS) if holds else query
