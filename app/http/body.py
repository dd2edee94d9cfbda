"""Request body -> plain values. Bounded before it is decoded: size while it comes in, then depth and length of numbers.

What passes holds no U+0000 and no lone surrogate, at most `json_depth` levels, and is an object or a list of objects
with the same keys. Of a key that is given twice the last value counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.requests import Request

from app.data import checks
from app.errors import BadBody, BadValue, TooLarge
from app.http.context import State
from app.settings import Limits

# A string, or the rest of the body where it is not closed. Possessive, so that no body makes it look twice at a byte.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
INVALID = "Empty or invalid json"


async def read_body(request: Request[State], most: int) -> bytes:
    """Raises TooLarge as soon as the body is known to be longer than `most` bytes."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > most:
        raise _too_large(most)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
    return b"".join(chunks)


def decode(body: bytes, limits: Limits) -> Any:
    """The JSON value of a body. Raises BadBody (PGRST102) for what is no JSON, BadValue for characters and numbers."""
    _scan(body, limits)
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


def objects_of(value: Any, limits: Limits) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a body, and whether it was one object. Raises BadBody, TooLarge."""
    if isinstance(value, dict):
        return [value], True
    if not isinstance(value, list):
        raise BadBody(INVALID, hint="Send an object, or a list of objects.")
    if len(value) > limits.body_rows:
        raise TooLarge(f"more than {limits.body_rows} rows in one request", hint="Send them in several requests.")
    if not all(isinstance(row, dict) and row.keys() == value[0].keys() for row in value):
        raise BadBody("All object keys must match", hint="Every row of a list must be an object with the same keys.")
    return value, False


def object_of(value: Any) -> dict[str, Any]:
    """The one object of a body. Raises BadBody."""
    if not isinstance(value, dict):
        raise BadBody(INVALID, hint="Send one object.")
    return value


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is longer than {most} bytes")


def _scan(body: bytes, limits: Limits) -> None:
    """Depth and length of numbers, in C. Each round of replacing removes the innermost level of brackets; a body that
    opens too many at once needs no round (1 MB of them: 9 ms instead of 120).
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
