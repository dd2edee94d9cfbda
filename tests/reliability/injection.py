"""Every statement of every write path fails once with what a database asks to repeat for: there is one effect. Where it
fails at each attempt there is none, and a clean answer.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
from sqlalchemy.exc import DBAPIError

from app.data import failpoints, retrying
from app.data.failpoints import Point
from tests.reliability.guards import replaced
from tests.reliability.paths import CREATE, PATHS, TRANSFER, Given, Observer, Path, World, made_ready, opened
from tests.reliability.trial import Conditions, Figures, Trial
from tests.reliability.walk import answered

FEW = (CREATE, TRANSFER)  # the paths without a guard
AT_WORK = (409, "BRD409")  # who waited for the lock of a key is told so


def busy() -> Exception:
    exc = sqlite3.OperationalError("database is locked")
    exc.sqlite_errorname = "SQLITE_BUSY"
    return exc


# As the drivers raise them.
ERRORS: dict[str, dict[str, Callable[[], Exception]]] = {
    "sqlite": {"55P03": busy},
    "postgresql": {
        "40001": lambda: asyncpg.SerializationError("could not serialize access"),
        "40P01": lambda: asyncpg.DeadlockDetectedError("deadlock detected"),
        "55P03": lambda: asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
    },
}


@dataclass(slots=True)
class Injector:
    """Sees every statement, and raises in place of one: the `number`th of a unit of work, `left` times."""

    number: int = 0
    left: int = 0
    make: Callable[[], Exception] = busy
    seen: int = 0
    raised: int = 0
    failed: list[str] = field(default_factory=list)

    def observe(self, sql: str) -> None:
        """For Database."""
        self.seen += 1
        if self.seen == self.number and self.left:
            self.left -= 1
            self.raised += 1
            self.failed.append(" ".join(sql.split())[:60])
            raise self.make()

    async def begin(self) -> None:
        """A unit of work does."""
        self.seen = 0

    @contextmanager
    def armed(self, number: int = 0, times: int = 0, make: Callable[[], Exception] = busy) -> Generator[None]:
        self.number, self.left, self.make, self.raised = number, times, make, 0
        with failpoints.armed({Point.CHECKED_OUT: self.begin}):
            yield
        self.left = 0


@dataclass(slots=True)
class Injection:
    world: World
    observer: Observer
    injector: Injector
    errors: dict[str, Callable[[], Exception]]
    figures: Figures
    counts: Counter[str] = field(default_factory=Counter)

    async def path(self, path: Path, times: Sequence[int], *, whole: bool) -> None:
        """Fails each statement of the path, so many times, with each of the errors; unless `whole` with one of them,
        in turn.
        """
        (given,) = await made_ready(path, self.world.database, [f"{_word(path)}-count"])
        with self.injector.armed():
            await answered(path, self.world, given)
        numbers, errors = range(1, self.injector.seen + 1), list(self.errors.items())
        self.counts["statements"] += len(numbers)
        cases = [
            (number, many, *error)
            for many in times
            for number in numbers
            for error in (errors if whole else [errors[number % len(errors)]])
        ]
        names = [f"{_word(path)}-{number}" for number in range(len(cases))]
        for case, given in zip(cases, await made_ready(path, self.world.database, names), strict=True):
            await self._case(path, given, *case)

    async def _case(
        self, path: Path, given: Given, number: int, many: int, code: str, make: Callable[[], Exception]
    ) -> None:
        self.world.database.counters.repeated.clear()
        with self.injector.armed(number, many, make):
            answer = await answered(path, self.world, given)
        when = f"{code} {many} times at statement {number} of {path.name} ({self.injector.failed[-1]})"
        found = await self.observer.state(path, given)
        repeats = self.world.database.counters.repeated[code]
        self.counts["injected"] += self.injector.raised
        self.counts["repeats"] += repeats
        done = answer[0] < 300
        self.counts["done"] += done
        self.figures.expect(found == ("all" if done else "nothing"), f"{when}: {found} is there after {answer}")
        clean = done if many == 1 else answer == (503, code)
        self.figures.expect(clean or answer == AT_WORK, f"{when}: answered {answer}")
        await self._check_left(when)

    async def _check_left(self, when: str) -> None:
        database = self.world.database
        await database.pools.settled()
        self.figures.expect(database.in_use == 0, f"{when}: {database.in_use} connections are out")
        try:
            await self.observer.lock_everything()
        except DBAPIError as exc:
            self.figures.violations.append(f"{when}: a second writer waits: {type(exc.orig).__name__}")


def _word(path: Path) -> str:
    return path.name.replace(" ", "-").lower()


async def work(conditions: Conditions) -> Figures:
    """In short only transfers fail at each attempt: that takes the pauses between them."""
    figures, injector, errors = Figures(), Injector(), ERRORS[conditions.backend]
    paths = FEW if conditions.without else tuple(PATHS.values())
    async with opened(conditions.url, conditions.folder, observe=injector.observe) as world:
        injection = Injection(world, Observer(conditions.url), injector, errors, figures)
        for path in paths:
            always = not conditions.without and (conditions.long or path is TRANSFER)
            await injection.path(path, (1, retrying.ATTEMPTS) if always else (1,), whole=conditions.long)
        await injection.observer.engine.dispose()
    figures.counts |= {"paths": len(paths), "errors": len(errors), **injection.counts}
    return figures


def without_repeats() -> AbstractContextManager[None]:
    return replaced(retrying, "REPEATS", dict.fromkeys(retrying.REPEATS, 0))


INJECTION = Trial("T35", "injected errors", work, {"repeats": without_repeats})
