"""POST /batch: up to `limits.batch_requests` requests in one transaction, all or nothing.

    {"requests": [{"method": "POST", "path": "/tags", "body": {"name": "x"}},
                  {"method": "GET", "path": "/tags?name=eq.x", "headers": {"accept": "text/csv"}}]}

A bare list will do. Paths begin below the surface on which the batch is sent. The answer is a list of `status`,
`headers` and `body`, in order; each request sees what those before it wrote. The first one that is refused ends it all:
nothing is kept, and the answer is its error, whose message begins with its place: `requests[1]: ...`. The caller is the
batch's; requests carry no keys of their own, of whatever kind.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Message

from app.data.scopes import unscoped
from app.data.session import AppSession
from app.errors import BadBody, BadQuery, BroadsheetError, TooLarge
from app.http.body import HEADER, JSON, content_type, read_body
from app.http.context import Call, State
from app.http.idempotency import key_of, respond
from app.http.preferences import prefer_of
from app.http.response import allowed, answer, encoded
from app.http.routes import Endpoint
from app.http.surfaces import Surface
from app.query.jsontext import checked

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
READS = ("GET", "HEAD")
# What a header of the answer must be to stand in the batch's: the others are the same for all.
SHOWN = ("Content-Type", "Content-Range", "Content-Location", "Location", "ETag", "Link", "Preference-Applied", "Allow")


class Single(msgspec.Struct, forbid_unknown_fields=True):
    """One request. A body that is no JSON, such as CSV, travels as a string."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw()


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    requests: list[Single]


class Answered(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: Any


async def run_batch(call: Call) -> Response:
    requests = await _requests(call)
    prefer = prefer_of(call.headers)
    prefer.check()
    key_of(call)  # one that cannot be read is refused even where it has no meaning
    may_undo = call.service.settings.allow_rollback
    inside = replace(call, who=unscoped(call.who))  # each request is held to the scopes by itself

    async def work(session: AppSession) -> Response:
        answers, size = [], 0
        for number, single in enumerate(requests):
            with _placed(call, number):
                response = await _response(call, session, single)
            answers.append(_answered(response, shown=single.method.upper() != "HEAD"))
            size += len(response.body)
            if size > call.limits.batch_answer:
                raise BadQuery("the answer would be too long", code="54000", hint="Ask for less in one batch.")
        return answer(call, encoded(answers), headers=prefer.applied("POST", tx=may_undo))

    if all(single.method.upper() in READS for single in requests):
        return await inside.look(work)
    return await respond(inside, work, keep=not (may_undo and prefer.tx == "rollback"))


@contextmanager
def _placed(call: Call, number: int) -> Generator[None]:
    """A refusal says to which request it belongs."""
    try:
        with call.service.database.translated():
            yield
    except BroadsheetError as exc:
        exc.message = f"requests[{number}]: {exc.message}"
        raise


def batch_routes(surface: Surface) -> list[Route]:
    endpoint = Endpoint(surface, {"POST": run_batch}, batched=False)
    return [Route(f"{surface.prefix}/batch", endpoint, name=f"{surface.name}_batch")]


# ---- the requests ---------------------------------------------------------------------------------------------------


async def _requests(call: Call) -> list[Single]:
    """Raises BadBody, TooLarge."""
    if content_type(call.headers) != JSON:
        raise BadBody("Content-Type not acceptable: a batch is JSON", plain_status=415)
    body = await read_body(call.request, call.limits.body)
    checked(body, call.limits)
    try:
        if body.lstrip()[:1] == b"[":
            found = msgspec.json.decode(body, type=list[Single])
        else:
            found = msgspec.json.decode(body, type=Batch).requests
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        hint = 'Send {"requests": [{"method": "GET", "path": "/..."}]}.'
        raise BadBody("Empty or invalid json", details=str(exc), hint=hint) from None
    if len(found) > call.limits.batch_requests:
        raise TooLarge(f"more than {call.limits.batch_requests} requests in one batch")
    return found


async def _response(call: Call, session: AppSession, single: Single) -> Response:
    """Runs one request as the router would."""
    request = _request(call, single)
    endpoint = _endpoint(call, request)
    try:
        return await endpoint.handled(request, call.who, session)
    except HTTPException as exc:
        methods = (exc.headers or {}).get("Allow", allowed(METHODS))
        text = f"Unsupported HTTP method: {request.method}"
        raise BroadsheetError(text, code="PGRST117", status=exc.status_code, hint=f"Allowed: {methods}") from None


def _request(call: Call, single: Single) -> Request[State]:
    method = single.method.upper()
    if method not in METHODS:
        raise BroadsheetError(f"Unsupported HTTP method: {single.method[:20]}", code="PGRST117", status=405)
    headers = {name.lower(): value for name, value in single.headers.items()}
    for name in ("authorization", "apikey"):
        if name in headers:
            raise BadBody(f"a request of a batch has no header {name}: its caller is the batch's")
    if HEADER in headers:
        raise BadBody("a request of a batch has no Idempotency-Key of its own", hint="Give the batch one.")
    path, _, query = single.path.partition("?")
    if not path.startswith("/"):
        raise BadBody(f"{single.path[:60]!r} is no path", hint="A path begins with / below the surface of the batch.")
    raw_path = f"{call.surface.prefix}{path}".encode()
    try:
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        scope = {
            **call.request.scope,
            "method": method,
            "path": unquote(raw_path.decode()),
            "raw_path": raw_path,
            "query_string": query.encode("ascii"),
            "headers": raw,
        }
    except UnicodeEncodeError:
        raise BadBody("headers and query strings are ASCII", hint="Percent-encode other characters.") from None
    return Request(scope, _receiver(_content(single, headers)))


def _content(single: Single, headers: dict[str, str]) -> bytes:
    body = bytes(single.body)
    if body[:1] == b'"' and headers.get("content-type", JSON).partition(";")[0].strip().lower() != JSON:
        text: str = msgspec.json.decode(body)
        return text.encode()
    return body


def _receiver(body: bytes) -> Any:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _endpoint(call: Call, request: Request[State]) -> Endpoint:
    """The route to which the request's path belongs; its scope takes what the route has read of it. A batch has no
    batches inside.
    """
    for route in call.request.app.routes:
        if not isinstance(route, Route) or not isinstance(route.app, Endpoint):
            continue
        match, found = route.matches(request.scope)
        if match is Match.FULL and route.app.surface is call.surface and route.app.batched:
            request.scope.update(found)
            return route.app
    raise BroadsheetError("Invalid path specified in request URL", code="PGRST125", status=404)


# ---- the answers ----------------------------------------------------------------------------------------------------


def _answered(response: Response, *, shown: bool) -> Answered:
    headers = {name: response.headers[name] for name in SHOWN if name in response.headers}
    return Answered(response.status_code, headers, _body(response) if shown else None)


def _body(response: Response) -> Any:
    """JSON as it is, anything else as a string, nothing as null."""
    body = bytes(response.body)
    if not body:
        return None
    kind = response.headers.get("content-type", "").partition(";")[0]
    return msgspec.Raw(body) if kind.endswith("json") else body.decode()
