"""The `select` parameter -> items. Source: dialect 1.4 to 1.7 and 1.18.

*   title   heading:title   id::text   author(username)   by:users!posts_user_id_fkey!inner(*)   ...author(username)
tags(count)   amount.sum()   total:amount.sum()::text   count()
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from app.query.lexing import name, not_available, skip, too_many, unexpected
from app.query.syntax import Aggregate, Embed, Field, SelectItem, Star
from app.settings import Limits

WHAT = "select parameter"
FUNCTIONS = ("sum", "avg", "max", "min", "count")
CAST = re.compile(r"::([A-Za-z0-9_$ ]+)")
CALL = re.compile(r"\.([A-Za-z]+)\(\)")
JOINS = ("inner", "left")


@dataclass(slots=True)
class _Open:
    """An embed whose parenthesis is open: what is known of it, and the items that stand beside it."""

    alias: str | None
    target: str
    hint: str | None
    inner: bool
    spread: bool
    beside: list[SelectItem] = field(default_factory=list)


def parse_select(text: str, limits: Limits) -> tuple[SelectItem, ...]:
    """Iterative: a stack holds the open embeds. Raises BadQuery."""
    stack: list[_Open] = []
    items: list[SelectItem] = []
    at, count, after = 0, 0, False
    while True:
        at = skip(text, at)
        sign = text[at : at + 1]
        if sign == ")" and stack and (after or not items):
            opened = stack.pop()
            closed = Embed(opened.target, tuple(items), opened.alias, opened.hint, opened.inner, opened.spread)
            items, at, after = [*opened.beside, closed], at + 1, True
            continue
        if after:
            if sign == ",":
                at, after = at + 1, False
                continue
            if not sign and not stack:
                return tuple(items)
            unexpected(WHAT, text, at, '"," or ")"' if stack else '"," or the end')
        count += 1
        if count > limits.select_items:
            too_many("select items", limits.select_items)
        item, at = _item(text, at, limits)
        if isinstance(item, _Open):
            item.beside = items
            stack.append(item)
            items = []
            if len(stack) > limits.embed_depth:
                too_many("levels of embeds", limits.embed_depth)
            continue
        items.append(item)
        after = True


def _item(text: str, at: int, limits: Limits) -> tuple[SelectItem | _Open, int]:
    if text[at : at + 1] == "*":
        return Star(), at + 1
    if text.startswith("...", at):
        target, at = name(text, skip(text, at + 3), WHAT, limits, "an embed")
        return _embed(text, at, None, target, limits, spread=True)
    found, at = name(text, at, WHAT, limits, 'a column, an embed or "*"')
    alias = None
    if text[at : at + 1] == ":" and text[at + 1 : at + 2] != ":":
        alias, at = found, skip(text, at + 1)
        if text.startswith("...", at):
            unexpected(WHAT, text, at, "a column or an embed: a spread takes no alias")
        found, at = name(text, at, WHAT, limits, "a column or an embed")
    if found == "count" and text.startswith("()", at):
        after, at = _cast(text, at + 2)
        return Aggregate("count", None, alias, None, after), at
    if text[at : at + 1] in ("(", "!"):
        return _embed(text, at, alias, found, limits, spread=False)
    if text.startswith("->", at):
        not_available("a JSON path (->)")
    return _field(text, at, alias, found)


def _field(text: str, at: int, alias: str | None, found: str) -> tuple[SelectItem, int]:
    cast, at = _cast(text, at)
    if text[at : at + 1] != ".":
        return Field(found, alias, cast), at
    call = CALL.match(text, at)
    if call is None or call[1] not in FUNCTIONS:
        unexpected(WHAT, text, at + 1, ", ".join(f"{function}()" for function in FUNCTIONS))
    after, at = _cast(text, call.end())
    return Aggregate(call[1], found, alias, cast, after), at


def _cast(text: str, at: int) -> tuple[str | None, int]:
    found = CAST.match(text, at)
    if found is None:
        return None, at
    return found[1].strip().lower(), found.end()


def _embed(text: str, at: int, alias: str | None, target: str, limits: Limits, *, spread: bool) -> tuple[_Open, int]:
    hint, join = None, None
    while text[at : at + 1] == "!":
        word, at = name(text, skip(text, at + 1), WHAT, limits, "a hint, inner or left")
        if word in JOINS and join is None:
            join = word
        elif hint is None:
            hint = word
        else:
            unexpected(WHAT, text, at, '"(": at most one hint and one of inner and left')
    if text[at : at + 1] != "(":
        unexpected(WHAT, text, at, '"("')
    return _Open(alias, target, hint, join == "inner", spread), at + 1
