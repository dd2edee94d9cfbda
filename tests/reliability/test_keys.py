"""T7: one effect for each Idempotency-Key, and not without each of its guards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.keys import KEYS_HOLD
from tests.reliability.trial import Conditions

SEED = 7


@pytest.mark.slow
async def test_a_key_has_one_effect(spare_url: str, tmp_path: Path) -> None:
    """Some 700 requests, thirty at once: that takes a few seconds."""
    figures = await KEYS_HOLD.run(Conditions(spare_url, tmp_path, SEED))
    assert not figures.violations


@pytest.mark.parametrize("guard", KEYS_HOLD.guards)
async def test_it_has_not_without(guard: str, spare_url: str, tmp_path: Path) -> None:
    figures = await KEYS_HOLD.run(Conditions(spare_url, tmp_path, SEED, without=guard))
    assert figures.violations
