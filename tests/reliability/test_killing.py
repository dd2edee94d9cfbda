"""T2 in short: the service is killed, and nothing that it acknowledged is lost or done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.killing import KILLING
from tests.reliability.trial import Conditions


@pytest.mark.slow
async def test_killed_service_loses_nothing(spare_url: str, tmp_path: Path) -> None:
    """Starts the service nine times."""
    figures = await KILLING.run(Conditions(spare_url, tmp_path, seed=1))
    assert figures.violations == []
    assert figures.counts["in doubt"] == figures.counts["resolved"] != 0
    assert figures.counts["of these done already"] != 0
