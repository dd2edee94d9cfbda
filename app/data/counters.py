"""What happened to a database's connections since the start, for those who export figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class PoolCounters:
    """`slipped` counts values that the database refused and our own checks should have."""

    connects: int = 0
    checkouts: int = 0
    waits: int = 0
    timeouts: int = 0
    invalidations: int = 0
    retries: int = 0
    slipped: int = 0

    def count_connect(self, *event: object) -> None:
        self.connects += 1

    def count_checkout(self, *event: object) -> None:
        self.checkouts += 1

    def count_invalidation(self, *event: object) -> None:
        self.invalidations += 1
