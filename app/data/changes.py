"""The changes of one flush: what entities were given, through the rules, into what is written; then their revisions.

Called by `AppSession` alone. The Rule and `audit` decide everything; here entities become values and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, inspect, select
from sqlalchemy.orm import InstanceState, RelationshipDirection, Session
from sqlalchemy.orm.attributes import flag_modified, set_committed_value
from sqlalchemy.orm.base import LoaderCallableStatus
from sqlalchemy.util import await_only

from app.data import audit
from app.data.audit import Operation, Revision, Unit
from app.data.base import Base
from app.data.catalog import Catalog, Resource
from app.data.rules import Links, Owned, Role, Row, Values, nothing_to_look_up, nothing_to_resolve
from app.errors import Forbidden, Internal

if TYPE_CHECKING:
    from app.data.session import AppSession

UNLOADED = LoaderCallableStatus.NO_VALUE
# Stands for the id of a row that this flush inserts first; the flush itself puts the id in place.
NOT_YET = 0


Sides = tuple[list[Base] | None, list[Base]]  # the linked entities before and after


@dataclass(slots=True)
class Change:
    """One entity that is inserted (`old` is None) or updated. `values` is what was given, then what is written."""

    resource: Resource
    entity: Base
    old: Row | None
    values: Values
    links: dict[str, Sides] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()  # foreign keys to rows that this flush inserts first
    extras: frozenset[str] = frozenset()  # write-only fields that were given

    @property
    def key(self) -> str:
        return self.resource.name


def collect(session: Session, catalog: Catalog, unit: Unit) -> list[Change]:
    """New entities in the order of their adding, then changed ones by table and key. Raises Forbidden."""
    new = [_new(catalog.of(type(e)), e) for e in session.new if catalog.exposes(type(e))]
    dirty = [e for e in session.dirty if catalog.exposes(type(e))]
    found = [*new, *_changed(session, catalog, dirty)]
    kept = {id(getattr(c.entity, relation)) for c in new for relation in _owned(c)}
    for entity in [*session.new, *(e for e in session.dirty if session.is_modified(e))]:
        if not catalog.exposes(type(entity)) and unit.who.role is not Role.SYSTEM and id(entity) not in kept:
            raise Forbidden(f"permission denied for table {inspect(type(entity)).local_table.description}")
    return found


def apply(found: list[Change], unit: Unit, session: AppSession) -> None:
    """Asks the rules, lets `audit` decide, and writes the result back to the entities. Raises what these raise."""
    for change in found:
        if change.old is None and unit.who.view not in change.resource.rule.inserts:
            raise audit.denied(change.resource)
        fields = dict.fromkeys([*change.values, *change.extras])
        audit.refuse_fields(change.resource, fields, unit, new=change.old is None)
        change.values = dict(change.resource.rule.prepare(change.old, change.values, unit.who, unit.now))
    for group in _by_resource(found):
        _resolve(group, unit, session)
    for change in found:
        _write_back(change, unit)


def record(connection: Callable[[], Connection], found: Iterable[Change], unit: Unit) -> None:
    """One INSERT of all revisions, in the order of the changes."""
    rows = [row for change in found if (row := _revision(change, unit)) is not None]
    if rows:
        connection().execute(insert(Revision.__table__), rows)  # type: ignore[arg-type]  # a Table, typed as FromClause


# ---- what was given -------------------------------------------------------------------------------------------------


def _new(resource: Resource, entity: Base) -> Change:
    state = inspect(entity)
    change = Change(resource, entity, None, {name: state.dict[name] for name in resource.columns if name in state.dict})
    _give_foreign_keys(change, state, state.dict)
    _give_links(change, state)
    change.extras |= {
        name
        for name, (extra, _) in resource.rule.extra.items()
        if isinstance(extra, Owned) and state.dict.get(extra.relation) is not None
    }
    return change


def _changed(session: Session, catalog: Catalog, entities: list[Base]) -> list[Change]:
    """The net changes. Old values of columns that were never loaded are read, one statement for a table."""
    found = [c for c in (_difference(catalog.of(type(e)), e) for e in entities) if c.values or c.links]
    found.sort(key=lambda c: (c.resource.name, inspect(c.entity).identity))
    for group in _by_resource(found):
        _read_old(session, group)
    for change in found:
        assert change.old is not None
        for name, value in list(change.values.items()):
            if value == change.old[name]:
                # Not only tidy: the flush would write a column that was set without having been loaded.
                del change.values[name]
                set_committed_value(change.entity, name, value)
    return [c for c in found if c.values or c.links]


def _difference(resource: Resource, entity: Base) -> Change:
    state = inspect(entity)
    before = state.committed_state
    old = {name: before.get(name, state.dict.get(name, UNLOADED)) for name in resource.columns}
    change = Change(resource, entity, old, {name: state.dict[name] for name in resource.columns if name in before})
    for name in (*resource.key, "deleted_at", "version"):
        if name in change.values and change.values[name] != old[name]:
            hint = "Use Repository.remove and restore." if name == "deleted_at" else None
            raise Forbidden(f'column "{name}" of relation "{resource.name}" cannot be set', hint=hint)
    _give_foreign_keys(change, state, before)
    _give_links(change, state)
    if old.get("version") is UNLOADED and (change.values or change.links):
        hint = f"Add {resource.model.__name__}.version to its load_only()."
        raise Internal(f"a row of {resource.name} that was loaded without its version cannot be changed", hint=hint)
    return change


def _give_foreign_keys(change: Change, state: InstanceState[Any], among: Any) -> None:
    """`post.author = user` gives `user_id`: the flush would set it only after the rules were asked."""
    for relation in change.resource.mapper.relationships:
        if relation.direction is not RelationshipDirection.MANYTOONE or relation.viewonly or relation.key not in among:
            continue
        target = state.dict.get(relation.key)
        ((local, remote),) = relation.local_remote_pairs or ()
        value = None if target is None else inspect(target).dict.get(remote.name)
        if target is not None and value is None:
            change.pending |= {local.name}
            value = NOT_YET
        change.values[local.name] = value


def _give_links(change: Change, state: InstanceState[Any]) -> None:
    for name, (extra, _) in change.resource.rule.extra.items():
        if not isinstance(extra, Links) or extra.relation not in state.committed_state.keys() | state.dict.keys():
            continue
        if extra.relation not in state.dict:
            hint = f"Load it first: selectinload({change.resource.model.__name__}.{extra.relation})."
            raise Internal(f"{change.resource.name}.{extra.relation} was changed without having been loaded", hint=hint)
        history = state.attrs[extra.relation].history
        if change.old is None or history.added or history.deleted:
            same = list(history.unchanged or ())
            before = None if change.old is None else [*same, *(history.deleted or ())]
            change.links[name] = (before, [*same, *(history.added or ())])
            change.extras |= {name}


def _owned(change: Change) -> Iterator[str]:
    for name in change.extras:
        extra, _ = change.resource.rule.extra[name]
        if isinstance(extra, Owned):
            yield extra.relation


def _read_old(session: Session, group: list[Change]) -> None:
    missing = [c for c in group if c.old is not None and UNLOADED in c.old.values()]
    if not missing:
        return
    resource = missing[0].resource
    (key,) = resource.key  # rows with a composite key have nothing but their key, and are never changed
    ids = [inspect(c.entity).identity[0] for c in missing]  # type: ignore[index]  # persistent entities have one
    query = select(resource.table).where(resource.table.c[key].in_(ids)).order_by(resource.table.c[key])
    rows = {row[key]: row for row in session.connection().execute(query).mappings()}
    for change in missing:
        assert change.old is not None
        row = rows.get(inspect(change.entity).identity[0])  # type: ignore[index]
        if row is None:
            raise audit.denied(resource)
        change.old = {name: row[name] if value is UNLOADED else value for name, value in change.old.items()}


# ---- what is written ------------------------------------------------------------------------------------------------


def _resolve(group: list[Change], unit: Unit, session: AppSession) -> None:
    rule, pairs = group[0].resource.rule, [(c.old, c.values) for c in group]
    if rule.resolve is not nothing_to_resolve:
        await_only(rule.resolve(session, pairs, unit.who, unit.now))
    for look in (rule.find_links, rule.fill):
        if look is not nothing_to_look_up:
            await_only(session.run(look(session, pairs)))


def _write_back(change: Change, unit: Unit) -> None:
    resource, entity, old = change.resource, change.entity, change.old
    if old is None:
        change.values = audit.inserted(resource, change.values, unit)
        before: Row = inspect(entity).dict
    else:
        given = change.values
        change.values = audit.updated(resource, old, given, unit, linked=bool(change.links))
        for name in given.keys() - change.values.keys():
            set_committed_value(entity, name, old[name])
        before = old
    for name, value in change.values.items():
        if name == "version" or name in change.pending:
            continue  # both are set by the flush
        setattr(entity, name, value)
        if old is not None and before[name] == value:
            # A second change within one unit has the stamp of the first; written all the same, the version moves.
            flag_modified(entity, name)


def _revision(change: Change, unit: Unit) -> Values | None:
    if change.old is not None and not change.values:
        return None
    held = inspect(change.entity).dict
    before = change.old or {}
    new = {name: held.get(name, before.get(name)) for name in change.resource.columns}
    links = {name: [_shown(change, name, side) for side in sides] for name, sides in change.links.items()}
    operation = Operation.INSERT if change.old is None else Operation.UPDATE
    return audit.revision(change.resource, operation, change.old, new, links, unit)


def _shown(change: Change, name: str, entities: list[Base] | None) -> list[Any] | None:
    if entities is None:
        return None
    extra, _ = change.resource.rule.extra[name]
    assert isinstance(extra, Links)
    return sorted(getattr(entity, extra.shown) for entity in entities)


def _by_resource(found: Iterable[Change]) -> list[list[Change]]:
    ordered = sorted(found, key=attrgetter("key"))
    return [list(group) for _, group in groupby(ordered, key=attrgetter("key"))]
