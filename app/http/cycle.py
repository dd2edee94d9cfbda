"""How one answer is written to its connection: as uvicorn does it, but for its head. Refuses headers that hold control
characters.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

CONTROLS = bytes([*range(9), *range(10, 32), 127])  # what no value of a header may hold


class Cycle(RequestResponseCycle):
    """Writes the head of a usual answer at once, where uvicorn's own searches each name and each value by itself."""

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and not (self.response_started or self.flow.write_paused):
            fields = [*self.default_headers, *message["headers"]]
            by_name = dict(fields)
            length = by_name.get(b"content-length")
            if length is not None and b"connection" not in by_name and b"transfer-encoding" not in by_name:
                self._start(message["status"], fields, int(length))
                return
        await super().send(message)

    def _start(self, status: int, fields: list[tuple[bytes, bytes]], length: int) -> None:
        if self.disconnected:
            return
        head = b"".join([b"%b: %b\r\n" % field for field in fields])
        if len(head) - len(head.translate(None, CONTROLS)) != 2 * len(fields):
            raise RuntimeError("Invalid HTTP header.")  # as uvicorn's
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = False
        self.expected_content_length = length
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join([STATUS_LINE[status], head, end]))
