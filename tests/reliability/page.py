"""docs/reliability.md: what the long forms did and found, as a page for readers of the project.

The text around the tables stands here, what each test is for in the docstring of its module. Figures of any length and
with any characters leave the tables whole.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from tests.reliability.running import Outcome

PACKAGES = ("SQLAlchemy", "asyncpg", "aiosqlite", "uvicorn")
CELL = 160  # characters of one figure or violation
SHOWN = 20  # violations of one run
FAULT = re.compile(
    r"kill|fault|cancel|stop|restart|crash|injected|struck|terminat|demotion|disconnect|connections ended|jump|step"
    r"|timeout|fail_after|failpoint|^left$|deadlock"
)
WORST = re.compile(r"worst|slowest|longest|p99|at most|latest")

HEAD = """# Reliability

What `make torture` did to the service, and what it found. Each test is a workload with faults, and invariants that must
hold. The checkers read the database and what the clients wrote down, nothing else. A test is worth only what it would
notice, so each is run again with a guard of the code taken out, and must find violations then. `make test` runs short
forms of the same tests; `python -m tests.reliability T1 T4 --seed N` repeats some of them with a seed. This page is
written by the run; one that is aborted leaves it as it was.
"""

NOT_TESTED = """## Not tested

- **Real power loss**, and disks that say that they have written what they have not. A killed process loses nothing that
  it gave to the operating system, so `kill -9` proves that the order of writes is right, not that they are on the disk.
  SQLite runs with `synchronous=FULL`; of the PostgreSQL servers here only that of T3 uses fsync.
- **Networks between machines**: partitions, delays, lost packets (the test machine's kernel has no netem). Connections
  are cut by ending their processes.
- **Failover** to a replica, and what replicas answer. That a server takes no writes for a while is part of T3.
- **PgBouncer 1.21 and newer**, which knows prepared statements. Behind a pooler the service does without them.
- **A full disk, a torn write-ahead log, hours of mixed load.**
- **A system clock that jumps.** The clock of T24 is the service's own, the zone that of its process; the machine's time
  was not changed.
- **Other machines**: ARM, more than two cores, Windows, SQLite on network file systems (refused).
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One line of a table. `about` is the docstring of the trial's module."""

    number: str
    subject: str
    about: str
    backend: str
    outcome: Outcome
    without: str | None = None

    @property
    def is_good(self) -> bool:
        """Nothing was found, or with a guard removed something was."""
        return self.outcome.broken is None and bool(self.outcome.violations) == (self.without is not None)


@dataclass(frozen=True, slots=True)
class About:
    """What holds for all runs. `form` is long or short."""

    seed: int
    at: datetime
    versions: Mapping[str, str]
    form: str


def render(runs: Sequence[Run], about: About) -> str:
    whole = [run for run in runs if run.without is None]
    return "\n".join(
        (
            HEAD,
            _facts(runs, about),
            "## What was done, and what was found\n",
            *_table(("test", "database", "what was done", "faults", "violations", "worst", "s"), map(_done, whole)),
            *_findings(runs),
            "\n## With a guard taken out\n",
            "Here violations are what must be found.\n",
            *_table(("test", "database", "taken out", "violations", "the first", "s"), map(_unguarded, runs)),
            "\n## The tests\n",
            *_tests(whole),
            "",
            NOT_TESTED,
        )
    )


def versions_here(postgresql: str) -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": postgresql,
        **{name: version(name) for name in PACKAGES},
        "machine": f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB",
    }


# ---- parts ----------------------------------------------------------------------------------------------------------


def _facts(runs: Sequence[Run], about: About) -> str:
    versions = about.versions
    named = ", ".join(f"{name} {value}" for name, value in versions.items() if name != "machine")
    bad = sum(not run.is_good for run in runs)
    verdict = "every one as it must" if not bad else f"**{bad} not as they must**"
    minutes = sum(run.outcome.seconds for run in runs) / 60
    return (
        f"{about.at:%-d %B %Y}, seed {about.seed}. {named}; {versions['machine']}, which clients and servers share.\n"
        f"The {about.form} forms: {len(runs)} runs in {minutes:.0f} minutes, {verdict}.\n"
    )


def _table(titles: Sequence[str], rows: Iterable[Sequence[str] | None]) -> list[str]:
    lines = [titles, ["---"] * len(titles), *(row for row in rows if row is not None)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _done(run: Run) -> Sequence[str]:
    done: list[str] = []
    faults: list[str] = []
    worst: list[str] = []
    for name, value in run.outcome.counts.items():
        (worst if WORST.search(name) else faults if FAULT.search(name) else done).append(f"{name} {_number(value)}")
    name = f"{run.number} {run.subject}"
    return (_cell(name), run.backend, _cells(done), _cells(faults), _verdict(run), _cells(worst), _seconds(run))


def _unguarded(run: Run) -> Sequence[str] | None:
    if run.without is None:
        return None
    first = run.outcome.violations[0] if run.outcome.violations else ""
    name = f"{run.number} {run.subject}"
    return (_cell(name), run.backend, _cell(run.without), _verdict(run), _cell(first), _seconds(run))


def _verdict(run: Run) -> str:
    if run.outcome.broken is not None:
        return "**did not end**"
    found = str(len(run.outcome.violations))
    return found if run.is_good else f"**{found}**"


def _findings(runs: Sequence[Run]) -> list[str]:
    lines = []
    for run in runs:
        name = f"{run.number} {run.subject}, {run.backend}" + (f", without {run.without}" if run.without else "")
        if run.outcome.broken is not None:
            lines.append(f"- {name} did not end: {_cell(run.outcome.broken.splitlines()[0])}")
        elif run.without is None:
            lines += [f"- {name}: {_cell(text)}" for text in run.outcome.violations[:SHOWN]]
        elif not run.is_good:
            lines.append(f"- {name}: nothing was noticed")
    return ["", "### Violations", "", *lines] if lines else []


def _tests(runs: Sequence[Run]) -> list[str]:
    """One line for each module, whatever the number of its trials and their databases."""
    named: dict[str, list[str]] = {}
    for run in runs:
        names = named.setdefault(run.about, [])
        if (name := f"{run.number} {run.subject}") not in names:
            names.append(name)
    return [f"- **{', '.join(names)}**: {_first_paragraph(about)}" for about, names in named.items()]


def _first_paragraph(docstring: str) -> str:
    return " ".join(docstring.strip().partition("\n\n")[0].split())


def _seconds(run: Run) -> str:
    return f"{run.outcome.seconds:.0f}"


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cells(figures: Sequence[str]) -> str:
    """A comma is where a renderer may break the line."""
    return ", ".join(map(_cell, figures))


def _cell(text: str) -> str:
    plain = " ".join(text.split())
    return _escaped(plain if len(plain) <= CELL else f"{plain[: CELL - 1]}…")


def _escaped(text: str) -> str:
    """What Markdown or HTML would take for its own, and a line of a table would end with."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)
