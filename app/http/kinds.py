"""What is planned for each kind of request: a page of rows, one item, rows that are written, the revisions of a row.

Refuses what its kind gives no meaning to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from app.data.audit import Revision
from app.data.catalog import Resource
from app.errors import BadQuery
from app.http.context import Call
from app.query.plan import ReadPlan
from app.query.planner import plan_keyed, plan_read, plan_rows
from app.query.syntax import Filter, OrderTerm, Query


class Drawn(NamedTuple):
    """`plan` shapes the documents. A write's `rows` are those that its filters name, and `ordered` says that `plan` is
    not by keys but has them as its first filter.
    """

    plan: ReadPlan
    rows: ReadPlan | None = None
    ordered: bool = False


def draw_page(call: Call, resource: Resource, query: Query, after: Sequence[Any] | None = None) -> Drawn:
    """`after` are the values of a cursor."""
    page = call.surface.page(call.who, call.limits)
    return Drawn(plan_read(call.service.catalog, resource, query, call.who.view, call.limits, page, after))


def draw_item(call: Call, resource: Resource, query: Query) -> Drawn:
    """Of the query string only `select` and what concerns embeds has a meaning."""
    named = (("order", query.orders), ("limit", query.limits), ("offset", query.offsets))
    given = [getattr(term, "column", "and") for path, term in query.conditions if not path]
    given += [name for name, by_path in named if () in by_path]
    given += [name for name in ("columns", "on_conflict") if getattr(query, name) is not None]
    if given:
        why = f"the path names one row of {resource.name}"
        raise BadQuery(f"the parameter {given[0]!r} has no meaning here: {why}", hint=f"Leave out {given[0]}.")
    return Drawn(_keyed(call, resource, query))


def draw_written(call: Call, resource: Resource, query: Query) -> Drawn:
    """Limit and offset of the root restrict nothing, its order sorts the answer, its filters mean nothing to POST."""
    rows = None
    if call.method in ("PATCH", "DELETE"):
        rows = plan_rows(call.service.catalog, resource, query, call.who.view, call.limits)
        rows = replace(rows, node=replace(rows.node, deleted=False))  # no write reaches rows that are gone
    ordered = () in query.orders and len(resource.key) == 1
    shaped = (_ordered if ordered else _keyed)(call, resource, query)
    return Drawn(shaped, rows, ordered)


def draw_history(call: Call, resource: Resource, query: Query, after: Sequence[Any] | None = None) -> Drawn:
    """A page whose first two filters name the row. The newest revision comes first, unless an order is asked for or
    rows are grouped.
    """
    table, row = Filter("table_name", "eq", resource.name), Filter("row_id", "eq", "")
    query = replace(query, conditions=(((), table), ((), row), *query.conditions))
    revisions = call.service.catalog.of(Revision)
    if () not in query.orders and not draw_page(call, revisions, query).plan.node.grouped:
        query = replace(query, orders={(): (OrderTerm("id", descending=True),), **query.orders})
    return draw_page(call, revisions, query, after)


def _keyed(call: Call, resource: Resource, query: Query) -> ReadPlan:
    return plan_keyed(call.service.catalog, resource, query, call.who.view, call.limits)


def _ordered(call: Call, resource: Resource, query: Query) -> ReadPlan:
    """A plan whose first filter is for the keys."""
    keys = Filter(resource.key[0], "in", ())
    conditions = ((), keys), *((path, term) for path, term in query.conditions if path)
    limits, offsets = ({path: n for path, n in given.items() if path} for given in (query.limits, query.offsets))
    query = Query(query.select, conditions, query.orders, limits, offsets)
    return plan_read(call.service.catalog, resource, query, call.who.view, call.limits, page=None)
