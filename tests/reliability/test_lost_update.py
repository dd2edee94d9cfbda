"""T12 in short: no change of twenty editors is lost; which of the guards is enough by itself, and what happens without
any.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.guards import without_row_locks
from tests.reliability.lost_update import LOST_UPDATE, without_version_in_update, work
from tests.reliability.trial import Conditions


@pytest.fixture
def conditions(spare_url: str, tmp_path: Path) -> Conditions:
    return Conditions(spare_url, tmp_path, seed=12)


@pytest.mark.slow
async def test_every_acknowledged_change_is_there_in_the_end(conditions: Conditions) -> None:
    """Takes the three seconds that the editors are given."""
    figures = await LOST_UPDATE.run(conditions)
    assert figures.violations == []
    assert all(figures.counts[name] for name in ("writes", "refused with 412"))


async def test_without_the_comparison_changes_are_lost(conditions: Conditions) -> None:
    figures = await LOST_UPDATE.run(replace(conditions, without="the comparison of versions"))
    assert any("lost" in violation for violation in figures.violations), figures.violations


async def test_without_the_version_in_updates_row_locks_keep_every_change(conditions: Conditions) -> None:
    """The version that is compared is that of a row which nobody else can write any more."""
    with without_version_in_update():
        figures = await work(replace(conditions, without="the version in UPDATE"))
    assert figures.violations == []


async def test_without_row_locks_the_version_in_updates_keeps_what_was_compared(conditions: Conditions) -> None:
    """Who comes late is told so by the database, some of them as often as it is tried: those are refused with 503. A
    version that a filter names is compared by the lock alone.
    """
    with without_row_locks():
        figures = await work(replace(conditions, without="row locks"))
    lost = [text for text in figures.violations if "lost" in text and not text.startswith("filter made")]
    assert lost == []


async def test_without_both_changes_are_lost(conditions: Conditions) -> None:
    figures = await LOST_UPDATE.run(replace(conditions, without="row locks and the version in UPDATE"))
    assert any("lost" in violation for violation in figures.violations), figures.violations
