"""Random requests over random data, for random callers: the bytes of either database are those of an evaluator in plain
Python, so they are each other's too; and the number of statements does not depend on the number of rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from app.data.database import Database
from app.data.rules import Principal
from app.models import Post, PostTag, Revision, Tag, Transfer, User
from app.query.encoder import encode
from app.query.plan import Page
from tests.conftest import EPOCH, Statements
from tests.query.asking import AGGREGATES, Asker
from tests.query.evaluator import Evaluator
from tests.query.printing import request_of
from tests.query.requests import Requests, a_caller, tables
from tests.query.rows import Row, fill

DATA_SETS = 3
# For each data set and database, in tests of so many. Set the first to some thousands for a long run.
REQUESTS, EACH = int(os.environ.get("BROADSHEET_TEST_REQUESTS", "100")), 50
CAP = 6  # rows a page and a list
MODELS: dict[str, type[Any]] = {
    "users": User, "posts": Post, "tags": Tag, "post_tags": PostTag, "transfers": Transfer, "revisions": Revision,
}  # fmt: skip
Filled = tuple[Asker, dict[str, list[Row]], int]


@pytest.fixture(params=range(DATA_SETS))
async def filled(request: pytest.FixtureRequest, database: Database) -> Filled:
    data = tables(request.param)
    await fill(database, {MODELS[name]: rows for name, rows in data.items()})
    return (
        Asker(database, limits=replace(AGGREGATES, page=CAP, embeds=20), page_size=Page(CAP, CAP)),
        data,
        request.param,
    )


@pytest.mark.parametrize("seed", range(0, REQUESTS, EACH))
async def test_random_requests(filled: Filled, statements: Statements, seed: int) -> None:
    asker, data, part = filled
    for r in (Random(f"{part}-{i}") for i in range(seed, seed + EACH)):
        who, caller = a_caller(r)
        ask, count = Requests(r, data, caller.view).root(), r.random() < 0.3
        request = request_of(ask)
        oracle = Evaluator(data, EPOCH, caller, CAP)
        expected = oracle.page(ask)
        statements.clear()
        with asked(who, request):
            found = await asker.page(who, request, count=count)
            assert encode(found.rows) == expected
            assert statements.count == 1 + len(oracle.reached) + count
            assert found.total == (oracle.total(ask) if count else None)


@pytest.mark.parametrize("seed", range(0, REQUESTS, EACH))
async def test_pages_by_cursor_give_the_whole_list(filled: Filled, seed: int) -> None:
    asker, data, part = filled
    for r in (Random(f"{part}-{i}") for i in range(seed, seed + EACH)):
        who, caller = a_caller(r)
        ask = replace(Requests(r, data, caller.view).root(totals=False), limit=r.randint(1, 5), offset=None)
        request = request_of(ask)
        with asked(who, request):
            pages = [page async for page in asker.pages(who, request)]
            assert encode([row for page in pages for row in page]) == Evaluator(data, EPOCH, caller, CAP).every_page(
                ask
            )
            assert all(len(page) == ask.limit for page in pages[:-1])


@contextmanager
def asked(who: Principal, request: str) -> Iterator[None]:
    """Says which request it was."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"{who}: {request}")
        raise


PARTS = """
=not. =in.( nullsfirst limit= .offset= deleted_at= .order= revisions? !inner( ... () (count) .sum() .avg() ::text
(any). (all). like. ilike imatch .is. =is. or=( not.and=( ,and( not_null isdistinct. =gt. e0( now today is.null users!
"""


def test_the_requests_are_worth_asking() -> None:
    """Rows come for most of them, and every feature occurs."""
    seen, rows = [], 0
    for seed in range(REQUESTS):
        r, data = Random(f"0-{seed}"), tables(0)
        caller = a_caller(r)[1]
        ask = Requests(r, data, caller.view).root()
        seen.append(request_of(ask))
        rows += Evaluator(data, EPOCH, caller, CAP).page(ask) != b"[]"
    assert rows > len(seen) / 2
    text = "\n".join(seen)
    for part in PARTS.split():
        assert part in text, part
