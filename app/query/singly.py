"""New rows, each with its links and its revision in one statement on PostgreSQL: the meaning of `writer.insert`, in one
round trip.

The revision holds the key that the same statement makes, so its JSON is put together there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, CTE, Column, Insert, Select, Table, Text, cast, func, insert, select
from sqlalchemy.dialects.postgresql import JSON

from app.data import audit
from app.data.audit import Operation, Revision, Unit
from app.data.base import dumps
from app.data.catalog import Relation, Resource
from app.data.rules import Links
from app.data.steps import Steps
from app.query.driver import Prepared, prepare, slot
from app.query.extras import Change
from app.query.statements import WriteStatements

REVISIONS: Table = Revision.__table__  # type: ignore[assignment]  # a Table
KEYED = ("row_id", "changes")  # the columns of a revision that hold the key
RECORDED = tuple(column.name for column in REVISIONS.columns if not column.primary_key and column.name not in KEYED)
NOWHERE = -1  # stands for the key until it is made


def suits(statements: WriteStatements, resource: Resource, changes: Sequence[Change]) -> bool:
    """Whether these are rows of one shape whose keys the database makes, without rows of one-to-one tables."""
    column = resource.table.autoincrement_column
    if statements.sqlite or column is None or any(change.owned or column.name in change.new for change in changes):
        return False
    return len({(tuple(change.new), tuple(change.links)) for change in changes}) == 1


def write(statements: WriteStatements, resource: Resource, changes: Sequence[Change], unit: Unit) -> Steps[None]:
    """Gives the rows their keys."""
    (key,), columns, linked = resource.key, tuple(changes[0].new), tuple(changes[0].links)
    revised = resource.rule.revised
    name = ("singly", resource.name, columns, linked, revised)
    prepared = statements.once(name, lambda: _prepared(statements, resource, columns, linked, revised=revised))
    made = yield from statements.each(prepared, [_values(resource, change, linked, unit) for change in changes])
    for change, (number,) in zip(changes, made, strict=True):
        change.new = {key: number} | change.new


def _values(resource: Resource, change: Change, linked: tuple[str, ...], unit: Unit) -> tuple[Any, ...]:
    (key,), values = resource.key, [*change.new.values(), *(change.links[field][1] for field in linked)]
    new = {key: NOWHERE} | change.new
    row = audit.revision(resource, Operation.INSERT, None, new, change.shown, change.unit or unit)
    if row is not None:
        values += [*(row[name] for name in RECORDED), *_around(row["changes"], key)]
    return tuple(values)


def _around(changes: dict[str, Any], key: str) -> tuple[str, str]:
    """The JSON of a revision before and behind the key, which stands in [null, key]."""
    names = list(changes)
    if key not in changes:
        return dumps(changes), ""
    at = names.index(key)
    before = dumps({name: changes[name] for name in names[:at]})[:-1]
    behind = dumps({name: changes[name] for name in names[at + 1 :]})[1:]
    comma = "," if len(before) > 1 else ""
    return f"{before}{comma}{dumps(key)}:[null,", f"]{',' if len(behind) > 1 else ''}{behind}"


def _prepared(
    statements: WriteStatements, resource: Resource, columns: tuple[str, ...], linked: tuple[str, ...], *, revised: bool
) -> Prepared:
    table, (key,) = resource.table, resource.table.primary_key
    values = {name: slot(i, table.c[name].type) for i, name in enumerate(columns)}
    made = insert(table).values(values).returning(key).cte("made")
    parts, lists = [], {}
    for i, field in enumerate(linked, start=len(columns)):
        extra, _ = resource.rule.extra[field]
        assert isinstance(extra, Links)
        parts.append(_links(resource.relations[extra.relation], made, i))
        lists[f"v{i}"] = key.type
    if revised:
        parts.append(_revision(made, key, len(columns) + len(linked)))
    whole: Select[Any] = select(made.c[key.name])
    for number, part in enumerate(parts):
        whole = whole.add_cte(part.cte(f"part_{number}"))
    return prepare(whole, statements.dialect, lists)


def _links(relation: Relation, made: CTE, at: int) -> Insert:
    junction = relation.secondary
    assert junction is not None
    far = func.unnest(slot(at, ARRAY(junction.c[relation.far].type)))
    rows = select(made.c[relation.local], far)
    return insert(junction).from_select([relation.near, relation.far], rows)


def _revision(made: CTE, key: Column[Any], at: int) -> Insert:
    plain = [slot(at + i, REVISIONS.c[name].type) for i, name in enumerate(RECORDED)]
    id = cast(made.c[key.name], Text)
    before, behind = (slot(at + len(RECORDED) + i, Text()) for i in range(2))
    changes = cast(func.concat(before, id, behind), JSON)
    return insert(REVISIONS).from_select([*RECORDED, *KEYED], select(*plain, id, changes))
