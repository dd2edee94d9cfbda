"""T1 in short: the bank keeps its credits, and does not without its guards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.bank import BANK, work
from tests.reliability.guards import without_compared_balance, without_row_locks
from tests.reliability.trial import Conditions


@pytest.fixture
def conditions(spare_url: str, tmp_path: Path) -> Conditions:
    return Conditions(spare_url, tmp_path, seed=1)


@pytest.mark.slow
async def test_no_credit_is_made_or_lost(conditions: Conditions) -> None:
    """Takes the four seconds that the clients are given."""
    figures = await BANK.run(conditions)
    assert figures.violations == []
    assert all(figures.counts[name] != 0 for name in ("acknowledged", "refused", "reads"))


async def test_without_row_locks_the_money_is_safe(conditions: Conditions) -> None:
    """SQLite's snapshot finds out who came late, so often that repeating does not help; on PostgreSQL the debit's own
    condition does, but those who meet lock in any order.
    """
    with without_row_locks():
        figures = await work(replace(conditions, without="row locks"))
    assert all("requests failed with" in violation for violation in figures.violations)
    assert figures.violations or "retries 40P01" in figures.counts


async def test_without_compared_balances_row_locks_keep_the_money(conditions: Conditions) -> None:
    with without_compared_balance():
        figures = await work(replace(conditions, without="compared balances"))
    assert figures.violations == []


async def test_without_both_credits_are_made_and_lost(conditions: Conditions) -> None:
    """The CHECK that is left holds each balance above zero, and no sum."""
    figures = await BANK.run(replace(conditions, without="row locks and compared balances"))
    assert any(violation.startswith("in the end there are") for violation in figures.violations)
    if conditions.url.startswith("sqlite"):  # who meets on PostgreSQL waits for each other, and few read meanwhile
        assert any("saw a sum of" in violation for violation in figures.violations)
    assert not any("has -" in violation for violation in figures.violations)
