"""T13: requests that get in each other's way, in every order of their steps. None ends in a deadlock, each in success
or a clean refusal, and what is left is what one after the other would have left.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from sqlalchemy import text

from app.data import running, transactions
from app.data.database import Database
from app.data.failpoints import Point
from app.data.steps import Statement, Steps
from app.resources import CATALOG
from tests.reliability.ground import REFUSALS, REQUESTS, Found, Ground
from tests.reliability.guards import replaced, without_row_locks
from tests.reliability.paths import World, opened
from tests.reliability.stepping import Driver, Session, State, Work, orders
from tests.reliability.trial import Conditions, Figures, Trial

# Where a session stops: before it takes locks, and before it makes what others may make at the same time.
LOCKS = re.compile(r"\bFOR (NO KEY )?UPDATE|\bFOR (KEY )?SHARE|pg_advisory|^INSERT INTO tags\b")
EVERYTHING = re.compile(r"^(?!SELECT 1$)")
NOWHERE = re.compile(r"(?!)")
LONG = 300.0  # seconds
DRAWN = 40  # orders of a group whose steps are all statements, or which has three sessions
LOST = {"40P01": "deadlocks", "40001": "repeats of 40001", "55P03": "repeats of 55P03"}
COUNTED = ("groups", "groups that never wait", "permutations", "longest", "blocked steps", "refused", *LOST.values())

# Who meets in a deadlock all the same, which costs a repeat: the removal of a tag holds its posts before the tag, and
# meets a post that was made with it in between, which the removal of its author may have by then.
CROSSED = ({"POST of a post", "DELETE of a user", "DELETE of a tag"},)

Outcome = tuple[tuple[tuple[int, str], ...], Found]


@dataclass(slots=True)
class Tour:
    """Orders of groups of requests, and what they came to."""

    ground: Ground
    driver: Driver
    worlds: Sequence[World]
    figures: Figures
    random: Random
    counts: Counter[str] = field(default_factory=Counter)

    def visit(self, names: Sequence[str], most: int | None = None) -> None:
        """Every order of the steps of these requests, or so many, up to the first that is wrong; but of those that
        never wait for each other only where one stands around the others.
        """
        self.counts["groups"] += 1
        serial = self._serial(names)
        works, sessions = self._works(names), range(len(names))
        apart = [self._nested(names, works, outer, serial) for outer in sessions]
        if all(apart):
            self.counts["groups that never wait"] += 1
            return
        before = len(self.figures.violations)
        for taken in orders(lambda choose: self._fresh().run(works, choose), self.random, most):
            self.counts["longest"] = max(self.counts["longest"], len(taken))
            self._check(f"{' + '.join(names)} as {''.join(map(str, taken))}", names, serial)
            if len(self.figures.violations) > before:
                return

    def _works(self, names: Sequence[str]) -> list[Work]:
        return [partial(REQUESTS[name], world) for name, world in zip(names, self.worlds, strict=True)]

    def _fresh(self) -> Driver:
        """As before every run."""
        self.ground.reset()
        for world in self.worlds:
            world.database.counters.repeated.clear()
        return self.driver

    def _serial(self, names: Sequence[str]) -> list[Outcome]:
        """What one after the other comes to, whoever is first."""
        outcomes, sessions = [], self.driver.sessions
        for order in itertools.permutations(range(len(names))):
            self._fresh()
            answers = {n: sessions[n].call(REQUESTS[names[n]](self.worlds[n])) for n in order}
            outcomes.append((tuple(answers[n] for n in range(len(names))), self.ground.found()))
        return outcomes

    def _nested(self, names: Sequence[str], works: Sequence[Work], outer: int, serial: list[Outcome]) -> bool:
        apart = self._fresh().nested(works, outer)
        self._check(f"{' + '.join(names)} inside of {names[outer]}", names, serial)
        return apart

    def _check(self, when: str, names: Sequence[str], serial: list[Outcome]) -> None:
        figures = self.figures
        self.counts["permutations"] += 1
        answers = tuple(_answer(session) for session in self.driver.sessions)
        for name, (status, code) in zip(names, answers, strict=True):
            self.counts["refused"] += status >= 300
            clean = status < 300 or (status < 500 and code in REFUSALS)
            figures.expect(clean, f"{when}: {name} answered {status} {code}")
        for code in LOST:
            number = sum(world.database.counters.repeated[code] for world in self.worlds)
            self.counts[LOST[code]] += number
            known = code == "40P01" and any(crossed <= set(names) for crossed in CROSSED)
            figures.expect(known or not number, f"{when}: {number} repeats of {code}")
        self.ground.check(when, figures)
        found = self.ground.found()
        if (answers, found) not in serial:
            figures.violations.append(
                f"{when}: {answers} and {_differing(found, serial)}, as in no order of whole requests"
            )


def _answer(session: Session[Any]) -> tuple[int, str]:
    if session.error is not None:
        return 500, repr(session.error)
    assert session.result is not None
    status, code = session.result
    return status, code


def _differing(found: Found, serial: list[Outcome]) -> dict[str, Any]:
    return {name: rows for name, rows in found.items() if all(rows != other[name] for _, other in serial)}


# ---- the trials -----------------------------------------------------------------------------------------------------


@contextmanager
def touring(
    conditions: Conditions, figures: Figures, random: Random, sessions: int = 2, gates: re.Pattern[str] = LOCKS
) -> Generator[Tour]:
    """So many sessions on a ground. On SQLite, where one unit of work keeps all others out, they stop before BEGIN and
    before COMMIT alone.
    """
    ground, changed, sqlite = Ground(conditions.url), threading.Condition(), conditions.backend == "sqlite"
    threads = [Session[Any](f"session {n}", NOWHERE if sqlite else gates, changed) for n in range(sessions)]
    driver = Driver(threads, changed, (lambda: in_line(threads)) if sqlite else ground.waiting)
    stacks = [AsyncExitStack() for _ in threads]
    try:
        worlds = [_entered(conditions, session, stack) for session, stack in zip(threads, stacks, strict=True)]
        with driver.gates_before([Point.CHECKED_OUT, Point.COMMITTING] if sqlite else [Point.COMMITTING]):
            tour = Tour(ground, driver, worlds, figures, random)
            yield tour
    finally:
        for session, stack in zip(threads, stacks, strict=True):
            session.call(stack.aclose())
            session.stop()
        ground.close()
    tour.counts["blocked steps"] = driver.blocked


def _entered(conditions: Conditions, session: Session[Any], stack: AsyncExitStack) -> World:
    session.start()
    world = opened(conditions.url, conditions.folder, observe=session.observe, pool_size=1)
    found: World = session.call(stack.enter_async_context(world))
    return found


def in_line(sessions: Sequence[Session[Any]]) -> int:
    """Who has come to BEGIN IMMEDIATE while somebody else is between that and COMMIT."""
    if not any(session.state is State.STOPPED and session.at == Point.COMMITTING for session in sessions):
        return 0
    return sum(session.state is State.RUNNING and session.at == Point.CHECKED_OUT for session in sessions)


async def work(conditions: Conditions) -> Figures:
    await prepared(conditions)
    return await asyncio.to_thread(explore, conditions)


async def prepared(conditions: Conditions) -> None:
    """The server looks for deadlocks at once."""
    if conditions.backend == "postgresql":
        database = Database(conditions.url, CATALOG)
        async with database, database.writer.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text(f"ALTER DATABASE \"{database.url.database}\" SET deadlock_timeout = '10ms'"))


def explore(conditions: Conditions) -> Figures:
    figures, random, began = Figures(), Random(conditions.seed), time.monotonic()
    with touring(conditions, figures, random) as tour:
        for pair in itertools.combinations_with_replacement(REQUESTS, 2):
            tour.visit(pair)
            if conditions.without and figures.violations:
                break
    counts = tour.counts
    if conditions.long and conditions.without is None:
        counts += _further(conditions, figures, random, began + LONG)
    figures.counts |= {name: counts[name] for name in COUNTED}
    return figures


def _further(conditions: Conditions, figures: Figures, random: Random, ends: float) -> Counter[str]:
    """Pairs that stop before each statement, and triples: some orders of each, until the time is over."""
    counts: Counter[str] = Counter()
    for sessions, gates in ((2, EVERYTHING), (3, LOCKS)):
        groups = list(itertools.combinations_with_replacement(REQUESTS, sessions))
        random.shuffle(groups)
        with touring(conditions, figures, random, sessions, gates) as tour:
            for group in groups:
                if time.monotonic() < ends:
                    tour.visit(group, DRAWN)
            counts += tour.counts
    return counts


INTERLEAVING = Trial("T13", "interleavings", work, {"row locks": without_row_locks})


# ---- the order of locks ---------------------------------------------------------------------------------------------

CROSSING = [
    ("transfer from A to B", "transfer from B to A"),
    ("PATCH of many posts", "PATCH of many posts"),
    ("PATCH of many posts", "DELETE of a user"),
]


async def work_crossing(conditions: Conditions) -> Figures:
    """Those that lock several rows at once."""
    await prepared(conditions)
    return await asyncio.to_thread(explore_crossing, conditions)


def explore_crossing(conditions: Conditions) -> Figures:
    figures = Figures()
    with touring(conditions, figures, Random(conditions.seed)) as tour:
        for pair in CROSSING:
            tour.visit(pair)
    figures.counts |= {"permutations": tour.counts["permutations"], "deadlocks": tour.counts["deadlocks"]}
    return figures


@contextmanager
def without_lock_order() -> Generator[None]:
    """Rows are locked one by one, by every second session in descending order."""
    run = running.run_on_asyncpg

    async def run_one_by_one(driver: Any, steps: Steps[Any], seconds: float, observe: Any) -> Any:
        return await run(driver, one_by_one(steps, threading.current_thread().name.endswith("1")), seconds, observe)

    with replaced(transactions, "run_on_asyncpg", run_one_by_one):
        yield


def one_by_one(steps: Steps[Any], backwards: bool) -> Steps[Any]:
    try:
        statement = next(steps)
        while True:
            rows = yield from _parts(statement, backwards)
            statement = steps.send(rows)
    except StopIteration as stop:
        return stop.value


def _parts(statement: Statement, backwards: bool) -> Steps[Sequence[Any]]:
    keys = next((list(argument) for argument in statement.args if isinstance(argument, list)), [])
    if statement.many or not LOCKS.search(statement.sql) or len(keys) < 2:
        return (yield statement)
    rows: list[Any] = []
    for key in sorted(keys, reverse=backwards):
        args = [[key] if isinstance(argument, list) else argument for argument in statement.args]
        rows += yield statement._replace(args=args)
    return sorted(rows, key=lambda row: row[0])


LOCK_ORDER = Trial(
    "T34", "lock order", work_crossing, {"ascending lock order": without_lock_order}, backends=("postgresql",)
)
