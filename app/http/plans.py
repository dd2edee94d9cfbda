"""Query string -> read plan, kept for the next request that asks the same.

There are three kinds: a page of rows, one item, and rows that were just written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Integer

from app.data.base import Versioned
from app.data.catalog import RESERVED, Resource
from app.errors import BadQuery, BadValue, NotFound
from app.http.context import Call
from app.query.parser import pairs, parse
from app.query.plan import Node, ReadPlan, find, plan_keyed, plan_read
from app.query.syntax import Query
from app.query.values import literal
from app.query.writer import missing_row

LONGEST_KEY = 2048  # bytes of a query string that is worth keeping
VERSION = "\u200bversion"  # no caller can ask for this output key: names with unprintable characters are refused


def resource_of(call: Call) -> Resource:
    """The resource that the path names, as far as the caller may know it. Raises NotFound."""
    if call.name in RESERVED:
        raise invalid_path()
    return find(call.service.catalog, call.name, call.who.view)


def invalid_path() -> NotFound:
    return NotFound("Invalid path specified in request URL")


# ---- plans ----------------------------------------------------------------------------------------------------------


def page_plan(call: Call) -> ReadPlan:
    """Rows by filters, order and page."""
    return _kept(call, "page", _plan_page)


def item_plan(call: Call) -> ReadPlan:
    """One row by its key. Of the query string only `select` and what concerns embeds has a meaning."""
    return _kept(call, "item", _plan_item)


def representation_plan(call: Call) -> ReadPlan:
    """Written rows, shaped by `select`, the one parameter that a write takes."""
    return _kept(call, "written", _plan_written)


def _kept(call: Call, kind: str, make: Callable[[Call, Resource], ReadPlan]) -> ReadPlan:
    """Nothing in a plan depends on the time or on who asks but for the role; so equal keys mean equal plans."""
    query_string: bytes = call.request.scope["query_string"]
    key = (kind, call.surface.name, call.name, query_string, call.who.role)
    plans = call.service.plans
    if (found := plans.hit(key)) is not None:
        return found
    try:
        plan = make(call, resource_of(call))
    except BadValue as exc:  # in a query string it is a 400 on every surface
        raise BadQuery(exc.message, code=exc.code, details=exc.details, hint=exc.hint) from None
    return plans.store(key, plan) if len(query_string) <= LONGEST_KEY else plan


def _parsed(call: Call) -> Query:
    return parse(call.request.scope["query_string"], call.limits)


def _plan_page(call: Call, resource: Resource) -> ReadPlan:
    page = call.surface.page(call.who, call.limits)
    return plan_read(call.service.catalog, resource, _parsed(call), call.who.view, call.limits, page)


def _plan_item(call: Call, resource: Resource) -> ReadPlan:
    query = _parsed(call)
    given = [f.column for f in query.filters if not f.path]
    named = (("order", query.orders), ("limit", query.limits), ("offset", query.offsets))
    given += [name for name, by_path in named if () in by_path]
    if given:
        raise _refused(given[0], f"the path names one row of {resource.name}")
    plan = _plan_keyed(call, resource, query)
    return replace(plan, node=with_version(plan.node)) if shows_version(call, resource) else plan


def _plan_written(call: Call, resource: Resource) -> ReadPlan:
    for name, _ in pairs(call.request.scope["query_string"]):
        if name != "select":
            raise _refused(name, "a write takes only select")
    return _plan_keyed(call, resource, _parsed(call))


def _plan_keyed(call: Call, resource: Resource, query: Query) -> ReadPlan:
    return plan_keyed(call.service.catalog, resource, query, call.who.view, call.limits)


def _refused(name: str, why: str) -> BadQuery:
    return BadQuery(f"the parameter {name!r} has no meaning here: {why}", hint=f"Leave out {name}.")


# ---- the version beside a document ----------------------------------------------------------------------------------


def shows_version(call: Call, resource: Resource) -> bool:
    return resource.has(Versioned) and "version" in resource.rule.readable(call.who.view)


def with_version(node: Node) -> Node:
    """The same node with the row's version as a last, hidden item, which `take_version` removes."""
    return replace(node, items=(*node.items, (VERSION, "version")))


def take_version(plan: ReadPlan, document: Any) -> int | None:
    """The hidden version of a document, which is then encoded without it; None where the plan has none."""
    if plan.node.items[-1][0] != VERSION:
        return None
    name = document.__struct_fields__[-1]
    version: int = getattr(document, name)
    setattr(document, name, msgspec.UNSET)
    return version


# ---- keys -----------------------------------------------------------------------------------------------------------


def key_of(resource: Resource, text: str) -> Any:
    """The key that a path segment names. Raises NotFound, as for a row that does not exist, where it can be none."""
    if len(resource.key) != 1:
        raise invalid_path()
    column = resource.columns[resource.key[0]]
    try:
        key = literal(column.type, text)
    except BadValue:
        raise missing_row(resource, text[:40]) from None
    if isinstance(column.type, Integer) and str(key) != text:  # 007 and +7 would be further names of the same row
        raise missing_row(resource, text[:40])
    return key
