"""Coming in, whatever the proof was: a session, and the answer that signs a client in. Refuses users who are banned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from app.accounts import people, sessions
from app.accounts.people import Account
from app.accounts.registration import free_username
from app.accounts.sessions import Opened
from app.accounts.wire import refusals, shapes
from app.accounts.wire.asking import Ask, answer
from app.data.rules import Values
from app.data.session import AppSession


async def begun(session: AppSession, ask: Ask, account: Account, method: str) -> tuple[Account, Opened]:
    """A session for a user who has shown who they are. Raises Refusal for one who may not sign in."""
    accounts = ask.accounts.settings.accounts
    if account.is_banned(session.unit.now):
        raise refusals.banned(400)
    if method == "password" and account.email_confirmed_at is None and accounts.confirm_email:
        raise refusals.Refusal(400, "email_not_confirmed", "Email not confirmed")
    await people.note_sign_in(session, account.id)
    await sessions.end_expired(session, accounts, account.id)
    opened = await sessions.begin(session, ask.accounts.vault, account.id, method)
    return replace(account, last_sign_in_at=session.unit.now), opened


async def session_json(ask: Ask, account: Account, opened: Opened) -> dict[str, Any]:
    pair = await ask.accounts.authenticate.ring.signer(ask.database)
    return shapes.session_json(account, opened, pair, ask.accounts.settings, ask.now)


async def session_answer(ask: Ask, account: Account, opened: Opened, *, weak: Any = None) -> Response:
    """What signs a client in."""
    shown = await session_json(ask, account, opened)
    return answer(shown if weak is None else shown | {"weak_password": weak})


async def names(session: AppSession, data: Mapping[str, Any], address: str) -> Values:
    """The username that was asked for, else one made from the address; the full name, if there is one."""
    wanted, full_name = data.get("username"), data.get("full_name")
    if isinstance(wanted, str):
        name: Values = {"username": wanted}
    else:
        name = {"username": await free_username(session, address.partition("@")[0])}
    return name | ({"full_name": full_name} if isinstance(full_name, str) else {})
