"""Does a Python value fit its column? The same refusals on both databases, with PostgreSQL's codes and texts, before
any statement.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Enum, Integer, Numeric
from sqlalchemy.types import TypeEngine

from app.data.base import UtcTime
from app.data.catalog import ColumnInfo, Resource
from app.data.rules import Row
from app.errors import BadValue

INT4 = 2**31
INT8 = 2**63
# The first and the last moment that Python knows: the driver of PostgreSQL writes them as infinities.
UNSTORABLE = frozenset({datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), date.max, date.min})


def row(resource: Resource, values: Row) -> None:
    """Refuses the row with all that is wrong: the first as message, every one in `details`. Raises BadValue."""
    problems = [p for name, value in values.items() if (p := problem(resource, resource.columns[name], value))]
    refuse(problems)


def refuse(problems: list[BadValue]) -> None:
    if not problems:
        return
    first = problems[0]
    details = "; ".join(p.message for p in problems) if len(problems) > 1 else first.details
    raise BadValue(first.message, code=first.code, details=details, hint=first.hint)


def problem(resource: Resource, column: ColumnInfo, value: Any) -> BadValue | None:
    """What is wrong with one value, or None."""
    if value is None:
        return None if column.nullable or column.name in resource.key else missing(resource, column.name)
    try:
        fits(column.type, value)
    except BadValue as exc:
        hint = exc.hint or f'see column "{column.name}" of "{resource.name}"'
        return BadValue(exc.message, code=exc.code, details=exc.details, hint=hint)
    if isinstance(column.type, Enum) and str(value) not in column.type.enums:
        name = f"{resource.name}_{column.type.name}_check"
        text = f'new row for relation "{resource.name}" violates check constraint "{name}"'
        return BadValue(text, code="23514", hint=f"{column.name} is one of {', '.join(column.type.enums)}")
    return None


def missing(resource: Resource, name: str) -> BadValue:
    return BadValue(
        f'null value in column "{name}" of relation "{resource.name}" violates not-null constraint', code="23502"
    )


def fits(type_: TypeEngine[Any], value: Any) -> None:
    """Length, range, NUL, surrogates, zone. Raises BadValue."""
    if isinstance(value, str):
        characters(value)
        longest = None if isinstance(type_, Enum) else getattr(type_, "length", None)
        if longest is not None and len(value) > longest:
            raise BadValue(f"value too long for type character varying({longest})", code="22001")
    elif isinstance(type_, Integer):
        big = isinstance(type_, BigInteger)
        most = INT8 if big else INT4
        if not -most <= value < most:
            kind = "bigint" if big else "integer"
            raise BadValue(f'value "{value}" is out of range for type {kind}', code="22003")
    elif isinstance(type_, Numeric):
        whole = None if type_.precision is None or type_.scale is None else type_.precision - type_.scale
        if whole is not None and abs(Decimal(value)) >= Decimal(10) ** whole:
            raise BadValue("numeric field overflow", code="22003")
    elif isinstance(type_, UtcTime):
        if isinstance(value, datetime) and value.tzinfo is None:
            raise BadValue("a time without a zone cannot be stored", code="22007")
        storable(value)


def storable(value: Any) -> Any:
    """The value, unless it is a moment that cannot be stored. Raises BadValue 22008."""
    if value in UNSTORABLE:
        raise BadValue(f'date/time field value out of range: "{value}"', code="22008")
    return value


def characters(text: str) -> None:
    """Refuses what PostgreSQL cannot store as text: U+0000 and lone surrogates. Raises BadValue."""
    if "\x00" in text:
        raise BadValue(
            'invalid byte sequence for encoding "UTF8": 0x00', code="22021", hint="Remove the NUL character."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue("unsupported Unicode escape sequence", code="22P05", hint="Remove the lone surrogate.") from None
