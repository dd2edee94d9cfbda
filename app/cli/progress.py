"""How far a long command has come: a bar with rate and remaining time on a terminal, else a line every few seconds.

Standard error takes it, so that standard output holds the result alone.
"""

from __future__ import annotations

import sys
import time
from typing import Self

from tqdm import tqdm

EVERY = 2.0  # seconds between two lines where there is no terminal


class Progress:
    """To be called with how many of `total` are done. `unit` names what is counted, in the plural."""

    def __init__(self, total: int | None, unit: str) -> None:
        self.bar = tqdm(total=total, unit=f" {unit}", leave=False) if sys.stderr.isatty() else None
        self.total = total
        self.unit = unit
        self.started = self.told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, done: int, total: int | None = None) -> None:
        """`total` where it is known only now."""
        self.total = total or self.total
        if self.bar is not None:
            self.bar.total = self.total
            self.bar.update(done - self.bar.n)
            return
        now = time.monotonic()
        if now - self.told >= EVERY:
            self.told = now
            print(line(done, self.total, self.unit, now - self.started), file=sys.stderr, flush=True)


def line(done: int, total: int | None, unit: str, seconds: float) -> str:
    """`12500 of 100000 posts, 2431/s, 36 s left`; without a total only what is done."""
    rate = done / seconds
    if total is None or not rate:
        return f"{done} {unit}, {rate:.0f}/s"
    return f"{done} of {total} {unit}, {rate:.0f}/s, {(total - done) / rate:.0f} s left"
