"""Pure ASGI layers around the application: request ids, access log, headers of every answer, the net under faults.

`RequestLog` is the outermost, so that it sees every answer; `FaultBarrier` stands inside CORS, so that a browser may
read the answer to a fault too.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.http.context import Trace, trace_of
from app.http.metrics import Metrics
from app.http.response import internal_error

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'"),
]
TIMED = {  # our stages as the dialect's clients know them
    "authenticate": "jwt",
    "body": "parse",
    "plan": "plan",
    "database": "transaction",
    "encode": "response",
}
CLIENT_GONE = 499  # what logs and metrics say of a request that nobody waited for

access = logging.getLogger("broadsheet.access")
log = logging.getLogger("broadsheet.http")


class RequestLog:
    """Gives each request its id and its trace, each answer its common headers, and writes one line when it is over."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, timing: bool = False) -> None:
        self.app = app
        self.metrics = metrics
        self.timing = timing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace = scope["broadsheet.trace"] = Trace(request_id_of(scope))
        token = logs.request_id.set(trace.request_id)
        head = scope["method"] == "HEAD"
        status, size = CLIENT_GONE, 0

        async def send_on(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                common = [pair for pair in SECURITY if pair[0] not in given]
                headers = [*message["headers"], *common, (b"x-request-id", trace.request_id.encode())]
                if self.timing:
                    headers.append((b"server-timing", server_timing(trace).encode()))
                message = {**message, "headers": headers}
            elif head:  # the headers of a GET, Content-Length too, and no body
                message = {**message, "body": b""}
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        finally:
            seconds = time.perf_counter() - trace.started
            route = template_of(scope)
            self.metrics.count(route, scope["method"], status, seconds)
            if access.isEnabledFor(logging.INFO):
                access.info("request", extra=_line(scope, trace, route, status, size, seconds))
            logs.request_id.reset(token)


class FaultBarrier:
    """Logs what nobody expected and answers 500 with the request's id, nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:  # in the middle of its body: there is nobody to answer
            return
        except Exception:
            if scope["type"] != "http":
                raise
            log.exception("fault")
            if started:  # the server cuts the connection, so that half an answer is not taken for a whole one
                raise
            await internal_error(trace_of(scope).request_id)(scope, receive, send)


def request_id_of(scope: Scope) -> str:
    """The caller's own id where it is a harmless one, so that logs can be joined; else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def server_timing(trace: Trace) -> str:
    """Milliseconds by stage, under the dialect's names."""
    return ", ".join(f"{TIMED[stage]};dur={_ms(spent)}" for stage, spent in trace.stages.items() if stage in TIMED)


def template_of(scope: Scope) -> str:
    route = scope.get("route")
    return route.path if route is not None else "none"


def _line(scope: Scope, trace: Trace, route: str, status: int, size: int, seconds: float) -> dict[str, Any]:
    """No query string and no header: they may hold values of rows, and keys."""
    return {
        "method": scope["method"],
        "path": scope["path"][:200],
        "route": route,
        "status": status,
        "bytes": size,
        "ms": _ms(seconds),
        "stages": {stage: _ms(spent) for stage, spent in trace.stages.items()},
        "statements": trace.statements,
        "role": trace.role,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
