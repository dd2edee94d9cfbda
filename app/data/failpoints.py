"""Failpoints: named places on the way of a write where a test can make something go wrong. Off, each is one look at a
flag. Code of the same process alone can arm them: no setting does, and no request.

    with failpoints.armed({Point.COMMITTING: fault}): ...
    if failpoints.ON: await failpoints.reach(Point.COMMITTING)          # what a place looks like
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from enum import StrEnum

Fault = Callable[[], Awaitable[None]]


class Point(StrEnum):
    CHECKED_OUT = "after checkout"  # a connection is taken, nothing has been sent
    LOCKED = "after lock"  # rows are locked and read, nothing is written
    COMMITTING = "before commit"  # everything is written
    COMMITTED = "after commit"  # nobody has been told yet
    SENDING = "before send"  # the answer is made


ON = False
_armed: Mapping[Point, Fault] = {}


async def reach(point: Point) -> None:
    """Raises what the fault raises that is armed here."""
    fault = _armed.get(point)
    if fault is not None:
        await fault()


@contextlib.contextmanager
def armed(faults: Mapping[Point, Fault]) -> Generator[None]:
    """Armed while the block runs, for the whole process. Not to be nested."""
    global ON, _armed
    ON, _armed = True, faults
    try:
        yield
    finally:
        ON, _armed = False, {}
