"""The write-only fields of a payload: links of a many-to-many relation, and the row of a one-to-one table.

Links arrive as keys of the far rows (after the rule's `find_links`). A far row that the caller may not see counts as
absent: 23503, before anything is written. Revisions show links by what their rule says (`Links.shown`), one-to-one rows
never.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Integer, Table
from sqlalchemy.types import TypeEngine

from app.data.audit import Unit
from app.data.catalog import Relation, Resource
from app.data.checks import INT8
from app.data.rules import Links, Owned, Row, Values
from app.data.steps import Steps
from app.query.driver import Binds
from app.query.parents import absent_parent
from app.query.statements import WriteStatements
from app.query.values import from_json

Key = Any


@dataclass(slots=True)
class Change:
    """One row of a write: what it was (None for a new one) and what it is; `links` maps a field to (keys before, keys
    after), `owned` a field to its row, `shown` a field to what the revision says of it. `unit` is whose change it is
    where the unit of work serves several.
    """

    old: Row | None
    new: Values
    links: dict[str, tuple[Sequence[Key], Sequence[Key]]] = field(default_factory=dict)
    owned: dict[str, Values] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    unit: Unit | None = None


def split(resource: Resource, old: Row | None, values: Values) -> Change:
    """The values of a row without its write-only fields, which stand beside them. Raises BadValue for links that
    are no keys.
    """
    change = Change(old, values)
    for name, (extra, _) in resource.rule.extra.items():
        if name not in values:
            continue
        given = values.pop(name)
        if isinstance(extra, Owned):
            change.owned[name] = given
            continue
        relation = resource.relations[extra.relation]
        type_ = _junction(relation).c[relation.far].type
        change.links[name] = ((), list(dict.fromkeys(_key(type_, key) for key in given)))
    return change


def _key(type_: TypeEngine[Any], given: Any) -> Key:
    if type(given) is int and isinstance(type_, Integer) and -INT8 <= given < INT8:
        return given  # as it would be read, in a tenth of the time
    return from_json(type_, given)


def find(statements: WriteStatements, resource: Resource, changes: Sequence[Change], unit: Unit) -> Steps[None]:
    """Notes the links that rows have now, and drops the fields that would change nothing. Raises Conflict for
    absent far rows.
    """
    for name, extra, relation in _link_fields(resource):
        asked = [change for change in changes if name in change.links]
        if not asked:
            continue
        names = yield from _far_names(statements, relation, extra, asked, name, unit)
        places = {key: place for place, (key, _) in enumerate(names)}
        known = [change.old[relation.local] for change in asked if change.old is not None]
        before = (yield from links_of(statements, relation, extra.shown, known)) if known else {}
        for change in asked:
            have = before.get(change.old[relation.local], {}) if change.old is not None else {}
            wanted = change.links[name][1]
            if change.old is not None and set(wanted) == have.keys():
                del change.links[name]
                continue
            change.links[name] = (list(have), wanted)
            after = [names[place][1] for place in sorted(places[key] for key in wanted)]
            change.shown[name] = [None if change.old is None else list(have.values()), after]


def write(
    statements: WriteStatements, resource: Resource, changes: Sequence[Change], *, bulk: bool = False
) -> Steps[None]:
    """Writes links and one-to-one rows of rows that have their keys; in `bulk` new links go in all at once."""
    for name, (extra, _) in resource.rule.extra.items():
        relation = resource.relations[extra.relation]
        if isinstance(extra, Links):
            yield from _write_links(statements, relation, [c for c in changes if name in c.links], name, bulk)
        else:
            yield from _write_owned(statements, relation, [c for c in changes if name in c.owned], name)


def links_of(
    statements: WriteStatements, relation: Relation, shown: str, keys: list[Key]
) -> Steps[dict[Key, dict[Key, Any]]]:
    """near key -> {far key: what is shown of it}, in the order of what is shown."""
    rows = yield statements.links(relation, shown).statement((), None, keys)
    found: dict[Key, dict[Key, Any]] = {}
    for near, far, value in rows:
        found.setdefault(near, {})[far] = value
    return found


def _link_fields(resource: Resource) -> Iterable[tuple[str, Links, Relation]]:
    for name, (extra, _) in resource.rule.extra.items():
        if isinstance(extra, Links):
            yield name, extra, resource.relations[extra.relation]


def _far_names(
    statements: WriteStatements, relation: Relation, extra: Links, asked: Sequence[Change], name: str, unit: Unit
) -> Steps[Sequence[tuple[Key, Any]]]:
    """(key, what is shown) of all far rows that are asked for."""
    wanted = {key for change in asked for key in change.links[name][1]}
    if not wanted:
        return []
    target = statements.catalog.of(relation.target)
    prepared = statements.shown(target, unit.who.view, relation.remote, extra.shown)
    rows = yield prepared.statement((), Binds.of(unit.who, unit.now), list(wanted))
    if absent := sorted(wanted - {row[0] for row in rows}):
        raise absent_parent(_junction(relation).c[relation.far], target, absent[0])
    return [(row[0], row[1]) for row in rows]


def _write_links(
    statements: WriteStatements, relation: Relation, changes: Sequence[Change], name: str, bulk: bool
) -> Steps[None]:
    added, removed = [], []
    for change in changes:
        near, (before, after) = change.new[relation.local], change.links[name]
        added += [(near, far) for far in after if far not in set(before)]
        removed += [(near, far) for far in before if far not in set(after)]
    junction, pair = _junction(relation), (relation.near, relation.far)
    yield from statements.each(statements.delete(junction, pair), removed)
    if bulk and added:
        prepared = statements.insert(junction, pair, returning=False)
        yield statements.fill(prepared, [prepared.arguments(link, None, None) for link in added])
    else:
        yield from statements.each(statements.insert(junction, pair), added)


def _write_owned(statements: WriteStatements, relation: Relation, changes: Sequence[Change], name: str) -> Steps[None]:
    """The one-to-one row is replaced as a whole."""
    if not changes:
        return
    table = relation.target.__table__
    assert isinstance(table, Table)
    known = [(change.new[relation.local],) for change in changes if change.old is not None]
    yield from statements.each(statements.delete(table, (relation.remote,)), known)
    columns = (relation.remote, *changes[0].owned[name])
    rows = [(change.new[relation.local], *change.owned[name].values()) for change in changes]
    yield from statements.each(statements.insert(table, columns), rows)


def _junction(relation: Relation) -> Table:
    assert relation.secondary is not None
    return relation.secondary
