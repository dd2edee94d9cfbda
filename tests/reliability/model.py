"""T4, the stateful model: sequences of requests chosen at random, each answered by the service byte for byte as a
second, simple account of the blog in memory foresees, and leaving behind exactly what that holds. Callers of every role
write and read posts, tags, users, transfers and versions, alone and in batches; there are no faults.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.stateful import run_state_machine_as_test

from app.data.catalog import Resource
from app.data.database import Database
from app.data.rules import Row
from app.http import writing
from app.http.app import create_app
from app.models import resolving
from app.query import removal
from app.resources import CATALOG
from app.settings import Limits, Settings
from tests.conftest import Clock
from tests.reliability.blog.kept import open_kept
from tests.reliability.blog.play import Disagreement, Stage
from tests.reliability.guards import replaced
from tests.reliability.inside import by_name, serving
from tests.reliability.machine import BlogMachine, Step, fails, shortest
from tests.reliability.trial import Conditions, Figures, Trial

SHORT = (1, 200, 30)  # rounds of hypothesis, runs of each, requests of each run
LONG = (8, 100, 80)
PATIENCE = 600  # seconds after which no other round begins
STEADY = 1_000_003  # between the seeds of rounds


async def work(conditions: Conditions) -> Figures:
    """Hypothesis is synchronous, so it has a thread, and the service a loop there."""
    return await asyncio.to_thread(_play, conditions)


async def replay(conditions: Conditions, steps: list[Step]) -> Disagreement | None:
    """What comes of these steps."""

    def play() -> Disagreement | None:
        with staged(conditions) as stage:
            return fails(stage, steps)

    return await asyncio.to_thread(play)


def _play(conditions: Conditions) -> Figures:
    figures = Figures()
    with staged(conditions) as stage:
        if (failed := _rounds(stage, conditions)) is not None:
            figures.violations.append(str(failed))
    tally = stage.tally
    figures.counts |= {"runs": tally.runs, "requests": tally.steps}
    figures.counts |= {"kinds": len(tally.rules), "pairs of kinds": len(tally.pairs)}
    figures.counts["statuses"] = " ".join(f"{status}:{n}" for status, n in sorted(tally.statuses.items()))
    return figures


@contextmanager
def staged(conditions: Conditions) -> Generator[Stage]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(_set_up(stack, runner, conditions))
        finally:
            runner.run(stack.aclose())


def _rounds(stage: Stage, conditions: Conditions) -> Disagreement | None:
    """What was found, by as few steps as it takes."""
    rounds, runs, steps = LONG if conditions.long and conditions.without is None else SHORT
    end = time.monotonic() + PATIENCE
    for number in range(rounds):
        failed: list[Step] = []
        found = _round(stage, conditions.seed + number * STEADY, runs, steps, failed)
        if found is not None:
            return found if conditions.without else shortest(stage, failed) or found
        if time.monotonic() > end:
            break
    return None


def _round(stage: Stage, seed: int, runs: int, steps: int, failed: list[Step]) -> Disagreement | None:
    settings = hypothesis.settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )

    def machine() -> BlogMachine:
        return BlogMachine(stage, failed)

    seeded: Any = hypothesis.seed(seed)(machine)
    try:
        run_state_machine_as_test(seeded, settings=settings)
    except Disagreement as found:
        return found
    return None


async def _set_up(stack: AsyncExitStack, runner: asyncio.Runner, conditions: Conditions) -> Stage:
    clock = Clock()
    database = await stack.enter_async_context(Database(conditions.url, CATALOG, clock=clock))
    settings = Settings(data_dir=conditions.folder, allow_rollback=True, limits=Limits(new_shapes=1_000_000))
    app = create_app(settings, authenticate=by_name, database=database)
    service = await stack.enter_async_context(serving(app))
    kept = await open_kept(conditions.url)
    stack.push_async_callback(kept.close)
    return Stage(runner, service, kept, clock)


# ---- guards ---------------------------------------------------------------------------------------------------------


def without_compared_versions() -> AbstractContextManager[None]:
    """If-Match is read and forgotten."""

    def ignore(resource: Resource, rows: Sequence[Row], versions: object) -> None:
        pass

    return replaced(writing, "refuse_stale", ignore)


def without_cascades() -> AbstractContextManager[None]:
    """Posts stay when their author goes."""

    def none(statements: object, resource: Resource) -> list[Any]:
        return []

    return replaced(removal, "_cascades", none)


def without_free_slugs() -> AbstractContextManager[None]:
    """A slug from a title is taken whether or not it is free."""

    def wanted(base: str, taken: object, *, most: int) -> str:
        return base[:most]

    return replaced(resolving, "free_name", wanted)


MODEL = Trial(
    "T4",
    "stateful model",
    work,
    {
        "the comparison of versions": without_compared_versions,
        "cascades of a soft delete": without_cascades,
        "free slugs": without_free_slugs,
    },
)
