"""The one layer around the routes: request ids, access log, headers of every answer, CORS, the names that the service
goes by, refusals and the net under faults. Refuses requests for other hosts.

It is one layer because each wraps the sending of every answer once more; so Starlette's own two are left out as well.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from operator import itemgetter
from random import getrandbits
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.errors import BroadsheetError
from app.http.context import Trace
from app.http.metrics import Metrics
from app.http.rating import rate_headers
from app.http.request import headers_of
from app.http.response import error, internal_error, refused

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'"),
    (b"x-frame-options", b"DENY"),
    # of loads without CORS alone, as <script src> makes them; what CORS allows stays allowed
    (b"cross-origin-resource-policy", b"same-origin"),
]
SECURITY_TLS = [*SECURITY, (b"strict-transport-security", b"max-age=31536000")]
BROWSERS = frozenset(name for name, _ in SECURITY_TLS)
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


class Front:
    """Gives each request its id and its trace, each answer its common headers, and writes one line when it is over.

    What the routes raise is answered: refusals with their four keys, what nobody expected with 500 and the request's id
    alone. `cors` stands around all of it, so that a browser may read those answers too.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        names: Names | None = None,
        cors: CORSMiddleware | None = None,
        timing: bool = False,
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.names = names or Names()
        self.cors = cors
        self.timing = timing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = headers_of(scope)
        trace = scope["broadsheet.trace"] = Trace(request_id_of(headers))
        client = scope.get("client")
        token, address = logs.request_id.set(trace.request_id), logs.address.set(client[0] if client else None)
        answer = Answer(self, scope, trace, headers, send)
        try:
            if self.cors is not None and is_preflight(scope, headers):
                await self.cors.preflight_response(headers)(scope, receive, answer.plain)
            else:
                await self._answer(scope, receive, answer)
        finally:
            self._note(scope, trace, answer)
            logs.request_id.reset(token)
            logs.address.reset(address)

    async def _answer(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        try:
            if self.names.has(scope):
                await self.app(scope, receive, answer)
            else:
                await foreign()(scope, receive, answer)
        except ClientDisconnect:  # in the middle of its body: there is nobody to answer
            return
        except asyncio.CancelledError:  # when a server that stops has waited long enough
            if ABANDONED not in scope:
                raise
        except Exception as exc:
            response = None if answer.started else refused(scope, exc)
            if response is None:
                log.exception("fault")
                if (
                    answer.started
                ):  # the server cuts the connection, so that half an answer is not taken for a whole one
                    raise
                response = internal_error(answer.trace.request_id)
            await response(scope, receive, answer)

    def _note(self, scope: Scope, trace: Trace, answer: Answer) -> None:
        seconds = time.perf_counter() - trace.started
        route = template_of(scope)
        self.metrics.count(route, scope["method"], answer.status, seconds)
        if access.isEnabledFor(logging.INFO):
            access.info("request", extra=_line(scope, trace, route, answer, seconds))


class Answer:
    """The way of one answer to its client, and how far it has come."""

    __slots__ = ("front", "headers", "scope", "send", "size", "status", "trace")

    def __init__(self, front: Front, scope: Scope, trace: Trace, headers: Headers, send: Send) -> None:
        self.front = front
        self.scope = scope
        self.trace = trace
        self.headers = headers
        self.send = send
        self.status = CLIENT_GONE
        self.size = 0

    @property
    def started(self) -> bool:
        return self.status != CLIENT_GONE

    async def __call__(self, message: Message) -> None:
        """With what CORS asks for."""
        cors = self.front.cors
        if cors is not None and message["type"] == "http.response.start":
            if "origin" in self.headers:
                await cors.send(message, self.plain, self.headers)
                return
            message["headers"] = by_origin(message["headers"])
        await self.plain(message)

    async def plain(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._completed(message["headers"])
        elif self.scope["method"] == "HEAD":  # the headers of a GET, Content-Length too, and no body
            message["body"] = b""
        else:
            self.size += len(message.get("body", b""))
        await self.send(message)

    def _completed(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """With what every answer has. It may itself say otherwise of what browsers are told."""
        common = security_headers(self.scope.get("scheme"))
        if not BROWSERS.isdisjoint(map(itemgetter(0), given)):
            names = {name for name, _ in given}
            common = [pair for pair in common if pair[0] not in names]
        headers = [*given, *common, (b"x-request-id", self.trace.request_id.encode())]
        headers += rate_headers(self.scope.get("broadsheet.rate"))
        if self.front.timing:
            headers.append((b"server-timing", server_timing(self.trace).encode()))
        return headers


class Names:
    """The service's own names: exact ones, or `*.example.org`, which leaves out `example.org` itself. Ports do not
    count. Where none is given every name is right. /health is exempt: probes come by address.
    """

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        self.names = frozenset(name.lower() for name in allowed if not name.startswith("*."))
        self.endings = tuple(name[1:].lower() for name in allowed if name.startswith("*."))

    def has(self, scope: Scope) -> bool:
        """Whether the request is for one of them."""
        if (not self.names and not self.endings) or f"{scope['path']}/".startswith("/health/"):
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


def foreign() -> ASGIApp:
    hint = "Use a name of this service."
    return error(BroadsheetError("invalid host header", code="BRD400", hint=hint), 400)


def is_preflight(scope: Scope, headers: Headers) -> bool:
    """A browser asks whether a page of another origin may send something."""
    return scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def by_origin(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Says that answers differ by Origin, as CORSMiddleware says it to those who sent none."""
    different = [value for name, value in headers if name == b"vary"]
    others = [pair for pair in headers if pair[0] != b"vary"]
    return [*others, (b"vary", b", ".join([*different, b"Origin"]))]


def security_headers(scheme: str | None) -> list[tuple[bytes, bytes]]:
    """What every answer tells a browser; over TLS also to come back that way alone."""
    return SECURITY_TLS if scheme == "https" else SECURITY


def request_id_of(headers: Headers) -> str:
    """The caller's own id where it is a harmless one, so that logs can be joined; else a new one."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else f"{getrandbits(64):016x}"


def server_timing(trace: Trace) -> str:
    """Milliseconds by stage, under the dialect's names."""
    return ", ".join(f"{TIMED[stage]};dur={_ms(spent)}" for stage, spent in trace.stages.items() if stage in TIMED)


def template_of(scope: Scope) -> str:
    """With the prefix of what is mounted."""
    route = scope.get("route")
    return scope.get("root_path", "") + route.path if route is not None else "none"


def _line(scope: Scope, trace: Trace, route: str, answer: Answer, seconds: float) -> dict[str, Any]:
    """No query string and no header: they may hold values of rows, and keys."""
    return {
        "method": scope["method"],
        "path": scope["path"][:200],
        "route": route,
        "status": answer.status,
        "bytes": answer.size,
        "ms": _ms(seconds),
        "stages": {stage: _ms(spent) for stage, spent in trace.stages.items()},
        "statements": trace.statements,
        "role": trace.role,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
