"""T4 in short: the service and the model of the blog agree on 200 runs of up to 30 requests, and do not where the
service leaves something out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.machine import Step
from tests.reliability.model import MODEL, replay
from tests.reliability.trial import Conditions


def create(*rows: dict[str, Any], caller: str = "admin") -> Step:
    return Step("create_posts", caller, True, {"rows": list(rows), "single": len(rows) == 1})


def same(title: str) -> dict[str, Any]:
    return {"title": title, "user_id": 1}


FOUND = {
    "a row whose slug is taken says so when it is restored": [
        create({**same("A"), "slug": "a", "user_id": 2}, caller="author"),
        Step("delete_post", "author", True, {"post": 3, "match": "no"}),
        create({**same("B"), "slug": "a"}),
        Step("restore_row", "admin", True, {"table": "posts", "row": 3, "match": "no"}),
    ],
    "slugs of one list are free where a later number is taken": [create(same("A 2")), create(same("A"), same("A"))],
    "what gives way to a hidden row leaves its new tags": [
        create({**same("A"), "slug": "a", "user_id": 2}, caller="author"),
        Step(
            "upsert_posts",
            "other",
            True,
            {"rows": [{**same("B"), "slug": "a", "tags": ["new"]}], "single": False, "merge": False},
        ),
    ],
}


@pytest.fixture
def conditions(spare_url: str, tmp_path: Path) -> Conditions:
    return Conditions(spare_url, tmp_path, seed=4)


@pytest.mark.slow
async def test_every_request_is_answered_and_kept_as_the_model_says(conditions: Conditions) -> None:
    """Half a minute on each database: 6,000 requests, with all tables compared after each."""
    figures = await MODEL.run(conditions)
    assert not figures.violations, figures.violations[0]


@pytest.mark.parametrize("name", FOUND)
async def test_what_was_found_once_is_as_the_model_says(conditions: Conditions, name: str) -> None:
    assert await replay(conditions, FOUND[name]) is None


@pytest.mark.parametrize("guard", ["the comparison of versions", "free slugs"])
async def test_what_a_service_without_a_guard_answers_is_noticed(conditions: Conditions, guard: str) -> None:
    """Soon; the other guards take longer, and are for `make torture`."""
    assert (await MODEL.run(replace(conditions, without=guard))).violations
