"""`make torture`: the long form of every trial on each database, then the form without each of its guards.

    python -m tests.reliability [T1 T4 ...] [--seed N] [--seconds-scale X] [--short] [--page FILE]

Prints a line for each run. When all long forms have run they write docs/reliability.md; an aborted run, and one of some
trials or of the short forms, leaves the page as it was unless one is named. Exit code 1 where a run has violations,
does not end, or a removed guard is not noticed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import secrets
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import Server, fresh_database
from tests.localpg import run as run_program
from tests.reliability import page
from tests.reliability.page import Run
from tests.reliability.running import ROOT, Found, Order, execute, find_trials
from tests.reliability.trial import Trial

PAGE = ROOT / "docs" / "reliability.md"
LIMITS = {True: 900.0, False: 180.0}  # seconds of a long form, and of the others
fresh = contextmanager(fresh_database)
TOLD = 5  # violations that are printed of one run
WIDE = 300  # characters of each


@dataclass(frozen=True, slots=True)
class Common:
    """What all runs share. `patience` multiplies the limits of time."""

    seed: int
    short: bool = False
    patience: float = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """A run to be made."""

    module: str
    name: str
    trial: Trial
    backend: str
    without: str | None


def main(words: list[str]) -> int:
    given = parse(words)
    trials = find_trials()
    if unknown := sorted(set(given.trials) - trials.keys()):
        print(f"there is no {', '.join(unknown)}, but {', '.join(trials)}", file=sys.stderr)
        return 2
    seed = secrets.randbelow(2**31) if given.seed is None else given.seed
    conditions = Common(seed, short=given.short, patience=given.seconds_scale)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, as after Ctrl-C
    target = given.page or (None if given.trials or given.short else PAGE)
    try:
        with server_running() as server:
            return drive([trials[number] for number in given.trials or trials], server, conditions, target)
    except KeyboardInterrupt:
        print("aborted; the page is as it was", file=sys.stderr)
        return 130


def drive(trials: Sequence[Found], server: Server, common: Common, target: Path | None) -> int:
    """The exit code. `target` is where the page is written."""
    plans = list(plan(trials))
    print(f"{len(plans)} runs, seed {common.seed}", flush=True)
    runs = [carry_out(item, server, common) for item in plans]
    bad = sum(not run.is_good for run in runs)
    print(f"{len(runs) - bad} of {len(runs)} runs as they must be, {sum(run.outcome.seconds for run in runs):.0f} s")
    if target is not None:
        versions = page.versions_here(version_of(server))
        about = page.About(common.seed, datetime.now().astimezone(), versions, "short" if common.short else "long")
        write(target, page.render(runs, about))
    return 1 if bad else 0


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description="Faults and races, at length.")
    parser.add_argument("trials", nargs="*", metavar="T1", help="all, unless named")
    parser.add_argument("--seed", type=int, help="of everything random; a new one unless given")
    parser.add_argument("--seconds-scale", type=float, default=1, help="multiplies the time limits of the runs")
    parser.add_argument("--short", action="store_true", help="the forms of `make test`")
    parser.add_argument("--page", type=Path, metavar="FILE", help="where the page is written")
    return parser.parse_args(words)


def plan(trials: Sequence[Found]) -> Iterator[Plan]:
    for module, name, trial in trials:
        for without in (None, *trial.guards):
            for backend in trial.backends:
                yield Plan(module, name, trial, backend, without)


def carry_out(item: Plan, server: Server, common: Common) -> Run:
    long = not common.short and item.without is None
    limit = LIMITS[long] * common.patience
    with TemporaryDirectory(prefix="broadsheet-trial-") as folder, fresh(item.backend, server, Path(folder)) as url:
        outcome = execute(Order(item.module, item.name, url, folder, common.seed, long, item.without, limit))
    about = importlib.import_module(item.module).__doc__ or ""
    run = Run(item.trial.number, item.trial.subject, about, item.backend, outcome, item.without)
    print("\n".join(told(run)), flush=True)
    return run


def told(run: Run) -> Iterator[str]:
    name = f"{run.number} {run.subject}, {run.backend}" + (f", without {run.without}" if run.without else "")
    mark = "ok  " if run.is_good else "BAD "
    yield f"{mark} {name}, {run.outcome.seconds:.1f} s: {run.outcome.broken or run.outcome.figures.line()}"
    for text in run.outcome.violations[: TOLD if run.without is None else 1]:
        yield f"       {' '.join(text.split())[:WIDE]}"


@contextmanager
def server_running() -> Generator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.pytest_unconfigure()


def version_of(server: Server) -> str:
    """As the program itself says it: `postgres (PostgreSQL) 18.6`."""
    if server.local is None:
        return "of BROADSHEET_TEST_DATABASE_URL"
    return run_program([server.local.bindir / "postgres", "--version"], server.local.account).split()[-1]


def write(target: Path, text: str) -> None:
    """All of it or nothing."""
    draft = target.with_suffix(".draft")
    draft.write_text(text)
    os.replace(draft, target)
    print(f"wrote {target.name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
