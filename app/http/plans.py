"""Query string -> plans, kept for the next request that asks the same or differs in its values alone.

A request first asks what its query string says (`ask`: syntax), and has that planned against the catalog (`plan`:
names) once its body is read, so that errors come in the dialect's order (1.1). What is planned depends on its kind.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from sqlalchemy import Integer

from app.data.base import Versioned
from app.data.catalog import RESERVED, Resource
from app.data.rates import address_key
from app.data.rules import Values
from app.data.scopes import require_read, require_write
from app.errors import BadQuery, BadValue, NotFound
from app.http import cursors, kinds
from app.http.context import Call
from app.http.ranges import Unsatisfiable, Window, narrowed, window_of
from app.query.plan import Cond, Node, ReadPlan
from app.query.planner import find, require_embeds
from app.query.shapes import Template, shape_of
from app.query.syntax import Filter, Query
from app.query.values import ZONE, literal
from app.query.writer import missing_row

LONGEST = 2048  # bytes of a query string that is worth keeping
VERSION = "\u200bversion"  # no caller can ask for this output key: names with unprintable characters are refused


class Kind(Enum):
    PAGE = "page"  # rows by filters, order and page
    ITEM = "item"  # one row by its key: of the query string only `select` and what concerns embeds has a meaning
    WRITTEN = "written"  # rows that a write makes, or that its filters name, shaped by `select`
    HISTORY = "history"  # a page of the revisions of the row that the path names, which `of_row` puts in

    __hash__ = object.__hash__  # each request asks for it several times, and Enum's is written in Python


PAGED = {Kind.PAGE: kinds.draw_page, Kind.HISTORY: kinds.draw_history}
DRAWING = {**PAGED, Kind.ITEM: kinds.draw_item, Kind.WRITTEN: kinds.draw_written}


class Planned(NamedTuple):
    """What was drawn of a query (`kinds.Drawn`). A page has its Content-Location and the series that it belongs to."""

    query: Query
    plan: ReadPlan
    rows: ReadPlan | None = None
    ordered: bool = False
    location: str = ""
    series: cursors.Series | None = None

    @property
    def resource(self) -> Resource:
        return self.plan.resource


@dataclass(slots=True)
class Known:
    """What was planned for a shape. `last` is what was asked last: the same twice in a row is worth keeping as it
    stands, and values that never come again do not push it out.
    """

    plan: Template
    rows: Template | None
    ordered: bool
    last: Hashable

    def filled(self, query: Query) -> Planned:
        rows = None if self.rows is None else self.rows.filled(query)
        return Planned(query, self.plan.filled(query), rows, self.ordered)


class Asked(NamedTuple):
    """A query string as far as it is read. `planned` is there where the same was asked before; `about` is all that a
    plan depends on besides.
    """

    kind: Kind
    about: Hashable
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
    if kind in PAGED:
        raw, text = cursors.split(raw)
        window = _window(call, raw)
        cursor = None if text is None else cursors.read(text, _place(call), raw)
    method = "" if kind in PAGED else call.method
    about = (kind, method, call.surface.name, call.name, call.who.role, ZONE.get())
    key = (about, raw, window)
    planned: Planned | None = call.service.plans.exact.hit(key)
    if planned is not None:
        return Asked(kind, about, key, planned.query, planned, raw, window, cursor)
    query = call.service.plans.parse(raw)
    if window is not None:
        query = narrowed(query, window)
    return Asked(kind, about, key, query, None, raw, window, cursor)


def _window(call: Call, raw: bytes) -> Window | None:
    """What a GET's header Range says. A query string that cannot be read goes before a range that holds nothing."""
    if call.method != "GET":
        return None
    try:
        return window_of(call.headers)
    except Unsatisfiable:
        call.service.plans.parse(raw)
        raise


def plan(call: Call, asked: Asked) -> Planned:
    """Raises NotFound and BadQuery for names, Forbidden for what is outside of the caller's scopes, BRD429 where the
    caller asks for too many new shapes.
    """
    planned = asked.planned or _planned(call, asked)
    if call.who.scopes is not None:
        _check_scopes(call, asked.kind, planned)
    if asked.cursor is None:
        return planned
    return _behind(call, asked, planned, asked.cursor)


def _planned(call: Call, asked: Asked) -> Planned:
    plans, shape = call.service.plans, (asked.about, shape_of(asked.query))
    known: Known | None = plans.shapes.hit(shape)
    planned = _drawn(call, asked) if known is None else known.filled(asked.query)
    _spend(call, asked.kind, planned)
    if asked.kind is Kind.PAGE:
        planned = _placed(call, asked, planned)
    if len(asked.raw) > LONGEST:
        return planned
    if known is None:
        rows = None if planned.rows is None else Template(planned.rows, asked.query)
        plans.shapes.store(shape, Known(Template(planned.plan, asked.query), rows, planned.ordered, asked.key))
    elif known.last == asked.key:
        plans.exact.store(asked.key, planned)
    else:
        known.last = asked.key
    return planned


def _drawn(call: Call, asked: Asked) -> Planned:
    resource = resource_of(call)
    drawn = DRAWING[asked.kind](call, resource, asked.query)
    plan = drawn.plan
    if asked.kind is Kind.ITEM and call.method in ("GET", "HEAD") and shows_version(call, resource):
        plan = plan if plan.node.grouped else replace(plan, node=with_version(plan.node))
    return Planned(asked.query, plan, drawn.rows, drawn.ordered)


def _check_scopes(call: Call, kind: Kind, planned: Planned) -> None:
    """What a plan is for is known by its kind and the method alone. Raises Forbidden."""
    if kind is Kind.WRITTEN or (kind is Kind.ITEM and call.method not in ("GET", "HEAD")):
        require_write(call.who, planned.resource.name)
    else:
        require_read(call.who, planned.resource.name)
    require_embeds(call.who, call.service.catalog, planned.plan.node)


def _behind(call: Call, asked: Asked, planned: Planned, cursor: cursors.Cursor) -> Planned:
    """The page behind a cursor. Every cursor has its own values, so these plans are kept by shape alone."""
    if asked.query.offsets.get((), 0):
        raise BadQuery("a cursor says where the page begins: an offset has no meaning beside it", hint="Leave it out.")
    after = cursors.values_of(cursor, call.service.catalog, planned.plan)
    shapes = call.service.plans.shapes
    shape = (asked.about, shape_of(asked.query), tuple([value is None for value in after]))
    template: Template | None = shapes.hit(shape)
    if template is not None:
        plan = template.filled(asked.query, after)
    else:
        plan = PAGED[asked.kind](call, resource_of(call), asked.query, after).plan
    planned = planned._replace(plan=plan)
    _spend(call, asked.kind, planned)
    if template is None and len(asked.raw) <= LONGEST:
        shapes.store(shape, Template(plan, asked.query))
    return planned


def _spend(call: Call, kind: Kind, planned: Planned) -> None:
    """Each shape is compiled once for each view."""
    view = call.who.view
    shapes: list[Hashable] = [(planned.plan.node, view, kind in PAGED or planned.ordered)]
    if planned.rows is not None:
        shapes.append((planned.rows.node, view, "locked"))
    call.service.allowance.spend(partial(caller, call), shapes)


def caller(call: Call) -> Hashable:
    who, client = call.who, call.request.client
    return who.user_id or who.key_id or address_key(client.host if client else None)


def _placed(call: Call, asked: Asked, planned: Planned) -> Planned:
    """The same with what its answers say of their place. The pages behind a Range have its length as their limit."""
    limit = None if asked.window is None else planned.plan.value(planned.plan.node.limit)
    place = _place(call)
    series = cursors.Series(call.surface.prefix, place, asked.raw, limit)
    location = cursors.location_of(place, asked.raw)
    return Planned(planned.query, planned.plan, planned.rows, planned.ordered, location, series)


def _place(call: Call) -> str:
    """The path of a page below its surface: a table, or the revisions of one of its rows."""
    id = call.request.path_params.get("id")
    return call.name if id is None else f"{call.name}/{quote(id, safe='')}/revisions"


# ---- values that come later -----------------------------------------------------------------------------------------


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
    return _placed(call, asked, planned._replace(plan=replace(planned.plan, values=tuple(values))))


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
