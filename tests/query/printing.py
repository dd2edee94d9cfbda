"""A request as a tree -> its query string. Every filter is written in one of the forms that mean the same."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from tests.query.asks import Ask, Cast, Null, Order, Term, Test, Total, Tree, Word


def request_of(ask: Ask) -> str:
    return f"{ask.table}?" + "&".join([f"select={quote(_select(ask), safe='(),.:!*')}", *_parameters(ask, "")])


def _select(ask: Ask) -> str:
    return ",".join(_item(key, what) for key, what in ask.items)


def _item(key: str, what: str | Cast | Total | Ask) -> str:
    match what:
        case Ask():
            lead = "..." if what.spread else f"{key}:" if what.aliased else ""
            return f"{lead}{what.written}{'!inner' if what.inner else ''}({_select(what)})"
        case Cast():
            return f"{key}:{what.column}::{what.target}"
        case Total():
            alias = "" if key == what.function else f"{key}:"
            return f"{alias}{f'{what.column}.' if what.column else ''}{what.function}{'' if what.bare else '()'}"
        case _:
            return what if key == what else f"{key}:{what}"


def _parameters(ask: Ask, path: str) -> list[str]:
    out = [_filter(path, term) for term in ask.where]
    if ask.order:
        out.append(f"{path}order={','.join(_order(term) for term in ask.order)}")
    out += [f"{path}{name}={n}" for name, n in (("limit", ask.limit), ("offset", ask.offset)) if n is not None]
    for key, embed in ask.embeds.items():
        out += _parameters(embed, f"{path}{key}.")
    return out


def _order(term: Order) -> str:
    column = term.column if term.embed is None else f"{term.embed}({term.column})"
    return f"{column}.{'desc' if term.descending else 'asc'}.nulls{'first' if term.nulls_first else 'last'}"


def _filter(path: str, term: Term) -> str:
    match term:
        case Tree():
            return f"{path}{'not.' if term.negated else ''}{term.operator}={quote(_terms(term), safe='(),.')}"
        case Null():
            return f"{path}{term.key}={'not.' if term.present else ''}is.null"
        case Test():
            return f"{path}{term.column}={quote(_test(term, quoted=False), safe='(),.')}"


def _terms(tree: Tree) -> str:
    return f"({','.join(_leaf(term) for term in tree.terms)})"


def _leaf(term: Term) -> str:
    match term:
        case Tree():
            return f"{'not.' if term.negated else ''}{term.operator}{_terms(term)}"
        case Null():
            return f"{term.key}.is.{'not_' if term.present else ''}null"
        case Test():
            return f"{term.column}.{_test(term, quoted=True)}"


def _test(test: Test, *, quoted: bool) -> str:
    lead = f"{'not.' if test.negated else ''}{test.operator}"
    if test.option:
        elements = ("NULL" if value is None else _quoted(value) for value in test.operand)
        return f"{lead}({test.option}).{{{','.join(elements)}}}"
    if test.operator == "in":
        return f"{lead}.({','.join(_quoted(value) for value in test.operand)})"
    return f"{lead}.{_quoted(test.operand) if quoted and test.operator != 'is' else _text(test.operand)}"


def _quoted(value: Any) -> str:
    text = _text(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _text(value: Any) -> str:
    match value:
        case datetime():
            return value.isoformat()
        case bool():
            return str(value).lower()
        case Word():
            return value.name
    return str(value)
