"""Text and JSON -> Python value, by column type; one row for each type that a model may use. The rules are
PostgreSQL's, on both databases.

`operand(type, text)` reads what a filter compares with, which may be a word such as `now`; `literal(type, text)` any
other text; `from_json(type, value)` a decoded value of a body. All raise BadValue with PostgreSQL's code and text. How
a stored value becomes JSON is the other direction: `query/encoder.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, Boolean, Date, Enum, Integer, Numeric, String, Uuid
from sqlalchemy.types import TypeEngine

from app.data import checks
from app.data.base import Json, UtcTime
from app.errors import BadValue

# ASCII: white space is PostgreSQL's six characters
INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
NUMBER = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?\s*", re.ASCII)
TIME = re.compile(
    r"\s*(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?:(:\d{2})(\.\d+)?)?)?\s*(Z|z|[+-]\d{2}(?::?\d{2})?)?\s*", re.ASCII
)
UUID_TEXT = re.compile(r"\{?[0-9a-fA-F]{4}(-?[0-9a-fA-F]{4}){7}\}?")
TIMES = (UtcTime, Date)
TEXTS = (Enum, String)
BOOLEANS = ("true", "false", "yes", "no", "on", "off")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that is known when a plan runs: the present, or the midnight that is `days` away from today's in a
    zone.
    """

    days: int | None
    whole_day: bool  # a date, no time
    zone: tzinfo = UTC

    def at(self, now: datetime) -> datetime | date:
        now = now.astimezone(self.zone)
        if self.days is not None:
            now = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=self.days)
        return now.date() if self.whole_day else now


# The zone of times that are written without one. A request may prefer another than UTC.
ZONE: ContextVar[tzinfo] = ContextVar("zone", default=UTC)

MOMENTS: Mapping[str, int | None] = {"now": None, "now()": None, "today": 0, "yesterday": -1, "tomorrow": 1}
# No such time can be stored (`from_json`), so these are larger and smaller than everything; asyncpg sends them as
# PostgreSQL's own infinities.
EDGES: Mapping[str, datetime] = {
    "infinity": datetime.max.replace(tzinfo=UTC),
    "-infinity": datetime.min.replace(tzinfo=UTC),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """How one column type reads. `name` is PostgreSQL's; `filterable` types have `=` and an order; `example` is for
    hints.
    """

    name: str
    literal: Callable[[str], Any]
    example: str
    filterable: bool = True


def kind_of(type_: TypeEngine[Any]) -> Kind:
    """The row of a type. KeyError for one that models may not use: the catalog's check asks at start."""
    if isinstance(type_, String) and type_.length is not None:
        return VARYING
    for class_, kind in KINDS.items():
        if isinstance(type_, class_):
            return kind
    raise KeyError(f"{type_!r} is no column type that can be served")


def operand(type_: TypeEngine[Any], text: str) -> Any:
    """What a filter compares with: a Python value of the column, or a Moment."""
    if isinstance(type_, TIMES):
        word, whole_day = text.strip().lower(), isinstance(type_, Date)
        if word in MOMENTS:
            return Moment(MOMENTS[word], whole_day, ZONE.get())
        if word in EDGES:
            return EDGES[word].date() if whole_day else EDGES[word]
    return literal(type_, text)


def resolved(values: tuple[Any, ...], now: datetime) -> tuple[Any, ...]:
    """The values of a plan with its moments in place."""
    return tuple(
        value.at(now) if isinstance(value, Moment) else resolved(value, now) if isinstance(value, tuple) else value
        for value in values
    )


def literal(type_: TypeEngine[Any], text: str) -> Any:
    """A text as the column's Python value, whatever the time."""
    value = kind_of(type_).literal(text)
    if not isinstance(type_, TEXTS):
        checks.fits(type_, value)
    return value


def from_json(type_: TypeEngine[Any], value: Any) -> Any:
    """A decoded JSON value as the column's Python value. None stays None. Source: dialect 1.13."""
    if value is None or isinstance(type_, Json):
        return value
    kind = kind_of(type_)
    if isinstance(type_, String):
        return value if isinstance(value, str) else _as_text(value)
    if isinstance(value, str):
        return checks.storable(kind.literal(value))
    if isinstance(value, bool):
        if isinstance(type_, Boolean):
            return value
    elif isinstance(type_, Boolean) and isinstance(value, int) and value in (0, 1):
        return bool(value)
    elif isinstance(value, int | float) and isinstance(type_, Integer | Numeric):
        return kind.literal(_as_text(value))
    raise _invalid(kind.name, _as_text(value), kind.example)


def _as_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _invalid(name: str, text: str, example: str, code: str = "22P02") -> BadValue:
    shown = text if len(text) <= 60 else text[:60] + "..."
    return BadValue(
        f'invalid input syntax for type {name}: "{shown}"', code=code, hint=f"Send a value such as {example}."
    )


def _integer(name: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not INTEGER.fullmatch(text):
            raise _invalid(name, text, "42")
        if len(text) > 40:
            raise BadValue(f'value "{text.strip()[:40]}..." is out of range for type {name}', code="22003")
        return int(text)

    return read


def _numeric(text: str) -> Decimal:
    if not NUMBER.fullmatch(text) or len(text) > 200:
        raise _invalid("numeric", text, "12.50")
    return Decimal(text.strip())


def _boolean(text: str) -> bool:
    word = text.strip(" \t\n\v\f\r").lower()
    if word in ("1", "0"):
        return word == "1"
    found = [b for b in BOOLEANS if word and b.startswith(word)]
    if len(found) != 1:
        raise _invalid("boolean", text, "true")
    return found[0] in ("true", "yes", "on")


def _text(text: str) -> str:
    return text


def _time(text: str) -> datetime:
    """ISO 8601 with `T` or a space; a missing zone is the request's, a bare date midnight, fractions are rounded to
    microseconds.
    """
    name = "timestamp with time zone"
    if (found := TIME.fullmatch(text)) is None:
        raise _invalid(name, text, "2026-01-31T12:00:00Z", "22007")
    day, minute, second, fraction, zone = found.groups()
    offset = "" if zone is None else "+00:00" if zone in "Zz" else zone if len(zone) > 3 else f"{zone}:00"
    try:
        whole = datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}{offset}")
        whole = (whole if offset else whole.replace(tzinfo=ZONE.get())).astimezone(UTC)
        return whole + timedelta(microseconds=round(float(fraction or 0) * 1_000_000))
    except (ValueError, OverflowError):
        raise BadValue(f'date/time field value out of range: "{text}"', code="22008") from None


def _date(text: str) -> date:
    if not re.fullmatch(r"\s*\d{4}-\d{2}-\d{2}\s*", text, re.ASCII):
        raise _invalid("date", text, "2026-01-31", "22007")
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise BadValue(f'date/time field value out of range: "{text}"', code="22008") from None


def _uuid(text: str) -> UUID:
    if not UUID_TEXT.fullmatch(text):
        raise _invalid("uuid", text, "00000000-0000-4000-8000-000000000000")
    return UUID(text)


VARYING = Kind("character varying", _text, '"text"')
# Order matters: the first class that matches (BigInteger is an Integer, Enum is a String).
KINDS: Mapping[type[Any], Kind] = {
    BigInteger: Kind("bigint", _integer("bigint"), "42"),
    Integer: Kind("integer", _integer("integer"), "42"),
    Boolean: Kind("boolean", _boolean, "true"),
    Enum: VARYING,
    Json: Kind("json", _text, "{}", filterable=False),
    UtcTime: Kind("timestamp with time zone", _time, "2026-01-31T12:00:00Z"),
    Date: Kind("date", _date, "2026-01-31"),
    Uuid: Kind("uuid", _uuid, "00000000-0000-4000-8000-000000000000"),
    Numeric: Kind("numeric", _numeric, "12.50"),
    String: Kind("text", _text, '"text"'),
}
