"""What one client may cost the server before a request of it exists: the limits of connections, what all of them share,
and the answers to those that pass a limit.

Refuses heads, framing and connections that are too large, too slow or too many; bodies and URLs have limits of their
own, in the application. Times are seconds, sizes bytes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from app.data.rates import address_key
from app.errors import BroadsheetError, Unavailable
from app.http.middleware import security_headers
from app.http.response import error

if sys.platform != "win32":
    import resource

KIB = 1024
LOOPBACK = ("127.0.0.0/8", "::1")
RESERVED = 100  # descriptors that the process needs for itself: databases, files, connections that are being refused
RETRY = 5

log = logging.getLogger("broadsheet.server")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bodies and answers have their seconds, and go on after these as long as `rate` bytes moved in each second.

    `uncounted` are the peers from which many clients may come: proxies, as addresses or networks.
    """

    head_bytes: int = 32 * KIB
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 30.0
    linger_seconds: float = 2.0  # for a refused client to read why, instead of finding its connection reset
    rate: int = 16 * KIB
    pipelined: int = 100  # requests that may wait on one connection
    connections: int = 1000
    of_one_peer: int = 100
    uncounted: tuple[str, ...] = LOOPBACK
    sweep_seconds: float = 1.0


# ---- what connections share -----------------------------------------------------------------------------------------


class Watched(Protocol):
    def check(self, now: float, elapsed: float) -> None: ...

    def give_up(self) -> None: ...


class Guard(ServerState):
    """The connections of one server: their number, by peer too, the sweep, and how many were refused for what."""

    report_seconds = 10.0  # between two lines of the log

    def __init__(self, limits: ConnectionLimits) -> None:
        super().__init__()
        self.limits = limits
        self.capacity = capacity(limits)
        self.uncounted = tuple(ip_network(text) for text in limits.uncounted)
        self.watched: dict[Watched, str | None] = {}
        self.peers: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.stopping = False
        self.swept = self.reported = 0.0
        self.timer: asyncio.TimerHandle | None = None

    def admit(self, connection: Watched, host: str | None) -> int:
        """By how many a limit is passed now; 0 or less where none is."""
        peer = None if host is None else peer_of(host, self.uncounted)
        self.watched[connection] = peer
        excess = len(self.connections) - self.capacity
        if peer is None:
            return excess
        self.peers[peer] += 1
        return max(excess, self.peers[peer] - self.limits.of_one_peer)

    def release(self, connection: Watched) -> None:
        peer = self.watched.pop(connection, None)
        if peer is not None:
            self.peers[peer] -= 1
            if not self.peers[peer]:
                del self.peers[peer]

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.swept = loop.time()
        self.reported = self.swept - self.report_seconds
        self.timer = loop.call_later(self.limits.sweep_seconds, self._sweep, loop)

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self._report()

    def give_up(self) -> None:
        for connection in tuple(self.watched):
            connection.give_up()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timer = loop.call_later(self.limits.sweep_seconds, self._sweep, loop)
        now = loop.time()
        for connection in tuple(self.watched):
            connection.check(now, now - self.swept)
        self.swept = now
        if now - self.reported >= self.report_seconds:
            self._report()

    def _report(self) -> None:
        """One line for all, so that an attack does not fill the log."""
        if self.refused:
            log.warning("connections refused", extra={"refused": dict(self.refused)})
            self.refused.clear()
            self.reported = self.swept


def capacity(limits: ConnectionLimits) -> int:
    """Connections at a time: what the limits say, or what the descriptors of this process are enough for."""
    if sys.platform == "win32":
        return limits.connections
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits.connections
    return min(limits.connections, soft - min(soft // 2, RESERVED))


def peer_of(host: str, uncounted: Iterable[IPv4Network | IPv6Network]) -> str | None:
    """Under which name connections are counted: an address, or the /64 that one customer has of IPv6."""
    address = ip_address(host)
    plain = getattr(address, "ipv4_mapped", None) or address
    return None if any(plain in network for network in uncounted) else address_key(host)


# ---- refusals -------------------------------------------------------------------------------------------------------


def large_head(most: int) -> BroadsheetError:
    details = f"The limit is {most} bytes, with trailers and extensions of chunks."
    hint = "Send fewer or shorter headers, or a shorter URL."
    return BroadsheetError(
        "the head of the request is too large", code="BRD431", status=431, details=details, hint=hint
    )


def late_head(seconds: float) -> BroadsheetError:
    hint = f"Send the request line and all headers within {seconds:g} seconds."
    return BroadsheetError("the head of the request did not arrive in time", code="BRD408", status=408, hint=hint)


def late_body(seconds: float, rate: int) -> BroadsheetError:
    hint = f"Send the body within {seconds:g} seconds, or {rate} bytes in each second."
    return BroadsheetError("the body of the request did not arrive in time", code="BRD408", status=408, hint=hint)


def malformed(details: str) -> BroadsheetError:
    return BroadsheetError("the request is not valid HTTP", code="BRD400", details=details, hint="Send HTTP/1.1.")


def upgrade_with_body() -> BroadsheetError:
    """The parser takes what follows the head of an upgrade for another protocol: the body would be read as the next
    request.
    """
    hint = "Send the request without the headers Upgrade and Connection: upgrade."
    return BroadsheetError("a request with a body cannot change the protocol", code="BRD400", hint=hint)


def many_pipelined(most: int) -> BroadsheetError:
    hint = f"Read answers before more than {most} requests wait."
    return BroadsheetError("too many requests wait on this connection", code="BRD400", hint=hint)


def crowded() -> BroadsheetError:
    hint = "Use fewer connections, and keep them open for further requests."
    return Unavailable("too many connections are open", code="BRD503", hint=hint, retry_after=RETRY)


def stopping() -> BroadsheetError:
    return Unavailable("the server is stopping", code="BRD503", hint="Send the request again.", retry_after=RETRY)


def rendered(exc: BroadsheetError, headers: Iterable[tuple[bytes, bytes]], scheme: str) -> bytes:
    """A whole answer, after which the connection ends. `headers` are those that the server gives to every answer."""
    retry = {} if exc.retry_after is None else {"Retry-After": str(exc.retry_after)}
    response = error(exc, exc.status, retry)
    pairs = [*headers, *response.raw_headers, *security_headers(scheme), (b"connection", b"close")]
    lines = [b"%b: %b\r\n" % pair for pair in pairs]
    return b"".join([STATUS_LINE[exc.status], *lines, b"\r\n", bytes(response.body)])
