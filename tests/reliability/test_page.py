"""The page that `make torture` writes: whole tables whatever the figures, and nothing that was found is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from tests.reliability.page import About, Run, render
from tests.reliability.running import Outcome

Counts = Mapping[str, int | float | str]
NOTHING: Counts = {}
ABOUT = About(7, datetime(2026, 1, 2, tzinfo=UTC), {"Python": "3.11.2", "machine": "2 cores, 8 GiB"}, "long")


def page_of(*runs: Run) -> str:
    return render(runs, ABOUT)


def run(*violations: str, without: str | None = None, broken: str | None = None, counts: Counts = NOTHING) -> Run:
    outcome = Outcome(1.5, dict(counts), list(violations), broken)
    return Run("T1", "bank", "T1, the bank.\n\nMore of it.", "sqlite", outcome, without)


def rows(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_figures_of_any_length_and_character_leave_the_table_whole() -> None:
    many = {f"figure {number}": "x | y\n<b> _z_ `" * 50 for number in range(40)}
    page = page_of(run(counts=many), run("a | b\nc", without="the | lock"))
    first, second = rows(page)[:3], rows(page)[3:]
    assert {len(row) for row in first} == {7}
    assert {len(row) for row in second} == {6}
    assert "<b>" not in re.sub(r"\\<", "", page)
    assert len(second[2][4]) < 200


def test_figures_stand_by_what_they_are() -> None:
    counts = {"orders": 12345, "kills": 3, "p99 ms": 12.3456}
    cells = rows(page_of(run(counts=counts)))[2]
    assert cells == ["T1 bank", "sqlite", "orders 12,345", "kills 3", "0", "p99 ms 12.3", "2"]


def test_page_names_date_seed_and_versions() -> None:
    page = page_of(run())
    assert "2 January 2026, seed 7. Python 3.11.2; 2 cores, 8 GiB" in page
    assert "The long forms: 1 runs in 0 minutes" in page


def test_violations_are_listed() -> None:
    page = page_of(run("two credits too many"))
    assert "- T1 bank, sqlite: two credits too many" in page
    assert "**1 not as they must**" in page


def test_guard_that_nobody_missed_is_listed() -> None:
    assert "- T1 bank, sqlite, without the lock: nothing was noticed" in page_of(run(without="the lock"))


def test_run_that_did_not_end_is_listed() -> None:
    page = page_of(run(broken="not finished after 900 s\nlog"))
    assert "- T1 bank, sqlite did not end: not finished after 900 s" in page


def test_good_runs_leave_no_list_of_violations() -> None:
    page = page_of(run(), run("lost", without="the lock"))
    assert "### Violations" not in page
    assert "every one as it must" in page


def test_each_test_is_explained_once() -> None:
    page = page_of(run(), run(), run("lost", without="the lock"))
    assert page.count("- **T1 bank**: T1, the bank.\n") == 1
