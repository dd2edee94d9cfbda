"""Query string -> plans, kept for the next request that asks the same.

There are four kinds: a page of rows, one item, rows that are written, and the revisions of a row. A request first asks
what its query string says (`ask`: syntax), and has that planned against the catalog (`plan`: names) once its body is
read, so that errors come in the dialect's order (1.1).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import Enum
from operator import itemgetter
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import Integer

from app.data.audit import Revision
from app.data.base import Versioned
from app.data.catalog import RESERVED, Resource
from app.data.rates import address_key
from app.data.rules import Values
from app.data.scopes import require_read, require_write
from app.errors import BadQuery, BadValue, NotFound
from app.http import cursors
from app.http.context import Call
from app.http.ranges import Unsatisfiable, Window, narrowed, window_of
from app.http.request import shown
from app.query.parser import parse
from app.query.plan import Cond, Node, ReadPlan
from app.query.planner import find, plan_keyed, plan_read, plan_rows, require_embeds
from app.query.syntax import Filter, OrderTerm, Query
from app.query.values import ZONE, literal
from app.query.writer import missing_row

LONGEST_KEY = 2048  # bytes of a query string that is worth keeping
VERSION = "\u200bversion"  # no caller can ask for this output key: names with unprintable characters are refused


class Kind(Enum):
    PAGE = "page"  # rows by filters, order and page
    ITEM = "item"  # one row by its key: of the query string only `select` and what concerns embeds has a meaning
    WRITTEN = "written"  # rows that a write makes, or that its filters name, shaped by `select`
    HISTORY = "history"  # a page of the revisions of the row that the path names, which `of_row` puts in


PAGES = (Kind.PAGE, Kind.HISTORY)


@dataclass(frozen=True, slots=True)
class Planned:
    """`plan` shapes the documents. A write's `rows` are those that its filters name, and `ordered` says that `plan` is
    not by keys but has them as its first filter. A page has its Content-Location, and the series to which it belongs.
    """

    query: Query
    plan: ReadPlan
    rows: ReadPlan | None = None
    ordered: bool = False
    location: str = ""
    series: cursors.Series | None = None

    @property
    def resource(self) -> Resource:
        return self.plan.resource


@dataclass(frozen=True, slots=True)
class Asked:
    """A query string as far as it is read. `planned` is there where the same was asked before."""

    kind: Kind
    key: Hashable
    query: Query
    planned: Planned | None
    raw: bytes
    window: Window | None = None
    cursor: cursors.Cursor | None = None


def resource_of(call: Call) -> Resource:
    """The resource that the path names, as far as the caller may know it. Raises NotFound."""
    refuse_reserved(call.name)
    return find(call.service.catalog, call.name, call.who.view)


def refuse_reserved(name: str) -> None:
    if name in RESERVED:
        raise invalid_path()


def invalid_path() -> NotFound:
    return NotFound("Invalid path specified in request URL")


# ---- asking ---------------------------------------------------------------------------------------------------------


def ask(call: Call, kind: Kind) -> Asked:
    """Nothing in a plan depends on the time or on who asks but for the role; so equal keys mean equal plans.

    Raises BadQuery for the syntax, Unsatisfiable for the header Range, which only a GET of a page has.
    """
    raw: bytes = call.request.scope["query_string"]
    window = cursor = None
    if kind in PAGES:
        raw, text = cursors.split(raw)
        window = _window(call, raw)
        cursor = None if text is None else cursors.read(text, _place(call), raw)
    method = "" if kind in PAGES else call.method
    key = (kind.value, method, call.surface.name, call.name, raw, call.who.role, window, ZONE.get())
    planned: Planned | None = call.service.plans.hit(key)
    if planned is not None:
        return Asked(kind, key, planned.query, planned, raw, window, cursor)
    query = parse(raw, call.limits)
    if window is not None:
        query = narrowed(query, window)
    return Asked(kind, key, query, None, raw, window, cursor)


def _window(call: Call, raw: bytes) -> Window | None:
    """What a GET's header Range says. A query string that cannot be read goes before a range that holds nothing."""
    if call.method != "GET":
        return None
    try:
        return window_of(call.headers)
    except Unsatisfiable:
        parse(raw, call.limits)
        raise


def plan(call: Call, asked: Asked) -> Planned:
    """Raises NotFound and BadQuery for names, Forbidden for what is outside of the caller's scopes, BRD429 where the
    caller asks for too many new shapes.
    """
    planned = asked.planned
    if planned is None:
        planned = PLANNERS[asked.kind](call, resource_of(call), asked.query)
        _spend(call, asked.kind, planned)
        if asked.kind is Kind.PAGE:
            planned = _placed(call, asked, planned)
        if len(asked.raw) <= LONGEST_KEY:
            call.service.plans.store(asked.key, planned)
    if call.who.scopes is not None:
        _check_scopes(call, asked.kind, planned)
    if asked.cursor is None:
        return planned
    return _behind(call, asked, planned, asked.cursor)


def _check_scopes(call: Call, kind: Kind, planned: Planned) -> None:
    """What a plan is for is known by its kind and the method alone. Raises Forbidden."""
    if kind is Kind.WRITTEN or (kind is Kind.ITEM and call.method not in ("GET", "HEAD")):
        require_write(call.who, planned.resource.name)
    else:
        require_read(call.who, planned.resource.name)
    require_embeds(call.who, call.service.catalog, planned.plan.node)


def _behind(call: Call, asked: Asked, planned: Planned, cursor: cursors.Cursor) -> Planned:
    """The page behind a cursor. Every cursor has its own values, so these plans are not kept; their shapes are."""
    if asked.query.offsets.get((), 0):
        raise BadQuery("a cursor says where the page begins: an offset has no meaning beside it", hint="Leave it out.")
    after = cursors.values_of(cursor, call.service.catalog, planned.plan)
    plan = _page(call, planned.resource, planned.query, after)
    planned = replace(planned, plan=plan)
    _spend(call, asked.kind, planned)
    return planned


def _spend(call: Call, kind: Kind, planned: Planned) -> None:
    """Each shape is compiled once for each view."""
    view = call.who.view
    shapes: list[Hashable] = [(planned.plan.node, view, kind in PAGES or planned.ordered)]
    if planned.rows is not None:
        shapes.append((planned.rows.node, view, "locked"))
    call.service.allowance.spend(caller(call), shapes)


def caller(call: Call) -> Hashable:
    who, client = call.who, call.request.client
    return who.user_id or who.key_id or address_key(client.host if client else None)


def _placed(call: Call, asked: Asked, planned: Planned) -> Planned:
    """The same with what its answers say of their place. The pages behind a Range have its length as their limit."""
    limit = None if asked.window is None else planned.plan.value(planned.plan.node.limit)
    place = _place(call)
    series = cursors.series_of(f"{call.surface.prefix}/{place}", place, asked.raw, limit)
    parts = sorted((part.partition(b"=") for part in asked.raw.split(b"&") if part), key=itemgetter(0))
    question = "?" if parts else ""
    location = f"/{place}{question}{shown(b'&'.join(b''.join(part) for part in parts))}"
    return replace(planned, location=location, series=series)


def _place(call: Call) -> str:
    """The path of a page below its surface: a table, or the revisions of one of its rows."""
    id = call.request.path_params.get("id")
    return call.name if id is None else f"{call.name}/{quote(id, safe='')}/revisions"


# ---- the kinds ------------------------------------------------------------------------------------------------------


def _plan_page(call: Call, resource: Resource, query: Query) -> Planned:
    return Planned(query, _page(call, resource, query))


def _page(call: Call, resource: Resource, query: Query, after: tuple[Any, ...] | None = None) -> ReadPlan:
    page = call.surface.page(call.who, call.limits)
    return plan_read(call.service.catalog, resource, query, call.who.view, call.limits, page, after)


def _plan_item(call: Call, resource: Resource, query: Query) -> Planned:
    named = (("order", query.orders), ("limit", query.limits), ("offset", query.offsets))
    given = [getattr(term, "column", "and") for path, term in query.conditions if not path]
    given += [name for name, by_path in named if () in by_path]
    given += [name for name in ("columns", "on_conflict") if getattr(query, name) is not None]
    if given:
        why = f"the path names one row of {resource.name}"
        raise BadQuery(f"the parameter {given[0]!r} has no meaning here: {why}", hint=f"Leave out {given[0]}.")
    plan = _keyed(call, resource, query)
    if call.method in ("GET", "HEAD") and shows_version(call, resource) and not plan.node.grouped:
        plan = replace(plan, node=with_version(plan.node))
    return Planned(query, plan)


def _plan_written(call: Call, resource: Resource, query: Query) -> Planned:
    """Limit and offset of the root restrict nothing, its order sorts the answer, its filters mean nothing to POST."""
    rows = None
    if call.method in ("PATCH", "DELETE"):
        rows = plan_rows(call.service.catalog, resource, query, call.who.view, call.limits)
        rows = replace(rows, node=replace(rows.node, deleted=False))  # no write reaches rows that are gone
    ordered = () in query.orders and len(resource.key) == 1
    shaped = (_ordered if ordered else _keyed)(call, resource, query)
    return Planned(query, shaped, rows, ordered)


def _plan_history(call: Call, resource: Resource, query: Query) -> Planned:
    """A page whose first two filters name the row. The newest revision comes first, unless an order is asked for or
    rows are grouped.
    """
    table, row = Filter("table_name", "eq", resource.name), Filter("row_id", "eq", "")
    query = replace(query, conditions=(((), table), ((), row), *query.conditions))
    revisions = call.service.catalog.of(Revision)
    plan = _page(call, revisions, query)
    if () not in query.orders and not plan.node.grouped:
        query = replace(query, orders={(): (OrderTerm("id", descending=True),), **query.orders})
        plan = _page(call, revisions, query)
    return Planned(query, plan)


PLANNERS = {
    Kind.PAGE: _plan_page,
    Kind.ITEM: _plan_item,
    Kind.WRITTEN: _plan_written,
    Kind.HISTORY: _plan_history,
}


def _keyed(call: Call, resource: Resource, query: Query) -> ReadPlan:
    return plan_keyed(call.service.catalog, resource, query, call.who.view, call.limits)


def _ordered(call: Call, resource: Resource, query: Query) -> ReadPlan:
    """A plan whose first filter is for the keys, which `with_keys` puts in."""
    keys = Filter(resource.key[0], "in", ())
    conditions = ((), keys), *((path, term) for path, term in query.conditions if path)
    limits, offsets = ({path: n for path, n in given.items() if path} for given in (query.limits, query.offsets))
    query = Query(query.select, conditions, query.orders, limits, offsets)
    return plan_read(call.service.catalog, resource, query, call.who.view, call.limits, page=None)


def with_keys(plan: ReadPlan, keys: list[Any]) -> ReadPlan:
    """An ordered plan of written rows, for these rows."""
    term = plan.node.where[0]
    assert isinstance(term, Cond)
    (slot,) = term.slots
    values = list(plan.values)
    values[slot] = tuple(keys)
    return replace(plan, values=tuple(values))


def of_row(call: Call, asked: Asked, planned: Planned, row_id: str) -> Planned:
    """A page of revisions, for this row: its id is a value, so that all rows share what is planned and compiled."""
    term = planned.plan.node.where[1]
    assert isinstance(term, Cond)
    (slot,) = term.slots
    values = list(planned.plan.values)
    values[slot] = row_id
    return _placed(call, asked, replace(planned, plan=replace(planned.plan, values=tuple(values))))


# ---- the version beside a document ----------------------------------------------------------------------------------


def shows_version(call: Call, resource: Resource) -> bool:
    return resource.has(Versioned) and "version" in resource.rule.readable(call.who.view)


def with_version(node: Node) -> Node:
    """The same node with the row's version as a last, hidden item, which `take_version` removes."""
    return replace(node, items=(*node.items, (VERSION, "version")))


def take_version(plan: ReadPlan, document: Any) -> int | None:
    """The hidden version of a document, which is then encoded without it; None where the plan has none."""
    if not plan.node.items or plan.node.items[-1][0] != VERSION:
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


def key_filter(query: Query, resource: Resource) -> Values:
    """The key that the filters of a PUT name, as texts. Raises PGRST105 unless they are `eq` on all of the primary key
    and nothing else.
    """
    terms = [term for path, term in query.conditions if not path]
    plain = [t for t in terms if isinstance(t, Filter) and t.operator == "eq" and not t.negated and t.option is None]
    names = [term.column for term in plain]
    if len(plain) != len(terms) or sorted(names) != sorted(resource.key):
        text = "Filters must include all and only primary key columns with 'eq' operators"
        raise BadQuery(text, code="PGRST105", status=405)
    return {term.column: term.operand for term in plain}
