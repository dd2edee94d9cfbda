"""What happened to a database's connections since the start, for those who export figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class PoolCounters:
    """`slipped` counts values that the database refused and our own checks should have."""

    connects: int = 0
    checkouts: int = 0
    waits: int = 0
    timeouts: int = 0
    invalidations: int = 0
    slipped: int = 0
    repeated: Counter[str] = field(default_factory=Counter)  # by the code that asked for it

    @property
    def retries(self) -> int:
        return self.repeated.total()

    def count_connect(self, *event: object) -> None:
        self.connects += 1

    def count_checkout(self, *event: object) -> None:
        self.checkouts += 1

    def count_retry(self, code: str) -> None:
        self.repeated[code] += 1

    def count_invalidation(self, *event: object) -> None:
        self.invalidations += 1
