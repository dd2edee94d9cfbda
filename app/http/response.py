"""Answers: bodies that are bytes already, and the headers that go with them. Every error has the same four keys."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from app.data.rules import ANONYMOUS
from app.errors import BroadsheetError, Forbidden, Internal, NotFound, Unauthorized
from app.http.context import Call
from app.http.media import Media
from app.http.ranges import Unsatisfiable
from app.http.request import is_known
from app.http.surfaces import surface_at

JSON = "application/json; charset=utf-8"
METHODS = ("OPTIONS", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# What an answer depends on besides its URL: caches must not mix callers.
VARY = "Accept, Prefer, Range, Authorization, apikey"

log = logging.getLogger("broadsheet.http")


def answer(
    call: Call, body: bytes, status: int = 200, headers: dict[str, str] | None = None, *, media: Media | None = None
) -> Response:
    """JSON unless another form is named, or nothing for an empty body."""
    kind = JSON if media is None else media.content_type
    response = Response(
        body, status, headers=_headers(call) | ({"Content-Type": kind} if body else {}) | (headers or {})
    )
    if call.method == "HEAD" and not call.surface.items:
        del response.headers["Content-Length"]  # the dialect's HEAD has none
    return response


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
        return Response(b"", 304, headers=_headers(call) | tag)
    return answer(call, body, status, tag, media=media)


def _headers(call: Call) -> dict[str, str]:
    headers = {"Vary": VARY}
    if call.who is not ANONYMOUS:
        headers["Cache-Control"] = "no-store"
    if "accept-profile" in call.headers or "content-profile" in call.headers:
        headers["Content-Profile"] = "public"
    return headers


def etag_of(body: bytes, version: int | None = None) -> str:
    """A strong tag of the bytes, 128 bits; with the row's version in front, which is what If-Match compares."""
    digest = hashlib.sha256(body).hexdigest()[:32]  # 16 us for 27 kB; blake2b takes 29
    return f'"{digest}"' if version is None else f'"{version}-{digest}"'


# ---- errors ---------------------------------------------------------------------------------------------------------


async def render_refusal(request: Request, exc: Exception) -> Response:
    """A fault of ours goes on to the outermost middleware."""
    assert isinstance(exc, BroadsheetError)
    if isinstance(exc, Internal):
        raise exc
    return refusal(request.scope, exc)


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


async def render_http(request: Request, exc: Exception) -> Response:
    """What the router refuses."""
    assert isinstance(exc, HTTPException)
    headers = dict(exc.headers or {})
    match exc.status_code:
        case 404:
            refused: BroadsheetError = NotFound("Invalid path specified in request URL")
        case 405:
            refused = BroadsheetError(f"Unsupported HTTP method: {request.method}", code="PGRST117")
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
