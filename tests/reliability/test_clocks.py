"""T24: the short form on both databases, and what happens without the conversion of times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.clocks import CLOCKS, CONVERSION
from tests.reliability.trial import Conditions


@pytest.mark.slow
async def test_wrong_and_jumping_clocks_do_no_harm(spare_url: str, tmp_path: Path) -> None:
    """Two of the processes, in zones of their own, have to start: about 5 s."""
    figures = await CLOCKS.run(Conditions(spare_url, tmp_path, seed=24))
    assert figures.violations == []


async def test_missing_conversion_of_times_is_noticed(spare_url: str, tmp_path: Path) -> None:
    figures = await CLOCKS.run(Conditions(spare_url, tmp_path, seed=24, without=CONVERSION))
    assert figures.violations != []
