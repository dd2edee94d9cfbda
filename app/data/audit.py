"""The one place that turns (resource, old row or None, new values, unit of work) into what is written and into its
revision. Pure.

Two callers: `AppSession` for entities, `query/writer.py` for rows without entities. Rows are plain dicts of Python
values by column name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, Integer, Table
from sqlalchemy.orm import Mapped, mapped_column

from app.data import checks
from app.data.base import Audited, Base, BigId, Json, SoftDeleted, Timestamps, UtcTime, Versioned, string
from app.data.catalog import Resource
from app.data.rules import Principal, Role, Row, Values
from app.errors import Forbidden

# Kept beside every revision already (`at`, `actor_id`, `version`), so not repeated among the changes of an update.
BOOKKEEPING = frozenset({"updated_at", "updated_by", "version"})

PLAIN = frozenset({str, int, bool, float, type(None)})  # types of values that are JSON already
PURGES = frozenset({Role.ADMIN})  # the views that may delete rows for good


class Operation(StrEnum):
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"


class Revision(Base):
    """One change of one row. `changes` maps column -> [old, new]; `row_id` is the primary key, parts joined by a
    comma.
    """

    __tablename__ = "revisions"
    __table_args__ = (Index(None, "table_name", "row_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    key_id: Mapped[str | None] = mapped_column(string(32))
    request_id: Mapped[str | None] = mapped_column(string(128))
    table_name: Mapped[str] = mapped_column(string(63))
    row_id: Mapped[str] = mapped_column(string(100))
    version: Mapped[int | None] = mapped_column(Integer)
    operation: Mapped[str] = mapped_column(string(16))
    changes: Mapped[Any] = mapped_column(Json)


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of work: who acts, the one clock reading for all stamps, the request that asked."""

    who: Principal
    now: datetime
    request_id: str | None = None


def inserted(resource: Resource, values: Values, unit: Unit) -> Values:
    """The complete row to insert, without a key that the database makes. Raises BadValue, Forbidden."""
    refuse_guarded(resource, {}, values)
    blank = _blank(resource.model)
    row: Values = {}
    for name, make in blank.columns:
        if name in values:
            row[name] = values[name]
        elif make is not None:
            row[name] = make(None)
    for name in blank.times:
        if row[name] is None:
            row[name] = unit.now
    for name in blank.actors:
        if row[name] is None:
            row[name] = unit.who.user_id
    if blank.versioned:
        row["version"] = 1
    checks.row(resource, row)
    _admit(resource, unit, row)
    return row


@dataclass(frozen=True, slots=True)
class _Blank:
    """A new row of a model before anything is given: its columns, each with what makes its default, or None where the
    database makes the value; then those that are stamped unless they are given.
    """

    columns: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    times: tuple[str, ...]
    actors: tuple[str, ...]
    versioned: bool


@lru_cache(maxsize=256)
def _blank(model: type[Base]) -> _Blank:
    table = model.__table__
    assert isinstance(table, Table)
    columns = tuple((c.name, None if c is table.autoincrement_column else _maker(c)) for c in table.columns)
    times = {"created_at"} | ({"updated_at"} if issubclass(model, Timestamps) else set())
    return _Blank(
        columns,
        tuple(c.name for c in table.columns if c.name in times),
        tuple(c.name for c in table.columns if c.name in ("created_by", "updated_by")),
        issubclass(model, Versioned),
    )


def _maker(column: Column[Any]) -> Callable[[Any], Any]:
    default: Any = column.default
    if default is None:
        return lambda _: None
    return default.arg if default.is_callable else lambda _: default.arg


def updated(resource: Resource, old: Row, values: Values, unit: Unit, *, linked: bool = False) -> Values:
    """The columns to write, with stamps and the next version; empty if nothing changes. `linked` says that links
    change. Raises as `inserted`.
    """
    refuse_guarded(resource, old, values)
    changed = {name: value for name, value in values.items() if old[name] != value}
    if not changed and not linked:
        return {}
    checks.row(resource, changed)
    _admit(resource, unit, old)
    _admit(resource, unit, {**old, **changed})
    return changed | stamped(resource, old, unit)


def removed(resource: Resource, old: Row, unit: Unit) -> Values:
    """The columns that a soft delete writes. Raises what the rule's `may_remove` raises, Forbidden."""
    if unit.who.view not in resource.rule.removes:
        raise denied(resource)
    resource.rule.may_remove(old)
    _admit(resource, unit, old)
    return {"deleted_at": unit.now} | stamped(resource, old, unit)


def stamped(resource: Resource, old: Row, unit: Unit) -> Values:
    """Stamps, actor and next version of a change."""
    stamps: Values = {}
    if resource.has(Timestamps):
        stamps["updated_at"] = unit.now
    if resource.has(Audited):
        stamps["updated_by"] = unit.who.user_id
    if resource.has(Versioned):
        stamps["version"] = old["version"] + 1
    return stamps


def revision(
    resource: Resource, operation: Operation, old: Row | None, new: Row | None, links: Mapping[str, Any], unit: Unit
) -> Values | None:
    """The row for `revisions`, or None where the model keeps none. `links` maps a field to its [old, new] names."""
    if not resource.rule.revised:
        return None
    row = new if new is not None else old
    assert row is not None
    return {
        "at": unit.now,
        "actor_id": unit.who.user_id,
        "key_id": unit.who.key_id,
        "request_id": unit.request_id,
        "table_name": resource.name,
        "row_id": row_id(resource, row),
        "version": row.get("version"),
        "operation": operation.value,
        "changes": _changes(resource, operation, old, new) | dict(links),
    }


def _changes(resource: Resource, operation: Operation, old: Row | None, new: Row | None) -> dict[str, Any]:
    kept = [name for name in resource.columns if name not in resource.rule.guarded]
    if old is None:
        assert new is not None
        return {name: [None, value if type(value := new[name]) in PLAIN else json_form(value)] for name in kept}
    if new is None:
        return {name: [json_form(old[name]), None] for name in kept}
    return {
        name: [json_form(old[name]), json_form(new[name])]
        for name in kept
        if name not in BOOKKEEPING and old[name] != new[name]
    }


def row_id(resource: Resource, row: Row) -> str:
    return ",".join(str(row[name]) for name in resource.key)


def json_form(value: Any) -> Any:
    """A column's Python value as the JSON that clients see. Source: dialect 1.4."""
    if type(value) in PLAIN:
        return value
    match value:
        case datetime():
            iso = (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat()
            return iso[:-6].rstrip("0") + "+00:00" if value.microsecond else iso
        case Enum():
            return value.value
        case UUID() | Decimal():
            return str(value)
        case _:
            return value.isoformat() if hasattr(value, "isoformat") else value


def denied(resource: Resource) -> Forbidden:
    return Forbidden(f"permission denied for table {resource.name}")


def default_of(resource: Resource, name: str) -> Any:
    """The model's Python default of a column, or None."""
    default = resource.table.c[name].default
    if default is None:
        return None
    return default.arg(None) if default.is_callable else default.arg  # type: ignore[attr-defined]  # scalar or callable


def refuse_fields(resource: Resource, names: Mapping[str, Any], unit: Unit, *, new: bool = False) -> None:
    """Refuses columns that the caller may not write. The system writes all but guarded ones. Raises Forbidden."""
    if unit.who.role is Role.SYSTEM:
        return
    if wrong := sorted(set(names) - resource.rule.writes(unit.who.view, new=new)):
        raise Forbidden(f"permission denied for column {wrong[0]} of table {resource.name}")


def refuse_guarded(resource: Resource, old: Row, values: Values) -> None:
    for name in resource.rule.guarded & values.keys():
        before = old[name] if name in old else default_of(resource, name)
        if values[name] is not None and values[name] != before:
            raise Forbidden(f'column "{name}" of relation "{resource.name}" changes only through an action')


def _admit(resource: Resource, unit: Unit, row: Row) -> None:
    if not resource.rule.admits(unit.who, row):
        raise Forbidden(f'new row violates row-level security policy for table "{resource.name}"')


def is_soft(resource: Resource) -> bool:
    """Whether rows are removed by a stamp instead of a DELETE."""
    return resource.has(SoftDeleted)
