"""Which rows of a result are asked for, and which were answered: the header Range, Content-Range and its statuses.
Source: dialect 1.10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from starlette.datastructures import Headers

from app.errors import BroadsheetError
from app.query.syntax import Query

RANGE = re.compile(r"(\d{1,18})-(\d{1,18})?", re.ASCII)
UPSIDE_DOWN = "The lower boundary must be lower than or equal to the upper boundary in the Range header."


class Unsatisfiable(BroadsheetError):
    """PGRST103. `total` goes into Content-Range where it is known."""

    status = 416
    code = "PGRST103"

    def __init__(self, details: str, total: int | None = None) -> None:
        super().__init__("Requested range not satisfiable", details=details)
        self.total = total


@dataclass(frozen=True, slots=True)
class Window:
    """Rows `first` to `last`, both counted from 0 and included; to the end where `last` is None."""

    first: int
    last: int | None


def window_of(headers: Headers) -> Window | None:
    """What a GET asks for by its header. One that cannot be read is ignored. Raises Unsatisfiable."""
    given = headers.get("range")
    if given is None or (found := RANGE.fullmatch(given)) is None:
        return None
    first, last = int(found[1]), None if found[2] is None else int(found[2])
    if last is not None and last < first:
        raise Unsatisfiable(UPSIDE_DOWN)
    return Window(first, last)


def narrowed(query: Query, window: Window) -> Query:
    """The query with its limit and offset cut down to the window. Raises Unsatisfiable where they have no row in
    common.
    """
    limit, offset = query.limits.get(()), query.offsets.get((), 0)
    first = max(offset, window.first)
    ends = [end for end in (window.last, None if limit is None else offset + limit - 1) if end is not None]
    if limit != 0 and ends and min(ends) < first:
        raise Unsatisfiable("limit and offset leave no row of the Range header.")
    limits, offsets = dict(query.limits), {**query.offsets, (): first}
    if ends:
        limits[()] = 0 if limit == 0 else min(ends) - first + 1
    return replace(query, limits=limits, offsets=offsets)


def content_range(first: int, rows: int, total: int | None = None) -> str:
    """`0-19/57`; `*` in place of rows that there are none of, and of a total that is not known."""
    shown = f"{first}-{first + rows - 1}" if rows else "*"
    return f"{shown}/{'*' if total is None else total}"


def counted(rows: int, total: int | None) -> str:
    """Content-Range of rows that have no place in a result: `*/3`."""
    return content_range(0, 0, total if total is None else rows)


def status_of(first: int, rows: int, total: int | None) -> int:
    """200 for a whole result, 206 for a part. Raises Unsatisfiable for an offset beyond the end."""
    if total is None:
        return 200
    if first > total:
        raise Unsatisfiable(f"An offset of {first} was requested, but there are only {total} rows.", total)
    return 206 if rows < total else 200
