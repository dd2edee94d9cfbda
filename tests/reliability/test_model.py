"""T4 in short: the service and the model of the blog agree on 200 runs of up to 30 requests, and do not where the
service leaves something out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.model import MODEL
from tests.reliability.trial import Conditions


@pytest.fixture
def conditions(spare_url: str, tmp_path: Path) -> Conditions:
    return Conditions(spare_url, tmp_path, seed=4)


@pytest.mark.slow
async def test_every_request_is_answered_and_kept_as_the_model_says(conditions: Conditions) -> None:
    """Half a minute on each database: 6,000 requests, with all tables compared after each."""
    figures = await MODEL.run(conditions)
    assert not figures.violations, figures.violations[0]


@pytest.mark.parametrize("guard", MODEL.guards)
async def test_what_a_service_without_a_guard_answers_is_noticed(conditions: Conditions, guard: str) -> None:
    unguarded = Conditions(conditions.url, conditions.folder, conditions.seed, without=guard)
    assert (await MODEL.run(unguarded)).violations
