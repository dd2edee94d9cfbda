"""What the operators of filters mean, in three-valued logic over plain values: the evaluator's half that knows no
tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.query.asks import Test, Word

Truth = bool | None


def opposite(truth: Truth) -> Truth:
    return None if truth is None else not truth


def any_of(truths: Iterable[Truth]) -> Truth:
    found = list(truths)
    return True if True in found else None if None in found else False


def all_of(truths: Iterable[Truth]) -> Truth:
    return opposite(any_of(opposite(truth) for truth in truths))


def holds(have: Any, test: Test, now: datetime) -> Truth:
    """A test without its negation."""
    if test.operator == "is":
        return {"null": have is None, "not_null": have is not None, "unknown": have is None}.get(
            test.operand, have is (test.operand == "true")
        )
    if test.operator == "in":
        return any_of(compared("eq", have, value, now) for value in test.operand)
    if test.option:
        found = [compared(test.operator, have, value, now) for value in test.operand]
        return any_of(found) if test.option == "any" else all_of(found)
    return compared(test.operator, have, test.operand, now)


def compared(operator: str, have: Any, value: Any, now: datetime) -> Truth:
    value = moment(value, now)
    if operator == "isdistinct":
        return bool(have != value)
    if have is None or value is None:
        return None
    match operator:
        case "eq":
            return bool(have == value)
        case "neq":
            return bool(have != value)
        case "gt":
            return bool(have > value)
        case "gte":
            return bool(have >= value)
        case "lt":
            return bool(have < value)
        case "lte":
            return bool(have <= value)
        case "like":
            return like(have, value)
        case "ilike":
            return like(have.lower(), value.lower())
    return re.search(value, have, re.IGNORECASE if operator == "imatch" else 0) is not None


def moment(value: Any, now: datetime) -> Any:
    if not isinstance(value, Word):
        return value
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "now": now,
        "now()": now,
        "today": midnight,
        "yesterday": midnight - timedelta(days=1),
        "tomorrow": midnight + timedelta(days=1),
        "infinity": datetime.max.replace(tzinfo=UTC),
        "-infinity": datetime.min.replace(tzinfo=UTC),
    }[value.name]


def like(text: str, pattern: str) -> bool:
    out, signs = [], iter(pattern)
    for sign in signs:
        if sign == "\\":
            out.append(re.escape(next(signs)))
        elif sign in "*%":
            out.append(".*")
        else:
            out.append("." if sign == "_" else re.escape(sign))
    return re.fullmatch("".join(out), text, re.DOTALL) is not None
