"""Query string -> Query. Pure and iterative, without a database: its errors are PGRST100 with the place of the fault.

    select=title,by:author(username),tags(name)&status=eq.published&or=(id.in.(1,2),title.like.A*)&tags.order=name&limit
    =20

What the dialect knows and this service does not is refused by name (PGRST127), never ignored. Source: dialect 1.3.
"""

from __future__ import annotations

import re

from app.errors import BadQuery
from app.query.filters import parse_filter, parse_group, parse_order
from app.query.lexing import name, not_available, pairs, plain_end, quoted, short, skip, too_many, unexpected
from app.query.select import parse_select
from app.query.syntax import ALL, Group, OrderTerm, Path, Query, Term
from app.settings import Limits

__all__ = ["pairs", "parse"]

NUMBERED = re.compile(r"(?:\[[0-9]+\])*(?=\.|\Z)")
ONCE = ("select", "columns", "on_conflict")


def parse(query_string: str | bytes, limits: Limits) -> Query:
    """The whole query string. Raises BadQuery (PGRST100 syntax, PGRST127 what is not available)."""
    once: dict[str, str] = {}
    conditions: list[tuple[Path, Term]] = []
    orders: dict[Path, tuple[OrderTerm, ...]] = {}
    numbers: dict[str, dict[Path, int]] = {"limit": {}, "offset": {}}
    for key, value in pairs(query_string):
        if key in ONCE:
            if once.setdefault(key, value) != value:
                raise BadQuery(f"the parameter {key} is given twice with different values")
            continue
        path, last, is_quoted = split_name(key, limits)
        if is_quoted or last not in ("order", "limit", "offset", "and", "or"):
            conditions.append((path, parse_filter(last, value, limits)))
        elif last == "order":
            if path not in orders:
                orders[path] = parse_order(value, limits)
        elif last in numbers:
            numbers[last][path] = _number(key, value)
        else:
            negated = bool(path) and path[-1] == "not"
            group = parse_group(last, value, limits, negated=negated)
            conditions.append((path[:-1] if negated else path, group))
    _refuse_many([term for _, term in conditions], limits)
    return Query(
        parse_select(once["select"], limits) if once.get("select", "").strip() else ALL,
        tuple(conditions),
        orders,
        numbers["limit"],
        numbers["offset"],
        _names(once, "columns", limits),
        _names(once, "on_conflict", limits),
    )


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
