"""Which relation each embed of a request means. The first pass of planning: it refuses what is wrong with the tree of
embeds before any column is looked up. Source of order and texts: dialect 1.1, 1.2, 1.5, 1.6. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.data.catalog import Relation, Resource, nearest
from app.errors import BadQuery
from app.query.syntax import Aggregate, Embed, Path, SelectItem
from app.query.terms import Planning


def resolve(p: Planning, resource: Resource) -> None:
    """Fills `p.relations`. Raises BadQuery: PGRST108 for a path without an embed, PGRST200 and PGRST201 for a relation,
    PGRST118 for an order by a to-many embed, PGRST123 for an aggregate where they are switched off.
    """
    embeds = list(_embeds(p.query.select, ()))
    if len(embeds) > p.limits.embeds:
        raise BadQuery(f"more than {p.limits.embeds} embeds in one request")
    _refuse_unknown_paths(p, embeds)
    for path, item in embeds:
        parent = p.catalog.of(p.relations[path[:-1]].target) if len(path) > 1 else resource
        p.relations[path] = _relation(p, parent, item)
    _refuse_orders(p, resource)
    items = (item for select in (p.query.select, *(item.items for _, item in embeds)) for item in select)
    if not p.limits.aggregates and any(isinstance(item, Aggregate) for item in items):
        raise BadQuery("Use of aggregate functions is not allowed", code="PGRST123")


def twice(key: str) -> BadQuery:
    return BadQuery(f"the output key '{key}' is asked for twice", hint="Give one of them an alias: alias:name.")


def _embeds(select: tuple[SelectItem, ...], path: Path) -> Iterator[tuple[Path, Embed]]:
    """Parents first. Recursive, but no deeper than `embed_depth`."""
    for item in select:
        if isinstance(item, Embed):
            yield (*path, item.key), item
            yield from _embeds(item.items, (*path, item.key))


# ---- paths ----------------------------------------------------------------------------------------------------------


def _refuse_unknown_paths(p: Planning, embeds: list[tuple[Path, Embed]]) -> None:
    known: set[Path] = {()}
    aliased = {}
    for path, item in embeds:
        if path in known:
            raise twice(item.key)
        known.add(path)
        if item.alias:
            aliased[(*path[:-1], item.target)] = item.alias
    for path in _asked(p):
        for end in range(1, len(path) + 1):
            if path[:end] not in known:
                raise _not_embedded(path[end - 1], aliased.get(path[:end]))


def _asked(p: Planning) -> Iterator[Path]:
    query = p.query
    yield from (path for path, _ in query.conditions)
    for path, terms in query.orders.items():
        yield path
        yield from ((*path, term.embed) for term in terms if term.embed is not None)
    yield from query.limits
    yield from query.offsets


def _not_embedded(name: str, alias: str | None) -> BadQuery:
    message = f"'{name}' is not an embedded resource in this request"
    if alias is not None:
        details = "Target names are not allowed in filters if they have an alias"
        hint = f"Change '{name}' to '{alias}' in filters, orders or limits."
        return BadQuery(message, code="PGRST108", details=details, hint=hint)
    return BadQuery(message, code="PGRST108", hint=f"Verify that '{name}' is included in the 'select' query parameter.")


def _refuse_orders(p: Planning, root: Resource) -> None:
    for path, terms in p.query.orders.items():
        for term in terms:
            if term.embed is not None and p.relations[(*path, term.embed)].to_many:
                parent = p.catalog.of(p.relations[path].target) if path else root
                message = f"A related order on '{term.embed}' is not possible"
                details = f"'{parent.name}' and '{term.embed}' do not form a many-to-one or one-to-one relationship"
                raise BadQuery(message, code="PGRST118", details=details)


# ---- relations ------------------------------------------------------------------------------------------------------


def _relation(p: Planning, parent: Resource, item: Embed) -> Relation:
    """The one relation that an embed means."""
    target = item.target
    found = p.catalog.named(parent, target, p.view, item.hint)
    if len(found) == 1:
        return found[0]
    if not found:
        raise _no_relation(p, parent, item)
    names = ", ".join(f"'{target}!{r.constraint}'" for r in found)
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


def _no_relation(p: Planning, parent: Resource, item: Embed) -> BadQuery:
    known = p.catalog.embeddable(parent, p.view)
    near = nearest(item.target, {*known, *(p.catalog.of(r.target).name for r in known.values())})
    near = None if near == item.target else near
    searched = f"using the hint '{item.hint}' in" if item.hint else "in"
    return BadQuery(
        f"Could not find a relationship between '{parent.name}' and '{item.target}' in the schema cache",
        code="PGRST200",
        details=f"Searched for a foreign key relationship between '{parent.name}' and '{item.target}' "
        f"{searched} the schema 'public', but no matches were found.",
        hint=f"Perhaps you meant '{near}' instead of '{item.target}'." if near else None,
    )
