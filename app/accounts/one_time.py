"""One-time tokens: links that are sent or handed out, six digits that are typed instead, the codes of PKCE.

A link lives 24 hours, its digits one hour, a code of PKCE five minutes; each works once. The database has the SHA-256
of a token, and of the digits a hash that only this installation can make: anybody undoes a plain one in a second. Wrong
digits are counted, and the fifth makes them useless; the link works on, so that guessing takes nobody's link away.
Source: supabase 1.8.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, insert, null, or_, select, update

from app.accounts import people
from app.accounts.passwords import same_text
from app.accounts.people import Account
from app.accounts.vault import Vault, hash_of
from app.data.session import AppSession
from app.models import OneTimeToken

LINK, DIGITS, EXCHANGE = timedelta(hours=24), timedelta(hours=1), timedelta(minutes=5)  # how long each works
GUESSES = 5  # wrong digits
PKCE_PREFIX = "pkce_"  # of tokens whose link leads to a code instead of a session
SIX_DIGITS = re.compile(r"[0-9]{6}", re.ASCII)

TOKENS: Any = OneTimeToken.__table__


class Kind(StrEnum):
    SIGNUP = "signup"
    RECOVERY = "recovery"
    MAGICLINK = "magiclink"
    INVITE = "invite"
    EMAIL_CHANGE = "email_change"
    PKCE = "pkce"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a client of PKCE has made of a secret that it shows later. `method` is s256 or plain. Source: RFC 7636."""

    text: str
    method: str

    def fits(self, verifier: str) -> bool:
        if self.method == "plain":
            return same_text(self.text, verifier)
        digest = hashlib.sha256(verifier.encode()).digest()
        return same_text(self.text, base64.urlsafe_b64encode(digest).rstrip(b"=").decode())


@dataclass(frozen=True, slots=True)
class Made:
    """A new token in clear, and the digits that do the same. `hashed_token` is what the clients call it."""

    hashed_token: str = field(repr=False)
    otp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a token stands for. `email` is the address to which it was made out."""

    user_id: int
    kind: Kind
    email: str | None
    challenge: Challenge | None
    created_at: datetime
    expires_at: datetime


async def make(
    session: AppSession,
    vault: Vault,
    account: Account,
    kind: Kind,
    *,
    email: str | None = None,
    challenge: Challenge | None = None,
) -> Made:
    """A token in place of the user's older ones of this kind, made out to `email` or else to the user's address."""
    now, address = session.unit.now, email or account.email
    await people.lock(session, account.id)
    await session.execute(delete(TOKENS).where(TOKENS.c.user_id == account.id, _gone(kind, now)))
    prefix = PKCE_PREFIX if challenge is not None and kind is not Kind.PKCE else ""
    made = Made(prefix + secrets.token_urlsafe(32), f"{secrets.randbelow(10**6):06}")
    has_digits = kind is not Kind.PKCE and address is not None
    values = {
        "user_id": account.id,
        "kind": kind.value,
        "token_hash": hash_of(made.hashed_token),
        "otp_hash": _digits_hash(vault, kind, address, made.otp) if has_digits else None,
        "email": address,
        "tries": 0,
        "challenge": challenge.text if challenge else None,
        "challenge_method": challenge.method if challenge else None,
        "created_at": now,
        "expires_at": now + (EXCHANGE if kind is Kind.PKCE else LINK),
    }
    await session.execute(insert(TOKENS).values(values))
    return made


async def find(session: AppSession, kinds: Collection[Kind], token: str) -> Taken | None:
    """What this token stands for, be its time over or not; it stays."""
    row = (await session.execute(select(TOKENS).where(_is(token, kinds)))).one_or_none()
    return None if row is None else _taken(row)


async def take(session: AppSession, kinds: Collection[Kind], token: str) -> Taken | None:
    """What this token stands for, once: of several who ask at the same time one gets it."""
    gone = delete(TOKENS).where(_is(token, kinds), TOKENS.c.expires_at > session.unit.now).returning(TOKENS)
    row = (await session.execute(gone)).one_or_none()
    return None if row is None else _taken(row)


async def find_otp(session: AppSession, vault: Vault, kinds: Collection[Kind], email: str, otp: str) -> Taken | None:
    """What these digits stand for, for this address; they stay, and nothing is counted."""
    rows = (await session.execute(_open(session, kinds, email))).all()
    row = _matching(vault, rows, email, otp)
    return None if row is None else _taken(row)


async def take_otp(session: AppSession, vault: Vault, kinds: Collection[Kind], email: str, otp: str) -> Taken | None:
    """The same, once. Wrong digits are counted, so the unit of work must be committed all the same."""
    if not SIX_DIGITS.fullmatch(otp):
        return None
    rows = (await session.execute(_open(session, kinds, email).with_for_update())).all()
    row = _matching(vault, rows, email, otp)
    if row is not None:
        await session.execute(delete(TOKENS).where(TOKENS.c.id == row.id))
        return _taken(row)
    if rows:
        tries = TOKENS.c.tries + 1
        counted = {"tries": tries, "otp_hash": case((tries >= GUESSES, null()), else_=TOKENS.c.otp_hash)}
        await session.execute(update(TOKENS).where(TOKENS.c.id.in_([row.id for row in rows])).values(counted))
    return None


async def pending_address(session: AppSession, user_id: int) -> str | None:
    """The address to which the user wants to change, until the link to it is followed or replaced."""
    query = select(TOKENS.c.email).where(TOKENS.c.user_id == user_id, TOKENS.c.kind == Kind.EMAIL_CHANGE.value)
    query = query.where(TOKENS.c.expires_at > session.unit.now)
    address: str | None = await session.scalar(query.order_by(TOKENS.c.id.desc()).limit(1))
    return address


def _gone(kind: Kind, now: datetime) -> ColumnElement[bool]:
    return or_(TOKENS.c.kind == kind.value, TOKENS.c.expires_at <= now)


def _is(token: str, kinds: Collection[Kind]) -> ColumnElement[bool]:
    return and_(TOKENS.c.token_hash == hash_of(token), TOKENS.c.kind.in_(_names(kinds)))


def _open(session: AppSession, kinds: Collection[Kind], email: str) -> Any:
    """The tokens of an address whose digits may still be typed, in the order in which they are locked."""
    since = session.unit.now - DIGITS
    conditions = (TOKENS.c.email == email, TOKENS.c.kind.in_(_names(kinds)), TOKENS.c.created_at > since)
    return select(TOKENS).where(*conditions, TOKENS.c.otp_hash.is_not(None)).order_by(TOKENS.c.id)


def _matching(vault: Vault, rows: Sequence[Any], email: str, otp: str) -> Any:
    for row in rows:
        if same_text(row.otp_hash, _digits_hash(vault, Kind(row.kind), email, otp)):
            return row
    return None


def _names(kinds: Collection[Kind]) -> list[str]:
    return [kind.value for kind in kinds]


def _digits_hash(vault: Vault, kind: Kind, email: str | None, otp: str) -> str:
    return vault.code("otp", kind.value, email or "", otp).hex()


def _taken(row: Any) -> Taken:
    challenge = None if row.challenge is None else Challenge(row.challenge, row.challenge_method)
    return Taken(row.user_id, Kind(row.kind), row.email, challenge, row.created_at, row.expires_at)
