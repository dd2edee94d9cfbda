"""Links by mail: POST /recover, /otp and /resend, and the mails of sign-up and of a new address. Refuses with
email_provider_disabled where the service sends no mail. Source: supabase 1.3, 1.8.

Who asks for a mail does not learn whether an address is known: both are counted and looked up alike, and answered
before anything is made and sent.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.background import BackgroundTask
from starlette.responses import Response

from app.accounts import mailer, one_time, people, redirects
from app.accounts.mailer import SUBJECTS, Mail
from app.accounts.one_time import Challenge, Kind, Made
from app.accounts.people import Account, acting
from app.accounts.registration import free_username
from app.accounts.wire import refusals
from app.accounts.wire.asking import Ask, answer, email, flag, metadata, text
from app.data.rules import SYSTEM, Values
from app.data.session import AppSession
from app.errors import BroadsheetError
from app.models import UserRole
from app.models.names import clean_name
from app.settings import Settings

log = logging.getLogger(__name__)

CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")
METHODS = ("s256", "plain")


# ---- the calls ------------------------------------------------------------------------------------------------------


async def recover(ask: Ask) -> Response:
    """POST /recover: a link to who forgot the password."""
    body = await ask.body()
    address, challenge = await _admitted(ask, body)
    account = await _known(ask, address)

    async def deliver() -> None:
        if account is not None:
            await send_link(ask, account, Kind.RECOVERY, address, None, challenge)

    return _before(deliver)


async def send_otp(ask: Ask) -> Response:
    """POST /otp: a link and digits to sign in with. `create_user` makes a user without a password where everybody may
    register. That an address is unknown is told only where sign-up would tell that it is known.
    """
    body = await ask.body()
    data, creates = metadata(body, "data", {}) or {}, flag(body, "create_user", default=True)
    address, challenge = await _admitted(ask, body)
    account, settings = await _known(ask, address), ask.accounts.settings
    if account is None and not creates and settings.sign_up_open and not settings.accounts.confirm_email:
        raise refusals.Refusal(422, "otp_disabled", "Signups not allowed for otp")

    async def join(session: AppSession) -> Account:
        return await people.by_email(session, address) or await _add(session, ask.accounts.new_role, address, data)

    async def deliver() -> None:
        joins = account is None and creates and settings.sign_up_open
        found = await ask.write(SYSTEM, join) if joins else account
        if found is not None:
            await send_link(ask, found, Kind.MAGICLINK, address, None, challenge)

    return _before(deliver)


async def resend(ask: Ask) -> Response:
    """POST /resend: the mail of a sign-up or of a change of address once more, where one is awaited."""
    body = await ask.body()
    type_ = text(body, "type")
    if type_ in ("sms", "phone_change"):
        raise refusals.no_phones()
    if type_ not in ("signup", "email_change"):
        raise refusals.invalid("Resend requires a type: signup, email_change")
    address, challenge = await _admitted(ask, body)
    account = await _known(ask, address)

    async def deliver() -> None:
        if account is not None:
            await (_resend_signup if type_ == "signup" else _resend_change)(ask, account, challenge)

    return _before(deliver)


async def _resend_signup(ask: Ask, account: Account, challenge: Challenge | None) -> None:
    if account.email is not None and account.email_confirmed_at is None:
        await send_link(ask, account, Kind.SIGNUP, account.email, None, challenge)


async def _resend_change(ask: Ask, account: Account, challenge: Challenge | None) -> None:
    async with ask.database.reading(SYSTEM) as session:
        wanted = await one_time.pending_address(session, account.id)
    if wanted is not None:
        await ask.accounts.throttle.mail(ask.database, wanted)
        await send_link(ask, account, Kind.EMAIL_CHANGE, wanted, None, challenge)


async def _admitted(ask: Ask, body: Mapping[str, Any]) -> tuple[str, Challenge | None]:
    """The address that asks for a mail, counted. Raises Refusal, TooMany."""
    if text(body, "phone") is not None:
        raise refusals.no_phones()
    require_mailer(ask)
    address, challenge = email(body), challenge_of(body)
    if address is None:
        raise refusals.invalid("An email address is required")
    await ask.accounts.throttle.sign_up(ask.database)
    await ask.accounts.throttle.mail(ask.database, address)
    return address, challenge


async def _known(ask: Ask, address: str) -> Account | None:
    async with ask.database.reading(SYSTEM) as session:
        return await people.by_email(session, address)


async def _add(session: AppSession, role: UserRole, address: str, data: Mapping[str, Any]) -> Account:
    """A username that is taken gives way to a free one: its refusal would tell that the address is unknown."""
    wanted, full_name = data.get("username"), data.get("full_name")
    base = wanted if isinstance(wanted, str) else address.partition("@")[0]
    values: Values = {
        "email": address,
        "email_confirmed_at": None,
        "username": await free_username(session, base),
        "full_name": clean_name(full_name[:400])[:100] if isinstance(full_name, str) else None,
        "role": role,
        "user_metadata": dict(data),
    }
    return await people.add(session, values)


def _before(deliver: Callable[[], Awaitable[None]]) -> Response:
    """The same answer for all, and the mail after it."""
    found = answer({})
    found.background = BackgroundTask(_attempt, deliver)
    return found


async def _attempt(deliver: Callable[[], Awaitable[None]]) -> None:
    """Nobody waits for an answer any more."""
    try:
        await deliver()
    except BroadsheetError as exc:
        log.warning("a mail could not be sent", extra={"code": exc.code})


# ---- a mail ---------------------------------------------------------------------------------------------------------


def require_mailer(ask: Ask) -> None:
    """Raises Refusal."""
    if not mailer.is_able(ask.accounts.settings.mailer):
        raise refusals.no_mailer()


async def send_link(
    ask: Ask, account: Account, kind: Kind, address: str, redirect_to: str | None, challenge: Challenge | None
) -> None:
    settings = ask.accounts.settings

    async def work(session: AppSession) -> Made:
        return await one_time.make(session, ask.accounts.vault, account, kind, email=address, challenge=challenge)

    made = await ask.write(acting(account.id), work)
    link = action_link(settings, made, kind, redirects.target(redirect_to or ask.query("redirect_to"), settings))
    mailer.send(settings.mailer, Mail(address, SUBJECTS[kind], link, made.otp))


def action_link(settings: Settings, made: Made, kind: Kind, redirect_to: str) -> str:
    """`redirect_to` is one that was allowed."""
    fields = {"token": made.hashed_token, "type": kind.value, "redirect_to": redirect_to}
    return f"{settings.site}/auth/v1/verify?{urlencode(fields)}"


def challenge_of(body: Mapping[str, Any]) -> Challenge | None:
    """The challenge of PKCE that a body brings along, if it does. Raises Refusal."""
    given, method = text(body, "code_challenge"), text(body, "code_challenge_method")
    if given is None and method is None:
        return None
    if given is None or method is None:
        message = "PKCE flow requires code_challenge_method and code_challenge"
        raise refusals.invalid(message)
    if method.lower() not in METHODS:
        raise refusals.invalid("code_challenge_method must be s256 or plain")
    if not CHALLENGE.fullmatch(given):
        message = "code_challenge must have 43 to 128 of A-Z, a-z, 0-9, dot, _, ~ and -"
        raise refusals.invalid(message)
    return Challenge(given, method.lower())
