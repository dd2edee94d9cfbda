"""How many rows match, by the planner's guess: `count=planned` and `count=estimated`. SQLite makes no such guess and
counts. A guess comes from statistics of all rows, hidden ones too, so only those who see all rows get one; others get a
count.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from app.data.rules import Principal, Role
from app.data.steps import Statement, Steps
from app.query.compiler import Compiler
from app.query.driver import Binds
from app.query.plan import ReadPlan
from app.query.reader import Result, read_page, read_total

PASSING = ("Aggregate", "Gather", "Gather Merge", "Subquery Scan")
LEADER = 0.3  # what each worker takes of the leader's share: get_parallel_divisor() in costsize.c


def read_counted(
    compiler: Compiler, plan: ReadPlan, who: Principal, now: Any, count: str | None, most: int
) -> Steps[Result]:
    """A page with its total as `count` wants it: `exact`, `planned`, or `estimated`, which counts where the guess is at
    most `most` rows.
    """
    if count in (None, "exact") or compiler.sqlite or who.view is not Role.ADMIN:
        return (yield from read_page(compiler, plan, who, now, count=count is not None))
    result = yield from read_page(compiler, plan, who, now)
    total = yield from _guess(compiler, plan, who, now)
    if count == "estimated" and total <= most:
        total = yield from read_total(compiler, plan, who, now)
    shown = (plan.value(plan.node.offset) or 0) + len(result.rows) if result.rows else 0
    return replace(result, total=max(total, shown))


def _guess(compiler: Compiler, plan: ReadPlan, who: Principal, now: Any) -> Steps[int]:
    counting = compiler.total(plan.node, who.view).statement(plan.values_at(now), Binds.of(who, now))
    rows = yield Statement(f"EXPLAIN (FORMAT JSON) {counting.sql}", counting.args)
    found = rows[0][0]
    return planned_rows((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])


def planned_rows(node: dict[str, Any]) -> int:
    """The rows that go into the count at the top of a plan."""
    share = 1.0
    while node["Node Type"] in PASSING and "Plans" in node:
        workers = node.get("Workers Planned", 0)
        if workers:  # each worker's plan says what this one worker finds
            share = workers + max(0.0, 1 - LEADER * workers)
        node = node["Plans"][0]
    return round(float(node["Plan Rows"]) * share)
