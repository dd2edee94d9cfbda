"""Runs compiled reads: the root's rows, then each embed by its parents' keys. Steps do no input or output
themselves (`data/steps.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from app.data.rules import Principal
from app.data.steps import Steps
from app.query.compiler import Compiler, Part
from app.query.driver import Binds
from app.query.encoder import documents_of
from app.query.plan import ReadPlan
from app.query.weight import Level, refuse_heavy
from app.settings import Limits


@dataclass(frozen=True, slots=True)
class Result:
    """A page of documents. `total` is None where no count was asked; `cursor`, where the page is full, the JSON values
    by which the next one begins.
    """

    rows: list[Any]
    total: int | None = None
    cursor: tuple[Any, ...] | None = None


def read(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any) -> Steps[list[Any]]:
    """The documents of a plan. 1 + (number of embeds with a parent) statements, whatever the number of rows."""
    _, documents = yield from _run(compiler, compiler.read(plan.node, who.view), plan, Binds.of(who, now), None)
    return documents  # type: ignore[no-any-return]


def read_page(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any, *, count: bool = False) -> Steps[Result]:
    """The same with what the next page needs, and one statement more for the total. A total smaller than what is
    shown is raised to it.
    """
    part = compiler.read(plan.node, who.view)
    rows, documents = yield from _run(compiler, part, plan, Binds.of(who, now), None)
    full = rows and part.cursor and len(rows) == plan.value(plan.node.limit)
    cursor = tuple(_plain(rows[-1][at], convert) for at, convert in part.cursor) if full else None
    total = None
    if count:
        counted = yield from read_total(compiler, plan, who, now)
        shown = (plan.value(plan.node.offset) or 0) + len(rows) if rows and not plan.node.after else 0
        total = max(counted, shown)
    return Result(documents, total, cursor)


def read_total(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any) -> Steps[int]:
    """The number of rows that match, whatever the page."""
    rows = yield compiler.total(plan.node, who.view).statement(plan.values_at(now), Binds.of(who, now))
    return int(rows[0][0])


def read_keyed(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any, keys: Sequence[Any]) -> Steps[list[Any]]:
    """The documents of rows given by their primary keys, in that order; rows that the caller may not see are left
    out.
    """
    part = compiler.keyed(plan.node, who.view)
    _, found = yield from _run(compiler, part, plan, Binds.of(who, now), list(keys))
    return documents_of(keys, found)


def lock_keys(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any) -> Steps[list[Any]]:
    """The primary keys of the rows that a plan names and the caller may write, ascending and locked: at most one
    more than a write may take.
    """
    rows = yield compiler.locking(plan.node, who.view).statement(plan.values_at(now), Binds.of(who, now))
    return [row[0] for row in rows]


def _plain(value: Any, convert: Any) -> Any:
    """A cursor's value as JSON that can be read back by the column's type."""
    if value is None:
        return None
    shown = value if convert is None else convert(value)
    return bytes(shown).decode() if isinstance(shown, msgspec.Raw) else msgspec.to_builtins(shown)


def _run(compiler: Compiler, part: Part, plan: ReadPlan, who: Binds, keys: list[Any] | None) -> Steps[tuple[Any, Any]]:
    """Fetches every level, looks at what they weigh together, and builds the documents."""
    values = plan.values_at(who.now)
    rows = yield part.prepared.statement(values, who, keys)
    level = yield from _fetch(part, rows, values, who, 0 if keys is None else 1, compiler.limits)
    refuse_heavy(level, compiler.limits)
    return rows, _build(part, level)


def _fetch(
    part: Part, rows: Sequence[Any], values: Sequence[Any], who: Binds, skip: int, limits: Limits
) -> Steps[Level]:
    """The rows of a statement with those of the embeds below it. `skip` is 1 where the first column is the key."""
    level = Level(rows, part.wide, [], skip)
    if len(rows) > limits.answer_rows:
        refuse_heavy(level, limits)
    for kid, at in part.kids:
        keys = {row[at + skip] for row in rows}
        keys.discard(None)
        got: Sequence[Any] = (yield kid.prepared.statement(values, who, list(keys))) if keys else ()
        level.kids.append(((yield from _fetch(kid, got, values, who, 1, limits)), at))
    return level


def _build(part: Part, level: Level) -> Any:
    """The documents of a level: a list for the root, a dict by key for embeds."""
    return part.build(
        level.rows, *[_build(kid, below) for (kid, _), (below, _) in zip(part.kids, level.kids, strict=True)]
    )
