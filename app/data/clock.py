"""The unit of work's clock: one reading sets all the stamps of a unit. Tests inject their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def now() -> datetime:
    """The present as an aware UTC datetime, microseconds."""
    return datetime.now(UTC)
