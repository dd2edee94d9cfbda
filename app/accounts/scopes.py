"""The scopes of a key as somebody writes them, checked against what there is to name. Refuses a text that is no scope,
and tables and functions that do not exist: a key with a mistyped scope would be found out in use only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from app.data.catalog import Catalog, nearest
from app.data.scopes import EVERYTHING, FUNCTION, READ, WRITE
from app.errors import BadValue

FORMS = "posts:read, posts:write, *:read, *:write, rpc/search or *"


def checked(texts: Iterable[str], catalog: Catalog, functions: Collection[str] | None = None) -> frozenset[str]:
    """Without `functions` every name of one will do. Raises BadValue."""
    found = frozenset(texts)
    for text in sorted(found):
        if text != EVERYTHING:
            _check(text, catalog, functions)
    if not found:
        raise BadValue("a key without any scope could do nothing", code="22023", hint=f"Give one of {FORMS}.")
    return found


def _check(text: str, catalog: Catalog, functions: Collection[str] | None) -> None:
    if text.startswith(FUNCTION):
        name = text.removeprefix(FUNCTION)
        known = name.isidentifier() if functions is None else name in functions
        if not known:
            raise _unknown(text, "function", name, functions or ())
        return
    table, colon, verb = text.partition(":")
    if colon + verb not in (READ, WRITE):
        raise BadValue(f"{text[:80]!r} is no scope", code="22023", hint=f"A scope is {FORMS}.")
    names = [resource.name for resource in catalog]
    if table not in (*names, EVERYTHING):
        raise _unknown(text, "table", table, names)


def _unknown(text: str, what: str, name: str, known: Collection[str]) -> BadValue:
    near = nearest(name, known)
    hint = f"Perhaps you meant {near}." if near else f"A scope is {FORMS}."
    return BadValue(f"the scope {text[:80]!r} names no {what}", code="22023", hint=hint)
