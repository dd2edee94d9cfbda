"""One request of the account API: who may ask, its body, and how it is answered.

    async def recover(ask: Ask) -> Response: ...
    Route("/recover", Call({"POST": recover}))

`apikey` alone opens these calls; `Authorization` is looked at only where a user's session is asked for, since clients
send an expired token along when they refresh it. Source: supabase 0.5, 1.1, 1.7.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app import logs
from app.accounts import people, standing
from app.accounts.authenticate import credentials
from app.accounts.people import Account
from app.accounts.service import Accounts
from app.accounts.tokens import Claims
from app.accounts.wire import refusals
from app.data.database import Database
from app.data.rules import ANONYMOUS, Principal, Role
from app.data.session import AppSession
from app.errors import BroadsheetError, Internal, Unauthorized
from app.models.names import clean_email
from app.query.jsontext import decode, gather

T = TypeVar("T")

JSON = "application/json; charset=utf-8"
VERSION = "2024-01-01"  # of the API that clients name in x-supabase-api-version
Handler = Callable[["Ask"], Awaitable[Response]]


@dataclass(slots=True)
class Ask:
    """`key` is whom the api key makes of the caller: anonymous, or the service."""

    request: Request
    accounts: Accounts
    database: Database
    key: Principal

    @property
    def now(self) -> datetime:
        return self.database.clock()

    def query(self, name: str) -> str:
        return self.request.query_params.get(name, "")

    async def body(self) -> dict[str, Any]:
        """The fields of the body; an empty one is an empty object. Raises BadBody, BadValue, TooLarge."""
        limits = self.accounts.settings.limits
        given = await gather(self.request.stream(), self.request.headers.get("content-length", ""), limits.body)
        value = decode(given, limits) if given.strip() else {}
        if not isinstance(value, dict):
            raise refusals.Refusal(400, "bad_json", "Could not parse request body as JSON: an object is needed")
        return value

    async def claims(self) -> Claims:
        """Of the access token that the request carries. Raises Refusal: no_authorization, bad_jwt."""
        _, bearers = credentials(self.request.headers, strict=False)
        tokens = [text for text in bearers if text]
        if not tokens:
            raise refusals.no_authorization()
        if self.accounts.authenticate.is_key(tokens[0]):
            raise refusals.bad_jwt("missing sub claim")
        try:
            return await self.accounts.authenticate.token(tokens[0], self.database)
        except Unauthorized as exc:
            raise refusals.bad_jwt(exc.message) from None

    async def signed_in(self, session: AppSession, claims: Claims) -> Account:
        """The user of these claims, whose session lives, as the database has both now. Raises Refusal."""
        found = await standing.standing(session, claims.user, claims.session)
        account = await people.by_uid(session, claims.user) if found is not None else None
        if found is None or account is None:
            raise refusals.no_user()
        if not found.has_session:
            raise refusals.no_session()
        if account.is_banned(session.unit.now):
            raise refusals.banned(403)
        return account

    def require_admin(self) -> None:
        """The secret key, as apikey, or as Bearer without one. Raises Refusal."""
        if self.key.role is not Role.SERVICE or self.key.scopes is not None:
            raise refusals.not_admin()

    async def write(self, who: Principal, work: Callable[[AppSession], Awaitable[T]]) -> T:
        return await self.database.transact(who, work, request_id=logs.request_id.get())


class Call:
    """An ASGI application for one path. `open_` ones need no key even where one is required."""

    def __init__(self, handlers: Mapping[str, Handler], *, open_: bool = False) -> None:
        self._handlers = handlers
        self._open = open_

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        handler = self._handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise HTTPException(405, headers={"Allow": ", ".join(self._handlers)})
        service = request.state["service"]
        database: Database = service.database
        accounts: Accounts = scope["broadsheet.accounts"]
        try:
            key = ANONYMOUS if self._open else await _key(request, accounts, database)
        except refusals.Refusal:
            await service.rates.count(scope, None)
            raise
        scope["broadsheet.trace"].role = key.role.value
        await service.rates.count(scope, key)  # beside what `throttle` counts: like any other request
        response = await handler(Ask(request, accounts, database, key))
        await response(scope, receive, send)


async def _key(request: Request, accounts: Accounts, database: Database) -> Principal:
    """Whom the keys of the request make of the caller. A Bearer that is no key is not looked at. Raises Refusal."""
    keys, bearers = credentials(request.headers, strict=False)  # a proxy in front may have its own scheme
    given = keys or [text for text in bearers if accounts.authenticate.is_key(text)]
    if not given and accounts.settings.require_key:
        raise refusals.Refusal(401, "no_authorization", "No API key found in request", hint="Send the header apikey.")
    try:
        found = [await accounts.authenticate.key(text, database) for text in given]
    except Unauthorized as exc:
        raise refusals.Refusal(401, "no_authorization", "Invalid API key", hint=exc.hint) from None
    return next((who for who in found if who.role is Role.SERVICE), ANONYMOUS)


class Wire:
    """The whole API as one ASGI application: whatever is raised below is answered as its clients can read it."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["broadsheet.accounts"] = self._accounts
        try:
            await self._app(scope, receive, send)
        except Internal:
            raise
        except BroadsheetError as exc:
            await refused(refusals.translated(exc), scope)(scope, receive, send)
        except HTTPException as exc:
            await refused(_by_router(exc), scope, exc.headers)(scope, receive, send)


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Never kept by a cache. Every 2xx carries JSON."""
    common = {"Content-Type": JSON, "Cache-Control": "no-store", "X-Supabase-Api-Version": VERSION}
    return Response(msgspec.json.encode(value), status, headers=common | dict(headers or {}))


def refused(exc: refusals.Refusal, scope: Scope, headers: Mapping[str, str] | None = None) -> Response:
    more = {"X-Sb-Error-Code": exc.code} | dict(headers or {})
    if exc.retry_after is not None:
        more["Retry-After"] = str(exc.retry_after)
    return answer(exc.body(), exc.status, more)


def _by_router(exc: HTTPException) -> refusals.Refusal:
    if exc.status_code == 404:
        return refusals.Refusal(404, "not_found", "There is no such path in the account API")
    return refusals.Refusal(exc.status_code, "validation_failed", "This path does not take that method")


# ---- fields of a body -----------------------------------------------------------------------------------------------


def text(body: Mapping[str, Any], name: str) -> str | None:
    """A text, or None where it is absent, null or empty. Raises Refusal."""
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise refusals.invalid(f"{name} must be a text")
    return value


def flag(body: Mapping[str, Any], name: str, default: bool) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise refusals.invalid(f"{name} must be true or false")
    return value


def email(body: Mapping[str, Any], name: str = "email") -> str | None:
    """In its one form. Raises BadValue for what is no address."""
    value = text(body, name)
    return None if value is None else clean_email(value)


MOST_METADATA = 4096  # bytes: it stands in every access token, where other letters than ASCII take six or more


def metadata(body: Mapping[str, Any], name: str, before: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is there with the given fields in place; null takes a field away. None where the body names none."""
    given = body.get(name)
    if given is None:
        return None
    if not isinstance(given, dict):
        raise refusals.invalid(f"{name} must be an object")
    merged = {key: value for key, value in {**before, **given}.items() if value is not None}
    if len(json.dumps(merged)) > MOST_METADATA:
        raise refusals.invalid(f"{name} holds more than {MOST_METADATA} bytes")
    return merged
