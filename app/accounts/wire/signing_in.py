"""Sign-up, sign-in and refresh: POST /signup, POST /token. Source: supabase 1.3, 1.5."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from starlette.responses import Response

from app.accounts import entrance, passwords, people, sessions
from app.accounts.one_time import Kind
from app.accounts.passwords import WeakPassword
from app.accounts.people import Account, acting
from app.accounts.registration import PASSWORD, free_username
from app.accounts.sessions import Opened, Refused
from app.accounts.wire import refusals, refused, shapes
from app.accounts.wire.asking import Ask, answer, email, metadata, text
from app.accounts.wire.entering import begun, names, session_answer
from app.accounts.wire.links import exchange
from app.accounts.wire.mailing import challenge_of, require_mailer, send_link
from app.data.rules import SYSTEM, Values
from app.data.session import AppSession
from app.errors import BadValue
from app.models.names import clean_email, clean_username
from app.settings import AccountSettings

# ---- sign-up --------------------------------------------------------------------------------------------------------


async def sign_up(ask: Ask) -> Response:
    """A new user; with a session, unless the address must be confirmed first."""
    body = await ask.body()
    if text(body, "phone") is not None:
        raise refusals.no_phones()
    address = email(body)
    if address is None and text(body, PASSWORD) is None:
        return await _sign_up_anonymously(ask, body)
    if not ask.accounts.settings.sign_up_open:
        raise _closed()
    if address is None:
        raise refusals.invalid("Signup requires a valid email")
    await ask.accounts.throttle.sign_up(ask.database)
    data = metadata(body, "data", {}) or {}
    accepted = await ask.accounts.new_password(text(body, PASSWORD) or "", joins=True)
    values: Values = {"email": address, PASSWORD: accepted, "user_metadata": data}
    if ask.accounts.settings.accounts.confirm_email:
        return await _sign_up_pending(ask, body, values)

    async def work(session: AppSession) -> tuple[Account, Opened]:
        if await _holder(session, address) is not None:
            raise refusals.Refusal(422, "user_already_exists", "User already registered")
        account = await people.add(session, values | await names(session, data, address))
        return await begun(session, ask, account, "password")

    return await session_answer(ask, *await ask.write(SYSTEM, work))


async def _holder(session: AppSession, address: str) -> Account | None:
    """Who has this address. Those who want the same one take turns."""
    await session.take_turns(f"address {address}")
    return await people.by_email(session, address)


async def _sign_up_pending(ask: Ask, body: Mapping[str, Any], values: Values) -> Response:
    """The bare user, and a mail to confirm the address. Of one that is known already it says nothing: the answer is a
    user that does not exist, and mails are counted alike.
    """
    require_mailer(ask)
    address, challenge = values["email"], challenge_of(body)
    await ask.accounts.throttle.mail(ask.database, address)

    async def work(session: AppSession) -> tuple[Account, bool]:
        known = await _holder(session, address)
        if known is not None:
            return known, False
        return await people.add(session, values | await names(session, values["user_metadata"], address)), True

    account, made = await ask.write(SYSTEM, work)
    if account.email_confirmed_at is None:
        await send_link(ask, account, Kind.SIGNUP, address, ask.query("redirect_to"), challenge)
    return answer(shapes.user_json(account) if made else _nobody(ask, account, values))


def _nobody(ask: Ask, known: Account, values: Values) -> dict[str, Any]:
    """Looks like a new user with this address; applications tell it by its empty list of identities."""
    now = shapes.time_text(ask.now)
    shown = shapes.user_json(known) | {"user_metadata": values["user_metadata"], "identities": []}
    hidden = ("email_confirmed_at", "confirmed_at", "last_sign_in_at", "banned_until")
    fake = {"id": str(uuid4()), "created_at": now, "updated_at": now, "is_anonymous": False}
    fake["app_metadata"] = {"provider": "email", "providers": ["email"], "user_id": 0}
    return {name: value for name, value in (shown | fake).items() if name not in hidden}


async def _sign_up_anonymously(ask: Ask, body: Mapping[str, Any]) -> Response:
    if not ask.accounts.settings.accounts.anonymous:
        raise refusals.Refusal(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
    if not ask.accounts.settings.sign_up_open:  # with an address an anonymous user is one like the others
        raise _closed()
    await ask.accounts.throttle.anonymous(ask.database)
    data = metadata(body, "data", {}) or {}
    values: Values = {"user_metadata": data, "is_anonymous": True, "role": ask.accounts.new_role}

    async def work(session: AppSession) -> tuple[Account, Opened]:
        account = await people.add(session, values | {"username": await free_username(session, "")})
        return await begun(session, ask, account, "anonymous")

    return await session_answer(ask, *await ask.write(SYSTEM, work))


def _closed() -> refusals.Refusal:
    return refusals.Refusal(422, "signup_disabled", "Signups not allowed for this instance")


# ---- sign-in --------------------------------------------------------------------------------------------------------


async def token(ask: Ask) -> Response:
    """POST /token?grant_type=password|refresh_token|pkce."""
    body = await ask.body()
    match ask.query("grant_type"):
        case "password":
            return await _with_password(ask, body)
        case "refresh_token":
            return await _refresh(ask, body)
        case "pkce":
            return await exchange(ask, body)
        case other:
            raise refused.grant(other)


async def _with_password(ask: Ask, body: Mapping[str, Any]) -> Response:
    """One answer, after the same time, for a wrong password and for an account that is not there."""
    if text(body, "phone") is not None:
        raise refusals.no_phones()
    name, password = _name(body), text(body, PASSWORD)
    if password is None:
        raise refusals.invalid("missing email or password")
    accounts, throttle = ask.accounts, ask.accounts.throttle
    await throttle.token(ask.database)
    with passwords.place():
        await throttle.sign_in(ask.database, name)
        known = await entrance.find(ask.database, accounts.settings.accounts, name)
        right = await passwords.verify(password, known.hashed_password if known else None)
    if not right or known is None or known.hashed_password is None:
        raise refusals.bad_credentials()
    await throttle.signed_in(ask.database, name)
    old = known.hashed_password
    renewed = await passwords.rehashed(password) if passwords.needs_rehash(old) else None

    async def work(session: AppSession) -> tuple[Account, Opened]:
        permit = partial(_permit, settings=accounts.settings.accounts, now=session.unit.now)
        entered = await entrance.enter(session, accounts.vault, accounts.settings.accounts, known, permit)
        if entered is None:
            raise refusals.bad_credentials()
        if renewed is not None:
            await people.renew_hash(session, known.id, old, renewed)
        return entered

    return await session_answer(ask, *await ask.write(acting(known.id), work), weak=_weakness(ask, password))


def _permit(account: Account, settings: AccountSettings, now: datetime) -> None:
    if account.is_banned(now):
        raise refusals.banned(400)
    if account.email_confirmed_at is None and settings.confirm_email:
        raise refusals.Refusal(400, "email_not_confirmed", "Email not confirmed")


async def _refresh(ask: Ask, body: Mapping[str, Any]) -> Response:
    given = text(body, "refresh_token")
    if given is None:
        raise refusals.invalid("refresh_token required")
    await ask.accounts.throttle.token(ask.database)

    async def work(session: AppSession) -> tuple[Account, Opened] | Refused:
        """A refusal is returned, not raised: it may have ended the session."""
        found = await sessions.refresh(session, ask.accounts.vault, ask.accounts.settings.accounts, given)
        if isinstance(found, Refused):
            return found
        account = await people.by_id(session, found.user_id)
        if account is None:
            return Refused("session_not_found", "Session from session_id claim in JWT does not exist")
        if account.is_banned(session.unit.now):
            return Refused("user_banned", "User is banned")
        return account, found

    result = await ask.write(SYSTEM, work)
    if isinstance(result, Refused):
        raise refusals.Refusal(400, result.code, result.message)
    return await session_answer(ask, *result)


def _name(body: Mapping[str, Any]) -> str:
    """An address or a username, which clients send as `email` too. What is neither belongs to no account."""
    given = text(body, "email")
    if given is None:
        raise refusals.invalid("missing email or password")
    try:
        return clean_email(given) if "@" in given else clean_username(given)
    except BadValue:
        raise refusals.bad_credentials() from None


def _weakness(ask: Ask, password: str) -> dict[str, Any] | None:
    """What today's rules say of a password that was accepted once."""
    try:
        passwords.clean_password(password, ask.accounts.settings.accounts.password_bytes)
    except WeakPassword as exc:
        return {"message": exc.message, "reasons": [exc.reason]}
    except BadValue:
        return None
    return None
