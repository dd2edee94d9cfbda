"""One read for many: callers that wait for things of one kind at the same time share it.

A batch takes what waits when it begins, so nobody is served by a read that began before they asked: each client sees
what it wrote. There is no timer and no waiting for company: whoever comes alone reads alone, without a task of its own,
and a batch grows only while others run.
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
PATIENCE = 0.02  # seconds that a small one waits for those that run

# keys -> what was found of them; a BroadsheetError in place of it is raised to those who asked for this key
Load = Callable[[list[Any]], Awaitable[Mapping[Any, Any]]]


class Batch:
    """Those who wait for one read, by what they asked for."""

    __slots__ = ("late", "load", "members", "ripe", "task")

    def __init__(self, load: Load) -> None:
        self.load = load
        self.members: dict[Any, list[asyncio.Future[Any]]] = {}
        self.task: asyncio.Future[Mapping[Any, Any]] | None = None
        self.late: asyncio.TimerHandle | None = None
        self.ripe = False

    @property
    def keys(self) -> list[Any]:
        """What somebody still waits for."""
        return [key for key, futures in self.members.items() if not all(future.done() for future in futures)]

    @property
    def is_lone(self) -> bool:
        return len(self.members) == 1 and len(next(iter(self.members.values()))) == 1

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
    """At most `width` keys in a read, and `running` reads of one kind at a time, those beside the first with `least`
    keys, or after a little while. Each kind has its own line, so that slow reads of one hold up no other; who shall
    read first of all of them is the lanes' affair.
    """

    def __init__(
        self, *, width: int = WIDTH, running: int = RUNNING, least: int = 1, wait: float = engines.POOL_WAIT
    ) -> None:
        self.width = width
        self.running = running
        self.least = least
        self.wait = wait
        self.lines: dict[Hashable, Line] = {}
        self.tasks: set[asyncio.Future[Any]] = set()

    async def get(self, kind: Hashable, key: Any, load: Load, *, at_once: bool = False) -> Any:
        """What `load` finds of the key, None where it finds nothing. All loads of one kind must be the same. Where a
        read may begin it waits for others who ask at this moment, unless it is to begin `at_once`. Raises what `load`
        raises, and Unavailable PGRST003 where it does not begin in time.
        """
        line = self.lines.get(kind)
        if line is None:
            line = self.lines[kind] = Line()
        if at_once and line.running < self.running and not line.waiting:
            line.running += 1
            return await self._alone(kind, line, key, load)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        batch, leads = self._joined(kind, line, key, load, future)
        try:
            if leads:
                await asyncio.sleep(0)  # all who ask at this moment join
                leads = False
                if batch.is_lone and line.waiting and line.waiting[0] is batch:
                    line.waiting.popleft()
                    return await self._alone(kind, line, key, load)
                self._begin(kind, line)
            return await future
        except asyncio.CancelledError:
            future.cancel()
            batch.leave()
            if leads:
                self._begin(kind, line)
            raise

    def _joined(
        self, kind: Hashable, line: Line, key: Any, load: Load, future: asyncio.Future[Any]
    ) -> tuple[Batch, bool]:
        """The batch that this key belongs to, and whether it may begin since now: this caller sees to it."""
        batch = line.waiting[-1] if line.waiting else None
        fresh = batch is None or (len(batch.members) >= self.width and key not in batch.members)
        if batch is None or fresh:
            batch = Batch(load)
            line.waiting.append(batch)
        batch.members.setdefault(key, []).append(future)
        leads = (fresh or batch.late is not None) and line.running < self.running and self._suits(batch, line.running)
        if leads:
            line.running += 1
        elif fresh:
            loop = asyncio.get_running_loop()
            batch.late = loop.call_later(self.wait, self._give_up, line, batch)
            if self.least > 1:
                loop.call_later(PATIENCE, self._ripen, kind, line, batch)
        return batch, leads

    def _ripen(self, kind: Hashable, line: Line, batch: Batch) -> None:
        """It need not be large any more: those who run may be long in coming back."""
        batch.ripe = True
        if line.running < self.running and line.waiting and line.waiting[0] is batch:
            line.running += 1
            self._begin(kind, line)

    def _suits(self, batch: Batch, others: int) -> bool:
        """Whether it may run beside so many others."""
        return not others or batch.ripe or len(batch.members) >= self.least

    async def _alone(self, kind: Hashable, line: Line, key: Any, load: Load) -> Any:
        """Within the caller's own task: another one would cost 8 us."""
        try:
            found = (await load([key])).get(key)
        finally:
            self._begin(kind, line)
        if isinstance(found, BroadsheetError):
            raise found
        return found

    def _begin(self, kind: Hashable, line: Line) -> None:
        """The oldest batch for which somebody still waits."""
        while line.waiting and self._suits(line.waiting[0], line.running - 1):
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
