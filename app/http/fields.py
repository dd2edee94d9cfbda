"""Plain values of a body -> values of columns, checked one by one: all that is wrong with a row is said at once.

A field that the caller may not write is refused exactly as one that does not exist. Conditions over several columns,
and those that need the database, stand in the rules and apply below.
"""

from __future__ import annotations

from typing import Any

from app.data import audit, checks
from app.data.catalog import Resource, nearest
from app.data.rules import Links, Owned, Role, Values
from app.errors import BadQuery, BadValue
from app.query.values import from_json

INT8 = 2**63
MOST_LINKS = 100


def inserted(resource: Resource, view: Role, rows: list[dict[str, Any]]) -> list[Values]:
    """New rows. Raises BadValue with all errors of the first bad row."""
    found = []
    for number, row in enumerate(rows, start=1):
        values, problems = _read(resource, view, row)
        problems += _missing(resource, view, row)
        _refuse(problems, f"row {number}: " if len(rows) > 1 else "")
        found.append(values)
    return found


def changed(resource: Resource, view: Role, row: dict[str, Any]) -> Values:
    """The values that a row's change names. Raises BadValue."""
    values, problems = _read(resource, view, row)
    _refuse(problems)
    return values


def replaced(resource: Resource, view: Role, row: dict[str, Any], key: Any) -> Values:
    """Values for every writable column: what is absent takes its default or NULL. Write-only fields stay as they are.

    Raises BadValue, also for an absent column that must not be NULL; PGRST115 where the body names another row.
    """
    row = _without_key(resource, row, key)
    values, problems = _read(resource, view, row)
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


def _read(resource: Resource, view: Role, row: dict[str, Any]) -> tuple[Values, list[BadValue]]:
    writes = resource.rule.writes(view)
    values: Values = {}
    problems: list[BadValue] = []
    for name, given in row.items():
        try:
            values[name] = _value(resource, writes, name, given)
        except BadValue as exc:
            problems.append(exc)
    return values, problems


def _value(resource: Resource, writes: frozenset[str], name: str, given: Any) -> Any:
    if name not in writes:
        raise _unknown(resource, writes, name)
    if name in resource.rule.extra:
        return _extra(resource.rule.extra[name][0], name, given)
    column = resource.columns[name]
    try:
        value = from_json(column.type, given)
    except BadValue as exc:
        hint = f'{exc.hint or ""} See column "{name}" of "{resource.name}".'.strip()
        raise BadValue(exc.message, code=exc.code, details=exc.details, hint=hint) from None
    if (problem := checks.problem(resource, column, value)) is not None:
        raise problem
    return value


def _unknown(resource: Resource, writes: frozenset[str], name: str) -> BadValue:
    if name in resource.key:
        details = f'Column "{name}" is an identity column defined as GENERATED ALWAYS.'
        return BadValue(f'cannot insert a non-DEFAULT value into column "{name}"', code="428C9", details=details)
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


def _missing(resource: Resource, view: Role, row: dict[str, Any]) -> list[BadValue]:
    """Columns that the caller must give: required, without a default, and not filled in by the rule."""
    return [
        checks.missing(resource, name)
        for name in _writable(resource, view)
        if name not in row
        and name not in resource.rule.fills
        and not resource.columns[name].nullable
        and not resource.columns[name].has_default
    ]


def _writable(resource: Resource, view: Role) -> list[str]:
    writes = resource.rule.writes(view)
    return [name for name in resource.columns if name in writes]


def _without_key(resource: Resource, row: dict[str, Any], key: Any) -> dict[str, Any]:
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
    """The first as message, every one in `details`."""
    if not problems:
        return
    first = problems[0]
    details = first.details
    if len(problems) > 1 or where:
        details = where + "; ".join(problem.message for problem in problems)
    raise BadValue(first.message, code=first.code, details=details, hint=first.hint)
