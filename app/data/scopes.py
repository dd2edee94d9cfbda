"""What a caller's scopes let it ask for: `posts:read`, `posts:write`, `*:read`, `*:write`, `rpc/search`, `*`.

They narrow what the rules allow and never add to it; a caller without any (None) is not narrowed. Who may write a table
may read it too. Refuses with 403 (42501) and the name of the scope that is missing.
"""

from __future__ import annotations

from dataclasses import replace

from app.data.rules import Principal, Role
from app.errors import Forbidden

EVERYTHING = "*"
READ, WRITE, FUNCTION = ":read", ":write", "rpc/"


def may_read(who: Principal, table: str) -> bool:
    return _has(who, table + READ, table + WRITE, EVERYTHING + READ, EVERYTHING + WRITE)


def require_read(who: Principal, table: str) -> None:
    """Raises Forbidden."""
    if not may_read(who, table):
        raise _missing(who, table + READ)


def require_write(who: Principal, table: str) -> None:
    """Raises Forbidden. What the write takes along, such as revisions and links, needs no scope of its own."""
    if not _has(who, table + WRITE, EVERYTHING + WRITE):
        raise _missing(who, table + WRITE)


def require_function(who: Principal, name: str) -> None:
    """Raises Forbidden."""
    if not _has(who, FUNCTION + name):
        raise _missing(who, FUNCTION + name)


def unscoped(who: Principal) -> Principal:
    """The same caller for the inside of what its scopes allow as a whole."""
    return who if who.scopes is None else replace(who, scopes=None)


def _has(who: Principal, *enough: str) -> bool:
    return who.scopes is None or EVERYTHING in who.scopes or not who.scopes.isdisjoint(enough)


def _missing(who: Principal, scope: str) -> Forbidden:
    kind = "--kind publishable" if who.role is Role.ANONYMOUS else "--kind secret"
    of = kind if who.user_id is None else "--user USERNAME"
    hint = f"Make a key that has it: broadsheet keys create NAME {of} --scope {scope}"
    return Forbidden(f"this key lacks the scope {scope}", hint=hint)
