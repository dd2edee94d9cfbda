"""T3 in short: PostgreSQL is killed, restarted and demoted under a service that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.restarts import RESTARTS
from tests.reliability.trial import Conditions


@pytest.mark.slow
async def test_service_outlives_its_database(tmp_path: Path) -> None:
    """Waits after each fault until nothing may fail any more."""
    figures = await RESTARTS.run(Conditions("postgresql:", tmp_path, seed=1))
    assert figures.violations == []
    assert figures.counts["errors"] != 0
