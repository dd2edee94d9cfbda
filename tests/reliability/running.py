"""One run of one trial in a process of its own, so that it cannot disturb the next and a time limit can end it.

    python -m tests.reliability.running FOLDER

reads FOLDER/order.json, runs, and leaves FOLDER/outcome.json; `execute` does this and reads it. What the trial prints
stands in FOLDER/log.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import importlib
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import tests.reliability
from tests.localpg import die_with_parent
from tests.reliability.trial import Conditions, Figures, Trial

ROOT = Path(__file__).resolve().parents[2]
Found = tuple[str, str, Trial]  # with the module and the name there
TAIL = 30  # lines of the log that are shown of a run that ended otherwise than it should


@dataclass(frozen=True, slots=True)
class Order:
    """Which trial, and its conditions. `seconds` is when it is ended."""

    module: str
    name: str
    url: str
    folder: str
    seed: int
    long: bool = False
    without: str | None = None
    seconds: float = 900


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an order. `broken` says why there are no figures: the trial raised, died or took too long."""

    seconds: float
    counts: dict[str, int | float | str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    broken: str | None = None

    @property
    def figures(self) -> Figures:
        return Figures(self.counts, self.violations)


def find_trials() -> dict[str, Found]:
    """Every trial of the package by its number; T2 comes before T13."""
    found: dict[str, Found] = {}
    for module in pkgutil.walk_packages(tests.reliability.__path__, "tests.reliability."):
        if module.name.rpartition(".")[2].startswith(("test_", "conftest", "__")):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            # others may import a trial; it belongs where its work is
            if isinstance(value, Trial) and (value.number not in found or value.work.__module__ == module.name):
                found[value.number] = (module.name, name, value)
    return dict(sorted(found.items(), key=lambda item: (int(re.sub(r"\D", "", item[0])), item[0])))


def execute(order: Order) -> Outcome:
    """Everything that the run has started is ended with it, and the run with this process."""
    folder = Path(order.folder)
    (folder / "order.json").write_text(json.dumps(dataclasses.asdict(order)))
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.running", str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
        )
        try:
            process.wait(order.seconds)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - began
    if late:
        return Outcome(seconds, broken=f"not finished after {order.seconds:.0f} s\n{_tail(folder)}")
    try:
        return Outcome(seconds, **json.loads((folder / "outcome.json").read_text()))
    except FileNotFoundError:
        return Outcome(seconds, broken=f"exit code {process.returncode}\n{_tail(folder)}")


def _tail(folder: Path) -> str:
    return "\n".join((folder / "log").read_text(errors="replace").splitlines()[-TAIL:])


def main(folder: Path) -> None:
    order = Order(**json.loads((folder / "order.json").read_text()))
    trial: Trial = getattr(importlib.import_module(order.module), order.name)
    conditions = Conditions(order.url, folder, order.seed, order.long, order.without)
    figures = asyncio.run(trial.run(conditions))
    (folder / "outcome.json").write_text(json.dumps(dataclasses.asdict(figures)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
