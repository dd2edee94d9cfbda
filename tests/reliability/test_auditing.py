"""T27: whatever changes by HTTP is told by a revision or a transfer, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reliability.auditing import AUDIT, DEEDS, undescribed
from tests.reliability.deeds.world import opened
from tests.reliability.trial import Conditions


@pytest.fixture
def conditions(spare_url: str, tmp_path: Path) -> Conditions:
    return Conditions(spare_url, tmp_path, seed=27)


@pytest.mark.slow
async def test_what_changed_is_told_and_nothing_else(conditions: Conditions) -> None:
    """Ten ways to ask for each of the routes that change something, with all tables compared after each."""
    figures = await AUDIT.run(conditions)
    assert figures.violations == []


async def test_a_route_without_a_deed_is_found(conditions: Conditions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(DEEDS, "POST /posts/{id}/restore")
    monkeypatch.delitem(DEEDS, "PATCH /rest/v1/tags")
    async with opened(conditions.url, conditions.folder) as world:
        found = await undescribed(world)
    assert [text.partition(" is ")[0] for text in found] == ["POST /posts/{id}/restore", "PATCH /rest/v1/tags"]


@pytest.mark.parametrize("guard", AUDIT.guards)
async def test_a_missing_guard_is_noticed(conditions: Conditions, guard: str) -> None:
    assert (await AUDIT.run(replace(conditions, without=guard))).violations
