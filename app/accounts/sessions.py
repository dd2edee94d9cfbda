"""Sessions and their refresh tokens: each refresh gives a new one, and the use of an old one ends the session.

A token is `<session uid>.<counter>.<code>`. Each code is made from the one before it with the installation's secret, so
the newest can be told to who shows an older one (an answer that was lost, two tabs at once) although the database
holds only the hash of the newest. Source: supabase 1.5.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, insert, select, update

from app.accounts import events
from app.accounts.passwords import same_text
from app.accounts.vault import Vault
from app.data.session import AppSession
from app.models import Session
from app.settings import AccountSettings

FORM = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9]{1,9})\.([A-Za-z0-9_-]{43})")
OLDEST = 1000  # tokens back that are still recognised; an older one is simply unknown

SESSIONS: Any = Session.__table__


@dataclass(frozen=True, slots=True)
class Opened:
    """A session with its newest refresh token in clear."""

    uid: UUID
    user_id: int
    method: str
    since: int  # seconds since 1970: when the user came in
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a refresh token gives nothing. The unit of work must be committed all the same: it may end the session."""

    code: str
    message: str


async def begin(session: AppSession, vault: Vault, user_id: int, method: str) -> Opened:
    """A new session; `method` is how the user came in: password, otp, recovery, anonymous..."""
    uid, code, now = uuid4(), secrets.token_urlsafe(32), session.unit.now
    token = _token(uid, 0, code)
    values = {"uid": uid, "user_id": user_id, "created_at": now, "refreshed_at": now, "counter": 0, "method": method}
    await session.execute(insert(SESSIONS).values(**values, token_hash=_hash(vault, token)))
    return Opened(uid, user_id, method, int(now.timestamp()), token)


async def refresh(session: AppSession, vault: Vault, settings: AccountSettings, token: object) -> Opened | Refused:
    """The session with its next token, or with the newest where an older one may still be shown."""
    match = FORM.fullmatch(token) if isinstance(token, str) else None
    if match is None:
        return UNKNOWN
    uid, counter, code = _uid(match[1]), int(match[2]), match[3]
    query = select(SESSIONS).where(SESSIONS.c.uid == uid).with_for_update()
    row = (await session.execute(query)).one_or_none()
    if row is None or not row.counter - OLDEST <= counter <= row.counter:
        return UNKNOWN
    for number in range(counter, row.counter):
        code = _next(vault, uid, number, code)
    newest = _token(uid, row.counter, code)
    if not same_text(_hash(vault, newest), row.token_hash):
        return UNKNOWN
    if row.refreshed_at < session.unit.now - timedelta(settings.refresh_days):
        await end(session, uid)
        return Refused("session_expired", "Session Expired")
    behind = row.counter - counter
    if behind == 0:
        newest = await _advance(session, vault, row, code)
    elif behind > 1 and abs(session.unit.now - row.refreshed_at) >= _lenience(settings):
        await end(session, uid)
        await events.record(session, events.Kind.refresh_token_reused, subject=f"user {row.user_id}")
        return Refused("refresh_token_already_used", "Invalid Refresh Token: Already Used")
    return Opened(uid, row.user_id, row.method, int(row.created_at.timestamp()), newest)


async def end(session: AppSession, uid: UUID) -> None:
    await session.execute(delete(SESSIONS).where(SESSIONS.c.uid == uid))


async def end_all(session: AppSession, user_id: int, *, but: UUID | None = None) -> None:
    """The user's sessions, but the one with this uid."""
    gone = [SESSIONS.c.user_id == user_id, *([] if but is None else [SESSIONS.c.uid != but])]
    await session.execute(delete(SESSIONS).where(*gone))


async def end_expired(session: AppSession, settings: AccountSettings, user_id: int) -> None:
    """The user's sessions that were not refreshed for as long as they may rest."""
    last = session.unit.now - timedelta(settings.refresh_days)
    await session.execute(delete(SESSIONS).where(SESSIONS.c.user_id == user_id, SESSIONS.c.refreshed_at < last))


def _lenience(settings: AccountSettings) -> timedelta:
    """How long after a refresh older tokens may still be shown, by those who ask at once; and no longer before one that
    seems to lie in the future, by a clock that went wrong.
    """
    return timedelta(seconds=settings.reuse_seconds)


async def _advance(session: AppSession, vault: Vault, row: Any, code: str) -> str:
    token = _token(row.uid, row.counter + 1, _next(vault, row.uid, row.counter, code))
    values = {"counter": row.counter + 1, "refreshed_at": session.unit.now, "token_hash": _hash(vault, token)}
    await session.execute(update(SESSIONS).where(SESSIONS.c.id == row.id).values(values))
    return token


UNKNOWN = Refused("refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")


def _hash(vault: Vault, token: str) -> str:
    """With another secret no token is known any more."""
    return vault.code("refresh token", token).hex()


def _next(vault: Vault, uid: UUID, counter: int, code: str) -> str:
    return _text(vault.code("refresh", uid.hex, str(counter), code))


def _token(uid: UUID, counter: int, code: str) -> str:
    return f"{_text(uid.bytes)}.{counter}.{code}"


def _uid(text: str) -> UUID:
    return UUID(bytes=base64.urlsafe_b64decode(text + "=="))


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
