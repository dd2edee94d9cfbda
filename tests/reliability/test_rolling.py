"""T21: the short form on both databases. Without a guard it takes some seconds, and runs in `make torture` alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.rolling import ROLLING
from tests.reliability.trial import Conditions


@pytest.mark.slow
async def test_servers_are_replaced_without_a_lost_request(spare_url: str, tmp_path: Path) -> None:
    """Servers start and stop in processes of their own, and batches take two seconds: about 10 s."""
    figures = await ROLLING.run(Conditions(spare_url, tmp_path, seed=21))
    assert figures.violations == []
    assert int(figures.counts["batches"]) > 0
