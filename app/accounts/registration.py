"""How accounts come to be: what a new user needs, on every way in.

`guarded` adds to the rule of users what only accounts know, so that POST /users, the account API and Python all write
users through the same rule: the password beside the columns, who may register, and what a change of a password, a role
or an address entails.
"""

from __future__ import annotations

import dataclasses
import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from app.accounts import events, sessions
from app.accounts.passwords import NewPassword, hash_password
from app.data.rules import ADMINS, Owned, Pairs, Principal, Role, Row, Rule, Values
from app.data.session import AppSession
from app.errors import BadValue
from app.models import OneTimeToken, User
from app.models.names import ascii_words

PASSWORD = "password"  # the name of a field
USERS: Any = User.__table__
TOKENS: Any = OneTimeToken.__table__


def guarded(rule: Rule) -> Rule:
    """The rule of users with the write-only field `password`, kept as a hash in the one-to-one table of credentials."""

    async def resolve(session: AppSession, pairs: Pairs, who: Principal, now: datetime) -> None:
        await rule.resolve(session, pairs, who, now)
        for old, values in pairs:
            if old is None:
                _join(values, who)
            else:
                await _end(session, old, values, who)
            _confirm_address(old, values, now)
            await _keep_password(values, now)

    extra = {**rule.extra, PASSWORD: (Owned("credentials"), ADMINS)}
    return dataclasses.replace(rule, extra=extra, joining=rule.joining | {PASSWORD}, resolve=resolve)


def _join(values: Values, who: Principal) -> None:
    """Who registers brings a password that accounts have accepted, and so what they said of the new user; Python code
    cannot pass this by.
    """
    given = values.get(PASSWORD)
    if isinstance(given, NewPassword):
        if given.role is not None:
            values["role"] = given.role
        if given.unconfirmed:
            values["email_confirmed_at"] = None
    elif who.view is not Role.ADMIN:
        raise BadValue("a new user needs a password", code="23502", hint='Send "password" beside "username".')


def _confirm_address(old: Row | None, values: Values, now: datetime) -> None:
    """An address counts as confirmed unless somebody asked for its confirmation and says so."""
    changed = "email" in values and (old is None or values["email"] != old["email"])
    if changed and "email_confirmed_at" not in values:
        values["email_confirmed_at"] = None if values["email"] is None else now


async def _end(session: AppSession, old: Row, values: Values, who: Principal) -> None:
    """A new password or address ends all sessions but the one that it came from, and all links and codes; a new role is
    recorded.
    """
    if PASSWORD in values or values.get("email", old["email"]) != old["email"]:
        await sessions.end_all(session, old["id"], but=who.session if who.user_id == old["id"] else None)
        await session.execute(delete(TOKENS).where(TOKENS.c.user_id == old["id"]))
    role = values.get("role", old["role"])
    if role != old["role"]:
        details = {"from": str(old["role"]), "to": str(role)}
        await events.record(session, events.Kind.role_changed, subject=f"user {old['id']}", details=details)


async def _keep_password(values: Values, now: datetime) -> None:
    """From Python a password may come as a text; HTTP hashes it before the unit of work."""
    if PASSWORD not in values:
        return
    given = values[PASSWORD]
    accepted = given if isinstance(given, NewPassword) else await hash_password(given)
    values[PASSWORD] = {"hashed_password": accepted.hashed, "changed_at": now}


# ---- usernames ------------------------------------------------------------------------------------------------------


async def free_username(session: AppSession, wanted: str) -> str:
    """A username like this text that no present user has: `ada`, else `ada-` and four random digits. Those who ask for
    the same one take turns.
    """
    base = ascii_words(wanted)[:40].strip("-")
    if len(base) < 2:
        base = f"user-{secrets.token_hex(4)}"
    await session.take_turns(f"username {base}")
    name = base
    while await _is_taken(session, name):
        name = f"{base}-{secrets.token_hex(2)}"
    return name


async def _is_taken(session: AppSession, name: str) -> bool:
    query = select(USERS.c.id).where(USERS.c.username == name, USERS.c.deleted_at.is_(None))
    return (await session.execute(query)).first() is not None
