"""Request body -> rows of plain values, from JSON, CSV or a form. Bounded before it is decoded: size while it comes in,
then depth and length of numbers.

What passes holds no U+0000 and no lone surrogate, at most `json_depth` levels, and is an object or a list of objects
with the same keys. Of a key that is given twice the last value counts. Source: dialect 1.13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request

from app.data import checks
from app.errors import BadBody, TooLarge
from app.http import csvtext
from app.http.context import Call, State
from app.query.jsontext import INVALID, decode, gather
from app.settings import Limits

JSON, CSV, FORM = "application/json", "text/csv", "application/x-www-form-urlencoded"
MOST_FIELDS = 1000  # of a form
HEADER = "idempotency-key"
BODY = "broadsheet.body"  # in a scope: the body of a request that may come again
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
    """Raises TooLarge."""
    body = await gather(request.stream(), request.headers.get("content-length", ""), most)
    if HEADER in request.headers:
        request.scope[BODY] = body
    return body


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
