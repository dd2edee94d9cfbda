"""Damaged requests: each is answered or refused with a 4xx, never with an error of the database or of ours, in bounded
time.
"""

from __future__ import annotations

import os
import re
import time
from random import Random

from app.data.database import Database
from app.errors import BroadsheetError
from app.query.casts import NAMES
from app.query.operators import OPERATORS, WORDS
from app.query.plan import Page
from tests.query.asking import AGGREGATES, Asker
from tests.query.evaluator import COLUMNS, RELATIONS
from tests.query.printing import request_of
from tests.query.requests import TIME_WORDS, Requests, a_caller, tables
from tests.query.rows import fill
from tests.query.test_property import MODELS, asked

REQUESTS = int(os.environ.get("BROADSHEET_TEST_REQUESTS", "100")) * 3
SLOW = 2.0  # seconds of the processor; others take milliseconds
SIGNS = ["(", ")", ",", ".", '"', "\\", "{", "}", "*", "%25", "%00", "!", ":", "=", "&", "-", "+", " ", "é", "9" * 25]
SIGNS += ["not.", "(any)", "(all).{", "and(", "!inner", "...", "::text", ".sum()", "&or=(", "&order=", "&limit=1", ""]
KINDS = [  # words that may stand in each other's place
    sorted({name.rstrip("*+") for names in COLUMNS.values() for name in names.split()}),
    [name for name in OPERATORS if not name.endswith("fts")],
    list(NAMES),
    [*WORDS, *TIME_WORDS, "1", "-1", "1.5", "9" * 25, "NaN", "a"],
    [*RELATIONS, "author", "sent", "sender", "receiver", "e0", "e1", "t0"],
    ["count", "sum", "avg", "min", "max"],
    ["asc", "desc", "nullsfirst", "nullslast"],
    ["order", "limit", "offset", "or", "and", "select"],
]
TOKEN = re.compile(r"[a-z_0-9]+")


def damaged(text: str, r: Random) -> str:
    """Mostly another word in the place of one, so that the damage passes the parser."""
    for _ in range(r.choice([1, 1, 2, 3])):
        if r.random() < 0.9:
            found = r.choice(list(TOKEN.finditer(text)))
            likely = [kind for kind in KINDS if found[0] in kind] if r.random() < 0.9 else KINDS
            at, end, piece = *found.span(), r.choice(r.choice(likely or KINDS[3:4]))
        else:
            at = r.randint(text.index("?") + 1, len(text))
            end, piece = at + r.choice([0, 0, 1, 2]), r.choice(SIGNS)
        if at > text.index("?"):
            text = text[:at] + piece + text[end:]
    return text


async def test_a_damaged_request_is_answered_or_refused(database: Database) -> None:
    data = tables(1)
    await fill(database, {MODELS[name]: rows for name, rows in data.items()})
    ask = Asker(database, limits=AGGREGATES, page_size=Page(6, 6))
    answered, refused = 0, list[int]()
    for seed in range(REQUESTS):
        r = Random(f"fuzz-{seed}")
        who, caller = a_caller(r)
        request = damaged(request_of(Requests(r, data, caller.view).root()), r)
        began = time.process_time()
        with asked(who, request):
            try:
                await ask.page(who, request, count=r.random() < 0.3)
                answered += 1
            except BroadsheetError as exc:
                refused.append(exc.status)
            assert time.process_time() - began < SLOW
    assert set(refused) <= {300, 400, 404}
    assert REQUESTS / 10 < answered < REQUESTS
