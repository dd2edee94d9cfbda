"""Several SELECTs as one statement of PostgreSQL: its one row has an array of records for each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

from app.data.steps import Statement

KEPT = 1000
PLACE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\d+)""")  # what is quoted has none


def joined(parts: Sequence[Statement]) -> tuple[Any, ...]:
    """The text, then all arguments."""
    sizes = tuple([len(part.args) for part in parts])
    return (_text(tuple([part.sql for part in parts]), sizes), *[value for part in parts for value in part.args])


@lru_cache(maxsize=KEPT)
def _text(texts: tuple[str, ...], sizes: tuple[int, ...]) -> str:
    moves = accumulate(sizes, initial=0)
    arrays = [f"ARRAY(SELECT part FROM ({_moved(sql, by)}) AS part)" for sql, by in zip(texts, moves, strict=False)]
    return f"SELECT {', '.join(arrays)}"


def _moved(sql: str, by: int) -> str:
    """The same with its places further on."""
    return PLACE.sub(lambda found: f"${int(found[1]) + by}" if found[1] else found[0], sql)
