"""Plain values of a body -> values of columns, checked one by one: all that is wrong with a row is said at once.

A field that the caller may not write is refused exactly as one that does not exist. Conditions over several columns,
and those that need the database, stand in the rules and apply below.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from app.data import audit, checks
from app.data.base import Json
from app.data.catalog import Resource, nearest
from app.data.rules import Links, Owned, Role, Values
from app.errors import BadQuery, BadValue
from app.query.upsert import made_by_database
from app.query.values import from_json

INT8 = 2**63
MOST_LINKS = 100

Given = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Manner:
    """How the fields of a row count. Of `columns` only these do, and those that a row lacks are NULL, or with
    `defaults` their default. `keyed` rows may name their primary key. `texts`: every value is a text, as in CSV. `new`:
    the rows are none that are there already.
    """

    columns: tuple[str, ...] | None = None
    defaults: bool = False
    keyed: bool = False
    texts: bool = False
    new: bool = False


AS_GIVEN = Manner()


def names_unknown(resource: Resource, view: Role, rows: list[Given], manner: Manner = AS_GIVEN) -> bool:
    """Whether some field is none that the caller may write: PGRST204, which goes before other refusals."""
    names: Iterable[str] = {name for row in rows for name in row} if manner.columns is None else manner.columns
    return not _writes(resource, view, manner).union(resource.key).issuperset(names)


def inserted(resource: Resource, view: Role, rows: list[Given], manner: Manner = AS_GIVEN) -> list[Values]:
    """New rows, or with `keyed` rows that may be there. Raises BadValue with all errors of the first bad row."""
    found = []
    if not rows and names_unknown(resource, view, rows, manner):
        _refuse(_read(resource, view, {}, manner)[1])
    for number, row in enumerate(rows, start=1):
        values, problems = _read(resource, view, row, manner)
        problems += [] if manner.keyed else _missing(resource, view, {*row, *values, *_null(manner)})
        _refuse(problems, f"row {number}: " if len(rows) > 1 else "")
        found.append(values)
    return found


def changed(resource: Resource, view: Role, row: Given, manner: Manner = AS_GIVEN) -> Values:
    """The values that a row's change names. Raises BadValue."""
    values, problems = _read(resource, view, row, manner)
    _refuse(problems)
    return values


def replaced(resource: Resource, view: Role, row: Given, key: Any) -> Values:
    """Values for every writable column: what is absent takes its default or NULL. Write-only fields stay as they are.

    Raises BadValue, also for an absent column that must not be NULL; PGRST115 where the body names another row.
    """
    row = _without_key(resource, row, key)
    values, problems = _read(resource, view, row, AS_GIVEN)
    for name in _writable(resource, view):
        if name in row:
            continue
        column = resource.columns[name]
        if column.has_default or column.nullable:
            values[name] = audit.default_of(resource, name)
        else:
            problems.append(checks.missing(resource, name))
    _refuse(problems)
    return values


def _null(manner: Manner) -> tuple[str, ...]:
    """Columns of which `_fill` has said already that they must not be NULL."""
    return () if manner.columns is None or manner.defaults else manner.columns


def _read(resource: Resource, view: Role, row: Given, manner: Manner) -> tuple[Values, list[BadValue]]:
    writes = _writes(resource, view, manner)
    values: Values = {}
    problems: list[BadValue] = []
    for name in row if manner.columns is None else manner.columns:
        try:
            if name not in row:
                _fill(resource, writes, name, manner, values)
            elif row[name] is not None or not manner.keyed or name not in resource.key:
                values[name] = _value(resource, writes, name, row[name], manner)
        except BadValue as exc:
            problems.append(exc)
    return values, problems


def _fill(resource: Resource, writes: frozenset[str], name: str, manner: Manner, values: Values) -> None:
    """A column that is named and that the row lacks. Without a default one that must have a value stays out, so that
    the rule may fill it in.
    """
    if name in resource.key and manner.keyed:
        return
    if name not in writes:
        raise _unknown(resource, writes, name)
    if name in resource.rule.extra:
        return
    column = resource.columns[name]
    if not manner.defaults and not column.nullable:
        raise checks.missing(resource, name)
    if not manner.defaults or column.has_default or column.nullable:
        values[name] = audit.default_of(resource, name) if manner.defaults else None


def _value(resource: Resource, writes: frozenset[str], name: str, given: Any, manner: Manner) -> Any:
    if name not in writes and not (manner.keyed and name in resource.key):
        raise _unknown(resource, writes, name)
    if name in resource.rule.extra:
        return _extra(resource.rule.extra[name][0], name, given)
    column = resource.columns[name]
    try:
        value = _json_of(given) if manner.texts and isinstance(column.type, Json) else from_json(column.type, given)
    except BadValue as exc:
        hint = f'{exc.hint or ""} See column "{name}" of "{resource.name}".'.strip()
        raise BadValue(exc.message, code=exc.code, details=exc.details, hint=hint) from None
    if (problem := checks.problem(resource, column, value)) is not None:
        raise problem
    return value


def _json_of(text: Any) -> Any:
    if text is None:
        return None
    try:
        if "\\u0000" in text:
            checks.characters("\0")
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise BadValue("invalid input syntax for type json", hint='Send a value such as {"a": 1}.') from None


def _unknown(resource: Resource, writes: frozenset[str], name: str) -> BadValue:
    if name in resource.key:
        return made_by_database(name)
    near = nearest(name, sorted(writes))
    message = f"Could not find the '{name}' column of '{resource.name}' in the schema cache"
    return BadValue(message, code="PGRST204", hint=f"Perhaps you meant the column '{near}'." if near else None)


def _extra(kind: Links | Owned, name: str, given: Any) -> Any:
    """Only the shape of a write-only field; its rule does the rest. The value never stands in a message."""
    if isinstance(kind, Owned):
        if isinstance(given, str):
            return given
        raise BadValue(f'"{name}" must be a text', code="22023")
    if isinstance(given, list) and len(given) <= MOST_LINKS and all(map(_is_link, given)):
        return given
    raise BadValue(f'"{name}" must be a list of at most {MOST_LINKS} names and ids', code="22023")


def _is_link(value: Any) -> bool:
    return isinstance(value, str) or (type(value) is int and -INT8 <= value < INT8)


def _missing(resource: Resource, view: Role, given: Iterable[str]) -> list[BadValue]:
    """Columns that the caller must give: required, without a default, and not filled in by the rule."""
    known = frozenset(given)
    return [
        checks.missing(resource, name)
        for name in _writable(resource, view, new=True)
        if name not in known
        and name not in resource.rule.fills
        and not resource.columns[name].nullable
        and not resource.columns[name].has_default
    ]


def _writes(resource: Resource, view: Role, manner: Manner) -> frozenset[str]:
    return resource.rule.writes(view, new=manner.new)


def _writable(resource: Resource, view: Role, *, new: bool = False) -> list[str]:
    writes = resource.rule.writes(view, new=new)
    return [name for name in resource.columns if name in writes]


def _without_key(resource: Resource, row: Given, key: Any) -> Given:
    """A client that replaces a row may send its id along, if it is this one."""
    (name,) = resource.key
    if name not in row:
        return row
    try:
        same = from_json(resource.columns[name].type, row[name]) == key
    except BadValue:
        same = False
    if not same:
        raise BadQuery("Payload values do not match URL in primary key column(s)", code="PGRST115")
    return {field: value for field, value in row.items() if field != name}


def _refuse(problems: list[BadValue], where: str = "") -> None:
    """The first as message, every one in `details`. Fields that do not exist come first."""
    if not problems:
        return
    problems.sort(key=lambda problem: problem.code != "PGRST204")
    first = problems[0]
    details = first.details
    if len(problems) > 1 or where:
        details = where + "; ".join(problem.message for problem in problems)
    raise BadValue(first.message, code=first.code, details=details, hint=first.hint)
