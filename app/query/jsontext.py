"""JSON text -> plain values, bounded before it is decoded: depth and length of numbers. Source: dialect 1.13.

What passes holds no U+0000 and no lone surrogate, and at most `json_depth` levels. Of a key that is given twice the
last value counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable, Iterator
from typing import Any

import msgspec

from app.data import checks
from app.errors import BadBody, BadValue, TooLarge
from app.settings import Limits

# A string, or the rest of the body where it is not closed. Possessive, so that no body makes it look twice at a byte.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
INVALID = "Empty or invalid json"


async def gather(chunks: AsyncIterable[bytes], declared: str, most: int) -> bytes:
    """A body as it comes in, of `declared` length. Raises TooLarge as soon as it is known to be longer than `most`
    bytes.
    """
    if declared.isdigit() and int(declared[:20]) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        parts.append(chunk)
    return b"".join(parts)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is longer than {most} bytes")


def decode(body: bytes, limits: Limits) -> Any:
    """The JSON value of a body. Raises BadBody (PGRST102) for what is no JSON, BadValue for characters and numbers."""
    checked(body, limits)
    try:
        value = msgspec.json.decode(body)
    except msgspec.ValidationError:  # 1e400
        raise BadValue("a number is out of range", code="22003") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        _refuse_lone_surrogates(body)
        details = None if isinstance(exc, RecursionError) else str(exc)
        raise BadBody(INVALID, details=details) from None
    if b"\\u" in body:  # U+0000 cannot come in otherwise
        for text in _texts(value):
            checks.characters(text)
    return value


def checked(body: bytes, limits: Limits) -> None:
    """Refuses JSON by its depth and by the length of its numbers, in C. Each round of replacing removes the innermost
    level of brackets; a body that opens too many at once needs no round (1 MB of them: 9 ms instead of 120).
    """
    bare = STRING.sub(b"", body)
    if re.search(rb"[0-9]{%d}" % (limits.json_digits + 1), bare):
        raise BadValue(f"a number has more than {limits.json_digits} digits", code="22003")
    brackets = bare.translate(None, NOT_BRACKETS)
    too_deep = re.search(rb"[\[{]{%d}" % (limits.json_depth + 1), brackets) is not None
    for _ in range(0 if too_deep else limits.json_depth):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise BadBody(INVALID, details=f"nested deeper than {limits.json_depth} levels, or a bracket is not closed")


def _refuse_lone_surrogates(body: bytes) -> None:
    """The decoder refuses them as bad syntax. Here they are what they are on every other way in: a bad value."""
    if not re.search(rb"\\u[dD][89a-fA-F]", body):
        return
    try:
        value = json.loads(body)
    except ValueError:
        return
    for text in _texts(value):
        checks.characters(text)


def _texts(value: Any) -> Iterator[str]:
    """Every string of a value, names of fields too. Iterative."""
    stack = [value]
    while stack:
        match stack.pop():
            case str() as text:
                yield text
            case dict() as fields:
                stack += fields.keys()
                stack += fields.values()
            case list() as items:
                stack += items
