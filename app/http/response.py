"""Answers: bodies that are bytes already, and the headers that go with them. Every error has the same four keys."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from app.data.rules import ANONYMOUS
from app.errors import BroadsheetError, Forbidden, Internal, NotFound, Unauthorized
from app.http.context import Call
from app.http.media import JSON as JSON_MEDIA
from app.http.media import Media
from app.http.ranges import Unsatisfiable
from app.http.request import is_known
from app.http.surfaces import surface_at

JSON = "application/json; charset=utf-8"
JSON_FIELD = JSON.encode()
METHODS = ("OPTIONS", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# What an answer depends on besides its URL: caches must not mix callers.
VARY = b"Accept, Prefer, Range, Authorization, apikey"
BODILESS = (204, 304)

log = logging.getLogger("broadsheet.http")


class Ready(Response):
    """A response whose headers are encoded already, by their names in lower case."""

    def __init__(self, body: bytes, status: int, headers: dict[bytes, bytes]) -> None:
        self.body = body
        self.status_code = status
        self.raw_headers = list(headers.items())
        self.background = None


def answer(
    call: Call, body: bytes, status: int = 200, headers: dict[str, str] | None = None, *, media: Media | None = None
) -> Response:
    """JSON unless another form is named, or nothing for an empty body."""
    common = _headers(call)
    if body:
        common[b"content-type"] = JSON_FIELD if media is None or media is JSON_MEDIA else media.content_type.encode()
    if headers:
        common.update(_encoded(headers))
    if status not in BODILESS and (call.method != "HEAD" or call.surface.items):  # the dialect's HEAD has none
        common[b"content-length"] = b"%d" % len(body)
    return Ready(body, status, common)


def tagged(
    call: Call,
    body: bytes,
    etag: str,
    headers: dict[str, str] | None = None,
    *,
    media: Media | None = None,
    status: int = 200,
) -> Response:
    """The answer to a GET: 304 without a body where the caller has these very bytes."""
    tag = {"ETag": etag} | (headers or {})
    if is_known(call.headers, etag):
        return Ready(b"", 304, _headers(call) | _encoded(tag))
    return answer(call, body, status, tag, media=media)


def _headers(call: Call) -> dict[bytes, bytes]:
    headers = {b"vary": VARY}
    if call.who is not ANONYMOUS:
        headers[b"cache-control"] = b"no-store"
    if "accept-profile" in call.headers or "content-profile" in call.headers:
        headers[b"content-profile"] = b"public"
    return headers


def _encoded(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {field_of(name): value.encode("latin-1") for name, value in headers.items()}


@cache
def field_of(name: str) -> bytes:
    """Of the few names that we give."""
    return name.lower().encode("latin-1")


def etag_of(body: bytes, version: int | None = None) -> str:
    """A strong tag of the bytes, 128 bits; with the row's version in front, which is what If-Match compares."""
    digest = hashlib.sha256(body).hexdigest()[:32]  # 16 us for 27 kB; blake2b takes 29
    return f'"{digest}"' if version is None else f'"{version}-{digest}"'


# ---- errors ---------------------------------------------------------------------------------------------------------


def refused(scope: Scope, exc: Exception) -> Response | None:
    """The answer to what is raised on purpose; None for a fault of ours, and for what nobody expected."""
    if isinstance(exc, HTTPException):
        return _unrouted(scope, exc)
    return refusal(scope, exc) if isinstance(exc, BroadsheetError) and not isinstance(exc, Internal) else None


def refusal(scope: Scope, exc: BroadsheetError) -> Response:
    """The four keys, with the status of the surface."""
    status = surface_at(scope["path"]).status_of(exc)
    headers: dict[str, str] = {}
    if isinstance(exc, Forbidden) and scope.get("broadsheet.who") is ANONYMOUS:
        status = 401
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(exc, Unauthorized):
        headers["WWW-Authenticate"] = _challenge(exc)
    elif isinstance(exc, Unsatisfiable) and exc.total is not None:
        headers["Content-Range"] = f"*/{exc.total}"
    if exc.retry_after is not None:
        headers["Retry-After"] = str(exc.retry_after)
    if status >= 500:
        log.warning("answered %d", status, extra={"code": exc.code, "cause": type(exc.__cause__).__name__})
    return error(exc, status, headers)


def _unrouted(scope: Scope, exc: HTTPException) -> Response:
    """What the router refuses."""
    headers = dict(exc.headers or {})
    match exc.status_code:
        case 404:
            refused: BroadsheetError = NotFound("Invalid path specified in request URL")
        case 405:
            refused = BroadsheetError(f"Unsupported HTTP method: {scope['method']}", code="PGRST117")
            headers = {name: allowed(value.replace(",", " ").split()) for name, value in headers.items()}
        case status:
            refused = BroadsheetError(HTTPStatus(status).phrase, code=f"BRD{status}")
    return error(refused, exc.status_code, headers)


def error(exc: BroadsheetError, status: int, headers: dict[str, str] | None = None) -> Response:
    common = {"Content-Type": JSON, "Proxy-Status": f"PostgREST; error={exc.code}", "Cache-Control": "no-store"}
    return Response(msgspec.json.encode(exc.body()), status, headers=common | (headers or {}))


def internal_error(request_id: str) -> Response:
    """All that a caller learns of a fault: the id under which the log has its cause."""
    return error(Internal("Internal error", details=f"request {request_id}"), 500)


def _challenge(exc: BroadsheetError) -> str:
    if exc.code != "PGRST301":
        return "Bearer"
    return f'Bearer error="invalid_token", error_description="{exc.message}"'


def not_allowed(allow: tuple[str, ...]) -> HTTPException:
    return HTTPException(405, headers={"Allow": allowed(allow)})


def allowed(methods: Iterable[str]) -> str:
    """The header Allow, as the dialect writes it."""
    return ",".join(sorted(methods, key=METHODS.index))


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)
