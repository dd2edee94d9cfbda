"""T13, T34 and T35 in short: requests that meet, in every order of their steps, and statements that must come again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.http.failing import ON_POSTGRESQL
from tests.reliability.injection import INJECTION
from tests.reliability.interleaving import INTERLEAVING, LOCK_ORDER
from tests.reliability.trial import Conditions


@pytest.fixture
def conditions(spare_url: str, tmp_path: Path) -> Conditions:
    return Conditions(spare_url, tmp_path, seed=1)


@pytest.mark.slow
async def test_requests_that_meet_come_to_what_one_after_the_other_does(conditions: Conditions) -> None:
    """Some 500 orders on PostgreSQL and 300 on SQLite, 20 ms each."""
    figures = await INTERLEAVING.run(conditions)
    assert figures.violations == []
    assert int(figures.counts["blocked steps"]) > 100
    assert figures.counts["deadlocks"] == 0


async def test_without_row_locks_they_do_not(conditions: Conditions) -> None:
    figures = await INTERLEAVING.run(replace(conditions, without="row locks"))
    assert figures.violations


@ON_POSTGRESQL
async def test_without_the_order_of_locks_there_are_deadlocks(conditions: Conditions) -> None:
    figures = await LOCK_ORDER.run(replace(conditions, without="ascending lock order"))
    assert any("40P01" in violation for violation in figures.violations)


@pytest.mark.slow
async def test_statement_that_fails_once_is_repeated_to_one_effect(conditions: Conditions) -> None:
    """Some hundred statements, each of which fails in a unit of work of its own."""
    figures = await INJECTION.run(conditions)
    assert figures.violations == []
    assert int(figures.counts["repeats"]) > 60


async def test_without_repeats_they_are_refused(conditions: Conditions) -> None:
    figures = await INJECTION.run(replace(conditions, without="repeats"))
    assert figures.violations
