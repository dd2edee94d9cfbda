"""Query string -> Query. Pure and iterative, without a database: its errors are PGRST100 with the place of the fault.

    select=title,by:author(username),tags(name)&status=eq.published&id=in.(1,2)&order=published_at.desc&tags.order=name&limit=20

What the dialect knows and this parser does not yet is refused by name (PGRST127), never ignored. Source: dialect 1.3,
1.4, 1.8, 1.9.
"""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from app.data.checks import characters
from app.errors import BadQuery, BadValue
from app.query.operators import KNOWN_ELSEWHERE, OPERATORS
from app.query.syntax import ALL, Embed, Field, Filter, OrderTerm, Path, Query, SelectItem, Star
from app.settings import Limits

RESERVED_LAST = ("order", "limit", "offset", "and", "or")
NOT_YET = {"columns", "on_conflict"}
NAME_SIGNS = "_ $"
NUMBERED = re.compile(r"(?:\[[0-9]+\])*(?=\.|\Z)")
QUOTED_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"(?=[,)])', re.DOTALL)
RAW_ELEMENT = re.compile(r"[^,)]*")


def parse(query_string: str | bytes, limits: Limits) -> Query:
    """The whole query string. Raises BadQuery (PGRST100 syntax, PGRST127 what is not available)."""
    select = ALL
    filters: list[Filter] = []
    orders: dict[Path, tuple[OrderTerm, ...]] = {}
    numbers: dict[str, dict[Path, int]] = {"limit": {}, "offset": {}}
    seen: dict[str, str] = {}
    for name, value in pairs(query_string):
        if name == "select":
            _once(name, value, seen)
            select = parse_select(value, limits) if value.strip() else ALL
            continue
        if name in NOT_YET:
            _not_available(f"the parameter {name}")
        path, last, quoted = _split_name(name, limits)
        if quoted or last not in RESERVED_LAST:
            filters.append(parse_filter(path, last, value, limits))
        elif last == "order":
            if path not in orders:
                orders[path] = parse_order(value, limits)
        elif last in numbers:
            numbers[last][path] = _number(name, value)
        else:
            _not_available(f"the parameter {name}")
    if len(filters) > limits.filters:
        _too_many("filters", limits.filters)
    return Query(select, tuple(filters), orders, numbers["limit"], numbers["offset"])


def pairs(query_string: str | bytes) -> list[tuple[str, str]]:
    """Decoded names and values in order; `+` is a space. Raises BadQuery for bad UTF-8 and for a parameter without
    `=`.
    """
    out = []
    # a lone surrogate passes here and is refused when the part is decoded
    raw = query_string if isinstance(query_string, bytes) else query_string.encode(errors="surrogatepass")
    for part in filter(None, raw.split(b"&")):
        name, equals, value = part.partition(b"=")
        if not equals:
            raise BadQuery(f"the parameter {decode(name)!r} has no value", hint="Write name=value.")
        out.append((decode(name), decode(value)))
    return out


def decode(raw: bytes) -> str:
    """Percent-decoding, strictly UTF-8. Raises BadQuery."""
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode()
        characters(text)
    except UnicodeError:
        raise BadQuery("the query string is no UTF-8", hint="Percent-encode it as UTF-8.") from None
    except BadValue as exc:  # in a query string it is a 400 on every surface
        raise BadQuery(exc.message, code=exc.code, hint=exc.hint) from None
    return text


# ---- select ---------------------------------------------------------------------------------------------------------


def parse_select(text: str, limits: Limits) -> tuple[SelectItem, ...]:
    """`*`, `column`, `alias:column`, `alias:relation(...)`, nested. Iterative: a stack holds the open embeds."""
    stack: list[tuple[str | None, str, list[SelectItem]]] = []
    items: list[SelectItem] = []
    at, count, after_item = 0, 0, False
    while True:
        at = _skip(text, at)
        sign = text[at : at + 1]
        if after_item:
            if sign == ",":
                at, after_item = at + 1, False
                continue
            if sign == ")" and stack:
                alias, target, outer = stack.pop()
                outer.append(Embed(target, tuple(items), alias))
                items, at = outer, at + 1
                continue
            if not sign and not stack:
                return tuple(items)
            _unexpected("select parameter", text, at, 'a comma, "(" or the end' if not stack else '"," or ")"')
        if sign == ")" and stack and not items:
            _not_available("an empty embed")
        count += 1
        if count > limits.select_items:
            _too_many("select items", limits.select_items)
        if sign == "*":
            items.append(Star())
            at, after_item = at + 1, True
            continue
        alias, name, at = _aliased(text, at, limits)
        if text[at : at + 1] == "(":
            if name == "count" and text[at + 1 : at + 2] == ")":
                _not_available("an aggregate")
            stack.append((alias, name, items))
            items, at = [], at + 1
            if len(stack) > limits.embed_depth:
                _too_many("levels of embeds", limits.embed_depth)
            continue
        items.append(Field(name, alias))
        after_item = True


def _aliased(text: str, at: int, limits: Limits) -> tuple[str | None, str, int]:
    if text.startswith("...", at):
        _not_available("a spread (...)")
    name, at = _name(text, at, "select parameter", limits)
    alias = None
    if text[at : at + 1] == ":" and text[at + 1 : at + 2] != ":":
        alias = name
        name, at = _name(text, _skip(text, at + 1), "select parameter", limits)
    if text.startswith("::", at):
        _not_available("a cast (::)")
    if text[at : at + 1] == "!":
        _not_available("a hint (!) on an embed")
    if text.startswith("->", at):
        _not_available("a JSON path (->)")
    if text[at : at + 1] == ".":
        _not_available("an aggregate")
    return alias, name, at


def _name(text: str, at: int, what: str, limits: Limits) -> tuple[str, int]:
    """A plain or a quoted name from `at`; returns it and the place behind it."""
    if text[at : at + 1] == '"':
        name, end = _quoted(text, at, what)
    else:
        end = at
        while end < len(text) and (text[end].isalnum() or text[end] in NAME_SIGNS or _is_dash(text, end)):
            end += 1
        name = text[at:end].strip()
        if not name:
            _unexpected(what, text, at, 'a column, an embed or "*"')
    return _short(name, limits), _skip(text, end)


def _short(name: str, limits: Limits) -> str:
    if len(name) > limits.name:
        raise BadQuery(f"the name {name[:20]!r}... is longer than {limits.name} characters")
    return name


def _is_dash(text: str, at: int) -> bool:
    return text[at] == "-" and text[at + 1 : at + 2] != ">"


def _quoted(text: str, at: int, what: str) -> tuple[str, int]:
    out: list[str] = []
    at += 1
    while at < len(text):
        sign = text[at]
        if sign == '"':
            return "".join(out), at + 1
        if sign == "\\" and at + 1 < len(text):
            at += 1
            sign = text[at]
        out.append(sign)
        at += 1
    _unexpected(what, text, at, "a closing quote")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


# ---- names, filters -------------------------------------------------------------------------------------------------


def _split_name(name: str, limits: Limits) -> tuple[Path, str, bool]:
    """`author.posts.title` -> (("author", "posts"), "title", False). The last is quoted when written in quotes."""
    parts: list[str] = []
    at, quoted = 0, False
    while True:
        at = _skip(name, at)
        quoted = name[at : at + 1] == '"'
        if quoted:
            part, at = _quoted(name, at, "filter")
            at = _skip(name, at)
        else:
            part, at = _plain_part(name, at)
        parts.append(_short(part, limits))
        if at >= len(name):
            return tuple(parts[:-1]), parts[-1], quoted
        if name[at] != ".":
            _unexpected("filter", name, at, '"." or the end')
        at += 1


def _plain_part(name: str, at: int) -> tuple[str, int]:
    """The part up to the next dot. `title[0]` is `title`: one client numbers its filters so. Other text behind a name
    is refused.
    """
    end = at
    while end < len(name) and (name[end].isalnum() or name[end] in NAME_SIGNS or _is_dash(name, end)):
        end += 1
    part = name[at:end].strip()
    if not part:
        _unexpected("filter", name, at, "a column")
    if name.startswith("->", end):
        _not_available("a JSON path (->)")
    found = NUMBERED.match(name, end)
    if found is None:
        _unexpected("filter", name, end, "a column name")
    return part, found.end()


def parse_filter(path: Path, column: str, value: str, limits: Limits) -> Filter:
    """`eq.5`, `not.in.(1,2)`."""
    rest, negated = value, False
    if rest.startswith("not."):
        rest, negated = rest[4:], True
    operator, dot, operand = rest.partition(".")
    if not dot or operator.partition("(")[0] not in OPERATORS.keys() | KNOWN_ELSEWHERE:
        expecting = f'"not" or operator ({", ".join(OPERATORS)})'
        hint = None if dot else f"Write {column}=eq.{value}"
        _unexpected("filter", value, len(value) - len(rest), expecting, hint)
    if operator not in OPERATORS:
        _not_available(f"the operator {operator}")
    if not OPERATORS[operator].takes_list:
        return Filter(path, column, operator, operand, negated)
    return Filter(path, column, operator, parse_list(operand, limits), negated)


def parse_list(text: str, limits: Limits) -> tuple[str, ...]:
    """`(1,b,"c,d")`. An element is quoted when its closing quote is followed by `,` or `)`; else it runs raw to one of
    these.
    """
    if not text.startswith("("):
        _unexpected("filter", text, 0, '"("')
    if text == "()":
        return ()
    out: list[str] = []
    at, sign = 1, ","
    while sign == ",":
        element, at = _element(text, at)
        out.append(element)
        if len(out) > limits.list_items:
            _too_many("list elements", limits.list_items)
        sign = text[at : at + 1]
        if not sign:
            _unexpected("filter", text, at, '"," or ")"')
        at += 1
    if at < len(text):
        _unexpected("filter", text, at, "the end")
    return tuple(out)


def _element(text: str, at: int) -> tuple[str, int]:
    if (quoted := QUOTED_ELEMENT.match(text, at)) is not None:
        return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL), quoted.end()
    raw = RAW_ELEMENT.match(text, at)
    assert raw is not None, "it matches the empty text too"
    return raw[0], raw.end()


# ---- order, limit, offset -------------------------------------------------------------------------------------------


def parse_order(text: str, limits: Limits) -> tuple[OrderTerm, ...]:
    """`a,b.desc,c.asc.nullsfirst`."""
    terms: list[OrderTerm] = []
    at = 0
    while True:
        column, at = _name(text, _skip(text, at), "order", limits)
        if text[at : at + 1] == "(":
            _not_available("an order by an embed's column")
        if text.startswith("->", at):
            _not_available("a JSON path (->)")
        end = text.find(",", at)
        end = len(text) if end < 0 else end
        terms.append(_term(text, column, at, end))
        if len(terms) > limits.order_terms:
            _too_many("order terms", limits.order_terms)
        if end >= len(text):
            return tuple(terms)
        at = end + 1


def _term(text: str, column: str, at: int, end: int) -> OrderTerm:
    suffixes = text[at:end].strip().split(".")
    if suffixes.pop(0):
        _unexpected("order", text, at, '"asc", "desc", "nullsfirst" or "nullslast"')
    descending = False
    if suffixes and suffixes[0] in ("asc", "desc"):
        descending = suffixes.pop(0) == "desc"
    nulls = None
    if suffixes and suffixes[0] in ("nullsfirst", "nullslast"):
        nulls = suffixes.pop(0) == "nullsfirst"
    if suffixes:
        _unexpected("order", text, at, '"asc", "desc", "nullsfirst" or "nullslast"')
    return OrderTerm(column, descending, nulls)


def _number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise BadQuery(f"{name} must be a whole number from 0, not {value[:40]!r}")
    return int(value)


# ---- refusals -------------------------------------------------------------------------------------------------------


def _once(name: str, value: str, seen: dict[str, str]) -> None:
    if seen.setdefault(name, value) != value:
        raise BadQuery(f"the parameter {name} is given twice with different values")


def _unexpected(what: str, text: str, at: int, expecting: str, hint: str | None = None) -> NoReturn:
    found = f'"{text[at]}"' if at < len(text) else "end of input"
    message = f'"failed to parse {what} ({text})" (line 1, column {at + 1})'
    raise BadQuery(message, details=f"unexpected {found} expecting {expecting}", hint=hint)


def _not_available(what: str) -> NoReturn:
    raise BadQuery("Feature not implemented", code="PGRST127", details=f"{what} is not available")


def _too_many(what: str, most: int) -> NoReturn:
    raise BadQuery(f"more than {most} {what} in one request", hint="Ask in several requests.")
