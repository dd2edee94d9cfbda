"""HTTP/1.1 connections of `broadsheet serve`: uvicorn's, with a limit for everything that a client decides.

Refuses what `armour.py` lists, in JSON, after the answers to the requests before it. There is no timer for a request:
one sweep a second looks at every open connection.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Any, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.errors import BroadsheetError
from app.http import armour
from app.http.armour import Guard
from app.http.cycle import Cycle
from app.http.middleware import ABANDONED

SLICE = 16 * 1024  # bytes given to the parser at once
FRAMING = 8  # bytes around each byte of a body that are no attack: chunks of one byte have five
TOLD = 8  # connections above a limit that are told so; more are cut off


class Phase(Enum):
    """What has come of the client's next message."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()


class Connection(HttpToolsProtocol):
    """Refusing has two steps: `farewell` is set, and nothing is read any more; once the requests before it are answered
    it is written, and the client gets a moment to read it.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(server_state, Guard)
        self.guard = server_state
        self.limits = server_state.limits
        self.phase = Phase.IDLE
        self.since = 0.0  # when the phase, the rest after an answer, or the farewell began
        self.messages = 0  # begun on this connection
        self.received = 0  # bytes of the body
        self.budget = 0  # bytes that are no body and may still come
        self.running: RequestResponseCycle | None = None  # uvicorn's `cycle` is the newest, which may be a waiting one
        self.farewell: bytes | None = None
        self.left = False
        self.owing: tuple[float, int] | None = None  # since when the client takes no answer, and how much there was

    @property
    def is_busy(self) -> bool:
        return self.running is not None and not self.running.response_complete

    # ---- what the transport says ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.since = self.loop.time()
        excess = self.guard.admit(self, self.client[0] if self.client else None)
        if excess > TOLD:
            self.guard.refused[armour.crowded().message] += 1
            transport.abort()
        elif excess > 0:
            self.refuse(armour.crowded())

    def connection_lost(self, exc: Exception | None) -> None:
        self.guard.release(self)
        if self.is_busy:
            self._abandon()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if len(data) <= SLICE and self.farewell is None:
            self._feed(data)
            return
        for start in range(0, len(data), SLICE):
            if self.farewell is not None:  # the rest does not count
                return
            self._feed(data[start : start + SLICE])

    def _feed(self, data: bytes) -> None:
        if self.phase is Phase.IDLE:  # also for the empty lines that may stand before a request
            self._begin()
        messages, received = self.messages, self.received
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            self._upgrade()
        except HttpParserError as exc:
            self.refuse(cause_of(exc))
        else:
            if self.messages == messages and self.phase is not Phase.IDLE:  # else the slice belongs to several messages
                self._charge(len(data), self.received - received)

    def _begin(self) -> None:
        self.phase = Phase.HEAD
        self.received = 0
        self.budget = self.limits.head_bytes
        if self.cycle is not None:  # the first head is counted from the opening of the connection
            self.since = self.loop.time()

    def _charge(self, size: int, body: int) -> None:
        """What is no body uses up the budget, a body fills it again: so trailers and chunks' extensions are bounded."""
        self.budget = min(self.budget + FRAMING * body, self.limits.head_bytes) - (size - body)
        if self.budget < 0:
            self.refuse(armour.large_head(self.limits.head_bytes))

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self.handle_websocket_upgrade()
        else:  # answered as if it had not asked; what it sends next may be of another protocol
            self.cycle.keep_alive = False

    def handle_websocket_upgrade(self) -> None:
        self.guard.release(self)
        super().handle_websocket_upgrade()

    def resume_writing(self) -> None:
        self.owing = None
        super().resume_writing()

    # ---- what the parser says ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.messages += 1
        if self.phase is Phase.IDLE:  # behind another message in the same packet
            self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Errors that are raised here come out of the parser again. The slices in which a head begins and ends have not
        been charged.
        """
        limits = self.limits
        if self.budget < 2 * SLICE and head_size(self.url, self.headers) > limits.head_bytes:
            raise armour.large_head(limits.head_bytes)
        if len(self.pipeline) >= limits.pipelined:
            raise armour.many_pipelined(limits.pipelined)
        if self.parser.should_upgrade() and not self._should_upgrade() and has_body(self.headers):
            raise armour.upgrade_with_body()
        super().on_headers_complete()
        if self.cycle is not None:  # there is none for what goes to another protocol
            self.cycle.__class__ = Cycle  # uvicorn makes it, and its task has not begun
        if not self.pipeline:
            self.running = self.cycle
        self.headers = self.headers.copy()  # trailers go there, not among the headers that the application sees
        self.budget = limits.head_bytes
        self.phase = Phase.BODY
        self.since = self.loop.time()

    def on_body(self, body: bytes) -> None:
        self.received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.phase = Phase.IDLE
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self.since = self.loop.time()

    # ---- what the application does ----------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """As uvicorn's, but without a timer, which it would set and cancel for each request."""
        self.guard.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self.running, app = self.pipeline.pop()
            self._start_asgi_task(self.running, app)
        elif self.farewell is not None:
            self._leave()
        elif self.phase is Phase.IDLE:
            self.since = self.loop.time()

    # ---- the end ----------------------------------------------------------------------------------------------------

    def refuse(self, exc: BroadsheetError) -> None:
        self.guard.refused[exc.message] += 1
        self._dismiss(exc)

    def _dismiss(self, exc: BroadsheetError) -> None:
        """Ends the message that is on its way. Requests before it are still answered."""
        self._say(exc)
        if self.phase is Phase.BODY and self.pipeline:
            self.pipeline.popleft()  # the newest, which waits without its body
        elif self.phase is Phase.BODY:
            self._silence()
        if not self.is_busy:
            self._leave()

    def _say(self, exc: BroadsheetError) -> None:
        self.farewell = armour.rendered(exc, self.server_state.default_headers, self.scheme or "http")

    def _silence(self) -> None:
        """Ends the running request. Half an answer is cut off, so that nobody takes it for a whole one."""
        assert self.running is not None
        if self.running.response_complete:
            self.farewell = b""
        elif self.running.response_started:
            self.transport.abort()
        self._abandon()

    def _abandon(self) -> None:
        """Tells the application that its client has gone."""
        assert self.running is not None
        cast(dict[str, Any], self.running.scope)[ABANDONED] = True
        self.running.disconnected = True
        self.running.message_event.set()
        self.running = None

    def _leave(self) -> None:
        """Writes the farewell. The connection is not closed at once where the client may still send: the system resets
        one that has something unread, and the farewell would be lost.
        """
        if self.transport.is_closing():
            return
        self.left = True
        self.since = self.loop.time()
        self.transport.write(self.farewell or b"")
        self.flow.resume_reading()
        if self.guard.stopping or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()

    def shutdown(self) -> None:
        """The server stops: complete requests are answered, others are not waited for."""
        if self.left:
            self.transport.abort()
        elif self.phase is Phase.BODY and self.is_busy and self.farewell is None:
            self._dismiss(armour.stopping())
        elif self.farewell is None:
            super().shutdown()

    def give_up(self) -> None:
        """Not even complete requests are waited for any longer."""
        self.pipeline.clear()
        if self.is_busy and not self.flow.write_paused:
            self._say(armour.stopping())
            self._silence()
            self._leave()
        else:
            self.transport.abort()

    # ---- time -------------------------------------------------------------------------------------------------------

    def check(self, now: float, elapsed: float) -> None:
        """Called by the sweep, `elapsed` seconds after the one before."""
        if self._is_stuck(now):
            self.guard.refused["the answer was not read"] += 1
            self.transport.abort()
        elif self.left:
            if now - self.since > self.limits.linger_seconds:
                self.transport.abort()
        elif self.farewell is not None or self.transport.is_closing():
            return
        elif self._waits_for_us():
            self.since += elapsed
        else:
            self._check_phase(now - self.since)

    def _is_stuck(self, now: float) -> bool:
        """Whether the client does not take its answer. While writing is paused or the connection closes nothing is
        added to what it has to take.
        """
        if not (self.flow.write_paused or self.left or self.transport.is_closing()):
            return False
        size = self.transport.get_write_buffer_size()
        if size == 0:
            self.owing = None
            return False
        if self.left:
            self.since = now  # it cannot have read to the end
        if self.owing is None:
            self.owing = (now, size)
        since, first = self.owing
        return now - since > self.limits.write_seconds + max(first - size, 0) / self.limits.rate

    def _waits_for_us(self) -> bool:
        if self.phase is Phase.IDLE:
            return False
        return self.flow.read_paused or (self.phase is Phase.BODY and self.cycle.waiting_for_100_continue)

    def _check_phase(self, seconds: float) -> None:
        limits = self.limits
        match self.phase:
            case Phase.IDLE if not self.is_busy:
                if seconds > (limits.head_seconds if self.cycle is None else self.timeout_keep_alive):
                    self.transport.close()
            case Phase.HEAD:
                if seconds > limits.head_seconds:
                    self.refuse(armour.late_head(limits.head_seconds))
            case Phase.BODY:
                moved = 0 if self.cycle.response_complete else self.received
                if seconds > limits.body_seconds + moved / limits.rate:
                    self.refuse(armour.late_body(limits.body_seconds, limits.rate))


def cause_of(exc: HttpParserError) -> BroadsheetError:
    """Our own refusal where a callback raised it; else what the parser says, which repeats nothing of the request."""
    if isinstance(exc.__context__, BroadsheetError):
        return exc.__context__
    callback = isinstance(exc, HttpParserCallbackError)  # the one other thing that callbacks refuse is a URL
    return armour.malformed("The target of the request is no URL." if callback else str(exc))


def head_size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in headers)


def has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)
