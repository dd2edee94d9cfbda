"""Query string -> Query. Pure and iterative, without a database: its errors are PGRST100 with the place of the fault.

    select=title,by:author(username),tags(name)&status=eq.published&or=(id.in.(1,2),title.like.A*)&tags.order=name&limit
    =20

What the dialect knows and this service does not is refused by name (PGRST127), never ignored. Source: dialect 1.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Generic, NamedTuple, TypeVar

from app.errors import BadQuery
from app.query.filters import parse_filter, parse_group, parse_order
from app.query.lexing import (
    name,
    not_available,
    pair,
    pairs,
    parts,
    plain_end,
    quoted,
    short,
    skip,
    too_many,
    unexpected,
)
from app.query.select import parse_select
from app.query.syntax import ALL, Group, OrderTerm, Path, Query, Term
from app.settings import Limits

__all__ = ["Parser", "pairs", "parse"]

S = TypeVar("S", bound=str | bytes)
T = TypeVar("T")

NUMBERED = re.compile(r"(?:\[[0-9]+\])*(?=\.|\Z)")
ONCE = ("select", "columns", "on_conflict")
RESERVED = frozenset(["order", "limit", "offset", "and", "or"])
LONGEST = 2048  # characters of a text that is worth remembering


class Remembered(Generic[S, T]):
    """A function of one text, with the answers to the last `most` texts."""

    def __init__(self, read: Callable[[S], T], most: int) -> None:
        self.read = read
        self.kept = lru_cache(most)(read) if most else None

    def __call__(self, text: S) -> T:
        return self.read(text) if self.kept is None or len(text) > LONGEST else self.kept(text)

    def each(self, texts: Iterable[S]) -> list[T]:
        kept, read = self.kept or self.read, self.read
        return [kept(text) if len(text) <= LONGEST else read(text) for text in texts]

    def size(self) -> tuple[int, int]:
        if self.kept is None:
            return 0, 0
        found = self.kept.cache_info()
        return found.currsize, found.maxsize or 0


class Part(NamedTuple):
    """One parameter of a query string as far as it is read by itself. Without a name it is one of ONCE, or its name
    cannot be read, which is refused when its turn comes.
    """

    key: str
    value: str
    name: tuple[Path, str, bool] | None


class Parser:
    """Remembers what it made of up to `kept` texts of each kind that come again with other values beside them:
    parameters as they are written, `select`, `order`. Filters are read anew each time: plans tell them apart by
    identity.
    """

    def __init__(self, limits: Limits, kept: int = 0) -> None:
        self.limits = limits
        self._select = Remembered(partial(parse_select, limits=limits), kept)
        self._order = Remembered(partial(parse_order, limits=limits), kept)
        self._name = Remembered(partial(split_name, limits=limits), kept)
        self._part = Remembered(partial(read_part, split=self._name), kept)

    def __call__(self, query_string: str | bytes) -> Query:
        """The whole query string. Raises BadQuery (PGRST100 syntax, PGRST127 what is not available)."""
        limits = self.limits
        once: dict[str, str] = {}
        conditions: list[tuple[Path, Term]] = []
        orders: dict[Path, tuple[OrderTerm, ...]] = {}
        numbers: dict[str, dict[Path, int]] = {"limit": {}, "offset": {}}
        texts: list[tuple[str, str]] = []
        for key, value, named in self._part.each(parts(query_string)):
            if key in ONCE:
                if once.setdefault(key, value) != value:
                    raise BadQuery(f"the parameter {key} is given twice with different values")
                texts.append((key, value))
                continue
            path, last, is_quoted = named or split_name(key, limits)
            if is_quoted or last not in RESERVED:
                conditions.append((path, parse_filter(last, value, limits)))
            elif last == "order":
                if path not in orders:
                    orders[path] = self._order(value)
                    texts.append((key, value))
            elif last in numbers:
                numbers[last][path] = _number(key, value)
            else:
                negated = bool(path) and path[-1] == "not"
                group = parse_group(last, value, limits, negated=negated)
                conditions.append((path[:-1] if negated else path, group))
        _refuse_many([term for _, term in conditions], limits)
        return Query(
            self._select(once["select"]) if once.get("select", "").strip() else ALL,
            tuple(conditions),
            orders,
            numbers["limit"],
            numbers["offset"],
            _names(once, "columns", limits),
            _names(once, "on_conflict", limits),
            tuple(texts),
        )

    def sizes(self) -> dict[str, tuple[int, int]]:
        """How many texts of each kind are remembered, and at most."""
        kinds = (("select", self._select), ("order", self._order), ("name", self._name), ("part", self._part))
        return {name: kind.size() for name, kind in kinds}


def parse(query_string: str | bytes, limits: Limits) -> Query:
    """For those who ask once."""
    return Parser(limits)(query_string)


def read_part(text: bytes, split: Callable[[str], tuple[Path, str, bool]]) -> Part:
    """Raises BadQuery for what cannot be decoded, which goes before all else."""
    key, value = pair(text)
    try:
        return Part(key, value, None if key in ONCE else split(key))
    except BadQuery:
        return Part(key, value, None)


def split_name(text: str, limits: Limits) -> tuple[Path, str, bool]:
    """`author.posts.title` -> (("author", "posts"), "title", False). The last is quoted when it is written in
    quotes.
    """
    parts: list[str] = []
    at = 0
    while True:
        at = skip(text, at)
        is_quoted = text[at : at + 1] == '"'
        if is_quoted:
            part, at = quoted(text, at, "filter")
            at = skip(text, at)
        else:
            part, at = _plain_part(text, at)
        parts.append(short(part, limits))
        if at >= len(text):
            return tuple(parts[:-1]), parts[-1], is_quoted
        if text[at] != ".":
            unexpected("filter", text, at, '"." or the end')
        at += 1


def _plain_part(text: str, at: int) -> tuple[str, int]:
    """The part up to the next dot. `title[0]` is `title`: one client numbers its filters so. Other text behind a name
    is refused.
    """
    end = plain_end(text, at)
    part = text[at:end].strip()
    if not part:
        unexpected("filter", text, at, "a column")
    if text.startswith("->", end):
        not_available("a JSON path (->)")
    found = NUMBERED.match(text, end)
    if found is None:
        unexpected("filter", text, end, "a column name")
    return part, found.end()


def _refuse_many(terms: list[Term], limits: Limits) -> None:
    """All trees and arrays of a request count together: each term and each element is a piece of SQL to compile."""
    if len(terms) > limits.filters:
        too_many("filters", limits.filters)
    nodes = elements = 0
    while terms:
        term = terms.pop()
        if isinstance(term, Group):
            nodes += len(term.terms)
            terms.extend(term.terms)
        elif term.option is not None and isinstance(term.operand, tuple):
            elements += len(term.operand)
    if nodes > limits.logic_nodes:
        too_many("terms of logic trees", limits.logic_nodes)
    if elements > limits.any_items:
        too_many("elements of any or all", limits.any_items)


def _number(key: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise BadQuery(f"{key} must be a whole number from 0, not {value[:40]!r}")
    return int(value)


def _names(once: dict[str, str], key: str, limits: Limits) -> tuple[str, ...] | None:
    """`a,"b c"` of `columns` and `on_conflict`."""
    if key not in once:
        return None
    text, what = once[key], f"{key} parameter"
    out: list[str] = []
    at = 0
    while True:
        found, at = name(text, skip(text, at), what, limits)
        out.append(found)
        if at >= len(text):
            return tuple(dict.fromkeys(out))
        if text[at] != ",":
            unexpected(what, text, at, '"," or the end')
        at += 1
