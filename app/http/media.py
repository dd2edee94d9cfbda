"""The header Accept -> the form of the answer, and documents -> its bytes. Source: dialect 1.12."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
from starlette.datastructures import Headers

from app.data.catalog import Catalog
from app.errors import BroadsheetError
from app.http import csvtext
from app.http.zones import turn
from app.query.encoder import encode
from app.query.plan import ReadPlan
from app.query.values import ZONE

LONGEST = 1024
STRIPPED = "nulls=stripped"

_read = msgspec.json.Decoder(float_hook=Decimal).decode


@dataclass(frozen=True, slots=True)
class Media:
    """`one`: a bare object, of exactly one row; `stripped`: without keys whose value is null; `csv`: a table."""

    name: str
    one: bool = False
    stripped: bool = False
    csv: bool = False

    @property
    def content_type(self) -> str:
        return f"{self.name}; charset=utf-8"


JSON = Media("application/json")
OBJECT = "application/vnd.pgrst.object"
ARRAY = "application/vnd.pgrst.array"
AVAILABLE = {
    ("*/*", ""): JSON,
    ("application/*", ""): JSON,
    ("application/json", ""): JSON,
    (OBJECT, ""): Media(f"{OBJECT}+json", one=True),
    (OBJECT, STRIPPED): Media(f"{OBJECT}+json;{STRIPPED}", one=True, stripped=True),
    (ARRAY, ""): JSON,
    (ARRAY, STRIPPED): Media(f"{ARRAY}+json;{STRIPPED}", stripped=True),
    ("text/csv", ""): Media("text/csv", csv=True),
}


# ---- which form -----------------------------------------------------------------------------------------------------


def media_of(headers: Headers) -> Media:
    """Raises PGRST107 where nothing is available that the caller takes."""
    accept = headers.get("accept")
    if accept is None or accept == "*/*" or accept == "application/json":
        return JSON
    found = _negotiated(accept[:LONGEST])
    if isinstance(found, str):
        raise BroadsheetError(f"None of these media types are available: {found}", code="PGRST107", status=406)
    return found


@lru_cache(maxsize=256)
def _negotiated(accept: str) -> Media | str:
    """The first available one, or the names of all that were asked for."""
    asked = sorted(filter(None, map(_asked, enumerate(accept.split(",")))))
    for *_, name, parameters in asked:
        name = name.removesuffix("+json") if name in (f"{OBJECT}+json", f"{ARRAY}+json") else name
        kept = STRIPPED if name in (OBJECT, ARRAY) and STRIPPED in parameters else ""
        if (found := AVAILABLE.get((name, kept))) is not None:
            return found
    return ", ".join(name for *_, name, _ in asked)


def _asked(numbered: tuple[int, str]) -> tuple[float, int, int, str, tuple[str, ...]] | None:
    """(-quality, -parameters, place, name, parameters) of one range; None for one that the caller does not take."""
    place, text = numbered
    name, *parameters = (part.strip().lower().replace(" ", "") for part in text.split(";"))
    quality = 1.0
    others = []
    for parameter in filter(None, parameters):
        key, _, value = parameter.partition("=")
        if key != "q":
            others.append(parameter)
        elif value.replace(".", "", 1).isdecimal():
            quality = float(value)
    return (-quality, -len(others), place, name, tuple(others)) if name and quality > 0 else None


# ---- bytes ----------------------------------------------------------------------------------------------------------


def render(media: Media, catalog: Catalog, plan: ReadPlan, documents: Sequence[Any], *, bare: bool = False) -> bytes:
    """The body of an answer. `bare` takes one document out of its list where JSON is asked for. Raises PGRST116."""
    if (zone := ZONE.get()) is not UTC:
        turn(catalog, plan.node, documents, zone)
    if media.csv:
        return csvtext.write(catalog, plan, documents)
    if media.one:
        refuse_not_one(len(documents))
    shown: Any = documents[0] if media.one or bare else documents
    return encode(_without_nulls(shown) if media.stripped else shown)


def refuse_not_one(rows: int) -> None:
    """Raises PGRST116 unless there is exactly one row."""
    if rows != 1:
        message = "Cannot coerce the result to a single JSON object"
        raise BroadsheetError(message, code="PGRST116", status=406, details=f"The result contains {rows} rows")


def _without_nulls(value: Any) -> Any:
    """Without null keys at every level, in JSON columns too. Embeds are at most a few levels deep, bodies 32."""
    match value:
        case msgspec.Struct():
            pairs = zip(value.__struct_encode_fields__, msgspec.structs.astuple(value), strict=True)
            return {name: x for name, v in pairs if v is not msgspec.UNSET and (x := _without_nulls(v)) is not None}
        case dict():
            return {name: x for name, v in value.items() if (x := _without_nulls(v)) is not None}
        case list() | tuple():
            return [_without_nulls(v) for v in value]
        case msgspec.Raw():
            text = bytes(value)
            return _without_nulls(_read(text)) if text[:1] in (b"{", b"[") else None if text == b"null" else value
        case _:
            return value
