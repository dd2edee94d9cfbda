"""T5 and T33 in short: whoever leaves in the middle leaves nothing behind, and does without the guards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.http.failing import ON_SQLITE
from tests.reliability.storm import INTERRUPTED, STORM
from tests.reliability.trial import Conditions


@pytest.fixture
def conditions(spare_url: str, tmp_path: Path) -> Conditions:
    return Conditions(spare_url, tmp_path, seed=1)


@pytest.mark.slow
async def test_nothing_is_left_by_those_who_leave_in_the_middle(conditions: Conditions) -> None:
    """The service does what 500 visitors asked for, though none of them waits for it."""
    figures = await STORM.run(conditions)
    assert figures.violations == []
    assert int(figures.counts["left"]) > 300
    assert int(figures.counts["acknowledged"]) > 0


@ON_SQLITE
async def test_without_shields_cancelled_units_leave_the_lock(conditions: Conditions) -> None:
    figures = await INTERRUPTED.run(replace(conditions, without="shields"))
    assert figures.violations
