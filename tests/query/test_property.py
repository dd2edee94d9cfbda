"""Random requests over random data, for random callers: the bytes of either database are those of an evaluator in plain
Python, so they are each other's too; and the number of statements does not depend on the number of rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from app.data.database import Database
from app.models import Post, PostTag, Revision, Tag, Transfer, User
from app.query.plan import Page
from tests.conftest import EPOCH, Statements
from tests.query.asking import LIMITS, Asker
from tests.query.evaluator import Evaluator
from tests.query.requests import asks, callers, request_of, tables
from tests.query.rows import Row, fill

DATA_SETS, EXAMPLES = 3, 50  # 150 requests on each database
CAP = 6  # rows a page and a list
MODELS: dict[str, type[Any]] = {
    "users": User, "posts": Post, "tags": Tag, "post_tags": PostTag, "transfers": Transfer, "revisions": Revision,
}  # fmt: skip


@pytest.fixture(params=range(DATA_SETS))
async def filled(request: pytest.FixtureRequest, database: Database) -> tuple[Asker, dict[str, list[Row]]]:
    data = tables(request.param)
    await fill(database, {MODELS[name]: rows for name, rows in data.items()})
    return Asker(database, limits=replace(LIMITS, page=CAP, embeds=20), page=Page(CAP, CAP)), data


@given(draws=st.data())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    # the rows are the same for every example, and only read
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_random_requests(
    filled: tuple[Asker, dict[str, list[Row]]], statements: Statements, draws: st.DataObject
) -> None:
    asker, data = filled
    who, caller = draws.draw(callers)
    ask = draws.draw(asks(data, caller.view))
    request = request_of(ask)
    note(request)
    oracle = Evaluator(data, EPOCH, caller, CAP)
    expected = oracle.bytes(ask)
    statements.clear()
    assert await asker.bytes(who, request) == expected
    assert statements.count == 1 + len(oracle.reached)


def test_the_requests_are_worth_asking() -> None:
    """Rows come for most of them, and every feature occurs."""
    seen: list[str] = []
    rows = []

    @given(draws=st.data())
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    def collect(draws: st.DataObject) -> None:
        data = tables(0)
        caller = draws.draw(callers)[1]
        ask = draws.draw(asks(data, caller.view))
        seen.append(request_of(ask))
        rows.append(Evaluator(data, EPOCH, caller, CAP).bytes(ask) != b"[]")

    collect()
    assert sum(rows) > len(rows) / 2
    text = "\n".join(seen)
    for part in (
        "not.in.(",
        "=in.(",
        "=eq.",
        "not.eq",
        "nullsfirst",
        "limit=",
        ".offset=",
        "deleted_at=",
        ".order=",
        "revisions?",
    ):
        assert part in text, part
