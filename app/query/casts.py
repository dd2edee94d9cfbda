"""`column::type` in `select`: JSON values into the JSON of another type, with PostgreSQL's results, in Python for both
databases.

`jsonb` is `json` here: the same value, as it was written. A cast that cannot be (42846) is refused when the plan is
made; a value that does not fit (22P02, 22003) when it is met.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Date, Integer, Numeric, Uuid
from sqlalchemy.types import TypeEngine

from app.data.base import UtcTime
from app.errors import BadQuery, BadValue
from app.query import floats
from app.query.values import TIME as TIME_TEXT
from app.query.values import kind_of, literal

Convert = Callable[[Any], Any]

# What may be written -> PostgreSQL's own name.
NAMES = {
    "text": "text",
    "varchar": "text",
    "int": "integer",
    "integer": "integer",
    "int4": "integer",
    "int8": "bigint",
    "bigint": "bigint",
    "smallint": "smallint",
    "numeric": "numeric",
    "decimal": "numeric",
    "float8": "double precision",
    "double precision": "double precision",
    "real": "real",
    "boolean": "boolean",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "json": "json",
    "jsonb": "json",
    "uuid": "uuid",
}
WHOLE = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
NUMBERS = frozenset({*WHOLE, "numeric", "double precision", "real"})
TEXTS = ("text", "character varying")
# The types that each kind of column may become, besides itself and text.
ALLOWED: dict[str, frozenset[str]] = {
    "bigint": NUMBERS,
    "integer": NUMBERS | {"boolean"},
    "numeric": NUMBERS,
    "boolean": frozenset({"integer"}),
    "timestamp with time zone": frozenset({"date", "timestamp without time zone"}),
    "date": frozenset({"timestamp without time zone", "timestamp with time zone"}),
    "uuid": frozenset(),
    "json": frozenset(),
    "text": frozenset(NAMES.values()),
    "character varying": frozenset(NAMES.values()),
}
PARSED: dict[str, TypeEngine[Any]] = {
    "integer": Integer(),
    "bigint": BigInteger(),
    "numeric": Numeric(),
    "boolean": Boolean(),
    "date": Date(),
    "timestamp with time zone": UtcTime(),
    "uuid": Uuid(),
}
NO_NUMBERS = {"nan": "NaN", "inf": "Infinity", "infinity": "Infinity", "-inf": "-Infinity", "-infinity": "-Infinity"}
NO_NUMBERS |= {"+inf": "Infinity", "+infinity": "Infinity"}
TIME = re.compile(r"(\d{4}-\d{2}-\d{2})T(.*)\+00:00")


def target_of(cast: str, type_: TypeEngine[Any]) -> str:
    """The name of the type that a column is cast to. Raises BadQuery 42704 for an unknown type, 42846 for no such
    cast.
    """
    name = NAMES.get(cast)
    if name is None:
        raise BadQuery(f'type "{cast}" does not exist', code="42704", hint=f"One of {', '.join(sorted(NAMES))}.")
    kind = kind_of(type_).name
    if name not in ("text", kind) and name not in ALLOWED[kind]:
        raise BadQuery(f"cannot cast type {kind} to {name}", code="42846")
    return name


def caster(type_: TypeEngine[Any], target: str) -> Convert | None:
    """JSON value of a column -> JSON value of the target; None where they are the same. NULL never comes here."""
    kind = kind_of(type_).name
    if kind == target or (target == "text" and kind in (*TEXTS, "uuid", "date")):
        return None
    if target == "text":
        return _TO_TEXT[kind]
    if kind in TEXTS:
        return _from_text(target)
    return _to_number(target) if target in NUMBERS and kind != "boolean" else _OTHERS[kind, target]


def number_of(value: Any) -> Decimal:
    """The number in a JSON value: an int, a Decimal, or the text of a numeric."""
    return Decimal(bytes(value).decode()) if isinstance(value, msgspec.Raw) else Decimal(value)


def _to_number(target: str) -> Convert:
    def whole(value: Any) -> int:
        number = int(number_of(value).to_integral_value(ROUND_HALF_UP))
        if not -WHOLE[target] <= number < WHOLE[target]:
            raise BadQuery(f"{target} out of range", code="22003")
        return number

    if target in WHOLE:
        return whole
    return (lambda value: value) if target == "numeric" else (lambda value: _float(number_of(value), target))


def _float(number: Decimal, target: str) -> msgspec.Raw:
    return msgspec.Raw(floats.written(number, target).encode())


def _from_text(target: str) -> Convert:
    def convert(text: str) -> Any:
        try:
            return _parsed(target, text)
        except BadValue as exc:
            raise BadQuery(exc.message, code=exc.code) from None

    return convert


def _parsed(target: str, text: str) -> Any:
    word = text.strip().lower()
    if target in ("numeric", "double precision", "real"):
        if word in NO_NUMBERS:
            return NO_NUMBERS[word]
        number: Decimal = literal(PARSED["numeric"], text)
        if target != "numeric":
            return _float(number, target)
        return msgspec.Raw(format(number if number else abs(number), "f").encode())
    match target:
        case "json":
            return _json(text)
        case "smallint":
            return _to_number("smallint")(literal(PARSED["integer"], text))
        case "timestamp without time zone":
            return _iso(literal(PARSED["timestamp with time zone"], _without_zone(text)))[:-6]
        case "timestamp with time zone":
            return _iso(literal(PARSED[target], text))
        case "date":
            return _iso(literal(PARSED["timestamp with time zone"], _without_zone(text)))[:10]
        case "uuid":
            return str(literal(PARSED[target], text))
        case _:
            return literal(PARSED[target], text)


def _without_zone(text: str) -> str:
    """These types take the time as it stands, whatever its zone."""
    found = TIME_TEXT.fullmatch(text)
    return text if found is None or found[5] is None else text[: found.start(5)]


def _json(text: str) -> msgspec.Raw:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise BadQuery("invalid input syntax for type json", code="22P02") from None
    return msgspec.Raw(text.encode())


def _iso(time: Any) -> str:
    text = str(time.replace(tzinfo=None).isoformat())
    return (text.rstrip("0") if time.microsecond else text) + "+00:00"


def _time_as_text(value: str) -> str:
    found = TIME.fullmatch(value)
    return f"{found[1]} {found[2]}+00" if found else value


def _raw_as_text(value: Any) -> str:
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else msgspec.json.encode(value).decode()


_TO_TEXT: dict[str, Convert] = {
    "bigint": str,
    "integer": str,
    "numeric": _raw_as_text,
    "boolean": lambda value: "true" if value else "false",
    "timestamp with time zone": _time_as_text,
    "json": _raw_as_text,
}
_OTHERS: dict[tuple[str, str], Convert] = {
    ("integer", "boolean"): bool,
    ("boolean", "integer"): int,
    ("timestamp with time zone", "date"): lambda value: value[:10],
    ("timestamp with time zone", "timestamp without time zone"): lambda value: value[:-6],
    ("date", "timestamp without time zone"): lambda value: f"{value}T00:00:00",
    ("date", "timestamp with time zone"): lambda value: f"{value}T00:00:00+00:00",
}
