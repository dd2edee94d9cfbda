"""Runs compiled reads: the root's rows, then each embed by its parents' keys. Steps do no input or output themselves
(`data/steps.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.data.rules import Principal
from app.data.steps import Statement, Steps
from app.errors import BadQuery
from app.query.compiler import Compiler, Part
from app.query.driver import Binds
from app.query.encoder import documents_of
from app.query.plan import ReadPlan


@dataclass(slots=True)
class Budget:
    """The rows that one answer may still hold, all levels together."""

    rows: int

    def spend(self, rows: int) -> None:
        self.rows -= rows
        if self.rows < 0:
            hint = "Ask for fewer rows with limit, on embeds as well: embed.limit=10."
            raise BadQuery("the answer would hold too many rows", code="54000", hint=hint)


def read(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any) -> Steps[list[Any]]:
    """The documents of a plan. 1 + (number of embeds with a parent) statements, whatever the number of rows."""
    return _run(compiler, compiler.read(plan.node, who.view), plan, Binds.of(who, now), None)


def read_keyed(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any, keys: Sequence[Any]) -> Steps[list[Any]]:
    """The same for rows given by their primary keys, in that order; rows that the caller may not see are left out."""
    found = yield from _run(compiler, compiler.keyed(plan.node, who.view), plan, Binds.of(who, now), list(keys))
    return documents_of(keys, found)


def _run(compiler: Compiler, part: Part, plan: ReadPlan, who: Binds, keys: list[Any] | None) -> Steps[Any]:
    rows = yield part.prepared.statement(plan.values, who, keys)
    skip = 0 if keys is None else 1
    return (yield from _load(part, rows, plan.values, who, skip, Budget(compiler.limits.answer_rows)))


def _load(part: Part, rows: Sequence[Any], values: Sequence[Any], who: Binds, skip: int, budget: Budget) -> Steps[Any]:
    """Fetches the embeds of these rows and builds their documents. `skip` is 1 where the first column is the key."""
    budget.spend(len(rows))
    found: list[Any] = []
    for kid, at in part.kids:
        keys = {row[at + skip] for row in rows}
        keys.discard(None)
        if not keys:
            found.append({})
            continue
        got: Sequence[Any] = yield _keyed(kid, values, who, keys)
        found.append((yield from _load(kid, got, values, who, 1, budget)))
    return part.build(rows, *found)


def _keyed(part: Part, values: Sequence[Any], who: Binds, keys: set[Any]) -> Statement:
    return part.prepared.statement(values, who, list(keys))
