"""Counts and times of requests, what happened to database connections, and how full the caches are, in Prometheus'
text form.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.data.database import Database
from app.query.driver import Size

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Times:
    """How many requests took at most as long as each of SECONDS and no less than the one before, the rest last."""

    numbers: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0


class Metrics:
    """Those of one application, so that two of them in a process do not mix. Counted by the loop's thread alone, and so
    without the locks of a library, which cost a request 5 us.
    """

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], int] = {}
        self.times: dict[tuple[str, str], Times] = {}
        self.database: Database | None = None
        self.caches: Callable[[], Mapping[str, Size]] = dict

    def watch(self, database: Database, caches: Callable[[], Mapping[str, Size]]) -> None:
        """Show the counters of this database and the sizes of these caches too."""
        self.database, self.caches = database, caches

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """`route` is a template, never a path: the number of series is bounded."""
        method = method if method in METHODS else "other"
        key = (route, method, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        times = self.times.get((route, method))
        if times is None:
            times = self.times[route, method] = Times()
        times.numbers[bisect_left(SECONDS, seconds)] += 1
        times.total += seconds

    def text(self) -> bytes:
        # heavy, and needed by nobody before somebody watches: 1 MB
        from app.http.exposition import exposed  # noqa: PLC0415

        return exposed(self)
