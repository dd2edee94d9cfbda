"""Request body -> rows of plain values, from JSON, CSV or a form. Bounded before it is decoded: size while it comes in,
then depth and length of numbers.

What passes holds no U+0000 and no lone surrogate, at most `json_depth` levels, and is an object or a list of objects
with the same keys. Of a key that is given twice the last value counts. Source: dialect 1.13.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request

from app.data import checks
from app.errors import BadBody, BadValue, TooLarge
from app.http import csvtext
from app.http.context import Call, State
from app.settings import Limits

# A string, or the rest of the body where it is not closed. Possessive, so that no body makes it look twice at a byte.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
INVALID = "Empty or invalid json"
JSON, CSV, FORM = "application/json", "text/csv", "application/x-www-form-urlencoded"
MOST_FIELDS = 1000  # of a form
AVAILABLE = f"Send {JSON}, {CSV} or {FORM}, in UTF-8."


@dataclass(frozen=True, slots=True)
class Payload:
    """The rows of a body, and whether it was one object. `texts`: every value is a text still."""

    rows: list[dict[str, Any]]
    single: bool
    texts: bool = False


async def payload_of(call: Call, columns: tuple[str, ...] | None = None) -> Payload:
    """The rows of the request's body. Where `columns` says which keys count, the rows may have different ones. Raises
    BadBody, BadValue, TooLarge.
    """
    media = content_type(call.headers)
    body = await read_body(call.request, call.limits.body)
    if media == JSON:
        rows, single = objects_of(decode(body, call.limits), call.limits, uniform=columns is None)
        return Payload(rows, single)
    if media == FORM:
        return Payload([_form(body)], single=True, texts=True)
    table = csvtext.read(_text(body))
    _refuse_many(len(table), call.limits)
    return Payload(table, single=False, texts=True)


def content_type(headers: Headers) -> str:
    """The media type of the body; JSON where none is named. Raises PGRST102 (415 on the plain surface) for others."""
    given = headers.get("content-type")
    if given is None or given == JSON:
        return JSON
    media, _, parameters = given.partition(";")
    name, _, value = parameters.partition("=")
    charset = value.strip(' "').lower() if name.strip().lower() == "charset" else "utf-8"
    media = media.strip().lower()
    if media not in (JSON, CSV, FORM) or charset not in ("utf-8", "utf8"):
        raise BadBody(f"Content-Type not acceptable: {given}", plain_status=415, hint=AVAILABLE)
    return media


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(_text(body), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError as exc:  # bad UTF-8, too many fields
        raise BadBody("the form cannot be read", details=str(exc)) from None
    for pair in pairs:
        for text in pair:
            checks.characters(text)
    return dict(pairs)


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise BadBody("the body is no UTF-8") from None
    checks.characters(text)
    return text


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


def objects_of(value: Any, limits: Limits, *, uniform: bool = True) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a body, and whether it was one object; `uniform` ones have equal keys. Raises BadBody, TooLarge."""
    if isinstance(value, dict):
        return [value], True
    if not isinstance(value, list):
        raise BadBody(INVALID, hint="Send an object, or a list of objects.")
    _refuse_many(len(value), limits)
    if not all(isinstance(row, dict) and (not uniform or row.keys() == value[0].keys()) for row in value):
        raise BadBody("All object keys must match", hint="Every row of a list must be an object with the same keys.")
    return value, False


def _refuse_many(rows: int, limits: Limits) -> None:
    if rows > limits.body_rows:
        raise TooLarge(f"more than {limits.body_rows} rows in one request", hint="Send them in several requests.")


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is longer than {most} bytes")


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
