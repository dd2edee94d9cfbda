"""Pure ASGI layers around the application: request ids, access log, headers of every answer, the names that the
service goes by, the net under faults. Refuses requests for other hosts.

`RequestLog` is the outermost, so that it sees every answer; `FaultBarrier` stands inside CORS, so that a browser may
read the answer to a fault too.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.errors import BroadsheetError
from app.http.context import Trace, trace_of
from app.http.metrics import Metrics
from app.http.rating import rate_headers
from app.http.response import error, internal_error

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'"),
    (b"x-frame-options", b"DENY"),
    # of loads without CORS alone, as <script src> makes them; what CORS allows stays allowed
    (b"cross-origin-resource-policy", b"same-origin"),
]
SECURITY_TLS = [*SECURITY, (b"strict-transport-security", b"max-age=31536000")]
TIMED = {  # our stages as the dialect's clients know them
    "authenticate": "jwt",
    "body": "parse",
    "plan": "plan",
    "database": "transaction",
    "encode": "response",
}
CLIENT_GONE = 499  # what logs and metrics say of a request that nobody waited for
ABANDONED = "broadsheet.abandoned"  # in a scope: the server cut the connection, and may cancel the request

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
        client = scope.get("client")
        token, address = logs.request_id.set(trace.request_id), logs.address.set(client[0] if client else None)
        head = scope["method"] == "HEAD"
        status, size = CLIENT_GONE, 0

        async def send_on(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                common = [pair for pair in security_headers(scope.get("scheme")) if pair[0] not in given]
                rates = rate_headers(scope.get("broadsheet.rate"))
                headers = [*message["headers"], *common, *rates, (b"x-request-id", trace.request_id.encode())]
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
            logs.address.reset(address)


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
        except asyncio.CancelledError:  # when a server that stops has waited long enough
            if ABANDONED not in scope:
                raise
        except Exception:
            if scope["type"] != "http":
                raise
            log.exception("fault")
            if started:  # the server cuts the connection, so that half an answer is not taken for a whole one
                raise
            await internal_error(trace_of(scope).request_id)(scope, receive, send)


class HostCheck:
    """Answers only to the service's own names: exact ones, or `*.example.org`, which leaves out `example.org` itself.
    Ports do not count. Where none is given every name is right. /health is exempt: probes come by address.
    """

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...] = ()) -> None:
        self.app = app
        self.names = frozenset(name.lower() for name in allowed if not name.startswith("*."))
        self.endings = tuple(name[1:].lower() for name in allowed if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "http" and not f"{scope['path']}/".startswith("/health/") and not self.is_own(scope):
            app = error(BroadsheetError("invalid host header", code="BRD400", hint="Use a name of this service."), 400)
        await app(scope, receive, send)

    def is_own(self, scope: Scope) -> bool:
        if not self.names and not self.endings:
            return True
        given = [value for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1:
            return False
        name = hostname(given[0].decode("latin-1"))
        return name in self.names or (name.endswith(self.endings) and not name.startswith("."))


def hostname(host: str) -> str:
    """Without the port, and without the dot at the end that a full name may have."""
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return name.lower().removesuffix(".")


def security_headers(scheme: str | None) -> list[tuple[bytes, bytes]]:
    """What every answer tells a browser; over TLS also to come back that way alone."""
    return SECURITY_TLS if scheme == "https" else SECURITY


def request_id_of(scope: Scope) -> str:
    """The caller's own id where it is a harmless one, so that logs can be joined; else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def server_timing(trace: Trace) -> str:
    """Milliseconds by stage, under the dialect's names."""
    return ", ".join(f"{TIMED[stage]};dur={_ms(spent)}" for stage, spent in trace.stages.items() if stage in TIMED)


def template_of(scope: Scope) -> str:
    """With the prefix of what is mounted."""
    route = scope.get("route")
    return scope.get("root_path", "") + route.path if route is not None else "none"


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
