"""Rows of which some are there already: those are updated or left alone, the others inserted.

Select, then write: the rows that match are read and locked under the caller's rules, updated as any row is, and the
rest is inserted giving way to what came in between; that round is repeated once. So stamps, versions, revisions and the
rules on the old and the new row are those of every other write. A row that the caller cannot see still keeps its place:
the last round runs into it (23505). Ids are the database's to make: one that names no row is 428C9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Index, UniqueConstraint

from app.data import audit
from app.data.catalog import Resource, nearest
from app.data.rules import Role, Row, Values
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import BadQuery, BadValue
from app.query.driver import Binds
from app.query.statements import Target, WriteStatements, statements_of
from app.query.writer import insert_unless, revise

CLAUSE = "ON CONFLICT DO UPDATE"  # as PostgreSQL names it in an error; none is ever sent


@dataclass(frozen=True, slots=True)
class Upserted:
    """The rows that were inserted and updated, in the order of the payload, and how many were inserted."""

    rows: list[Values]
    inserted: int


@dataclass(slots=True)
class Given:
    """One row of a payload, and the values by which it meets a row that is there."""

    values: Values
    match: tuple[Any, ...] | None


# ---- what may meet --------------------------------------------------------------------------------------------------


def target_of(resource: Resource, view: Role, columns: tuple[str, ...] | None) -> Target:
    """The unique constraint over these columns, or the primary key. Raises BadQuery: 42703 for a column that does not
    exist or is masked, 42P10 where there is no such constraint.
    """
    if columns is None:
        return Target(resource.key, name=f"{resource.name}_pkey")
    known = [name for name in resource.rule.readable(view) if resource.rule.mask(name, view) is None]
    for name in columns:
        if name not in known:
            near = nearest(name, known)
            hint = f'Perhaps you meant to reference the column "{resource.name}.{near}".' if near else None
            raise BadQuery(f"column {resource.name}.{name} does not exist", code="42703", hint=hint)
    for target in _targets(resource):
        if set(target.columns) == set(columns):
            return target
    text = "there is no unique or exclusion constraint matching the ON CONFLICT specification"
    raise BadQuery(text, code="42P10")


def _targets(resource: Resource) -> Iterator[Target]:
    """Partial unique indexes count: whoever names the column means the present rows."""
    yield Target(resource.key, name=f"{resource.name}_pkey")
    for constraint in resource.table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield Target(tuple(c.name for c in constraint.columns), name=str(constraint.name))
    for index in resource.table.indexes:
        if index.unique:
            yield Target(tuple(c.name for c in index.columns), _predicate(index), str(index.name))


def _predicate(index: Index) -> Any:
    return index.dialect_options["postgresql"]["where"]  # the same as SQLite's (`base.unique_among_present`)


# ---- writing --------------------------------------------------------------------------------------------------------


async def upsert(
    session: AppSession, resource: Resource, rows: Sequence[Values], target: Target, *, merge: bool
) -> Upserted:
    """With `merge` rows that are there take the given values and keep the others, else they stay as they are and are
    left out of the result. Raises what `insert` and `update` raise; 21000 for two rows with one key.
    """
    given = [Given(dict(row), _match(session, resource, target, row)) for row in rows]
    pending = dict(enumerate(_once(given) if not merge else _refuse_twice(given)))
    done: dict[int, Values] = {}
    inserted = 0
    for last in (False, True):
        there = await _there(session, resource, target, pending)
        for number, (old, writable) in there.items():
            _same_key(resource, old, pending[number].values)
            if merge and not writable:
                raise audit.denied(resource)
        if merge:
            changes = [(old, pending[number].values) for number, (old, _) in there.items()]
            done |= zip(there, await revise(session, resource, changes), strict=True)
        pending = {number: row for number, row in pending.items() if number not in there}
        _refuse_keys(resource, pending.values())
        made = await insert_unless(session, resource, [g.values for g in pending.values()], None if last else target)
        fresh = {number: row for number, row in zip(pending, made, strict=True) if row is not None}
        done |= fresh
        inserted += len(fresh)
        pending = {number: row for number, row in pending.items() if number not in fresh}
        if not pending or not merge:
            break
    return Upserted([done[number] for number in sorted(done)], inserted)


def _match(session: AppSession, resource: Resource, target: Target, row: Values) -> tuple[Any, ...] | None:
    """By the values as they would be stored: an e-mail address in lower case, a name without spaces around it."""
    unit = session.unit
    if target.of(row) is None:
        return None
    return target.of(resource.rule.prepare(None, {name: row[name] for name in target.columns}, unit.who, unit.now))


def _once(given: list[Given]) -> list[Given]:
    """Of rows that meet each other the first counts."""
    seen: set[tuple[Any, ...]] = set()
    out = []
    for row in given:
        if row.match is None or row.match not in seen:
            out.append(row)
        if row.match is not None:
            seen.add(row.match)
    return out


def _refuse_twice(given: list[Given]) -> list[Given]:
    if len(_once(given)) < len(given):
        text = f"{CLAUSE} command cannot affect row a second time"
        hint = "Ensure that no rows proposed for insertion within the same command have duplicate constrained values."
        raise BadValue(text, code="21000", status=500, plain_status=422, hint=hint)
    return given


async def _there(
    session: AppSession, resource: Resource, target: Target, pending: dict[int, Given]
) -> dict[int, tuple[Row, bool]]:
    """The rows that are met, locked, and whether the caller may write them."""
    wanted = {row.match: number for number, row in pending.items() if row.match is not None}
    if not wanted:
        return {}
    statements = statements_of(session)
    found = await session.run(_matching(statements, resource, target, sorted(wanted), session.unit))
    return {wanted[match]: row for row in found if (match := target.of(row[0])) in wanted}


def _matching(
    statements: WriteStatements, resource: Resource, target: Target, wanted: Sequence[Any], unit: audit.Unit
) -> Steps[list[tuple[Values, bool]]]:
    """Locked in ascending key order, as by every other write, but for a constraint over several columns."""
    prepared = statements.matching(resource, unit.who.view, target.columns)
    binds = Binds.of(unit.who, unit.now)
    if len(target.columns) == 1:
        rows = yield prepared.statement((tuple(value for (value,) in wanted),), binds)
    else:
        rows = yield from statements.each(prepared, list(wanted), binds)
    reader = statements.reader(resource.table)
    return [(reader(row), bool(row[-1])) for row in rows]


def _same_key(resource: Resource, old: Row, values: Values) -> None:
    """A key that is sent along must be the row's own; it is not written."""
    (key,) = resource.key
    if values.pop(key, None) not in (None, old[key]):
        raise made_by_database(key)


def _refuse_keys(resource: Resource, rows: Any) -> None:
    (key,) = resource.key
    for row in rows:
        if resource.table.autoincrement_column is not resource.table.c[key]:
            continue
        if row.values.pop(key, None) is not None:
            raise made_by_database(key)


def made_by_database(name: str) -> BadValue:
    details = f'Column "{name}" is an identity column defined as GENERATED ALWAYS.'
    return BadValue(f'cannot insert a non-DEFAULT value into column "{name}"', code="428C9", details=details)
