"""Which units of work may be repeated as a whole, and how often: those of which the database says that nothing was
kept. Source: hazards of locks, 40001 and lost connections, PostgreSQL's appendix A.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.data import faults
from app.data.counters import PoolCounters
from app.errors import BroadsheetError

T = TypeVar("T")

ATTEMPTS = 5

# How often, by the beginning of the code, the longest first. 55P03 has waited already, and where the connection was
# lost or the server takes no writes any more, the next attempt finds the new one or none.
REPEATS = {
    "40001": 100,
    "40P01": 100,
    "55P03": 2,
    "0A000": 1,
    "25006": 1,
    "25P03": 1,
    faults.LOST: 1,
    "57P": 1,
    "08": 1,
    faults.UNKNOWN: 0,
}


async def repeat(
    unit: Callable[[], Awaitable[T]], counters: PoolCounters, *, attempts: int = ATTEMPTS, keyed: bool = False
) -> T:
    """Run a unit of work, and again when the database asks for that. A `keyed` one finds out by itself whether it was
    kept, so it may be repeated even after a lost COMMIT.
    """
    attempt = 1
    while True:
        try:
            return await unit()
        except BroadsheetError as exc:
            repeats = 1 if keyed and exc.code == faults.UNKNOWN else repeats_of(exc.code)
            if attempt >= attempts or attempt > repeats:
                raise
            counters.count_retry(exc.code)
        await asyncio.sleep(random.uniform(0, min(1.0, 0.01 * 2**attempt)))  # full jitter, seconds
        attempt += 1


def repeats_of(code: str) -> int:
    return faults.longest_prefix(REPEATS, code) or 0
