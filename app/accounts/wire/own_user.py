"""The user of a session: GET and PUT /user, POST /logout. Source: supabase 1.3, 1.5, 1.8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from app.accounts import passwords, people, sessions
from app.accounts.one_time import Kind
from app.accounts.people import Account, acting
from app.accounts.registration import PASSWORD
from app.accounts.tokens import Claims
from app.accounts.wire import refusals, shapes
from app.accounts.wire.asking import Ask, answer, email, metadata, text
from app.accounts.wire.mailing import challenge_of, require_mailer, send_link
from app.data.rules import SYSTEM, Values
from app.data.session import AppSession

SCOPES = ("global", "local", "others")


async def show_user(ask: Ask) -> Response:
    account = await _own(ask, await ask.claims())
    return answer(shapes.user_json(account))


async def change_user(ask: Ask) -> Response:
    """`data` is merged into user_metadata; a new password ends the other sessions, and so does a new address. Where the
    new one must be confirmed it stays as it was until the link to it is followed.
    """
    claims, body = await ask.claims(), await ask.body()
    if text(body, "phone") is not None:
        raise refusals.no_phones()
    account = await _own(ask, claims)
    await ask.accounts.throttle.sign_up(ask.database)
    metadata(body, "data", account.user_metadata)  # is it one at all
    address = _new_address(account, body)
    later = ask.accounts.settings.accounts.confirm_email
    challenge = None
    if later and address is not None:
        require_mailer(ask)
        challenge = challenge_of(body)
        await ask.accounts.throttle.mail(ask.database, address)
    values = await _new_password(ask, account, body)
    if address is not None and not later:
        values["email"] = address
    if values and account.is_anonymous:
        values["is_anonymous"] = False
    who = acting(account.id, claims.session)

    async def work(session: AppSession) -> Account:
        await session.take_turns(f"user {account.id}")
        now = await ask.signed_in(session, claims)
        data = metadata(body, "data", now.user_metadata)
        return await people.change(session, account.id, values if data is None else values | {"user_metadata": data})

    changed = await ask.write(who, work)
    ask.accounts.authenticate.standings.forget(claims.user)
    if later and address is not None:
        await send_link(ask, changed, Kind.EMAIL_CHANGE, address, ask.query("redirect_to"), challenge)
        return answer(shapes.user_json(changed) | {"new_email": address})
    return answer(shapes.user_json(changed))


async def log_out(ask: Ask) -> Response:
    """Ends this session, the user's others, or all."""
    claims, scope = await ask.claims(), ask.query("scope") or "global"
    if scope not in SCOPES:
        raise refusals.invalid(f"Unsupported logout scope {scope!r}"[:100])

    async def work(session: AppSession) -> None:
        account = await ask.signed_in(session, claims)
        match scope:
            case "local":
                await sessions.end(session, claims.session)
            case "others":
                await sessions.end_all(session, account.id, but=claims.session)
            case _:
                await sessions.end_all(session, account.id)

    await ask.write(SYSTEM, work)
    ask.accounts.authenticate.standings.forget(claims.user)
    return Response(status_code=204)


async def _own(ask: Ask, claims: Claims) -> Account:
    async with ask.database.reading(SYSTEM) as session:
        return await ask.signed_in(session, claims)


async def _new_password(ask: Ask, account: Account, body: Mapping[str, Any]) -> Values:
    """Hashed before the unit of work. Raises Refusal for the password that is there already."""
    password = text(body, PASSWORD)
    if password is None:
        return {}
    accepted = await ask.accounts.new_password(password, joins=False)
    if await passwords.verify(password, account.hashed_password):
        message = "New password should be different from the old password."
        raise refusals.Refusal(422, "same_password", message)
    return {PASSWORD: accepted}


def _new_address(account: Account, body: Mapping[str, Any]) -> str | None:
    address = email(body)
    return None if address == account.email else address
