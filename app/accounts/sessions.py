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
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Dialect, delete, insert, select, update

from app.accounts import events
from app.accounts.passwords import same_text
from app.accounts.vault import Vault
from app.data.session import AppSession
from app.data.steps import Steps
from app.models import Session
from app.query.driver import Prepared, prepare, slot
from app.settings import AccountSettings

FORM = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9]{1,9})\.([A-Za-z0-9_-]{43})")
OLDEST = 1000  # tokens back that are still recognised; an older one is simply unknown

SESSIONS: Any = Session.__table__
COLUMNS = ("uid", "user_id", "created_at", "refreshed_at", "counter", "token_hash", "method")


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
    row, opened = drawn(vault, user_id, method, session.unit.now)

    def steps() -> Steps[None]:
        yield _statements(session.dialect).begin.statement(row)

    await session.run(steps())
    return opened


def drawn(vault: Vault, user_id: int, method: str, now: datetime) -> tuple[tuple[Any, ...], Opened]:
    """The row of a new session, its values in the order of COLUMNS, and what its user is given."""
    uid, code = uuid4(), secrets.token_urlsafe(32)
    token = _token(uid, 0, code)
    row = (uid, user_id, now, now, 0, _hash(vault, token), method)
    return row, Opened(uid, user_id, method, int(now.timestamp()), token)


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
    if row.refreshed_at < oldest(settings, session.unit.now):
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
    await session.run(expiring(session.dialect, user_id, oldest(settings, session.unit.now)))


def expiring(dialect: Dialect, user_id: int, last: datetime) -> Steps[None]:
    yield _statements(dialect).expire.statement((user_id, last))


def oldest(settings: AccountSettings, now: datetime) -> datetime:
    """Sessions that were refreshed before are over."""
    return now - timedelta(settings.refresh_days)


class _Statements(NamedTuple):
    begin: Prepared
    expire: Prepared


@lru_cache(maxsize=2)
def _statements(dialect: Dialect) -> _Statements:
    c = SESSIONS.c
    begin = insert(SESSIONS).inline().values({name: slot(i, c[name].type) for i, name in enumerate(COLUMNS)})
    expire = delete(SESSIONS).where(c.user_id == slot(0, c.user_id.type), c.refreshed_at < slot(1, c.refreshed_at.type))
    return _Statements(prepare(begin, dialect, {}), prepare(expire, dialect, {}))


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
