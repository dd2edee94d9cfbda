"""Writes rows without entities, set by set: one locked read, one compiled statement per shape, one insert of revisions.

The meaning of a write is in `data/audit.py` and in the rule's `prepare` and `resolve`, shared with AppSession. All
functions run in the unit of work of `database.writing(who)`, lock rows in ascending key order, apply the rules to the
old and the new row, and return whole rows as Python values. Unknown and invisible keys raise NotFound, visible ones
that the caller may not write Forbidden.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # the package ships no types

from app.data import audit, failpoints
from app.data.audit import Operation, Revision
from app.data.base import Versioned
from app.data.catalog import Resource
from app.data.failpoints import Point
from app.data.rules import Pairs, Row, Values
from app.data.scopes import require_write
from app.data.session import AppSession
from app.data.steps import Steps, together
from app.errors import Conflict, NotFound, Stale, Unavailable
from app.query import extras, parents, singly
from app.query.driver import Binds
from app.query.extras import Change, Key
from app.query.statements import Target, WriteStatements, statements_of

T = TypeVar("T")


async def insert(session: AppSession, resource: Resource, rows: Sequence[Values]) -> list[Values]:
    """The new rows, in the order given. Raises BadValue, Forbidden, Conflict."""
    return [row for row in await insert_unless(session, resource, rows, None) if row is not None]


async def insert_and(
    session: AppSession,
    resource: Resource,
    rows: Sequence[Values],
    then: Callable[[list[Values]], Steps[T]],
    request_ids: Sequence[str] = (),
) -> tuple[list[Values], T]:
    """The same, and what further steps make of the new rows. Where each came with a request of its own, revisions have
    their ids.
    """

    def steps() -> Steps[tuple[list[Values], T]]:
        made = (yield from _inserting(session, resource, pairs, None, request_ids)) if pairs else []
        news = [row for row in made if row is not None]
        return news, (yield from then(news))

    pairs = await prepare_insert(session, resource, rows)
    with names_made_up(resource, rows):
        return await session.run(steps())


async def insert_unless(
    session: AppSession, resource: Resource, rows: Sequence[Values], unless: Target | None
) -> list[Values | None]:
    """The same, but None in place of a row that gave way to one that is there already."""
    if not rows:
        return []
    pairs = await prepare_insert(session, resource, rows)
    with names_made_up(resource, rows):
        return await session.run(_inserting(session, resource, pairs, unless))


def _inserting(
    session: AppSession,
    resource: Resource,
    pairs: Pairs,
    unless: Target | None,
    request_ids: Sequence[str] = (),
) -> Steps[list[Values | None]]:
    """The steps of `insert_unless` for rows that are prepared."""
    statements, unit = statements_of(session), session.unit
    changes, refusal = yield from look_up(session, statements, resource, pairs)
    for change, request_id in zip_longest(changes, request_ids):
        change.new = audit.inserted(resource, change.new, unit)
        change.unit = None if request_id is None else replace(unit, request_id=request_id)
    if refusal is not None:
        raise refusal
    made = {id(change) for change in (yield from _insert(statements, resource, changes, unit, unless))}
    return [change.new if id(change) in made else None for change in changes]


@contextlib.contextmanager
def names_made_up(resource: Resource, rows: Sequence[Values]) -> Iterator[None]:
    """`fill` found free values for columns that nobody gave. Raises Unavailable where one of them is taken now."""
    try:
        yield
    except asyncpg.UniqueViolationError as exc:
        for name in resource.rule.fills:
            chosen = any(f"({name})=({row[name]})" in (exc.detail or "") for row in rows if row.get(name))
            if exc.constraint_name == f"{resource.name}_{name}_key" and not chosen:
                raise Unavailable("a row took the same name at the same time", code="40001", retry_after=1) from exc
        raise


async def prepare_insert(session: AppSession, resource: Resource, rows: Sequence[Values]) -> Pairs:
    """What the rules say of new rows by themselves. Raises BadValue, Forbidden."""
    unit, rule = session.unit, resource.rule
    require_write(unit.who, resource.name)
    if unit.who.view not in rule.inserts:
        raise audit.denied(resource)
    pairs: Pairs = []
    for row in rows:
        audit.refuse_fields(resource, row, unit, new=True)
        pairs.append((None, rule.prepare(None, dict(row), unit.who, unit.now)))
    await rule.resolve(session, pairs, unit.who, unit.now)
    return pairs


def look_up(
    session: AppSession, statements: WriteStatements, resource: Resource, pairs: Pairs
) -> Steps[tuple[list[Change], Conflict | None]]:
    """What new rows name, all at the same time: the rows that they point at, which are held before what else is locked
    (so does who removes a row with those that point at it), their links, and what fills them. The refusal of the first
    that is not there.
    """
    unit, news = session.unit, [Change(None, values) for _, values in pairs]
    absent, (changes, unlinked) = yield from together(
        parents.absent(statements, resource, news, unit),
        _completed(session, statements, resource, pairs),
    )
    return changes, absent or unlinked


def _completed(
    session: AppSession, statements: WriteStatements, resource: Resource, pairs: Pairs
) -> Steps[tuple[list[Change], Conflict | None]]:
    """What is free is looked for after rows may have been made, so that it is still free when it is taken."""
    yield from resource.rule.find_links(session, pairs)
    changes = [extras.split(resource, old, values) for old, values in pairs]
    found = _found(statements, resource, changes, session.unit)
    refusal, _ = yield from together(found, resource.rule.fill(session, pairs))
    return changes, refusal


def _found(
    statements: WriteStatements, resource: Resource, changes: list[Change], unit: audit.Unit
) -> Steps[Conflict | None]:
    try:
        yield from extras.find(statements, resource, changes, unit)
    except Conflict as exc:
        return exc
    return None


async def update(
    session: AppSession, resource: Resource, keys: Sequence[Key], values: Values, *, expect: int | None = None
) -> list[Values]:
    """Sets the same values on the rows with these keys; the rows as they are now. `expect` is the version that they
    must have (Stale).
    """
    return await update_each(session, resource, dict.fromkeys(keys, values), expect=expect)


async def update_each(
    session: AppSession, resource: Resource, values_of: Mapping[Key, Values], *, expect: int | None = None
) -> list[Values]:
    """Sets on each row, by its key, values of its own; else as `update`."""
    olds = await locked(session, resource, list(values_of))
    if expect is not None:
        refuse_stale(resource, olds, frozenset({expect}))
    return await revise(session, resource, [(old, values_of[old[resource.key[0]]]) for old in olds])


async def revise(session: AppSession, resource: Resource, given: Sequence[tuple[Row, Values]]) -> list[Values]:
    """Sets values on rows that are locked; the rows as they are now. Raises BadValue, Forbidden, Conflict."""
    if not given:
        return []
    unit, rule = session.unit, resource.rule
    require_write(unit.who, resource.name)
    pairs: Pairs = []
    for old, values in given:
        audit.refuse_fields(resource, values, unit)
        pairs.append((old, rule.prepare(old, dict(values), unit.who, unit.now)))
    await rule.resolve(session, pairs, unit.who, unit.now)
    return await session.run(_revise(session, resource, pairs))


def _revise(session: AppSession, resource: Resource, pairs: Pairs) -> Steps[list[Values]]:
    yield from resource.rule.find_links(session, pairs)
    changes = [extras.split(resource, old, new) for old, new in pairs]
    yield from _update(statements_of(session), resource, changes, session.unit)
    return [change.new for change in changes]


async def locked(
    session: AppSession, resource: Resource, keys: Sequence[Key], *, deleted: bool = False
) -> list[Values]:
    """The rows with these keys as the caller sees them, locked, in ascending key order. Raises NotFound, Forbidden."""
    statements = statements_of(session)
    (key,) = resource.key
    rows = await session.run(_locked(statements, resource, session, keys, deleted))
    if failpoints.ON:
        await failpoints.reach(Point.LOCKED)
    if missing := set(keys) - {row[key] for row, _ in rows}:
        raise missing_row(resource, min(missing))
    if not all(writable for _, writable in rows):
        raise audit.denied(resource)
    return [row for row, _ in rows]


def missing_row(resource: Resource, key: Key) -> NotFound:
    return NotFound(f"no row of {resource.name} has the id {key}", code="BRD404")


def refuse_stale(resource: Resource, rows: Iterable[Row], versions: Collection[int]) -> None:
    """Raises Stale for a row that has none of these versions."""
    for row in rows:
        if row["version"] not in versions:
            raise stale(resource, row["version"])


def stale(resource: Resource, version: int) -> Stale:
    hint = "Read the row again, then send its new version in If-Match."
    return Stale(f"the row of {resource.name} is at version {version}", hint=hint)


# ---- steps ----------------------------------------------------------------------------------------------------------


def _locked(
    statements: WriteStatements, resource: Resource, session: AppSession, keys: Sequence[Key], deleted: bool
) -> Steps[list[tuple[Values, bool]]]:
    unit = session.unit
    prepared = statements.locked(resource, unit.who.view, deleted=deleted)
    rows = yield prepared.statement((), Binds.of(unit.who, unit.now), list(keys))
    reader = statements.reader(resource.table)
    return [(reader(row), bool(row[-1])) for row in rows]


def _insert(
    statements: WriteStatements, resource: Resource, changes: list[Change], unit: audit.Unit, unless: Target | None
) -> Steps[list[Change]]:
    """Gives rows their keys, and returns those that were made."""
    if unless is None and singly.suits(statements, resource, changes):
        yield from singly.write(statements, resource, changes, unit)
        return changes
    made: list[Change] = []
    for columns, group in _by_shape(changes):
        prepared = statements.insert(resource.table, columns, unless)
        rows = yield from statements.each(prepared, [tuple(change.new.values()) for change in group])
        if unless is not None:
            group = list(_not_kept_out(statements, resource, group, rows, unless))
        for change, row in zip(group, rows, strict=True):
            change.new = dict(zip(resource.key, row, strict=False)) | change.new
        made += group
    yield from extras.write(statements, resource, made)
    yield from write_revisions(statements, resource, Operation.INSERT, made, unit)
    return made


def _not_kept_out(
    statements: WriteStatements, resource: Resource, group: list[Change], rows: Sequence[Any], unless: Target
) -> Iterator[Change]:
    """The changes to which these returned rows belong. Both come in the same order, no two have the same target, and
    a row that meets nothing is always made.
    """
    read = statements.reader(resource.table, unless.columns)
    returned = [unless.of(read(row[len(resource.key) :])) for row in rows]
    at = 0
    for change in group:
        meets = unless.of(change.new)
        if meets is None or (at < len(returned) and meets == returned[at]):
            at += 1
            yield change


def _update(statements: WriteStatements, resource: Resource, changes: list[Change], unit: audit.Unit) -> Steps[None]:
    yield from parents.refuse_absent(statements, resource, changes, unit)
    yield from extras.find(statements, resource, changes, unit)
    moved = []
    for change in changes:
        old = change.old
        assert old is not None
        written = audit.updated(resource, old, change.new, unit, linked=bool(change.links or change.owned))
        change.new = {**old, **written}
        if written:
            moved.append((change, written))
    yield from write_columns(statements, resource, moved)
    yield from extras.write(statements, resource, [change for change, _ in moved])
    yield from write_revisions(statements, resource, Operation.UPDATE, [change for change, _ in moved], unit)


def write_columns(statements: WriteStatements, resource: Resource, moved: list[tuple[Change, Values]]) -> Steps[None]:
    """UPDATE ... WHERE key AND version, one statement text for each set of columns. Raises Unavailable where a row
    moved under us.
    """
    match = (*resource.key, "version") if resource.has(Versioned) else resource.key
    shapes: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for change, written in moved:
        assert change.old is not None
        arguments = (*written.values(), *(change.old[name] for name in match))
        shapes.setdefault(tuple(written), []).append(arguments)
    for columns, arguments_of in shapes.items():
        done = yield from statements.each(statements.update(resource.table, columns, match), arguments_of)
        if len(done) != len(arguments_of):
            raise Unavailable("the row was changed at the same time", code="40001", retry_after=1)


def write_revisions(
    statements: WriteStatements, resource: Resource, operation: Operation, changes: Iterable[Change], unit: audit.Unit
) -> Steps[None]:
    rows = []
    for change in changes:
        new = None if operation is Operation.PURGE else change.new
        row = audit.revision(resource, operation, change.old, new, change.shown, change.unit or unit)
        if row is not None:
            rows.append(row)
    if rows:
        prepared = statements.insert(Revision.__table__, tuple(rows[0]))  # type: ignore[arg-type]  # a Table
        yield from statements.each(prepared, [tuple(row.values()) for row in rows])


def _by_shape(changes: list[Change]) -> Iterable[tuple[tuple[str, ...], list[Change]]]:
    """Changes that write the same columns. Complete rows do, so this is one group but for keys given by the system."""
    shapes: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        shapes.setdefault(tuple(change.new), []).append(change)
    return shapes.items()
