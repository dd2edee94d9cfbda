"""One read for many: callers that wait for things of one kind at the same time share it.

A batch takes what waits when it begins, so nobody is served by a read that began before they asked: each client sees
what it wrote. There is no timer and no waiting for company: whoever comes alone is served alone, and a batch grows only
while others run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping
from functools import partial
from typing import Any

from app.data import engines, faults
from app.errors import BroadsheetError

WIDTH = 32  # keys of one read: each may be a large row
RUNNING = 2  # reads of one kind at a time: more of them are smaller ones

# keys -> what was found of them; a BroadsheetError in place of it is raised to those who asked for this key
Load = Callable[[list[Any]], Awaitable[Mapping[Any, Any]]]


class Batch:
    """Those who wait for one read, by what they asked for."""

    __slots__ = ("late", "load", "members", "task")

    def __init__(self, load: Load) -> None:
        self.load = load
        self.members: dict[Any, list[asyncio.Future[Any]]] = {}
        self.task: asyncio.Future[Mapping[Any, Any]] | None = None
        self.late: asyncio.TimerHandle | None = None

    @property
    def keys(self) -> list[Any]:
        """What somebody still waits for."""
        return [key for key, futures in self.members.items() if not all(future.done() for future in futures)]

    def leave(self) -> None:
        """A caller is gone. Nothing runs on for nobody."""
        if self.task is not None and not self.keys:
            self.task.cancel()

    def end(self, task: asyncio.Future[Mapping[Any, Any]]) -> None:
        if task.cancelled():
            self.refuse(None)
        elif (error := task.exception()) is not None:
            self.refuse(error)
        else:
            self._serve(task.result())

    def _serve(self, found: Mapping[Any, Any]) -> None:
        for key, futures in self.members.items():
            value = found.get(key)
            for future in futures:
                if future.done():
                    continue
                if isinstance(value, BroadsheetError):
                    future.set_exception(value)
                else:
                    future.set_result(value)

    def refuse(self, error: BaseException | None) -> None:
        """All of them; None is a cancellation."""
        for futures in self.members.values():
            for future in futures:
                if future.done():
                    continue
                if error is None:
                    future.cancel()
                else:
                    future.set_exception(error)


class Line:
    """The batches of one kind: how many run, and those that wait, the oldest first."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[Batch] = deque()


class Batches:
    """At most `width` keys in a read, and `running` reads of one kind at a time. Each kind has its own line, so that
    slow reads of one hold up no other; who shall read first of all of them is the lanes' affair.
    """

    def __init__(self, *, width: int = WIDTH, running: int = RUNNING, wait: float = engines.POOL_WAIT) -> None:
        self.width = width
        self.running = running
        self.wait = wait
        self.lines: dict[Hashable, Line] = {}
        self.tasks: set[asyncio.Future[Any]] = set()

    async def get(self, kind: Hashable, key: Any, load: Load) -> Any:
        """What `load` finds of the key, None where it finds nothing. All loads of one kind must be the same. Raises
        what it raises, and Unavailable PGRST003 where it does not begin in time.
        """
        batch = self._joined(kind, key, load)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        batch.members.setdefault(key, []).append(future)
        try:
            return await future
        except asyncio.CancelledError:
            batch.leave()
            raise

    def _joined(self, kind: Hashable, key: Any, load: Load) -> Batch:
        """The batch that this key belongs to; a new one begins with the loop's next turn, if it may."""
        line = self.lines.get(kind)
        if line is None:
            line = self.lines[kind] = Line()
        if line.waiting and (len(line.waiting[-1].members) < self.width or key in line.waiting[-1].members):
            return line.waiting[-1]
        batch = Batch(load)
        line.waiting.append(batch)
        loop = asyncio.get_running_loop()
        if line.running < self.running:
            line.running += 1
            loop.call_soon(self._begin, kind, line)
        else:
            batch.late = loop.call_later(self.wait, self._give_up, line, batch)
        return batch

    def _begin(self, kind: Hashable, line: Line) -> None:
        """The oldest batch for which somebody still waits."""
        while line.waiting:
            batch = line.waiting.popleft()
            if batch.late is not None:
                batch.late.cancel()
            keys = batch.keys
            if keys:
                batch.task = asyncio.ensure_future(batch.load(keys))
                batch.task.add_done_callback(partial(self._end, kind, line, batch))
                self.tasks.add(batch.task)  # the loop itself holds tasks only weakly
                return
        line.running -= 1
        if not line.running:
            del self.lines[kind]

    def _end(self, kind: Hashable, line: Line, batch: Batch, task: asyncio.Future[Mapping[Any, Any]]) -> None:
        self.tasks.discard(task)
        batch.end(task)
        self._begin(kind, line)

    def _give_up(self, line: Line, batch: Batch) -> None:
        line.waiting.remove(batch)
        batch.refuse(faults.no_connection())

    async def settled(self) -> None:
        """Wait until nothing runs any more."""
        while self.tasks:
            await asyncio.wait(self.tasks)
