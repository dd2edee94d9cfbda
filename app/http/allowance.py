"""How many new shapes of queries one caller may make in a minute: compiling one costs milliseconds of the loop, reading
a known one nothing. Bounded: of very many callers those are forgotten that were quiet for longest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable

from app.errors import BroadsheetError
from app.query.driver import Lru

CALLERS = 10_000
WINDOW = 60  # seconds


class Allowance:
    """Counts in fixed windows, `most` in each; `kept` is how many shapes are known at a time."""

    def __init__(self, most: int, kept: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.clock = clock
        self._known: Lru[bool] = Lru(kept)
        self._spent: Lru[tuple[int, int]] = Lru(CALLERS)

    def spend(self, caller: Callable[[], Hashable], shapes: Iterable[Hashable]) -> None:
        """Notes these shapes; who asks is of interest only where one is new. Raises BRD429 with the seconds until the
        next window.
        """
        new = [shape for shape in shapes if self._known.hit(shape) is None]
        if new:
            self._count(caller(), len(new))
        for shape in new:
            self._known.store(shape, True)

    def _count(self, caller: Hashable, amount: int) -> None:
        now = self.clock()
        window = int(now // WINDOW)
        since, spent = self._spent.hit(caller) or (window, 0)
        spent = amount + (spent if since == window else 0)
        self._spent.store(caller, (window, spent))
        if spent > self.most:
            raise BroadsheetError(
                "too many different queries in a short time",
                code="BRD429",
                status=429,
                details=f"at most {self.most} new shapes of queries in a minute",
                hint="Ask with the same parameters and other values: those are not counted.",
                retry_after=math.ceil(WINDOW - now % WINDOW),
            )
