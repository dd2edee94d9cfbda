"""Pages that cost the same at any depth: an opaque cursor in the parameter `cursor`, and the header Link that has it.

A cursor holds a hash of the query that it belongs to, how many rows came before, and the last row's values of the order
with its tie-break. It gives nobody anything to see: it acts as a filter on columns that the caller may order by.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from app.data import checks
from app.data.catalog import Catalog, ColumnInfo
from app.errors import BadQuery, BadValue
from app.http.request import shown
from app.query.driver import unbounded
from app.query.plan import ReadPlan
from app.query.planner import cursor_columns
from app.query.reader import Result
from app.query.values import from_json

LONGEST = 4096
ITS_OWN = (b"limit", b"offset", b"cursor")  # parameters that may differ between the pages of one query


@dataclass(frozen=True, slots=True)
class Cursor:
    """`before` is the number of rows on the pages before; `values` are JSON still."""

    before: int
    values: tuple[Any, ...]


class Series:
    """The pages of one query. Only a full page asks what its cursors hold and where they lead."""

    __slots__ = ("_link", "limit", "prefix", "query_string", "resource")

    def __init__(self, prefix: str, resource: str, query_string: bytes, limit: int | None = None) -> None:
        """A `limit` that is given takes the place of the query's."""
        self.prefix = prefix
        self.resource = resource
        self.query_string = query_string
        self.limit = limit
        self._link: tuple[str, str] | None = None

    def link(self) -> tuple[str, str]:
        """The hash that their cursors hold, and the URL of any of them up to its cursor. Made once."""
        if self._link is None:
            own = ITS_OWN if self.limit is not None else ITS_OWN[1:]
            found = named(self.query_string)
            parts = [part for name, part in found if name not in own]
            if self.limit is not None:
                parts.append(b"limit=%d" % self.limit)
            url = f"{self.prefix}/{self.resource}?{shown(b'&'.join([*parts, b'cursor=']))}"
            self._link = _hash(self.resource, found), url
        return self._link


def split(query_string: bytes) -> tuple[bytes, str | None]:
    """The query string without the parameter `cursor`, and its value. Raises BadQuery for two cursors."""
    if b"cursor=" not in query_string:
        return query_string, None
    parts = query_string.split(b"&")
    found = [part for part in parts if part.startswith(b"cursor=")]
    if len(found) > 1:
        raise BadQuery("the parameter cursor is given twice")
    if not found:
        return query_string, None
    return b"&".join(part for part in parts if part not in found), unquote_plus(found[0][7:].decode("latin-1"))


def read(text: str, resource: str, query_string: bytes) -> Cursor:
    """Raises BadQuery for a cursor that is damaged or belongs to another query."""
    try:
        belongs_to, before, *values = msgspec.json.decode(urlsafe_b64decode(text[:LONGEST].encode("ascii")))
    except (ValueError, TypeError, RecursionError, msgspec.DecodeError):  # binascii's and Unicode's are ValueErrors
        raise _unreadable() from None
    if type(before) is not int or before < 0:
        raise _unreadable()
    if belongs_to != _hash(resource, named(query_string)):
        hint = "Ask with the parameters of the request whose Link header had it, and a limit of your own."
        raise BadQuery("the cursor belongs to another query", hint=hint)
    return Cursor(before, tuple(values))


def values_of(cursor: Cursor, catalog: Catalog, plan: ReadPlan) -> tuple[Any, ...]:
    """The cursor's values as Python values of the order's columns. Raises BadQuery."""
    columns = cursor_columns(catalog, plan)
    if len(columns) != len(cursor.values):
        raise _unreadable()
    try:
        return tuple(_typed(column, value) for column, value in zip(columns, cursor.values, strict=True))
    except BadValue:
        raise _unreadable() from None


def _typed(column: ColumnInfo, value: Any) -> Any:
    typed = from_json(column.type, value)
    if typed is not None:
        checks.fits(unbounded(column.type), typed)
    return typed


def location_of(resource: str, query_string: bytes) -> str:
    """The URL of a page, whatever its surface and the order of its parameters."""
    parts = [part for _, part in sorted(named(query_string), key=itemgetter(0))]
    return f"/{resource}{'?' if parts else ''}{shown(b'&'.join(parts))}"


def named(query_string: bytes) -> list[tuple[bytes, bytes]]:
    """The parameters, each with its name."""
    return [(part.partition(b"=")[0], part) for part in query_string.split(b"&") if part]


def next_page(series: Series, result: Result, before: int) -> str:
    """The header Link to the page behind a full one."""
    hash, url = series.link()
    values = msgspec.json.encode([hash, before, *(result.cursor or ())])
    return f'<{url}{urlsafe_b64encode(values).decode().replace("=", "%3D")}>; rel="next"'


def _hash(resource: str, parameters: list[tuple[bytes, bytes]]) -> str:
    parts = sorted([part for name, part in parameters if name not in ITS_OWN])
    return hashlib.sha256(b"&".join([resource.encode(), *parts])).hexdigest()[:16]


def _unreadable() -> BadQuery:
    return BadQuery("the cursor cannot be read", hint="Send the cursor as it came in the Link header.")
