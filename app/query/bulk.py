"""Writes many new rows at once: the same meaning as `writer.insert`, in a few statements whatever their number.

On PostgreSQL rows, links and revisions go in by COPY, under keys that were taken from the sequence before; on SQLite
links and revisions by executemany. Rows that bring their own keys, or give way to others, are for `writer.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Table, any_, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute

from app.data import audit
from app.data.audit import Operation, Revision, Unit
from app.data.base import dumps
from app.data.catalog import Resource
from app.data.rules import Values
from app.data.session import AppSession
from app.data.steps import Steps
from app.query import extras, parents, writer
from app.query.driver import Prepared, unbounded
from app.query.extras import Change
from app.query.statements import WriteStatements, statements_of

Arguments = tuple[Any, ...]  # of one row, for the driver

REVISIONS: Table = Revision.__table__  # type: ignore[assignment]  # a Table
RECORDED = tuple(column.name for column in REVISIONS.columns if not column.primary_key)


def among(session: AppSession, column: InstrumentedAttribute[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """`column` is one of the values, which travel as one parameter: `in_` takes 5 us for each of them."""
    if session.dialect.name == "sqlite":
        given = func.json_each(dumps(list(values))).table_valued("value")
        return column.in_(select(given.c.value))
    return column == any_(literal(list(values), ARRAY(unbounded(column.type))))


async def insert(session: AppSession, resource: Resource, rows: Sequence[Values]) -> list[Values]:
    """The new rows, in the order given. Raises BadValue, Forbidden, Conflict."""
    if not rows:
        return []
    statements = statements_of(session)
    changes = await writer.prepare_insert(session, statements, resource, rows)
    with writer.names_made_up(resource, rows):
        await session.run(_insert(statements, resource, changes, session.unit))
    return [change.new for change in changes]


def _insert(statements: WriteStatements, resource: Resource, changes: Sequence[Change], unit: Unit) -> Steps[None]:
    if statements.sqlite:  # elsewhere they are held already
        yield from parents.refuse_absent(statements, resource, changes, unit)
    yield from extras.find(statements, resource, changes, unit)
    revisions = _Revisions(statements.insert(REVISIONS, RECORDED, returning=False), resource, unit)
    yield from (_make if statements.sqlite else _copy)(statements, resource, changes, revisions)
    yield from extras.write(statements, resource, changes, bulk=True)
    if revisions.rows:
        yield statements.fill(revisions.prepared, revisions.rows)


@dataclass(slots=True)
class _Revisions:
    """Of new rows that have their keys."""

    prepared: Prepared
    resource: Resource
    unit: Unit
    rows: list[Arguments] = field(default_factory=list)

    def add(self, change: Change) -> None:
        row = audit.revision(self.resource, Operation.INSERT, None, change.new, change.shown, self.unit)
        if row is not None:
            self.rows.append(self.prepared.arguments([row[name] for name in RECORDED], None, None))


def _make(
    statements: WriteStatements, resource: Resource, changes: Sequence[Change], revisions: _Revisions
) -> Steps[None]:
    """SQLite tells a new key with each row: nothing would be gained by knowing them before."""
    prepared = statements.insert(resource.table, tuple(changes[0].new))
    keys = yield from statements.each(prepared, [tuple(change.new.values()) for change in changes])
    for change, key in zip(changes, keys, strict=True):
        change.new = dict(zip(resource.key, key, strict=True)) | change.new
        revisions.add(change)


def _copy(
    statements: WriteStatements, resource: Resource, changes: Sequence[Change], revisions: _Revisions
) -> Steps[None]:
    key = resource.table.autoincrement_column
    if key is not None:
        numbers = yield statements.numbers(resource.table).statement((len(changes),))
        for change, (number,) in zip(changes, numbers, strict=True):
            assert key.name not in change.new
            change.new = {key.name: number} | change.new
    prepared = statements.insert(resource.table, tuple(changes[0].new), returning=False)
    yield statements.fill(prepared, _rows(prepared, changes, revisions))


def _rows(prepared: Prepared, changes: Sequence[Change], revisions: _Revisions) -> Iterator[Arguments]:
    """The rows, and beside them their revisions: those are made while the server is at work on the rows that it has."""
    for change in changes:
        yield prepared.arguments(tuple(change.new.values()), None, None)
        revisions.add(change)
