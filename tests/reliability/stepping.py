"""Sessions that are driven step by step, and every order in which their steps can come.

Each session has a thread, a loop and a Database of its own, as if it were a process. It stops at gates, before
statements and before COMMIT, until it is told to go on; one that waits for a lock goes on when it may. `orders` runs
the same sessions again and again, each time another way, until there is no other way.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from random import Random
from typing import Any, Generic, TypeVar

from app.data import failpoints
from app.data.failpoints import Point

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, Any]]

PATIENCE = 20.0  # seconds in which sessions come to a gate, to a lock or to their end
GLANCE = 0.002  # seconds until it is asked who waits for a lock


class State(StrEnum):
    RUNNING = "running"  # or waiting for a lock
    STOPPED = "stopped"
    DONE = "done"


class Session(threading.Thread, Generic[T]):
    """Runs one piece of work after the other. `gates` tells which statements it stops before."""

    def __init__(self, name: str, gates: re.Pattern[str], changed: threading.Condition) -> None:
        super().__init__(name=name, daemon=True)
        self.gates = gates
        self.changed = changed
        self.state = State.DONE
        self.at = ""
        self.result: T | None = None
        self.error: BaseException | None = None
        self.gated = False
        self.told = threading.Semaphore(0)
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs it without gates, to its end."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(PATIENCE)

    # ---- in the session's threads ----

    def observe(self, sql: str) -> None:
        """For Database."""
        if self.gated and self.gates.search(sql):
            self._halt(" ".join(sql.split())[:60])

    def reach(self, point: Point) -> None:
        if self.gated:
            self._halt(point.value)

    def _halt(self, at: str) -> None:
        self._become(State.STOPPED, at)
        self.told.acquire()

    def _become(self, state: State, at: str = "") -> None:
        with self.changed:
            self.state, self.at = state, at
            self.changed.notify_all()

    async def _work(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        try:
            self.result = await work()
        except BaseException as exc:  # whatever it is, the driver must hear of it
            self.error = exc
        finally:
            self._become(State.DONE)

    # ---- in the driver's thread ----

    def begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.result = None
        self.error, self.gated, self.state, self.at = None, True, State.RUNNING, ""
        asyncio.run_coroutine_threadsafe(self._work(work), self.loop)

    def go_on(self) -> None:
        self.state = State.RUNNING
        self.told.release()


class Driver:
    """Lets sessions take their steps one at a time. `waiting` says how many of them wait for a lock at this moment."""

    def __init__(self, sessions: Sequence[Session[Any]], changed: threading.Condition, waiting: Callable[[], int]):
        self.sessions = sessions
        self.changed = changed
        self.waiting = waiting
        self.blocked = 0  # steps that had to wait for a lock

    @contextmanager
    def gates_before(self, points: Sequence[Point]) -> Generator[None]:
        """Sessions stop there too, whichever of them it is."""
        by_thread = {session.ident: session for session in self.sessions}

        def fault_at(point: Point) -> Callable[[], Coroutine[Any, Any, None]]:
            async def fault() -> None:
                session = by_thread.get(threading.get_ident())
                if session is not None:
                    session.reach(point)

            return fault

        with failpoints.armed({point: fault_at(point) for point in points}):
            yield

    def run(self, works: Sequence[Work], choose: Callable[[list[int]], int]) -> list[list[int]]:
        """Runs all to their ends; `choose` says which of those that can go on does. At each step these, and first the
        one that did.
        """
        for session, work in zip(self.sessions, works, strict=True):
            session.begin(work)
        self._settle()
        steps: list[list[int]] = []
        while ready := [n for n, session in enumerate(self.sessions) if session.state is State.STOPPED]:
            number = choose(ready)
            steps.append([number, *(other for other in ready if other != number)])
            self.sessions[number].go_on()
            self._settle()
            self.blocked += self.sessions[number].state is State.RUNNING
        for session in self.sessions:
            session.gated = False
        return steps

    def nested(self, works: Sequence[Work], outer: int) -> bool:
        """Runs the others to their ends while one stands before its COMMIT; whether none had to wait for it."""
        before = self.blocked

        def choose(ready: list[int]) -> int:
            inside = self.sessions[outer].at == Point.COMMITTING
            others = [number for number in ready if number != outer]
            return outer if outer in ready and (not inside or not others) else others[0]

        self.run(works, choose)
        return self.blocked == before

    def _settle(self) -> None:
        """Until every session is at a gate, at its end, or waits for a lock that somebody at a gate holds."""
        deadline = time.monotonic() + PATIENCE
        seen = 0
        while time.monotonic() < deadline:
            with self.changed:
                running = self._running()
                if running:
                    self.changed.wait(GLANCE)
                    running = self._running()
            if not running:
                return
            stopped = any(session.state is State.STOPPED for session in self.sessions)
            seen = seen + 1 if stopped and self.waiting() == running else 0
            if seen == 2:
                return
        raise TimeoutError(f"sessions went on without end: {[(s.name, s.state, s.at) for s in self.sessions]}")

    def _running(self) -> int:
        return sum(session.state is State.RUNNING for session in self.sessions)


def orders(
    run: Callable[[Callable[[list[int]], int]], list[list[int]]], random: Random, most: int | None = None
) -> Generator[list[int]]:
    """Every order of steps, each once, as it has just been run; or so many of them, drawn at random."""
    left: list[list[int]] = [[]]
    while left and most != 0:
        prefix = left.pop(random.randrange(len(left)))
        steps = run(_following(prefix))
        taken = [step[0] for step in steps]
        for number in range(len(steps) - 1, len(prefix) - 1, -1):
            left += [[*taken[:number], other] for other in steps[number][1:]]
        most = None if most is None else most - 1
        yield taken


def _following(prefix: list[int]) -> Callable[[list[int]], int]:
    """As it says, then the first that can. A lock may come free a moment sooner or later than the last time."""
    rest = iter(prefix)

    def choose(ready: list[int]) -> int:
        wanted = next(rest, ready[0])
        return wanted if wanted in ready else ready[0]

    return choose
