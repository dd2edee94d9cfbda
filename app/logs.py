"""Logs: one JSON object a line on standard error, each with the id of the request that it belongs to.

Rows, keys and query strings never go into a log: callers give names and numbers, and what the database says of a row in
its DETAIL is cut from tracebacks here.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
address: ContextVar[str | None] = ContextVar("address", default=None)  # of the peer that sent the request

# What every LogRecord has; anything else was given as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `message`, `request_id`, then what the caller gave as `extra`, then a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD)
        if record.exc_info:
            line["traceback"] = without_rows(self.formatException(record.exc_info))
        return msgspec.json.encode(line, enc_hook=str).decode()


def without_rows(text: str) -> str:
    """A traceback without the lines in which a database shows values of a row."""
    kept = [line for line in text.split("\n") if not line.lstrip().startswith(("DETAIL:", "Failing row"))]
    return "\n".join(kept)


def configure(level: str) -> None:
    """Sends all logs of the process to standard error. The server's own chatter is left out below warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "alembic", "asyncio", "aiosqlite"):
        logging.getLogger(name).setLevel(logging.WARNING)
