"""The header Idempotency-Key of POST: a request that is sent again under its key is done once, and answered again what
it was answered first. Source: decisions 4, the IETF's draft of the header.

    return await respond(call, work, keep=...)          # `work(session)` makes the whole answer in the unit of work

Refusals for the sake of rows or rules are kept too, without what the unit of work had done; faults of the database are
not, and neither are refusals for the sake of the request's own words. The key belongs to its caller, and to the method
and path with which it came.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import timedelta

from starlette.responses import Response

from app.data import idempotency
from app.data.idempotency import Kept, Key
from app.data.session import AppSession
from app.errors import BadBody, BadQuery, BadValue, BroadsheetError
from app.http.body import BODY, HEADER
from app.http.context import Call, Work
from app.http.response import refusal

LARGEST = 256 * 1024  # bytes of an answer that is kept whole
KEYED = "broadsheet.keyed"  # in a scope: this request, or the batch around it, has a key
MEANING = ("content-type", "prefer", "accept", "content-profile")  # headers that are part of what is asked
TOKEN = re.compile(r"[!-~]{1,255}")
SWEEPS = "00"  # one key in 256 takes expired ones along


async def respond(call: Call, work: Work[Response], *, keep: bool = True) -> Response:
    """The answer of a unit of work, which is committed unless it is not to be kept. Raises what `work` raises; BadQuery
    (BRD400) for a header that is no key, Conflict (BRD409, BRD422).
    """
    given = key_of(call)
    if given is None or call.method != "POST" or call.unit is not None:
        return await call.transact(work, keep=keep)
    call.request.scope[KEYED] = True
    key = _digested(call, given)

    async def once(session: AppSession) -> Response:
        until = session.unit.now + timedelta(hours=call.service.settings.idempotency_hours)
        held = await idempotency.claim(session, key, until)
        if held is not None:
            return _again(held)
        if key.id.startswith(SWEEPS):
            await idempotency.purge_expired(session)
        response = await _settled(call, session, work)
        await idempotency.keep(session, key, _kept(response))
        return response

    return await call.transact(once, keep=keep, keyed=True)


def require_key(call: Call) -> None:
    """Raises BadQuery (BRD400) where the service wants a key and none came."""
    keyed = HEADER in call.headers or KEYED in call.request.scope
    if call.service.settings.require_idempotency_key and not keyed:
        hint = "Send a new UUID with every new request, and the same one with a request that you repeat."
        raise BadQuery("the header Idempotency-Key is needed", code="BRD400", hint=hint)


def key_of(call: Call) -> str | None:
    """Raises BadQuery for a header that is no key."""
    given = set(call.headers.getlist(HEADER))
    if not given:
        return None
    text = given.pop().strip()
    if len(text) > 1 and text[0] == text[-1] == '"':  # a string as the draft writes it, or the bare key
        text = text[1:-1]
    if given or not TOKEN.fullmatch(text):
        hint = "Send one key of 1 to 255 visible ASCII characters, such as a UUID."
        raise BadQuery("the header Idempotency-Key cannot be read", code="BRD400", hint=hint)
    return text


# ---- parts ----------------------------------------------------------------------------------------------------------


def _digested(call: Call, given: str) -> Key:
    """Bodies may hold passwords: their digest needs the caller's key, which is not kept."""
    who, scope = call.who, call.request.scope
    caller = (who.role.view.value, who.user_id, who.key_id, sorted(who.scopes or ()), who.scopes is None)
    place = f"{caller} {call.method} {scope['path']} {given}"
    asked = hmac.new(given.encode(), digestmod=hashlib.sha256)
    for part in (scope["query_string"], *(_header(call, name) for name in MEANING), scope.get(BODY, b"")):
        asked.update(hashlib.sha256(part).digest())
    return Key(hashlib.sha256(place.encode()).hexdigest(), asked.hexdigest())


def _header(call: Call, name: str) -> bytes:
    return ",".join(call.headers.getlist(name)).encode()


async def _settled(call: Call, session: AppSession, work: Work[Response]) -> Response:
    """The answer, or the refusal in its place, after which nothing is left of the work. Raises what is no refusal: the
    whole unit is undone then, and repeated where that helps.
    """
    try:
        with call.service.database.translated():
            async with session.begin_nested():
                return await work(session)
    except BroadsheetError as exc:
        if passes(exc):
            raise
        return refusal(call.request.scope, exc)


def passes(error: BroadsheetError) -> bool:
    """Whether it need not be kept: the same request is refused again for what it says itself, or may be answered
    otherwise a little later.
    """
    return error.status >= 500 or error.retry_after is not None or isinstance(error, BadBody | BadQuery | BadValue)


def _kept(response: Response) -> Kept:
    headers = [(name, value) for name, value in response.headers.items() if name != "content-length"]
    body = bytes(response.body)
    return Kept(response.status_code, headers, body if len(body) <= LARGEST else None)


def _again(held: Kept) -> Response:
    headers = dict(held.headers) | {"Idempotent-Replayed": "true"}
    if held.body is None:
        headers.pop("content-type", None)
        headers["preference-applied"] = "return=minimal"
    return Response(held.body or b"", held.status, headers)
