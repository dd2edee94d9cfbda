"""How large an answer would be, told from the fetched rows before a document is built.

A row that many parents share is fetched once and shown once for each of them, so that a page of 1000 posts of one
author with the author's posts is a million documents. What is shown counts, level by level, in rows and in bytes of
long texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from app.errors import BadQuery
from app.settings import Limits

ROW = 64  # bytes that a document takes at least


@dataclass(slots=True)
class Level:
    """The rows of one statement. `wide` are the positions of columns without a length; `kids` the embeds below, each
    with the position of its parents' keys. `skip` is 1 where the first column is the key of the row's parent.
    """

    rows: Sequence[Any]
    wide: tuple[int, ...]
    kids: list[tuple[Level, int]]
    skip: int = 1


def is_light(root: Level, limits: Limits) -> bool:
    """Whether all of it would be small enough for one answer, by an upper bound that costs no look-up for each row."""
    rows, size = _bound(root)
    return rows <= limits.answer_rows and size <= limits.answer_bytes


def refuse_heavy(root: Level, limits: Limits) -> None:
    """Raises BadQuery 54000."""
    if is_light(root, limits):
        return
    weights = _weights(root)
    too_many = sum(rows for rows, _ in weights) > limits.answer_rows
    if too_many or sum(size for _, size in weights) > limits.answer_bytes:
        what = "too many rows" if too_many else "too many bytes"
        hint = "Ask for fewer rows with limit, on embeds as well: embed.limit=10."
        raise BadQuery(f"the answer would hold {what}", code="54000", hint=hint)


def _bound(level: Level) -> tuple[int, int]:
    """Rows and bytes if each parent showed every row below it."""
    rows, size = 1, ROW + sum([_longest(level.rows, at + level.skip) for at in level.wide])
    for kid, _ in level.kids:
        below_rows, below_size = _bound(kid)
        rows += below_rows
        size += below_size
    return rows * len(level.rows), size * len(level.rows)


def _longest(rows: Sequence[Any], at: int) -> int:
    """The length of the longest text of one column, without Python's help for each row."""
    return max(map(len, filter(None, map(itemgetter(at), rows))), default=0)


def _weights(level: Level) -> list[tuple[int, int]]:
    """Rows and bytes of the document of each row, with all that it embeds."""
    below = [(_by_key(kid), at + level.skip) for kid, at in level.kids]
    out = []
    for row in level.rows:
        rows, size = 1, ROW + _size(level, row)
        for weights, at in below:
            more_rows, more_size = weights.get(row[at], (0, 0))
            rows += more_rows
            size += more_size
        out.append((rows, size))
    return out


def _by_key(level: Level) -> dict[Any, tuple[int, int]]:
    """What one parent shows of this level."""
    found: dict[Any, tuple[int, int]] = {}
    for row, (rows, size) in zip(level.rows, _weights(level), strict=True):
        so_far = found.get(row[0], (0, 0))
        found[row[0]] = (so_far[0] + rows, so_far[1] + size)
    return found


def _size(level: Level, row: Any) -> int:
    return sum(len(row[at + level.skip] or "") for at in level.wide)
