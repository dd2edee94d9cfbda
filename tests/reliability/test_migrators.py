"""T15: the short form on both databases, and what happens without the lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.migrators import LOCK, MIGRATORS
from tests.reliability.trial import Conditions


@pytest.mark.slow
async def test_processes_that_migrate_at_once_apply_each_revision_once(spare_url: str, tmp_path: Path) -> None:
    """Twenty processes and two servers, some killed: about 4 s, more where two cores are busy."""
    figures = await MIGRATORS.run(Conditions(spare_url, tmp_path, seed=15))
    assert figures.violations == []
    assert int(figures.counts["killed"]) > 0


async def test_missing_lock_is_noticed(spare_url: str, tmp_path: Path) -> None:
    figures = await MIGRATORS.run(Conditions(spare_url, tmp_path, seed=15, without=LOCK))
    assert figures.violations != []
