"""T31 in short: whatever strikes wherever, a write is done whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.trial import Conditions
from tests.reliability.walk import FAILPOINTS


@pytest.fixture
def conditions(spare_url: str, tmp_path: Path) -> Conditions:
    return Conditions(spare_url, tmp_path, seed=1)


@pytest.mark.slow
async def test_every_fault_at_every_point_leaves_all_or_nothing(conditions: Conditions) -> None:
    """Some 275 faults, at 30 ms each."""
    figures = await FAILPOINTS.run(conditions)
    assert figures.violations == []
    assert int(figures.counts["struck"]) > 200


async def test_without_the_rule_for_lost_commits_they_are_done_twice(conditions: Conditions) -> None:
    figures = await FAILPOINTS.run(replace(conditions, without="unknown COMMITs are not repeated"))
    assert any("(80, 120, 2)" in violation for violation in figures.violations)
