"""Patterns of `like`, `ilike`, `match` and `imatch`: read, checked, and refused before any database sees them."""

from __future__ import annotations

from app.data import regex
from app.errors import BadQuery


def like(text: str) -> str:
    """`*` is `%`. Raises BadQuery 22025 for a pattern that ends in the middle of an escape."""
    pattern = text.replace("*", "%")
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise BadQuery("LIKE pattern must not end with escape character", code="22025")
    return pattern


def regular(text: str) -> str:
    """The pattern, if it is one. Raises BadQuery 2201B."""
    if regex.RE2 is not None:
        try:
            regex.compiled(text)
        except regex.RE2.error as exc:
            reason = exc.args[0].decode() if isinstance(exc.args[0], bytes) else str(exc.args[0])
            raise BadQuery(f"invalid regular expression: {reason}", code="2201B") from None
    return text
