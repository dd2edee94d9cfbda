"""Writes many new rows at once: the same meaning as `writer.insert`, in a few statements whatever their number.

On PostgreSQL rows, links and revisions go in by COPY, under keys that were taken from the sequence before; on SQLite
links and revisions by executemany. Rows that bring their own keys, or give way to others, are for `writer.py`. Where
several rows are wrong, or one in several ways, another refusal may come first than there.
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
from app.data.steps import Steps, whole
from app.errors import BroadsheetError
from app.query import extras, writer
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
    key = resource.table.autoincrement_column
    assert key is None or not any(key.name in row for row in rows)
    statements = statements_of(session)
    pairs = await writer.prepare_insert(session, resource, rows)
    changes, refusal = await session.run(writer.look_up(session, statements, resource, pairs))
    work = _Work(statements, resource, changes, session.unit, statements.insert(REVISIONS, RECORDED, returning=False))
    if statements.sqlite or refusal is not None:
        work.complete()
    if refusal is not None:
        raise refusal
    with writer.names_made_up(resource, rows):
        await session.run(work.insert() if statements.sqlite else whole(work.copy()))
    return [change.new for change in changes]


@dataclass(slots=True)
class _Work:
    """New rows on their way into the database."""

    statements: WriteStatements
    resource: Resource
    changes: Sequence[Change]
    unit: Unit
    recording: Prepared
    revisions: list[Arguments] = field(default_factory=list)
    refusal: BroadsheetError | None = None

    def complete(self) -> None:
        for change in self.changes:
            change.new = audit.inserted(self.resource, change.new, self.unit)

    def insert(self) -> Steps[None]:
        """SQLite tells a new key with each row: nothing would be gained by knowing them before."""
        prepared = self.statements.insert(self.resource.table, tuple(self.changes[0].new))
        keys = yield from self.statements.each(prepared, [tuple(change.new.values()) for change in self.changes])
        for change, key in zip(self.changes, keys, strict=True):
            change.new = dict(zip(self.resource.key, key, strict=True)) | change.new
            self._record(change)
        yield from self._finish()

    def copy(self) -> Steps[None]:
        prepared = self.statements.insert(self.resource.table, tuple(self.resource.columns), returning=False)
        keys = yield from self._keys()
        yield self.statements.fill(prepared, self._rows(prepared, keys))
        if self.refusal is not None:
            raise self.refusal
        yield from self._finish()

    def _keys(self) -> Steps[list[Values]]:
        key = self.resource.table.autoincrement_column
        if key is None:
            return [{}] * len(self.changes)
        numbers = yield self.statements.numbers(self.resource.table).statement((len(self.changes),))
        return [{key.name: number} for (number,) in numbers]

    def _rows(self, prepared: Prepared, keys: Sequence[Values]) -> Iterator[Arguments]:
        """The rows, completed and with their revisions while the server is at work on those that it has. None after a
        refusal.
        """
        for change, key in zip(self.changes, keys, strict=True):
            try:
                change.new = key | audit.inserted(self.resource, change.new, self.unit)
            except BroadsheetError as exc:
                self.refusal = exc
                return
            yield prepared.arguments([change.new[name] for name in self.resource.columns], None, None)
            self._record(change)

    def _record(self, change: Change) -> None:
        row = audit.revision(self.resource, Operation.INSERT, None, change.new, change.shown, self.unit)
        if row is not None:
            self.revisions.append(self.recording.arguments([row[name] for name in RECORDED], None, None))

    def _finish(self) -> Steps[None]:
        yield from extras.write(self.statements, self.resource, self.changes, bulk=True)
        if self.revisions:
            yield self.statements.fill(self.recording, self.revisions)
