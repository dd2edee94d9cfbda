"""Rows that others point at: a foreign key may only name a row that the caller sees. One that is soft-deleted or
hidden is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.data.audit import Unit
from app.data.catalog import Resource
from app.data.steps import Steps
from app.errors import Conflict
from app.query.driver import Binds
from app.query.statements import WriteStatements

if TYPE_CHECKING:
    from app.query.extras import Change


def refuse_absent(
    statements: WriteStatements, resource: Resource, changes: Sequence[Change], unit: Unit
) -> Steps[None]:
    """Raises Conflict 23503 for a row that is not there."""
    refusal = yield from absent(statements, resource, changes, unit)
    if refusal is not None:
        raise refusal


def absent(
    statements: WriteStatements, resource: Resource, changes: Sequence[Change], unit: Unit
) -> Steps[Conflict | None]:
    """One look-up for each foreign key that is set or changed; the rows are held until the unit ends. The refusal of
    the first one that is not there.
    """
    for column in resource.table.columns:
        key = next(iter(column.foreign_keys), None)
        target = None if key is None else statements.catalog.get(key.column.table.name)
        if key is None or target is None:
            continue
        asked: set[Any] = {c.new.get(column.name) for c in changes if c.old is None or _moved(c, column.name)} - {None}
        if not asked:
            continue
        named = statements.named(target, unit.who.view, key.column.name)
        rows = yield named.statement((), Binds.of(unit.who, unit.now), sorted(asked))
        if missing := sorted(asked - {row[0] for row in rows}):
            return absent_parent(column, target, missing[0])
    return None


def hold(statements: WriteStatements, resource: Resource, keys: Sequence[Any]) -> Steps[None]:
    """Locks what these rows point at before the rows themselves, in the order of who removes a row with those that
    point at it. Nothing to do on SQLite, where writers take turns.
    """
    for column in resource.table.columns if not statements.sqlite else ():
        if column.foreign_keys:
            yield statements.parents(resource.table, column.name).statement((), None, list(keys))


def absent_parent(column: Any, target: Resource, key: Any) -> Conflict:
    """As PostgreSQL says it of a row that is not there at all. Source: dialect 1.2."""
    constraint = next(str(fk.constraint.name) for fk in column.foreign_keys if fk.constraint)
    message = f'insert or update on table "{column.table.name}" violates foreign key constraint "{constraint}"'
    details = f'Key ({column.name})=({key}) is not present in table "{target.name}".'
    return Conflict(message, code="23503", details=details)


def _moved(change: Change, name: str) -> bool:
    return name in change.new and change.old is not None and change.new[name] != change.old[name]
