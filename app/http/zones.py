"""The preference `timezone`: times of an answer in the zone that the caller prefers, and literals without a zone read
in it.

The databases keep and print UTC; documents are turned here, the same for both. Casts of times are not available in
another zone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from app.data.base import UtcTime
from app.data.catalog import Catalog, Resource
from app.errors import BadQuery
from app.query.plan import Aggregate, Cast, Embedded, Lifted, Node, Source
from app.query.values import kind_of

UTC_NAMES = frozenset(
    f"{area}{name}"
    for area in ("", "etc/")
    for name in ("utc", "uct", "zulu", "universal", "gmt", "gmt0", "gmt+0", "gmt-0", "greenwich")
)


def zone_named(name: str) -> tzinfo | None:
    """The zone of a name, whatever its case; None for one that does not exist. Source: the IANA database of the
    system.
    """
    known = _names().get(name.lower())
    return None if known is None else ZoneInfo(known)


def is_utc(name: str) -> bool:
    return name.lower() in UTC_NAMES


def is_time(catalog: Catalog, resource: Resource, node: Node, source: Source | None) -> bool:
    """Whether an item of a plan shows times, also one that a spread lifts from another table."""
    while isinstance(source, Lifted):
        resource = catalog.of(resource.relations[node.kids[source.kid].relation].target)
        node = node.kids[source.kid].node
        source = node.items[source.item][1]
    match source:
        case Cast():
            return source.target.startswith("timestamp")
        case Aggregate():
            name = source.column if source.function in ("min", "max") and source.target is None else None
            return name is not None and isinstance(resource.columns[name].type, UtcTime)
        case str():
            return isinstance(resource.columns[source].type, UtcTime)
        case _:
            return False


def turn(catalog: Catalog, node: Node, documents: Sequence[Any], zone: tzinfo) -> None:
    """Writes the times of documents, and of all that they embed, in another zone. Raises BadQuery PGRST127 for a
    cast of a time.
    """
    _turn(catalog, node, documents, zone, set())


def _turn(catalog: Catalog, node: Node, documents: Sequence[Any], zone: tzinfo, done: set[int]) -> None:
    """`done` has the documents that several parents share and one has turned already."""
    resource = catalog.of(node.model)
    times = list(_times(catalog, resource, node))
    embeds = [(i, node.kids[s.kid].node) for i, (_, s) in enumerate(node.items) if isinstance(s, Embedded)]
    for document in documents:
        if id(document) in done:
            continue
        done.add(id(document))
        for i in times:
            setattr(document, f"f{i}", _turned(getattr(document, f"f{i}"), zone))
        for i, kid in embeds:
            below = getattr(document, f"f{i}")
            _turn(catalog, kid, [below] if isinstance(below, msgspec.Struct) else below or (), zone, done)


def _times(catalog: Catalog, resource: Resource, node: Node) -> Iterator[int]:
    for i, (_, source) in enumerate(node.items):
        if isinstance(source, Cast) and isinstance(resource.columns[source.column].type, UtcTime):
            details = f"a cast of {kind_of(UtcTime()).name} in another time zone than UTC is not available"
            raise BadQuery("Feature not implemented", code="PGRST127", details=details)
        if is_time(catalog, resource, node, source):
            yield i


def _turned(value: Any, zone: tzinfo) -> Any:
    match value:
        case str():
            return _written(datetime.fromisoformat(value).astimezone(zone))
        case list():
            return [_turned(inner, zone) for inner in value]
        case _:
            return value


def _written(time: datetime) -> str:
    """As PostgreSQL writes it in JSON: no trailing zeros, the offset in full."""
    text = time.replace(tzinfo=None).isoformat()
    offset = time.isoformat().removeprefix(text)  # with seconds before there were time zones
    return (text.rstrip("0") if time.microsecond else text) + offset


@cache
def _names() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}
