"""The driver of the long forms: a run in a process of its own, its end, and what becomes of what it found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path

from tests.conftest import Server
from tests.reliability.__main__ import Common, drive, main
from tests.reliability.running import Order, Outcome, execute, find_trials
from tests.reliability.trial import Conditions, Figures, Trial

broken = False


@contextlib.contextmanager
def breaking() -> Generator[None]:
    global broken
    broken = True
    yield
    broken = False


async def watch(conditions: Conditions) -> Figures:
    form = "long" if conditions.long else "short"
    figures = Figures({"form": form, "seed": conditions.seed, "backend": conditions.backend})
    figures.expect(not broken, "something is broken")
    return figures


async def fail(conditions: Conditions) -> Figures:
    raise RuntimeError("the bank is closed")


async def hang(conditions: Conditions) -> Figures:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    (conditions.folder / "pid").write_text(str(child.pid))
    await asyncio.Event().wait()
    return Figures()


WATCHFUL = Trial("T901", "watchful", watch, {"care": breaking}, backends=("sqlite",))
BLIND = Trial("T902", "blind", watch, {"nothing": contextlib.nullcontext}, backends=("sqlite",))
FAILING = Trial("T903", "failing", fail)
HANGING = Trial("T904", "hanging", hang)


def order(name: str, folder: Path, seconds: float = 30) -> Outcome:
    return execute(Order(__name__, name, "sqlite:///nowhere", str(folder), 7, seconds=seconds))


def test_every_trial_is_found_once_and_in_order() -> None:
    found = find_trials()
    assert {"T15", "T21", "T24"} <= found.keys()
    assert list(found).index("T15") < list(found).index("T21")
    assert all(trial.number == number for number, (_, _, trial) in found.items())


def test_figures_come_back_from_the_other_process(tmp_path: Path) -> None:
    outcome = order("WATCHFUL", tmp_path)
    assert outcome.broken is None
    assert outcome.counts == {"form": "short", "seed": 7, "backend": "sqlite"}


def test_trial_that_raises_is_told_with_its_error(tmp_path: Path) -> None:
    outcome = order("FAILING", tmp_path)
    assert outcome.broken is not None
    assert "RuntimeError: the bank is closed" in outcome.broken


def test_trial_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    outcome = order("HANGING", tmp_path, seconds=3)
    assert outcome.broken is not None
    assert outcome.broken.startswith("not finished after 3 s")
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_driver_runs_both_forms_and_writes_the_page(server: Server, tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    assert drive([(__name__, "WATCHFUL", WATCHFUL)], server, Common(7), page) == 0
    assert "form long, seed 7" in page.read_text()
    assert "| care | 1 | something is broken |" in page.read_text()


def test_guard_that_nobody_misses_is_a_failure(server: Server, tmp_path: Path) -> None:
    assert drive([(__name__, "BLIND", BLIND)], server, Common(7, short=True), None) == 1


def test_unknown_trial_is_refused() -> None:
    assert main(["T999"]) == 2


def is_gone(pid: int) -> bool:
    """Whether the process ends within a second; one that was killed waits for whoever adopted it to notice."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False
