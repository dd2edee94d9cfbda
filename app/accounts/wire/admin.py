"""The admin API, for the secret key alone: users made, listed, changed, banned and deleted; links to hand out, which
need no mail. Source: supabase 1.9.

Every write is the system's, with the key's id in the revisions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.responses import Response

from app.accounts import one_time, people, redirects
from app.accounts.one_time import Kind, Made
from app.accounts.passwords import NewPassword, accept_hash
from app.accounts.people import Account
from app.accounts.registration import PASSWORD
from app.accounts.tokens import AUDIENCE
from app.accounts.wire import refusals, shapes
from app.accounts.wire.asking import Ask, answer, email, flag, metadata, text
from app.accounts.wire.entering import names
from app.accounts.wire.mailing import action_link
from app.data.rules import SYSTEM, Principal, Role, Values
from app.data.session import AppSession
from app.errors import Conflict, NotFound
from app.models import UserRole

PAGE, LONGEST_PAGE, LAST_PAGE = 50, 1000, 10**9
COMPUTED = ("provider", "providers", "user_id")  # what app_metadata shows beside what is kept
DURATION = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{1,9})?(?:ns|us|µs|ms|s|m|h))+", re.ASCII)  # of Go
PART = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")
SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
LONGEST_BAN = 292 * 365 * 86400  # seconds, about what Go can say
LINKS = {
    "signup": Kind.SIGNUP,
    "invite": Kind.INVITE,
    "magiclink": Kind.MAGICLINK,
    "recovery": Kind.RECOVERY,
    "email_change_current": Kind.EMAIL_CHANGE,
    "email_change_new": Kind.EMAIL_CHANGE,
}

# ---- users ----------------------------------------------------------------------------------------------------------


async def create_user(ask: Ask) -> Response:
    ask.require_admin()
    body = await ask.body()
    address, data = email(body), _joined(body)
    if address is None:
        raise refusals.invalid("Cannot create a user without an email")
    default: Values = {"role": ask.accounts.new_role, "user_metadata": data}
    values = default | await _values(ask, body) | _given_uid(body) | _app_metadata(body, {})
    confirms = flag(body, "email_confirm", default=False)

    async def work(session: AppSession) -> Account:
        confirmed = {"email_confirmed_at": session.unit.now if confirms else None}
        return await people.add(session, values | confirmed | await names(session, data, address))

    try:
        return answer(shapes.user_json(await ask.write(_service(ask), work)))
    except Conflict as exc:
        if "users_uid_key" in exc.message:
            raise refusals.Refusal(409, "conflict", "There is or was a user with this id") from None
        raise


async def list_users(ask: Ask) -> Response:
    """`page` is the first parameter in the links: there alone one client looks for it."""
    ask.require_admin()
    page, size = _number(ask, "page", 1, LAST_PAGE), _number(ask, "per_page", PAGE, LONGEST_PAGE)
    async with ask.database.reading(SYSTEM) as session:
        accounts, total = await people.page(session, limit=size, offset=(page - 1) * size)
    last = max(1, math.ceil(total / size))
    pages = {"next": page + 1} if page < last else {}
    links = [f'</admin/users?page={at}&per_page={size}>; rel="{rel}"' for rel, at in {**pages, "last": last}.items()]
    headers = {"X-Total-Count": str(total), "Link": ", ".join(links)}
    return answer({"users": [shapes.user_json(one) for one in accounts], "aud": AUDIENCE}, headers=headers)


async def show_user(ask: Ask) -> Response:
    ask.require_admin()
    async with ask.database.reading(SYSTEM) as session:
        return answer(shapes.user_json(await _required(session, _uid(ask))))


async def change_user(ask: Ask) -> Response:
    """A new password or address ends all sessions of the user. A ban ends none: it is looked at where one is used."""
    ask.require_admin()
    uid, body = _uid(ask), await ask.body()
    given, confirms = await _values(ask, body), flag(body, "email_confirm", default=False)

    async def work(session: AppSession) -> Account:
        account = await _required(session, uid)
        values = given | _merged(body, account)
        if confirms and (account.email_confirmed_at is None or values.get("email", account.email) != account.email):
            values["email_confirmed_at"] = session.unit.now
        if account.is_anonymous and ("email" in values or PASSWORD in values):
            values["is_anonymous"] = False
        return await people.change(session, account.id, values)

    changed = await ask.write(_service(ask), work)
    ask.accounts.authenticate.standings.forget(uid)
    return answer(shapes.user_json(changed))


async def delete_user(ask: Ask) -> Response:
    """For good, unless `should_soft_delete` is true."""
    ask.require_admin()
    uid, soft = _uid(ask), flag(await ask.body(), "should_soft_delete", default=False)

    async def work(session: AppSession) -> None:
        account = await _required(session, uid)
        await people.remove(session, account.id, for_good=not soft)

    try:
        await ask.write(_service(ask), work)
    except Conflict as exc:
        raise refusals.Refusal(409, "conflict", exc.message, hint=exc.hint) from None
    except NotFound:  # gone since it was found
        raise refusals.unknown_user() from None
    ask.accounts.authenticate.standings.forget(uid)
    return answer({})


# ---- links ----------------------------------------------------------------------------------------------------------


async def generate_link(ask: Ask) -> Response:
    """The user, flattened with a link that does what one by mail would. Of `signup`, `invite` and `magiclink` the user
    is made where there is none.
    """
    ask.require_admin()
    body, settings = await ask.body(), ask.accounts.settings
    type_ = text(body, "type") or ""
    if (kind := LINKS.get(type_)) is None:
        raise refusals.invalid(f"Generating a link requires a type: {', '.join(LINKS)}")
    address, new_address = email(body), email(body, "new_email")
    if address is None or (kind is Kind.EMAIL_CHANGE and new_address is None):
        raise refusals.invalid("Generating a link requires an email, and a change of email a new_email")
    password = await _password(ask, body) if kind is Kind.SIGNUP else None
    if kind is Kind.SIGNUP and password is None:
        raise refusals.invalid("A link to sign up requires a password")

    async def work(session: AppSession) -> tuple[Account, Made]:
        account = await _linked(session, ask, kind, address, body, password)
        if kind is not Kind.EMAIL_CHANGE:
            return account, await one_time.make(session, ask.accounts.vault, account, kind)
        if new_address is not None and await people.by_email(session, new_address) is not None:
            raise _address_taken()
        return account, await one_time.make(session, ask.accounts.vault, account, kind, email=new_address)

    account, made = await ask.write(_service(ask), work)
    wanted = text(body, "redirect_to") or text(body, "redirectTo") or ask.query("redirect_to")
    goal = redirects.target(wanted, settings)
    link = {
        "action_link": action_link(settings, made, kind, goal),
        "email_otp": made.otp,
        "hashed_token": made.hashed_token,
        "verification_type": type_,
        "redirect_to": goal,
    }
    return answer(shapes.user_json(account) | link)


async def _linked(
    session: AppSession, ask: Ask, kind: Kind, address: str, body: Mapping[str, Any], password: NewPassword | None
) -> Account:
    """The user that a link is for. A password takes the place of one that was set before the address was proven."""
    account = await people.by_email(session, address)
    given: Values = {} if password is None else {PASSWORD: password}
    if account is None:
        if kind in (Kind.RECOVERY, Kind.EMAIL_CHANGE):
            raise refusals.Refusal(404, "user_not_found", "User with this email not found")
        data = metadata(body, "data", {}) or {}
        given |= {"email": address, "email_confirmed_at": None, "user_metadata": data}
        given["role"] = ask.accounts.new_role
        return await people.add(session, given | await names(session, data, address))
    if kind not in (Kind.SIGNUP, Kind.INVITE):
        return account
    if account.email_confirmed_at is not None:
        raise _address_taken()
    if (merged := metadata(body, "data", account.user_metadata)) is not None:
        given["user_metadata"] = merged
    return await people.change(session, account.id, given)


# ---- what bodies say ------------------------------------------------------------------------------------------------


async def _values(ask: Ask, body: Mapping[str, Any]) -> Values:
    """What does not depend on the user as it is. Passwords are hashed here, before the unit of work. Raises Refusal,
    BadValue.
    """
    if text(body, "phone") is not None:
        raise refusals.no_phones()
    values: Values = {}
    if (address := email(body)) is not None:
        values["email"] = address
    if (password := await _password(ask, body)) is not None:
        values[PASSWORD] = password
    if (duration := text(body, "ban_duration")) is not None:
        values["banned_until"] = _ban(duration, ask.now)
    if (role := text(body, "role")) not in (None, AUDIENCE):
        values["role"] = _role(role)
    return values


def _merged(body: Mapping[str, Any], account: Account) -> Values:
    """What is merged into what the user has. A username counts only if it is another one than before: clients send
    back what they have read.
    """
    values = _app_metadata(body, account.app_metadata)
    if (data := metadata(body, "user_metadata", account.user_metadata)) is not None:
        values["user_metadata"] = data
        wanted = data.get("username")
        if isinstance(wanted, str) and wanted != account.user_metadata.get("username"):
            values["username"] = wanted
    return values


def _joined(body: Mapping[str, Any]) -> dict[str, Any]:
    """`user_metadata`, or what other calls name `data`."""
    found = metadata(body, "user_metadata", {})
    return (metadata(body, "data", {}) if found is None else found) or {}


def _app_metadata(body: Mapping[str, Any], before: Mapping[str, Any]) -> Values:
    given = body.get("app_metadata")
    if isinstance(given, dict):
        given = {name: value for name, value in given.items() if name not in COMPUTED}
    found = metadata({"app_metadata": given}, "app_metadata", before)
    return {} if found is None else {"app_metadata": found}


async def _password(ask: Ask, body: Mapping[str, Any]) -> NewPassword | None:
    hashed, password = text(body, "password_hash"), text(body, PASSWORD)
    if hashed is not None and password is not None:
        raise refusals.invalid("Only a password or a password hash should be provided")
    if hashed is not None:
        return accept_hash(hashed)
    return None if password is None else await ask.accounts.new_password(password, joins=False)


def _role(text: str | None) -> UserRole:
    try:
        return UserRole(text or "")
    except ValueError:
        raise refusals.invalid(
            f"role must be one of {', '.join(UserRole)}, or {AUDIENCE}, which changes nothing"
        ) from None


def _ban(duration: str, now: datetime) -> datetime | None:
    if duration == "none":
        return None
    seconds = math.inf
    if DURATION.fullmatch(duration):
        seconds = sum(float(number) * SECONDS[unit] for number, unit in PART.findall(duration))
    if seconds > LONGEST_BAN:
        raise refusals.invalid('ban_duration must be a duration such as "24h" or "1h30m", or "none"')
    return now + timedelta(seconds=seconds)


def _given_uid(body: Mapping[str, Any]) -> Values:
    if (given := text(body, "id")) is None:
        return {}
    try:
        return {"uid": UUID(given)}
    except ValueError:
        raise refusals.invalid("id must be a UUID") from None


def _number(ask: Ask, name: str, default: int, most: int) -> int:
    """A positive number of the query; clients send an empty one for none."""
    given = ask.query(name)
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and len(given) <= 10 and 1 <= int(given) <= most):
        raise refusals.invalid(f"{name} must be a number from 1 to {most}")
    return int(given)


def _uid(ask: Ask) -> UUID:
    try:
        return UUID(ask.request.path_params["uid"])
    except ValueError:
        raise refusals.Refusal(404, "user_not_found", "user_id must be an UUID") from None


async def _required(session: AppSession, uid: UUID) -> Account:
    account = await people.by_uid(session, uid)
    if account is None:
        raise refusals.unknown_user()
    return account


def _service(ask: Ask) -> Principal:
    return Principal(Role.SYSTEM, key_id=ask.key.key_id)


def _address_taken() -> refusals.Refusal:
    return refusals.Refusal(422, "email_exists", "A user with this email address has already been registered")
