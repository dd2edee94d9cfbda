"""Times from foreign files, as aware UTC. A time without an offset is taken as UTC, a bare date as its midnight."""

import re
from datetime import UTC, date, datetime, timedelta

from app.importers.records import Refused
from app.importers.text import shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# ISO 8601 as it is written by hand and by generators: one-digit months, a space for the T, a space before the offset.
_WRITTEN = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[Tt\s]\s*(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?\s*(Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)


def utc_from(value: object) -> datetime:
    """Turn a datetime, a date or a text into a time. Raises Refused for everything else and for 2019-13-45."""
    match value:
        case datetime():
            return _utc(value)
        case date():
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        case str():
            return _parsed(value.strip())
        case _:
            raise Refused(f"a date is expected, not {type(value).__name__}")


def utc_from_milliseconds(value: int | float) -> datetime:
    """Milliseconds since 1970, as the first Ghost versions wrote them."""
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except (OverflowError, ValueError) as error:
        raise Refused("a number of milliseconds is no date") from error


def utc_from_day(year: str, month: str, day: str) -> datetime:
    """Midnight of a day that a path names."""
    return _parsed(f"{year}-{month}-{day}")


def _parsed(text: str) -> datetime:
    written = _WRITTEN.fullmatch(text)
    if not written:
        raise _no_date(text)
    year, month, day, hour, minute, second, offset = written.groups()
    clock = f"{(hour or '00'):0>2}:{minute or '00'}:{second or '00'}"
    zone = "+00:00" if offset in (None, "Z", "z", "UTC") else offset
    try:
        return _utc(datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{clock}{zone}"))
    except ValueError as error:
        raise _no_date(text) from error


def _utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:  # 0001-01-01T00:00+01:00 lies before the first year
        raise _no_date(value.isoformat()) from error


def _no_date(text: str) -> Refused:
    return Refused(f"{shown(text)} is no date")
