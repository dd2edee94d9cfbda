"""Removes, restores and purges rows, with what the rule says goes along: cascades, touched rows, rows that outlive a
purge.

A soft delete stamps `deleted_at`; the rows of `cascades` get the same stamp, by which a restore finds them again.
Every row that changes has its revision. Models that are not SoftDeleted are deleted at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table

from app.data import audit
from app.data.audit import Operation
from app.data.catalog import Relation, Resource
from app.data.rules import Links, Owned, Row, Values
from app.data.scopes import require_write
from app.data.session import AppSession
from app.data.steps import Steps
from app.query import parents
from app.query.extras import Change, Key, links_of
from app.query.statements import WriteStatements, statements_of
from app.query.writer import locked, refuse_stale, write_columns, write_revisions


async def remove(
    session: AppSession, resource: Resource, keys: Sequence[Key], *, expect: int | None = None
) -> list[Values]:
    """Soft where the model is SoftDeleted, else for good; the rows as they were before. Raises NotFound, Forbidden,
    Stale, Conflict.
    """
    if not keys:
        return []
    olds = await locked_to_remove(session, resource, keys)
    if expect is not None:
        refuse_stale(resource, olds, frozenset({expect}))
    return await discard(session, resource, olds)


async def locked_to_remove(session: AppSession, resource: Resource, keys: Sequence[Key]) -> list[Values]:
    """The rows with these keys, locked to be removed. Raises NotFound, Forbidden."""
    await hold_touched(session, resource, keys)
    return await locked(session, resource, keys)


def must_hold(session: AppSession, resource: Resource) -> bool:
    """Whether `hold_touched` has anything to do for rows of this table."""
    return bool(resource.rule.touches) and session.dialect.name == "postgresql"


async def hold_touched(session: AppSession, resource: Resource, keys: Sequence[Key]) -> None:
    """Locks the rows that removing these will change before these themselves, in the order of who changes the links of
    such a row. Nothing to do on SQLite, where writers take turns.
    """
    if must_hold(session, resource):
        await session.run(_hold_touched(statements_of(session), resource, keys))


async def discard(session: AppSession, resource: Resource, olds: list[Values]) -> list[Values]:
    """The same for rows that are locked."""
    if not olds:
        return []
    require_write(session.unit.who, resource.name)
    statements = statements_of(session)
    changes: list[tuple[Row, Values]] = [(old, audit.removed(resource, old, session.unit)) for old in olds]
    if audit.is_soft(resource):
        await session.run(_soften(statements, resource, changes, session.unit))
    else:
        await session.run(_delete(statements, resource, olds, session.unit))
    return olds


async def restore(session: AppSession, resource: Resource, keys: Sequence[Key]) -> list[Values]:
    """Brings soft-deleted rows back with the rows that went with them, and returns all with these keys as they are now;
    those that are not deleted stay as they are. Raises NotFound, Forbidden; Conflict where a unique value is taken or a
    row that they point at is not there.
    """
    if not keys:
        return []
    return await bring_back(session, resource, await locked_to_restore(session, resource, keys))


async def locked_to_restore(session: AppSession, resource: Resource, keys: Sequence[Key]) -> list[Values]:
    """The rows with these keys, deleted or not, locked to be restored. Raises NotFound, Forbidden."""
    await session.run(parents.hold(statements_of(session), resource, keys))
    return await locked(session, resource, keys, deleted=True)


async def bring_back(session: AppSession, resource: Resource, olds: Sequence[Values]) -> list[Values]:
    """The same for rows that are locked."""
    require_write(session.unit.who, resource.name)
    if session.unit.who.view not in resource.rule.removes:
        raise audit.denied(resource)
    (key,) = resource.key
    gone = [old for old in olds if old["deleted_at"] is not None]
    if not gone:
        return list(olds)
    statements = statements_of(session)
    back = {row[key]: row for row in await session.run(_restore(statements, resource, gone, session.unit))}
    return [back.get(old[key], old) for old in olds]


async def purge(session: AppSession, resource: Resource, keys: Sequence[Key]) -> list[Values]:
    """Deletes rows for good, deleted ones included; a row that others must keep pointing at is anonymised instead.
    Admins only.
    """
    if not keys:
        return []
    require_write(session.unit.who, resource.name)
    if session.unit.who.view not in audit.PURGES:
        raise audit.denied(resource)
    olds = await locked(session, resource, keys, deleted=True)
    for old in olds:
        resource.rule.may_remove(old)
    statements = statements_of(session)
    await session.run(_purge(statements, resource, olds, session.unit))
    return olds


# ---- steps ----------------------------------------------------------------------------------------------------------


def _soften(
    statements: WriteStatements, resource: Resource, stamped: Sequence[tuple[Row, Values]], unit: audit.Unit
) -> Steps[None]:
    changes = [Change(old, {**old, **values}) for old, values in stamped]
    yield from write_columns(
        statements, resource, [(c, values) for c, (_, values) in zip(changes, stamped, strict=True)]
    )
    yield from write_revisions(statements, resource, Operation.DELETE, changes, unit)
    for child, relation in _cascades(statements, resource):
        rows = yield from _children(statements, child, relation, [old for old, _ in stamped])
        present = [row for row in rows if row["deleted_at"] is None]
        stamps: list[tuple[Row, Values]] = [
            (row, {"deleted_at": unit.now, **audit.stamped(child, row, unit)}) for row in present
        ]
        if stamps:
            yield from _soften(statements, child, stamps, unit)
    yield from _drop(statements, resource, resource.rule.drops, [old for old, _ in stamped])


def _drop(statements: WriteStatements, resource: Resource, names: Sequence[str], olds: Sequence[Row]) -> Steps[None]:
    """Deletes the rows of these relations for good."""
    for name in names:
        relation = resource.relations[name]
        table = relation.target.__table__
        assert isinstance(table, Table)
        prepared = statements.delete(table, (relation.remote,))
        yield from statements.each(prepared, [(old[relation.local],) for old in olds])


def _delete(statements: WriteStatements, resource: Resource, olds: list[Values], unit: audit.Unit) -> Steps[None]:
    for name in resource.rule.touches:
        yield from _touch(statements, resource, resource.relations[name], olds, unit)
    yield from _delete_rows(statements, resource, olds)
    yield from write_revisions(statements, resource, Operation.PURGE, [Change(old, {}) for old in olds], unit)


def _delete_rows(statements: WriteStatements, resource: Resource, olds: list[Values]) -> Steps[None]:
    prepared = statements.delete(resource.table, resource.key)
    yield from statements.each(prepared, [tuple(old[name] for name in resource.key) for old in olds])


def _touch(
    statements: WriteStatements, resource: Resource, relation: Relation, olds: list[Values], unit: audit.Unit
) -> Steps[None]:
    """Removing these rows is a change of every far row linked to them: version, stamps and a revision of its links."""
    far = statements.catalog.of(relation.target)
    back, field, shown = _links_back(far, relation)
    gone = {old[relation.local] for old in olds}
    junction = relation.secondary
    assert junction is not None
    rows = yield statements.pairs(junction, relation.near, relation.far).statement((), None, list(gone))
    touched = sorted({row[1] for row in rows})
    if not touched:
        return
    reader = statements.reader(far.table)
    locked_rows = yield statements.locked_all(far.table, back.local).statement((), None, touched)
    before = yield from links_of(statements, back, shown, touched)
    moved = []
    for row in map(reader, locked_rows):
        have = before.get(row[back.local], {})
        values = audit.stamped(far, row, unit)
        kept = [text for key, text in have.items() if key not in gone]
        moved.append((Change(row, {**row, **values}, shown={field: [list(have.values()), kept]}), values))
    yield from write_columns(statements, far, moved)
    yield from write_revisions(statements, far, Operation.UPDATE, [change for change, _ in moved], unit)


def _hold_touched(statements: WriteStatements, resource: Resource, keys: Sequence[Key]) -> Steps[None]:
    for name in resource.rule.touches:
        relation = resource.relations[name]
        far = statements.catalog.of(relation.target)
        back, _, _ = _links_back(far, relation)
        junction = relation.secondary
        assert junction is not None
        rows = yield statements.pairs(junction, relation.near, relation.far).statement((), None, list(keys))
        yield statements.locked_all(far.table, back.local).statement((), None, sorted({row[1] for row in rows}))


def _links_back(far: Resource, relation: Relation) -> tuple[Relation, str, str]:
    """The far side's relation over the same junction, and the field and column under which its revisions show it."""
    for field, (extra, _) in far.rule.extra.items():
        back = far.relations[extra.relation]
        if isinstance(extra, Links) and back.secondary is relation.secondary:
            return back, field, extra.shown
    raise LookupError(f"{far.name} has no write-only field over {relation.name}")


def _restore(
    statements: WriteStatements, resource: Resource, olds: list[Values], unit: audit.Unit
) -> Steps[list[Values]]:
    moved = []
    for old in olds:
        # what must be unique is written as it is: of a refusal SQLite knows no values but those of the statement
        values: Values = {name: old[name] for name in ("deleted_at", *_unique(resource))}
        values |= {"deleted_at": None, **audit.stamped(resource, old, unit)}
        moved.append((Change(old, {**old, **values}), values))
    # to the rows that they point at they are new: those may have gone meanwhile
    yield from parents.refuse_absent(statements, resource, [Change(None, change.new) for change, _ in moved], unit)
    yield from write_columns(statements, resource, moved)
    yield from write_revisions(statements, resource, Operation.RESTORE, [change for change, _ in moved], unit)
    stamps = {old["deleted_at"] for old in olds}
    for child, relation in _cascades(statements, resource):
        rows = yield from _children(statements, child, relation, olds)
        went_along = [row for row in rows if row["deleted_at"] in stamps]
        if went_along:
            yield from _restore(statements, child, went_along, unit)
    return [change.new for change, _ in moved]


def _unique(resource: Resource) -> list[str]:
    """Columns whose values no other present row has."""
    return [column.name for index in resource.table.indexes if index.unique for column in index.columns]


def _purge(statements: WriteStatements, resource: Resource, olds: list[Values], unit: audit.Unit) -> Steps[None]:
    for child, relation in _cascades(statements, resource):
        rows = yield from _children(statements, child, relation, olds)
        if rows:
            yield from _purge(statements, child, rows, unit)
    kept = yield from _kept(statements, resource, olds)
    gone = [old for old in olds if old[resource.key[0]] not in kept]
    if gone:
        yield from _delete(statements, resource, gone, unit)
    retired = [old for old in olds if old[resource.key[0]] in kept]
    if retired:
        yield from _retire(statements, resource, retired, unit)


def _kept(statements: WriteStatements, resource: Resource, olds: list[Values]) -> Steps[set[Any]]:
    """Keys of the rows that rows of `keeps` point at."""
    kept: set[Any] = set()
    for name in resource.rule.keeps:
        relation = resource.relations[name]
        table = statements.catalog.of(relation.target).table
        keys = [old[relation.local] for old in olds]
        rows = yield statements.any_of(table, relation.remote).statement((), None, keys)
        kept.update(row[0] for row in rows)
    return kept


def _retire(statements: WriteStatements, resource: Resource, olds: list[Values], unit: audit.Unit) -> Steps[None]:
    retire = resource.rule.retire
    assert retire is not None, f"{resource.name}: a rule with `keeps` needs `retire`"
    moved = []
    for old in olds:
        values = retire(old) | audit.stamped(resource, old, unit)
        if old["deleted_at"] is None:
            values["deleted_at"] = unit.now
        moved.append((Change(old, {**old, **values}), values))
    yield from write_columns(statements, resource, moved)
    owned = [extra.relation for extra, _ in resource.rule.extra.values() if isinstance(extra, Owned)]
    yield from _drop(statements, resource, [*resource.rule.drops, *owned], olds)
    # The revision says what the row holds from now on, not what it held: that is what the purge is for.
    blank = [Change(change.new, change.new, shown=_from_nothing(resource, values)) for change, values in moved]
    yield from write_revisions(statements, resource, Operation.UPDATE, blank, unit)


def _from_nothing(resource: Resource, values: Values) -> dict[str, Any]:
    kept = values.keys() - audit.BOOKKEEPING - resource.rule.guarded
    return {name: [None, audit.json_form(values[name])] for name in resource.columns if name in kept}


def _cascades(statements: WriteStatements, resource: Resource) -> list[tuple[Resource, Relation]]:
    relations = [resource.relations[name] for name in resource.rule.cascades]
    return [(statements.catalog.of(relation.target), relation) for relation in relations]


def _children(
    statements: WriteStatements, child: Resource, relation: Relation, parents: Sequence[Row]
) -> Steps[list[Values]]:
    keys = [parent[relation.local] for parent in parents]
    rows = yield statements.locked_all(child.table, relation.remote).statement((), None, keys)
    return [statements.reader(child.table)(row) for row in rows]
