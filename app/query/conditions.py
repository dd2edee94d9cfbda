"""How each operator becomes SQL, and how the terms of a plan are put together. The other half of `operators.py`.

The expressions mean the same on both databases: NULL in, NULL out, text compared byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Enum, String, and_, collate, false, func, literal, not_, or_, true
from sqlalchemy.types import TypeEngine

from app.data import regex
from app.errors import BadQuery
from app.query.driver import slot, unbounded
from app.query.plan import Cond

Compare = Callable[[Any, Any, bool], ColumnElement[bool]]


def _like(column: Any, pattern: Any, sqlite: bool) -> ColumnElement[bool]:
    return column.like(pattern, escape="\\")  # type: ignore[no-any-return]  # SQLite has no escape unless it is named


def _ilike(column: Any, pattern: Any, sqlite: bool) -> ColumnElement[bool]:
    """By Unicode's simple lower case, which needs a collation that knows it: "C" folds ASCII alone."""
    if sqlite:
        return func.lower(column).like(func.lower(pattern), escape="\\")
    return func.lower(collate(column, "default")).like(func.lower(collate(pattern, "default")), escape="\\")


def _match(column: Any, pattern: Any, sqlite: bool, *, ignore_case: bool = False) -> ColumnElement[bool]:
    if not sqlite:
        operator = "~*" if ignore_case else "~"
        return column.op(operator, is_comparison=True)(pattern)  # type: ignore[no-any-return]
    if regex.RE2 is None:
        details = "match and imatch on SQLite need the package google-re2, which is not installed"
        raise BadQuery("Feature not implemented", code="PGRST127", details=details)
    return func.broadsheet_match(pattern, column, literal(ignore_case)) == 1


def _imatch(column: Any, pattern: Any, sqlite: bool) -> ColumnElement[bool]:
    return _match(column, pattern, sqlite, ignore_case=True)


COMPARE: dict[str, Compare] = {
    "eq": lambda column, value, sqlite: column == value,
    "neq": lambda column, value, sqlite: column != value,
    "gt": lambda column, value, sqlite: column > value,
    "gte": lambda column, value, sqlite: column >= value,
    "lt": lambda column, value, sqlite: column < value,
    "lte": lambda column, value, sqlite: column <= value,
    "isdistinct": lambda column, value, sqlite: column.is_distinct_from(value),
    "like": _like,
    "ilike": _ilike,
    "match": _match,
    "imatch": _imatch,
}
WORD: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "null": lambda column: column.is_(None),
    "unknown": lambda column: column.is_(None),
    "not_null": lambda column: column.is_not(None),
    "true": lambda column: column.is_(true()),
    "false": lambda column: column.is_(false()),
}


def compare(column: Any, cond: Cond, *, sqlite: bool) -> ColumnElement[bool]:
    """A condition over one column, without its negation and but for `in` and full text, whose values travel
    otherwise.
    """
    if cond.word is not None:
        return WORD[cond.word](column)
    tests = [COMPARE[cond.operator](column, _bind(column, number, cond), sqlite) for number in cond.slots]
    if cond.option is None:
        return tests[0]
    if cond.option == "any":
        return or_(false(), *tests) if tests else false()
    return and_(true(), *tests) if tests else true()


def negated(test: ColumnElement[bool], negate: bool) -> ColumnElement[bool]:
    return not_(test.self_group()) if negate else test


def _bind(column: Any, number: int, cond: Cond) -> Any:
    if cond.operator in ("like", "ilike", "match", "imatch"):
        return slot(number, String())
    return slot(number, _operand_type(column))


def _operand_type(column: Any) -> TypeEngine[Any]:
    return String() if isinstance(column.type, Enum) else unbounded(column.type)
