"""T28 in short: rows travel and come back unchanged, and do not without the guards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.exchange import EXCHANGE, MOMENT, WHOLE
from tests.reliability.trial import Conditions


@pytest.fixture
def conditions(spare_url: str, tmp_path: Path) -> Conditions:
    return Conditions(spare_url, tmp_path, seed=28)


@pytest.mark.slow
async def test_rows_come_back_byte_for_byte(conditions: Conditions) -> None:
    """Takes the time of two imports in processes of their own that are killed, and on PostgreSQL of three databases."""
    figures = await EXCHANGE.run(conditions)
    assert figures.violations == []
    assert all(figures.counts.values())


async def test_without_a_snapshot_an_export_shows_two_moments(conditions: Conditions) -> None:
    figures = await EXCHANGE.run(replace(conditions, without=MOMENT))
    assert figures.violations == ["an export shows what was committed after it had begun"]


async def test_without_transactions_a_kill_leaves_a_part_of_a_batch(conditions: Conditions) -> None:
    figures = await EXCHANGE.run(replace(conditions, without=WHOLE))
    assert any("there is a part of a batch" in violation for violation in figures.violations)
