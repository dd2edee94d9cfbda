"""An import in a process of its own, which kills itself on the way where it is told to.

    python -m tests.reliability.carrier URL FILE BATCH ["after checkout" N] [--torn]

Prints how many records it was told are kept, after each batch. With --torn each record is a unit of work of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from app.data import failpoints
from app.data.database import Database
from app.data.failpoints import Point
from app.importers import jsonl, loader
from app.importers.loader import load
from app.importers.report import Report
from app.resources import CATALOG


async def main(url: str, file: str, batch: str, *words: str) -> int:
    torn = "--torn" in words
    place = [word for word in words if word != "--torn"]
    killing = failpoints.armed({Point(place[0]): Killer(int(place[1]))}) if place else contextlib.nullcontext()
    if torn:
        tear()
    async with Database(url, CATALOG) as database:
        with killing:
            source = jsonl.read(Path(file), admins=True)
            report = await load(database, source, batch=int(batch), progress=tell)
    return report.exit_code


def tell(report: Report) -> None:
    print(report.posts, flush=True)


class Killer:
    """A fault that ends this process when it is reached for the n-th time."""

    def __init__(self, reaches: int) -> None:
        self.left = reaches

    async def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def tear() -> None:
    attempt = loader._Loader._attempt

    async def one_by_one(self: loader._Loader, records: Sequence[loader.Writable]) -> None:
        for record in records:
            await attempt(self, [record])

    loader._Loader._attempt = one_by_one  # type: ignore[method-assign]  # that is what is tried


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
