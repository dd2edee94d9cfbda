"""Every fault at every failpoint of every write path: afterwards all of it is done, or nothing, nobody waits for what
is left, and the answer says which it is.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path as Folder
from random import Random

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
from sqlalchemy.exc import DBAPIError

from app.data import failpoints, faults, retrying
from app.data.failpoints import Point
from app.errors import BroadsheetError
from tests.reliability.guards import replaced
from tests.reliability.paths import CREATE, PATHS, TRANSFER, Given, Observer, Path, World, made_ready, opened
from tests.reliability.trial import Conditions, Figures, Trial

PAUSE = 0.05  # seconds at most
KILLED = 9  # exit code
DONE = (Point.COMMITTED, Point.SENDING)
CANCELLED = (499, "")
GUARDED = (CREATE, TRANSFER)  # the paths that are walked without a guard


class Fault(StrEnum):
    PAUSE = "a pause"
    CANCELLATION = "CancelledError"
    CANCEL = "task.cancel()"
    RESET = "ConnectionError"
    STATE = "40001"
    RESETS = "ConnectionError at every attempt"
    KILL = "os._exit(9)"


# Processes are forked from one that has imported everything and runs nothing: 0.1 s instead of 2.
NURSERY = multiprocessing.get_context("forkserver")
NURSERY.set_forkserver_preload([__name__])


@dataclass(frozen=True, slots=True)
class Case:
    path: Path
    point: Point
    fault: Fault

    def __str__(self) -> str:
        return f"{self.fault} {self.point} of {self.path.name}"

    def expected(self, reached: bool) -> tuple[str, tuple[int, str] | None]:
        """What is to be found, and the answer; None for a success."""
        if not reached or self.fault is Fault.PAUSE:
            return "all", None
        done = self.point in DONE
        if self.fault in (Fault.CANCELLATION, Fault.CANCEL, Fault.KILL):
            return "all" if done else "nothing", CANCELLED
        if self.point is Point.SENDING:  # nothing is asked of the database there: a fault of ours
            return "all", (500, "PGRSTX00")
        if self.point is Point.COMMITTED and (not self.path.keyed or self.fault is Fault.RESETS):
            return "all", (503, faults.UNKNOWN)
        if self.fault is Fault.RESETS:
            return "nothing", (503, faults.LOST)
        return "all", None


@dataclass(slots=True)
class Strike:
    """The fault of a case, as a failpoint wants it. `reached` counts how often the point was passed."""

    case: Case
    random: Random
    sqlite: bool
    reached: int = 0

    async def __call__(self) -> None:
        self.reached += 1
        if self.reached > 1 and self.case.fault is not Fault.RESETS:
            return
        match self.case.fault:
            case Fault.PAUSE:
                await asyncio.sleep(self.random.uniform(0, PAUSE))
            case Fault.CANCELLATION:
                raise asyncio.CancelledError
            case Fault.CANCEL:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            case Fault.RESET | Fault.RESETS:
                raise ConnectionResetError
            case Fault.STATE:
                raise self._state()
            case Fault.KILL:
                os._exit(KILLED)

    def _state(self) -> Exception:
        """As the driver raises it."""
        if not self.sqlite:
            found: Exception = asyncpg.SerializationError("could not serialize access")
            return found
        busy = sqlite3.OperationalError("database is locked")
        busy.sqlite_errorname = "SQLITE_BUSY"
        return busy


class Walk:
    """One walk over cases, in which each has rows of its own."""

    def __init__(self, conditions: Conditions, world: World, figures: Figures) -> None:
        self.conditions = conditions
        self.world = world
        self.figures = figures
        self.observer = Observer(conditions.url)
        self.random = Random(conditions.seed)
        self.sqlite = conditions.backend == "sqlite"
        self.struck = self.passed = self.kept = 0
        self.worst = 0.0

    async def walk(self, path: Path, cases: Sequence[Case]) -> None:
        word = path.name.replace(" ", "-").lower()
        names = [f"{word}-{number}" for number in range(len(cases))]
        for case, given in zip(cases, await made_ready(path, self.world.database, names), strict=True):
            await self._case(case, given)

    async def _case(self, case: Case, given: Given) -> None:
        if case.fault is Fault.KILL:
            reached, answer = await self._killed(case, given)
        else:
            reached, answer = await self._struck(case, given)
        await self._check_left(case)
        await self._check_effect(case, given, reached, answer)
        if case.path.keyed:
            await self._check_again(case, given)

    async def _struck(self, case: Case, given: Given) -> tuple[bool, tuple[int, str]]:
        strike = Strike(case, self.random, self.sqlite)
        with failpoints.armed({case.point: strike}):
            answer = await answered(case.path, self.world, given)
        return strike.reached > 0, answer

    async def _killed(self, case: Case, given: Given) -> tuple[bool, tuple[int, str]]:
        """By a process that goes the same way. One that does not come to the point ends well."""
        folder = str(self.conditions.folder)
        arguments = (self.conditions.url, folder, case.path.name, dict(given), case.point.value)
        process = NURSERY.Process(target=go, args=arguments)
        process.start()
        await asyncio.to_thread(process.join, 20)
        code, killed = process.exitcode, process.exitcode == KILLED
        self.figures.expect(killed or code == 0, f"{case}: the process ended with {code}")
        process.close()
        return killed, CANCELLED if killed else (200, "")

    # ---- checks ----

    async def _check_effect(self, case: Case, given: Given, reached: bool, answer: tuple[int, str]) -> None:
        self.struck, self.passed = self.struck + reached, self.passed + (not reached)
        state, wanted = case.expected(reached)
        found = await self.observer.state(case.path, given)
        self.kept += found == "all"
        self.figures.expect(found == state, f"{case}: {found} is there, not {state}")
        well = answer == wanted if wanted is not None else answer[0] < 300
        self.figures.expect(well, f"{case}: answered {answer}, not {wanted or 'well'}")

    async def _check_again(self, case: Case, given: Given) -> None:
        """Whoever heard nothing sends it again."""
        answer = await answered(case.path, self.world, given)
        found = await self.observer.state(case.path, given)
        self.figures.expect(answer[0] < 300 and found == "all", f"{case}, and again: {answer}, {found} is there")
        unfinished = await self.observer.number("SELECT count(*) FROM idempotency_keys WHERE status IS NULL")
        self.figures.expect(not unfinished, f"{case}: {unfinished} keys are in progress")

    async def _check_left(self, case: Case) -> None:
        """No connection is out, and whoever comes second finds no transaction and no lock, or not for long."""
        database = self.world.database
        await database.pools.settled()
        self.figures.expect(database.in_use == 0, f"{case}: {database.in_use} connections are out")
        began = time.monotonic()
        try:
            await self.observer.lock_everything()
        except DBAPIError as exc:
            self.figures.expect(False, f"{case}: a second writer waits: {type(exc.orig).__name__}")
        self.worst = max(self.worst, time.monotonic() - began)

    async def close(self) -> None:
        if not self.sqlite:
            opened = "datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
            number = await self.observer.number(f"SELECT count(*) FROM pg_stat_activity WHERE {opened}")
            self.figures.expect(number == 0, f"{number} transactions are open in the end")
        await self.observer.engine.dispose()


async def answered(path: Path, world: World, given: Given) -> tuple[int, str]:
    """In a task of its own, as a server runs it, which a fault may cancel."""
    task = asyncio.ensure_future(path.act(world, given))
    await asyncio.wait({task})
    if task.cancelled():
        return CANCELLED
    try:
        return task.result()
    except BroadsheetError as exc:  # of what is no request
        return exc.status, exc.code


def go(url: str, folder: str, name: str, given: Given, point: str) -> None:
    """One case of Fault.KILL, in a process of its own."""
    case = Case(PATHS[name], Point(point), Fault.KILL)
    asyncio.run(_go(url, Folder(folder), case, given))


async def _go(url: str, folder: Folder, case: Case, given: Given) -> None:
    async with opened(url, folder) as world:
        with failpoints.armed({case.point: Strike(case, Random(0), sqlite=False)}):
            await case.path.act(world, given)


# ---- the trial ------------------------------------------------------------------------------------------------------


async def work(conditions: Conditions) -> Figures:
    """In short only transfers are killed: processes take their time."""
    figures = Figures()
    paths = list(PATHS.values()) if conditions.without is None else list(GUARDED)
    deadly = [] if conditions.without else paths if conditions.long else [TRANSFER]
    number = 0
    async with opened(conditions.url, conditions.folder) as world:
        walk = Walk(conditions, world, figures)
        for path in paths:
            kinds = [fault for fault in Fault if fault is not Fault.KILL or path in deadly]
            cases = [Case(path, point, fault) for point in Point for fault in kinds]
            await walk.walk(path, cases)
            number += len(cases)
        retries: Mapping[str, int] = world.database.counters.repeated
        await walk.close()
    figures.counts |= {"points": len(Point), "faults": len(Fault), "paths": len(paths), "cases": number}
    figures.counts |= {"struck": walk.struck, "not on the way": walk.passed, "done": walk.kept}
    figures.counts |= {f"repeats of {code}": times for code, times in sorted(retries.items())}
    figures.counts["worst wait of a second writer, ms"] = walk.worst * 1000
    return figures


def lost_commits_repeated() -> AbstractContextManager[None]:
    return replaced(retrying, "REPEATS", {**retrying.REPEATS, faults.UNKNOWN: 1})


FAILPOINTS = Trial("T31", "failpoints", work, {"unknown COMMITs are not repeated": lost_commits_repeated})
