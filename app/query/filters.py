"""Filters, logic trees and orders -> terms. Source: dialect 1.8 and 1.9.

eq.5   not.in.(1,2)   like(any).{a*,b*}   is.null          (status.eq.draft,not.and(id.gt.2,title.like.a*))
published_at.desc.nullslast,author(username)
"""

from __future__ import annotations

import re

from app.errors import BadQuery
from app.query.lexing import name, not_available, skip, too_many, unexpected
from app.query.operators import OPERATORS, REFUSED, WORDS, Operator
from app.query.syntax import Filter, Group, Operand, OrderTerm, Term
from app.settings import Limits

Elements = tuple[str | None, ...]

OPERATION = re.compile(r"(not\.)?([a-z]+)(?:\(([^()]*)\))?\.")
GROUP = re.compile(r"(not\.)?(and|or)\s*\(")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
QUOTED_ELEMENT = re.compile(QUOTED.pattern + r"(?=[,)])", re.DOTALL)
QUOTED_LEAF = re.compile(QUOTED.pattern + r"(?=\s*[,)])", re.DOTALL)
RAW = re.compile(r"[^,)]*")
# white space around an element of an array does not belong to it; the six characters are PostgreSQL's
RAW_IN_ARRAY = re.compile(r'((?:[^{},"\\\s]|\\.)(?:(?:[^{},"\\]|\\.)*(?:[^{},"\\\s]|\\.))?)', re.DOTALL | re.ASCII)
SPACE = re.compile(r"[ \t\n\v\f\r]*")
KNOWN = OPERATORS.keys() | REFUSED
AS_IT_STANDS = frozenset(op.name for op in OPERATORS.values() if op.takes not in ("list", "word"))
EXPECTED = f'"not" or operator ({", ".join(OPERATORS)})'


# ---- one filter -----------------------------------------------------------------------------------------------------


def parse_filter(column: str, value: str, limits: Limits) -> Filter:
    """`eq.5`: the value of a parameter, whose rest is the literal as it stands. Raises BadQuery."""
    word, dot, rest = value.partition(".")
    if dot and word in AS_IT_STANDS:  # most filters are so, and need no more
        return Filter(column, word, rest)
    found = OPERATION.match(value)
    if found is None or found[2] not in KNOWN:
        at = 4 if value.startswith("not.") else 0
        unexpected("filter", value, at, EXPECTED, None if "." in value[at:] else f"Write {column}=eq.{value}")
    operator, option = _operation(found, value, "filter")
    operand = _operand(operator, option, value, found.end(), limits)
    return Filter(column, operator.name, operand, bool(found[1]), option)


def _operation(found: re.Match[str], text: str, what: str) -> tuple[Operator, str | None]:
    if found[2] in REFUSED:
        not_available(f"the operator {found[2]}, for ranges, arrays and JSON, which no column has to compare,")
    operator, option = OPERATORS[found[2]], found[3]
    if option is None or operator.takes == "search":
        return operator, option
    if not operator.quantified or option not in ("any", "all"):
        unexpected(what, text, found.end(2), f'"." behind {operator.name}')
    return operator, option


def _operand(operator: Operator, option: str | None, text: str, at: int, limits: Limits) -> Operand:
    """Of a simple filter: the whole rest."""
    if option is not None and operator.takes != "search":
        return _all_of(text, at, read_array(text, at, limits))
    if operator.takes == "list":
        return _all_of(text, at, read_list(text, at, limits))
    return _word(text, at, text[at:]) if operator.takes == "word" else text[at:]


def _word(text: str, at: int, word: str) -> str:
    if word.lower() not in WORDS:
        unexpected("filter", text, at, ", ".join(WORDS))
    return word.lower()


def _all_of(text: str, at: int, found: tuple[Elements, int]) -> Elements:
    elements, end = found
    if end < len(text):
        if text[at] != "(":
            raise _malformed(text, at)
        unexpected("filter", text, end, "the end")
    return elements


def read_list(text: str, at: int, limits: Limits) -> tuple[tuple[str, ...], int]:
    """`(1,b,"c,d")` from `at`, and the place behind it. An element is quoted when its closing quote is followed by `,`
    or `)`; else it runs raw to one of these.
    """
    if text[at : at + 1] != "(":
        unexpected("filter", text, at, '"("')
    if text.startswith("()", at):
        return (), at + 2
    out: list[str] = []
    sign = ","
    while sign == ",":
        element, at = _element(text, at + 1, QUOTED_ELEMENT)
        out.append(element)
        if len(out) > limits.list_items:
            too_many("list elements", limits.list_items)
        sign = text[at : at + 1]
        if not sign:
            unexpected("filter", text, at, '"," or ")"')
    return tuple(out), at + 1


def _element(text: str, at: int, quoted: re.Pattern[str]) -> tuple[str, int]:
    if (found := quoted.match(text, at)) is not None:
        return _unescaped(found[1]), found.end()
    raw = RAW.match(text, at)
    assert raw is not None, "it matches the empty text too"
    return raw[0], raw.end()


def read_array(text: str, at: int, limits: Limits) -> tuple[Elements, int]:
    """`{a,"b c",NULL}` from `at`: PostgreSQL's array literal, of one dimension; and the place behind it. Raises
    BadQuery 22P02.
    """
    start, out, sign = at, list[str | None](), ","
    at = _space(text, at)
    if text[at : at + 1] != "{":
        raise _malformed(text, start)
    if text.startswith("}", _space(text, at + 1)):
        return (), _space(text, _space(text, at + 1) + 1)
    while sign == ",":
        at = _space(text, at + 1)
        if (found := QUOTED.match(text, at)) is not None:
            out.append(_unescaped(found[1]))
        elif (found := RAW_IN_ARRAY.match(text, at)) is not None:
            out.append(None if found[1].upper() == "NULL" else _unescaped(found[1]))
        else:
            raise _malformed(text, start)
        at = _space(text, found.end())
        sign = text[at : at + 1]
        if len(out) > limits.any_items:
            too_many("elements of any or all", limits.any_items)
    if sign != "}":
        raise _malformed(text, start)
    return tuple(out), _space(text, at + 1)


def _space(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    assert found is not None, "it matches the empty text too"
    return found.end()


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _malformed(text: str, at: int) -> BadQuery:
    return BadQuery(f'malformed array literal: "{text[at : at + 60]}"', code="22P02", hint="Write {a,b}.")


# ---- logic trees ----------------------------------------------------------------------------------------------------


def parse_group(operator: str, text: str, limits: Limits, *, negated: bool) -> Group:
    """`(a.eq.1,not.or(b.is.null,c.gt.2))`. Iterative: a stack holds the open groups. Raises BadQuery."""
    at = skip(text, 0)
    if text[at : at + 1] != "(":
        unexpected("logic tree", text, at, '"("')
    stack: list[tuple[str, bool, list[Term]]] = [(operator, negated, [])]
    at, nodes = at + 1, 0
    while True:
        at = skip(text, at)
        nodes += 1
        if nodes > limits.logic_nodes:
            too_many("terms of logic trees", limits.logic_nodes)
        if found := GROUP.match(text, at):
            stack.append((found[2], bool(found[1]), []))
            at = found.end()
            if len(stack) > limits.logic_depth:
                too_many("levels of logic", limits.logic_depth)
            continue
        leaf, at = _leaf(text, at, limits)
        stack[-1][2].append(leaf)
        at = skip(text, at)
        while text[at : at + 1] == ")":
            name_, negative, terms = stack.pop()
            group = Group(name_, tuple(terms), negative)
            at = skip(text, at + 1)
            if not stack:
                if at < len(text):
                    unexpected("logic tree", text, at, "the end")
                return group
            stack[-1][2].append(group)
        if text[at : at + 1] != ",":
            unexpected("logic tree", text, at, '"," or ")"')
        at += 1


def _leaf(text: str, at: int, limits: Limits) -> tuple[Filter, int]:
    column, at = name(text, at, "logic tree", limits, "a column, and or or")
    if text.startswith("->", at):
        not_available("a JSON path (->)")
    if text[at : at + 1] != ".":
        unexpected("logic tree", text, at, '"."')
    found = OPERATION.match(text, at + 1)
    if found is None or found[2] not in KNOWN:
        unexpected("logic tree", text, at + 5 if text.startswith("not.", at + 1) else at + 1, EXPECTED)
    operator, option = _operation(found, text, "logic tree")
    operand, at = _leaf_operand(operator, option, text, found.end(), limits)
    return Filter(column, operator.name, operand, bool(found[1]), option), at


def _leaf_operand(operator: Operator, option: str | None, text: str, at: int, limits: Limits) -> tuple[Operand, int]:
    """A list, an array, or a value: in quotes, else raw up to `,` or `)`, with the white space that it has."""
    if operator.takes == "list":
        return read_list(text, at, limits)
    if option is not None and operator.takes != "search":
        if text[at : at + 1] != '"':
            return read_array(text, at, limits)
        value, end = _element(text, at, QUOTED_LEAF)
        return _all_of(value, 0, read_array(value, 0, limits)), end
    value, end = _element(text, at, QUOTED_LEAF)
    return _word(text, at, value.strip()) if operator.takes == "word" else value, end


# ---- order ----------------------------------------------------------------------------------------------------------


def parse_order(text: str, limits: Limits) -> tuple[OrderTerm, ...]:
    """`a,b.desc,c.asc.nullsfirst,author(username).desc`. Raises BadQuery."""
    terms: list[OrderTerm] = []
    at = 0
    while True:
        column, at = name(text, skip(text, at), "order", limits)
        embed = None
        if text.startswith("->", at):
            not_available("a JSON path (->)")
        if text[at : at + 1] == "(":
            embed = column
            column, at = name(text, skip(text, at + 1), "order", limits)
            if text[at : at + 1] != ")":
                unexpected("order", text, at, '")"')
            at = skip(text, at + 1)
        end = text.find(",", at)
        end = len(text) if end < 0 else end
        terms.append(_order_term(text, column, embed, at, end))
        if len(terms) > limits.order_terms:
            too_many("order terms", limits.order_terms)
        if end >= len(text):
            return tuple(terms)
        at = end + 1


def _order_term(text: str, column: str, embed: str | None, at: int, end: int) -> OrderTerm:
    suffixes = text[at:end].strip().split(".")
    descending, nulls = False, None
    wrong = suffixes.pop(0) != ""
    if suffixes and suffixes[0] in ("asc", "desc"):
        descending = suffixes.pop(0) == "desc"
    if suffixes and suffixes[0] in ("nullsfirst", "nullslast"):
        nulls = suffixes.pop(0) == "nullsfirst"
    if wrong or suffixes:
        unexpected("order", text, at, '"asc", "desc", "nullsfirst" or "nullslast"')
    return OrderTerm(column, descending, nulls, embed)
