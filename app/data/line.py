"""The line before SQLite's one writer, and the transactions that units of work share there (group commit).

    async with line.turn(shared=True) as turn:      # first come, first served
        ...                                         # statements on turn.lane, undone by who does not keep them
        await turn.keep()                           # back when all is durable

Those in line when a unit ends go on in its transaction, each on a savepoint, so that one COMMIT, one fsync, serves all.
Nobody waits for company. A unit that raises is undone alone. None is told anything before the COMMIT, not even a
refusal, which may rest on what an earlier one wrote; when the COMMIT fails, all have failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable

from app.data import faults
from app.data.counters import PoolCounters
from app.data.lanes import Lane, Lanes
from app.data.running import Share, commit, finish, on_thread

MOST = 64  # units of work that share a transaction
LONGEST = 0.01  # seconds after which a transaction takes up no further unit


class Turn:
    """One unit of work in line. `called` brings the group in which it goes on, None where it begins one; `left` says
    whether others may come after it, `over` what became of it: None, or why it is not durable.
    """

    __slots__ = ("called", "group", "kept", "left", "over", "share", "shared")

    def __init__(self, *, shared: bool) -> None:
        loop = asyncio.get_running_loop()
        self.shared = shared
        self.kept = False
        self.group: Group | None = None
        self.share = Share()
        self.called: asyncio.Future[Group | None] = loop.create_future()
        self.left: asyncio.Future[bool] = loop.create_future()
        self.over: asyncio.Future[Exception | None] = loop.create_future()

    @property
    def lane(self) -> Lane:
        assert self.group is not None
        return self.group.lane

    async def keep(self) -> None:
        """Leaves; raises why it is not durable. Not even a cancelled caller is back before that is known."""
        self.kept = True
        if (error := await self._leave(goes_on=True)) is not None:
            raise error

    async def leave(self, exc: BaseException | None) -> None:
        """With nothing done, unless it was kept. Raises what makes void even a refusal."""
        if self.left.done():
            return
        cancelled = isinstance(exc, asyncio.CancelledError | GeneratorExit)
        error = await self._leave(goes_on=not cancelled)
        if error is not None and not cancelled:
            raise error

    async def _leave(self, *, goes_on: bool) -> Exception | None:
        assert self.group is not None
        self.left.set_result(goes_on)
        await finish(self.group.end() if self is self.group.turns[0] else self.over)
        return self.over.result()


class Line:
    """Before the one lane of `lanes`, which one group at a time has. Who waits gives up after `wait` seconds."""

    def __init__(self, lanes: Lanes, counters: PoolCounters, wait: float) -> None:
        self.wait = wait
        self._lanes = lanes
        self._counters = counters
        self._busy = False
        self._turns: deque[Turn] = deque()

    @contextlib.asynccontextmanager
    async def turn(self, *, shared: bool) -> AsyncGenerator[Turn]:
        """A unit of work that is not `shared` has a transaction of its own. Raises Unavailable PGRST003."""
        turn = Turn(shared=shared)
        turn.group = await self._called(turn)
        if turn.group is None:
            async with self._leading(turn):
                yield turn
            return
        try:
            yield turn
        except BaseException as exc:
            await turn.leave(exc)
            raise
        await turn.leave(None)

    @contextlib.asynccontextmanager
    async def _leading(self, turn: Turn) -> AsyncGenerator[None]:
        """A group of its own."""
        try:
            async with self._lanes.lend() as lane:
                turn.group = Group(lane, turn, self._following)
                lane.driver.share = turn.share
                try:
                    yield
                except BaseException as exc:
                    await turn.leave(exc)
                    raise
                else:
                    await turn.leave(None)
                finally:
                    lane.driver.share = None
        finally:
            self._call(None)

    def _following(self, group: Group) -> Turn | None:
        """Who goes on in this group: the first in line, if that one shares."""
        first = self._first()
        return self._call(group) if first is not None and first.shared else None

    def _first(self) -> Turn | None:
        while self._turns and self._turns[0].called.done():  # gone
            self._turns.popleft()
        return self._turns[0] if self._turns else None

    def _call(self, group: Group | None) -> Turn | None:
        """The first in line, into the group or to begin one."""
        first = self._first()
        if first is None:
            self._busy = group is not None
            return None
        self._turns.popleft()
        first.called.set_result(group)
        return first

    async def _called(self, turn: Turn) -> Group | None:
        if not self._busy:
            self._busy = True
            return None
        self._turns.append(turn)
        self._counters.waits += 1
        try:
            async with asyncio.timeout(self.wait):
                return await turn.called
        except BaseException as exc:
            self._pass_on(turn)
            if not isinstance(exc, TimeoutError):
                raise
            self._counters.timeouts += 1
            raise faults.no_connection() from exc

    def _pass_on(self, turn: Turn) -> None:
        """By one that goes away; perhaps it was called in this very tick."""
        if turn.called.cancel() or turn.called.cancelled():
            return
        if turn.called.result() is None:
            self._call(None)
        else:
            turn.left.set_result(True)


class Group:
    """Units of work that share a transaction. The first one ends it, in its own task."""

    def __init__(self, lane: Lane, first: Turn, follow: Callable[[Group], Turn | None]) -> None:
        self.lane = lane
        self.turns = [first]
        self._follow = follow
        self._until = time.monotonic() + LONGEST
        self._written = False  # by units that have left

    async def end(self) -> None:
        """Serves those in line, ends the transaction, and tells all what came of it."""
        error: Exception | None = faults.undone()  # where this is stopped with the loop
        try:
            whole = await self._settled(self.turns[0])
            while whole and self._is_open() and (turn := self._follow(self)) is not None:
                turn.share.saved = self.turns[-1].share.saved
                self.lane.driver.share = turn.share
                self.turns.append(turn)
                whole = await self._settled(turn)
            if whole:
                error = await self._commit()
            elif not self.turns[-1].kept:  # it knows why
                self.turns.pop().over.set_result(None)
        finally:
            for turn in self.turns:
                turn.over.set_result(error)

    def _is_open(self) -> bool:
        """Whether another unit may go on in this transaction."""
        first, last = self.turns[0], self.turns[-1]
        if not first.shared or not last.left.result() or len(self.turns) == MOST:
            return False
        return time.monotonic() < self._until and not self._is_lost()

    def _is_lost(self) -> bool:
        return self.lane.connection is None or self.lane.connection.invalidated

    async def _settled(self, turn: Turn) -> bool:
        """Wait until the unit has left. False where what others wrote went with it: SQLite ends the whole transaction
        when it stops a write, or cannot store one.
        """
        await finish(turn.left)
        self._written |= turn.share.opened
        return not self._written or (not self._is_lost() and self.lane.driver.in_transaction)

    async def _commit(self) -> Exception | None:
        try:
            if self._written:
                await on_thread(self.lane.driver, commit)
        except sqlite3.Error as exc:
            return exc
        return None
