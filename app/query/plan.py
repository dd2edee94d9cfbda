"""Query + catalog + caller's view -> read plan. Pure: names are looked up, literals typed, limits applied; no
database is asked.

A plan is a shape and its values. The shape (`Node`) is frozen, hashable and holds no value: filters, limit and offset
name slots in one flat tuple of values. Equal shapes share one compiled statement. A name that does not exist for the
view is refused exactly as one that does not exist at all. Source of the error texts: dialect 1.2 and 1.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.data.base import Base
from app.data.catalog import Catalog, Relation, Resource, nearest
from app.data.rules import Role
from app.errors import BadQuery, BadValue, NotFound
from app.query.operators import OPERATORS
from app.query.syntax import Embed, Field, Filter, OrderTerm, Path, Query, SelectItem, Star
from app.query.values import kind_of, literal
from app.settings import Limits

FORBIDDEN_IN_KEYS = frozenset('"\\')  # and control characters: output keys travel as field names of a Struct


@dataclass(frozen=True, slots=True)
class Cond:
    column: str
    operator: str
    slot: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    column: str
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One table of a plan. `items` holds (output key, column or index into `kids`) in output order; `limit` and
    `offset` are slots or -1.
    """

    model: type[Base]
    items: tuple[tuple[str, str | int], ...]
    where: tuple[Cond, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int = -1
    offset: int = -1
    kids: tuple[Kid, ...] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Kid:
    relation: str
    node: Node


@dataclass(frozen=True, slots=True)
class ReadPlan:
    resource: Resource
    node: Node
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """How many rows of the root are answered where the query gives no limit, and at most."""

    default: int
    most: int


@dataclass(slots=True)
class _Planner:
    catalog: Catalog
    view: Role
    limits: Limits
    query: Query
    page: Page | None
    values: list[Any] = field(default_factory=list)
    paths: set[Path] = field(default_factory=set)
    aliased: dict[Path, str] = field(default_factory=dict)
    embeds: int = 0


def find(catalog: Catalog, name: str, view: Role) -> Resource:
    """The resource of this name. Raises NotFound (PGRST205) with the nearest name that the view may know."""
    resource = catalog.get(name)
    if resource is not None and resource.rule.readable(view):
        return resource
    near = nearest(name, catalog.readable(view))
    hint = f"Perhaps you meant the table 'public.{near}'" if near else None
    message = f"Could not find the table 'public.{name}' in the schema cache"
    raise NotFound(message, code="PGRST205", hint=hint)


def plan_read(
    catalog: Catalog, resource: Resource, query: Query, view: Role, limits: Limits, page: Page | None
) -> ReadPlan:
    """Raises BadQuery, always 400. Without a page the root is not limited: its rows are named by their keys."""
    planner = _Planner(catalog, view, limits, query, page)
    try:
        node = _node(planner, resource, query.select, ())
    except BadValue as exc:  # in a query string it is a 400 on every surface
        raise BadQuery(exc.message, code=exc.code, details=exc.details, hint=exc.hint) from None
    _refuse_unknown_paths(planner)
    return ReadPlan(resource, node, tuple(planner.values))


def plan_keyed(catalog: Catalog, resource: Resource, query: Query, view: Role, limits: Limits) -> ReadPlan:
    """A plan for rows given by their keys: filters, order and page of the root do not apply."""
    kept = Query(query.select, tuple(f for f in query.filters if f.path), query.orders, query.limits, query.offsets)
    return plan_read(catalog, resource, kept, view, limits, page=None)


# ---- the tree -------------------------------------------------------------------------------------------------------


def _node(p: _Planner, resource: Resource, select: tuple[SelectItem, ...], path: Path) -> Node:
    p.paths.add(path)
    items: list[tuple[str, str | int]] = []
    kids: list[Kid] = []
    for item in select:
        match item:
            case Star():
                items += [(name, name) for name in resource.rule.readable(p.view)]
            case Field(name="count") if "count" not in resource.rule.readable(p.view):
                raise BadQuery("Feature not implemented", code="PGRST127", details="an aggregate is not available")
            case Field():
                items.append((item.key, _column(p, resource, item.name)))
            case Embed():
                items.append((item.key, len(kids)))
                kids.append(_kid(p, resource, item, path))
    _refuse_bad_keys([key for key, _ in items])
    where = tuple(_cond(p, resource, f) for f in p.query.filters if f.path == path)
    deleted = not path and any(c.column == "deleted_at" for c in where)
    order = tuple(_order(p, resource, term) for term in p.query.orders.get(path, ()))
    return Node(resource.model, tuple(items), where, order, _limit(p, path), _offset(p, path), tuple(kids), deleted)


def _kid(p: _Planner, parent: Resource, item: Embed, path: Path) -> Kid:
    p.embeds += 1
    if p.embeds > p.limits.embeds:
        raise BadQuery(f"more than {p.limits.embeds} embeds in one request")
    relation = _relation(p, parent, item.target)
    here = (*path, item.key)
    if here in p.paths:
        raise _twice(item.key)
    if item.alias:
        p.aliased[(*path, item.target)] = item.alias
    return Kid(relation.name, _node(p, p.catalog.of(relation.target), item.items, here))


def _relation(p: _Planner, parent: Resource, target: str) -> Relation:
    found = p.catalog.named(parent, target, p.view)
    if len(found) == 1:
        return found[0]
    if not found:
        known = p.catalog.embeddable(parent, p.view)
        near = nearest(target, {*known, *(p.catalog.of(r.target).name for r in known.values())})
        raise BadQuery(
            f"Could not find a relationship between '{parent.name}' and '{target}' in the schema cache",
            code="PGRST200",
            details=f"Searched for a foreign key relationship between '{parent.name}' and '{target}' "
            "in the schema 'public', but no matches were found.",
            hint=f"Perhaps you meant '{near}' instead of '{target}'." if near else None,
        )
    names = ", ".join(f"'{r.name}'" for r in found)
    raise BadQuery(
        f"Could not embed because more than one relationship was found for '{parent.name}' and '{target}'",
        code="PGRST201",
        status=300,
        details=[
            {"cardinality": r.cardinality, "embedding": f"{parent.name} with {target}", "relationship": r.label}
            for r in found
        ],
        hint=f"Try changing '{target}' to one of the following: {names}. "
        "Find the desired relationship in the 'details' key.",
    )


def _column(p: _Planner, resource: Resource, name: str) -> str:
    readable = resource.rule.readable(p.view)
    if name in readable:
        return name
    near = nearest(name, readable)
    if not near and p.catalog.named(resource, name, p.view):
        hint: str | None = f'"{name}" is a relation: write {name}(*) to embed it.'
    else:
        hint = f'Perhaps you meant to reference the column "{resource.name}.{near}".' if near else None
    raise BadQuery(f"column {resource.name}.{name} does not exist", code="42703", hint=hint)


# ---- filters, order, page -------------------------------------------------------------------------------------------


def _cond(p: _Planner, resource: Resource, f: Filter) -> Cond:
    name = _column(p, resource, f.column)
    type_ = resource.columns[name].type
    if not kind_of(type_).filterable:
        sign = OPERATORS[f.operator].sql
        raise BadQuery(f"operator does not exist: {kind_of(type_).name} {sign} unknown", code="42883", status=404)
    if isinstance(f.operand, str):
        value: Any = literal(type_, f.operand)
    else:
        value = tuple(literal(type_, text) for text in f.operand)
    return Cond(name, f.operator, _slot(p, value), f.negated)


def _order(p: _Planner, resource: Resource, term: OrderTerm) -> Order:
    name = _column(p, resource, term.column)
    column = resource.columns[name]
    if not kind_of(column.type).filterable:
        text = f"could not identify an ordering operator for type {kind_of(column.type).name}"
        raise BadQuery(text, code="42883", status=404)
    nulls_first = term.descending if term.nulls_first is None else term.nulls_first
    return Order(name, term.descending, nulls_first)


def _limit(p: _Planner, path: Path) -> int:
    asked = p.query.limits.get(path)
    if path:
        return -1 if asked is None else _slot(p, min(asked, p.limits.page))
    if p.page is None:
        return -1
    return _slot(p, p.page.default if asked is None else min(asked, p.page.most))


def _offset(p: _Planner, path: Path) -> int:
    asked = p.query.offsets.get(path)
    if asked is None or (not path and p.page is None):
        return -1
    if asked > p.limits.offset:
        raise BadQuery(f"offset is at most {p.limits.offset}", hint="Filter by the last row's order columns instead.")
    return _slot(p, asked)


def _slot(p: _Planner, value: Any) -> int:
    p.values.append(value)
    return len(p.values) - 1


# ---- refusals -------------------------------------------------------------------------------------------------------


def _refuse_bad_keys(keys: list[str]) -> None:
    if len(set(keys)) != len(keys):
        raise _twice(next(k for k in keys if keys.count(k) > 1))
    for key in keys:
        if not FORBIDDEN_IN_KEYS.isdisjoint(key) or not key.isprintable():
            raise BadQuery(f"the output key {key!r} holds a quote, a backslash or a control character")


def _twice(key: str) -> BadQuery:
    return BadQuery(f"the output key '{key}' is asked for twice", hint="Give one of them an alias: alias:name.")


def _refuse_unknown_paths(p: _Planner) -> None:
    asked = [f.path for f in p.query.filters] + [*p.query.orders, *p.query.limits, *p.query.offsets]
    for path in asked:
        if path in p.paths:
            continue
        name = path[-1]
        message = f"'{name}' is not an embedded resource in this request"
        if alias := p.aliased.get(path):
            details = "Target names are not allowed in filters if they have an alias"
            hint = f"Change '{name}' to '{alias}' in filters, orders or limits."
            raise BadQuery(message, code="PGRST108", details=details, hint=hint)
        hint = f"Verify that '{name}' is included in the 'select' query parameter."
        raise BadQuery(message, code="PGRST108", hint=hint)
