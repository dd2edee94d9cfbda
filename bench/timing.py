"""Timing of short functions, and the table that is printed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

REPEATS = 15


@dataclass(frozen=True, slots=True)
class Timed:
    """Microseconds a call: the median of the repeats, and the best."""

    name: str
    median: float
    best: float


def timed(name: str, work: Callable[[], object], *, seconds: float) -> Timed:
    """Calls `work` for about `seconds`, in REPEATS rounds."""
    work()
    began = time.perf_counter()
    work()
    each = max(time.perf_counter() - began, 1e-7)
    calls = max(1, int(seconds / REPEATS / each))
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(calls):
            work()
        found.append((time.perf_counter() - began) / calls * 1e6)
    return Timed(name, statistics.median(found), min(found))


def table(title: str, rows: Sequence[Timed]) -> str:
    width = max(len(row.name) for row in rows)
    lines = [f"{title:<{width}}  {'median us':>10}  {'best us':>10}"]
    lines += [f"{row.name:<{width}}  {row.median:>10.1f}  {row.best:>10.1f}" for row in rows]
    return "\n".join(lines)
