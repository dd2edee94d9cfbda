"""What links and codes do: GET and POST /verify, and the codes of PKCE for POST /token. Source: supabase 1.3, 1.8.

A token proves that its bearer reads the mail of the address to which it was made out. It counts only while that is the
user's address (a change of address: until it is taken), and no longer than the password that was there when it was
made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.responses import Response

from app.accounts import one_time, people, redirects
from app.accounts.one_time import PKCE_PREFIX, Kind, Taken
from app.accounts.people import Account, acting
from app.accounts.sessions import Opened
from app.accounts.wire import refusals
from app.accounts.wire.asking import Ask, answer, email, text
from app.accounts.wire.entering import begun, session_answer, session_json
from app.data.rules import SYSTEM, Values
from app.data.session import AppSession
from app.errors import Conflict

SIGN_IN = (Kind.SIGNUP, Kind.MAGICLINK, Kind.INVITE)  # they do the same, and clients mix their names up
TYPES = {
    "signup": SIGN_IN,
    "magiclink": SIGN_IN,
    "invite": SIGN_IN,
    "email": (*SIGN_IN, Kind.RECOVERY),
    "recovery": (Kind.RECOVERY,),
    "email_change": (Kind.EMAIL_CHANGE,),
}
METHOD = "otp"  # how who follows a link came in, as both clients know it
SHOWN = ("access_token", "expires_at", "expires_in", "refresh_token", "token_type")  # of a session, in a redirect

# ---- verify ---------------------------------------------------------------------------------------------------------


async def verify(ask: Ask) -> Response:
    """POST /verify, with a token, or with an address and the digits that it was sent."""
    body = await ask.body()
    if text(body, "phone") is not None:
        raise refusals.no_phones()
    kinds, token, digits = _kinds(text(body, "type")), text(body, "token_hash"), text(body, "token")
    await ask.accounts.throttle.verify(ask.database)
    if token is not None:
        came = await _with_token(ask, kinds, token)
    elif digits is not None and (address := email(body)) is not None:
        came = await _with_digits(ask, kinds, address, "".join(digits.split()))
    else:
        message = "Verify requires a token_hash, or an email and the token that was sent to it"
        raise refusals.invalid(message)
    return await session_answer(ask, *came)


async def follow(ask: Ask) -> Response:
    """GET /verify, as browsers open it. HEAD, by which programs look at links before people do, takes nothing."""
    kinds, token = _kinds(ask.query("type")), ask.query("token")
    if not token:
        raise refusals.invalid("Verify requires a token")
    if ask.request.method == "HEAD":
        return answer({})
    await ask.accounts.throttle.verify(ask.database)
    goal = redirects.target(ask.query("redirect_to"), ask.accounts.settings)
    try:
        if token.startswith(PKCE_PREFIX):
            return _see(redirects.with_query(goal, {"code": await _code_for(ask, kinds, token)}))
        shown = await session_json(ask, *await _with_token(ask, kinds, token))
    except (refusals.Refusal, Conflict) as exc:
        why = refusals.translated(exc)
        fields = {"error": "access_denied", "error_code": why.code, "error_description": why.message}
        return _see(redirects.with_fragment(goal, fields))
    fields = {name: str(shown[name]) for name in SHOWN} | {"type": ask.query("type")}
    return _see(redirects.with_fragment(goal, fields))


async def _with_token(ask: Ask, kinds: tuple[Kind, ...], token: str) -> tuple[Account, Opened]:
    owner = await _owner(ask, kinds, token)

    async def work(session: AppSession) -> tuple[Account, Opened] | None:
        await people.lock(session, owner)
        return await _enter(session, ask, await one_time.take(session, kinds, token))

    return _required(ask, await ask.write(acting(owner), work))


async def _with_digits(ask: Ask, kinds: tuple[Kind, ...], address: str, digits: str) -> tuple[Account, Opened]:
    """Nobody is told whether the address is known: wrong digits are counted in a unit of work either way."""
    vault = ask.accounts.vault
    async with ask.database.reading(SYSTEM) as session:
        found = await one_time.find_otp(session, vault, kinds, address, digits)

    async def work(session: AppSession) -> tuple[Account, Opened] | None:
        if found is not None:
            await people.lock(session, found.user_id)
        return await _enter(session, ask, await one_time.take_otp(session, vault, kinds, address, digits))

    return _required(ask, await ask.write(acting(found.user_id if found else None), work))


async def _code_for(ask: Ask, kinds: tuple[Kind, ...], token: str) -> str:
    """The code of PKCE that the client exchanges for a session: what the link proved is written down now."""
    owner = await _owner(ask, kinds, token)

    async def work(session: AppSession) -> tuple[UUID, str] | None:
        await people.lock(session, owner)
        taken = await one_time.take(session, kinds, token)
        account = await _proven(session, ask, taken)
        if taken is None or account is None:
            return None
        made = await one_time.make(session, ask.accounts.vault, account, Kind.PKCE, challenge=taken.challenge)
        return account.uid, made.hashed_token

    done = await ask.write(acting(owner), work)
    if done is None:
        raise refusals.otp_expired()
    ask.accounts.authenticate.standings.forget(done[0])
    return done[1]


async def _owner(ask: Ask, kinds: tuple[Kind, ...], token: str) -> int:
    """Whose token it is: the actor of what follows. What is no token costs no unit of work."""
    async with ask.database.reading(SYSTEM) as session:
        found = await one_time.find(session, kinds, token)
    if found is None:
        raise refusals.otp_expired()
    return found.user_id


async def _enter(session: AppSession, ask: Ask, taken: Taken | None) -> tuple[Account, Opened] | None:
    account = await _proven(session, ask, taken)
    return None if account is None else await begun(session, ask, account, METHOD)


async def _proven(session: AppSession, ask: Ask, taken: Taken | None) -> Account | None:
    """The user, with what the token proves written down; None for a token that does not count any more. Raises Refusal,
    Conflict.
    """
    account = None if taken is None else await people.by_id(session, taken.user_id)
    if taken is None or account is None:
        return None
    if account.changed_at is not None and account.changed_at > taken.created_at:
        return None
    if account.is_banned(session.unit.now):
        raise refusals.banned(400)
    confirmed: Values = {"email_confirmed_at": session.unit.now}
    if taken.kind is Kind.EMAIL_CHANGE:
        joined: Values = {"is_anonymous": False} if account.is_anonymous else {}
        return await people.change(session, account.id, {"email": taken.email, **confirmed, **joined})
    if taken.email != account.email:
        return None
    if account.email_confirmed_at is not None:
        return account
    if taken.kind is not Kind.SIGNUP and ask.accounts.settings.accounts.confirm_email:
        await people.drop_password(session, account.id)  # whoever set it never proved the address
    return await people.change(session, account.id, confirmed)


def _required(ask: Ask, came: tuple[Account, Opened] | None) -> tuple[Account, Opened]:
    if came is None:
        raise refusals.otp_expired()
    ask.accounts.authenticate.standings.forget(came[0].uid)
    return came


def _kinds(type_: str | None) -> tuple[Kind, ...]:
    if type_ not in TYPES:
        message = f"Verify requires a verification type: {', '.join(TYPES)}"
        raise refusals.invalid(message)
    return TYPES[type_]


def _see(url: str) -> Response:
    return Response(status_code=303, headers={"Location": url, "Cache-Control": "no-store"})


# ---- PKCE -----------------------------------------------------------------------------------------------------------


async def exchange(ask: Ask, body: Mapping[str, Any]) -> Response:
    """POST /token?grant_type=pkce: a session for the code that a link has led to. A wrong verifier leaves the code in
    place for the right one.
    """
    code, verifier = text(body, "auth_code"), text(body, "code_verifier")
    if code is None or verifier is None:
        raise refusals.invalid("both auth_code and code_verifier should be non-empty")
    async with ask.database.reading(SYSTEM) as session:
        found = await one_time.find(session, (Kind.PKCE,), code)
    if found is None or found.challenge is None:
        raise _no_flow()
    if found.expires_at <= ask.now:
        raise refusals.Refusal(422, "flow_state_expired", "invalid flow state, flow state has expired")
    if not found.challenge.fits(verifier):
        raise refusals.Refusal(400, "bad_code_verifier", "code challenge does not match previously saved code verifier")

    async def work(session: AppSession) -> tuple[Account, Opened]:
        await people.lock(session, found.user_id)
        taken = await one_time.take(session, (Kind.PKCE,), code)
        account = None if taken is None else await people.by_id(session, taken.user_id)
        if account is None:
            raise _no_flow()
        return await begun(session, ask, account, METHOD)

    return await session_answer(ask, *await ask.write(acting(found.user_id), work))


def _no_flow() -> refusals.Refusal:
    return refusals.Refusal(404, "flow_state_not_found", "invalid flow state, no valid flow state found")
