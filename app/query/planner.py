"""Query + catalog + caller's view -> read plan. Pure: names are looked up, literals typed, limits applied; no database
is asked.

A name that does not exist for the view is refused exactly as one that does not exist at all. Source of the error texts:
dialect 1.2, 1.4-1.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from app.data.catalog import Catalog, ColumnInfo, Resource, nearest
from app.data.rules import Principal, Role
from app.data.scopes import require_read
from app.errors import BadQuery, BadValue, NotFound
from app.query import syntax
from app.query.aggregates import aggregate_of, bare_count, refuse_ungroupable, refuse_ungrouped_order
from app.query.casts import target_of
from app.query.cost import refuse_costly
from app.query.embedding import resolve, twice
from app.query.plan import Aggregate, Cast, Embedded, Given, Kid, Lifted, Node, Page, ReadPlan, Source, plan_of
from app.query.shapes import as_query
from app.query.syntax import Embed, Path, Query, SelectItem, Star
from app.query.terms import Planning, column_of, conditions_of, names_column, orders_of
from app.settings import Limits

FORBIDDEN_IN_KEYS = frozenset('"\\')  # and control characters: output keys travel as field names of a Struct


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
    catalog: Catalog,
    resource: Resource,
    query: Query,
    view: Role,
    limits: Limits,
    page: Page | None,
    after: Sequence[Any] | None = None,
) -> ReadPlan:
    """Raises BadQuery, always 400 but where the dialect says otherwise. Without a page the root has no limit. `after`
    is a cursor: the last row's values of `cursor_columns`, as Python values.
    """
    planning = Planning(catalog, view, limits, query, page, after)
    resolve(planning, resource)
    try:
        node = _node(planning, resource, query.select, ())
    except BadValue as exc:
        raise as_query(exc) from None
    refuse_costly(node, limits.embed_tests)
    return plan_of(resource, node, planning.values, planning.given)


def cursor_columns(catalog: Catalog, plan: ReadPlan) -> list[ColumnInfo]:
    """The columns whose values make a cursor: those of the order, then what is missing of the primary key."""
    node, resource = plan.node, plan.resource
    out = []
    for term in node.order:
        holder = resource
        if term.kid >= 0:
            holder = catalog.of(resource.relations[node.kids[term.kid].relation].target)
        out.append(holder.columns[term.column])
    asked = {term.column for term in node.order if term.kid < 0}
    return out + [resource.columns[name] for name in resource.key if name not in asked]


def plan_keyed(catalog: Catalog, resource: Resource, query: Query, view: Role, limits: Limits) -> ReadPlan:
    """A plan for rows given by their keys: filters, order and page of the root do not apply."""
    kept = Query(
        query.select,
        tuple((path, term) for path, term in query.conditions if path),
        {path: terms for path, terms in query.orders.items() if path},
        {path: limit for path, limit in query.limits.items() if path},
        {path: offset for path, offset in query.offsets.items() if path},
    )
    return plan_read(catalog, resource, kept, view, limits, page=None)


def plan_rows(catalog: Catalog, resource: Resource, query: Query, view: Role, limits: Limits) -> ReadPlan:
    """A plan that names rows by the root's filters alone: what PATCH and DELETE change. Embeds only shape their
    answer.
    """
    kept = Query(select=(), conditions=tuple((path, term) for path, term in query.conditions if not path))
    return plan_read(catalog, resource, kept, view, limits, page=None)


# ---- the tree -------------------------------------------------------------------------------------------------------


def _node(p: Planning, resource: Resource, select: tuple[SelectItem, ...], path: Path) -> Node:
    items: list[tuple[str, Source]] = []
    kids: dict[str, Kid] = {}
    for item in select:
        match item:
            case Star():
                items += [(name, name) for name in resource.rule.readable(p.view)]
            case Embed():
                items += _embedded(p, item, path, kids)
            case syntax.Aggregate():
                column = None if item.name is None else column_of(p, resource, item.name)
                items.append((item.key, aggregate_of(resource, column, item)))
            case syntax.Field():
                items.append((item.key, _field(p, resource, item, select)))
    items = list(dict.fromkeys(items))  # `*,id` asks for one thing twice
    _refuse_bad_keys([key for key, _ in items])
    grouped = any(isinstance(source, Aggregate) for _, source in items)
    if grouped:
        refuse_ungroupable(items, resource, kids)
    where = conditions_of(p, resource, path, kids)
    deleted = not path and any(names_column(term, "deleted_at") for term in where)
    order = orders_of(p, resource, path, kids)
    if grouped:
        refuse_ungrouped_order(items, resource, order)
    node = Node(resource.model, tuple(items), where, order, _limit(p, path), _offset(p, path), tuple(kids.values()))
    after = () if path or p.after is None else _after(p, p.after)
    nulls = tuple(value is None for value in p.after or ()) if after else ()
    one_row = grouped and all(isinstance(source, Aggregate) for _, source in items)
    blank = one_row and (p.query.limits.get(path) == 0 or p.query.offsets.get(path, 0) > 0)
    return replace(node, deleted=deleted, grouped=grouped, after=after, after_nulls=nulls, blank=blank)


def _field(p: Planning, resource: Resource, item: syntax.Field, select: tuple[SelectItem, ...]) -> Source:
    if item.name == "count" and item.cast is None and "count" not in resource.rule.readable(p.view):
        return bare_count(resource, select)
    name = column_of(p, resource, item.name)
    return name if item.cast is None else Cast(name, target_of(item.cast, resource.columns[name].type))


def _embedded(p: Planning, item: Embed, path: Path, kids: dict[str, Kid]) -> list[tuple[str, Source]]:
    """Plans an embed, and returns the items that it adds to its parent: none, its documents, or its lifted columns."""
    here, number = (*path, item.key), len(kids)
    relation = p.relations[here]
    node = _node(p, p.catalog.of(relation.target), item.items, here)
    kids[item.key] = Kid(relation.name, node, item.inner)
    if not item.spread:
        return [(item.key, Embedded(number))] if node.items else []
    if node.grouped:
        kinds = "one-to-many or many-to-many" if relation.to_many else "many-to-one or one-to-one"
        details = f"Aggregates are not implemented for {kinds} spreads."
        raise BadQuery("Feature not implemented", code="PGRST127", details=details)
    return [(key, Lifted(number, at)) for at, (key, _) in enumerate(node.items)]


# ---- page -----------------------------------------------------------------------------------------------------------


def _limit(p: Planning, path: Path) -> int:
    asked = p.query.limits.get(path)
    if not path and p.page is None:
        return -1
    if asked is None:
        return -1 if p.page is None or path else p.slot(p.page.default)
    most = p.limits.page if path or p.page is None else p.page.most
    return p.read(Given(("limit", path), partial(min, most)), asked)


def _offset(p: Planning, path: Path) -> int:
    asked = p.query.offsets.get(path)
    if asked is None or (not path and p.page is None):
        return -1
    return p.read(Given(("offset", path), partial(_skipped, p.limits.offset)), asked)


def _skipped(most: int, asked: int) -> int:
    if asked > most:
        hint = "Follow the Link header instead: it costs the same on every page."
        raise BadQuery(f"offset is at most {most}", hint=hint)
    return asked


def _as_is(value: Any) -> Any:
    return value


def _after(p: Planning, values: Sequence[Any]) -> tuple[int, ...]:
    return tuple([p.slot(value, Given(None, _as_is, number)) for number, value in enumerate(values)])


# ---- refusals -------------------------------------------------------------------------------------------------------


def _refuse_bad_keys(keys: list[str]) -> None:
    if len(set(keys)) != len(keys):
        raise twice(next(k for k in keys if keys.count(k) > 1))
    for key in keys:
        if not FORBIDDEN_IN_KEYS.isdisjoint(key) or not key.isprintable():
            raise BadQuery(f"the output key {key!r} holds a quote, a backslash or a control character")


def require_embeds(who: Principal, catalog: Catalog, node: Node) -> None:
    """Raises Forbidden for an embed outside of the caller's scopes, also one that is only there for a filter or an
    order. A junction between two tables is part of the far one.
    """
    if who.scopes is None:
        return
    for kid in node.kids:
        require_read(who, catalog.of(kid.node.model).name)
        require_embeds(who, catalog, kid.node)
