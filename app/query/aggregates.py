"""Which aggregates may be asked for, and of what. Source: dialect 1.4 (bare `count`) and 1.18. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, Numeric, Uuid
from sqlalchemy.types import TypeEngine

from app.data.base import Json
from app.data.catalog import Resource
from app.errors import BadQuery
from app.query import syntax
from app.query.casts import target_of
from app.query.plan import Aggregate, Cast, Embedded, Kid, Lifted, Order, Source
from app.query.values import kind_of

COUNT = BigInteger()
SUMMED = Numeric()


def aggregate_of(resource: Resource, column: str | None, item: syntax.Aggregate) -> Aggregate:
    """Raises BadQuery 42883 for a type that the function does not take."""
    if item.before is not None:
        details = "a cast of a column inside an aggregate is not available"
        raise BadQuery("Feature not implemented", code="PGRST127", details=details)
    if column is not None:
        _refuse_type(item.function, resource.columns[column].type)
    target = None if item.after is None else target_of(item.after, result_type(resource, item.function, column))
    return Aggregate(item.function, column, target)


def result_type(resource: Resource, function: str, column: str | None) -> TypeEngine[Any]:
    """The column type whose JSON an aggregate's result has."""
    if function == "count" or column is None:
        return COUNT
    return SUMMED if function in ("sum", "avg") else resource.columns[column].type


def bare_count(resource: Resource, select: tuple[syntax.SelectItem, ...]) -> Aggregate:
    """`select=count` and `tags(count)`: always allowed, but alone on its level. Raises BadQuery 42803."""
    others = [item.name for item in select if isinstance(item, syntax.Field) and item.name != "count"]
    if len(select) > 1:
        raise _ungrouped(resource, others[0] if others else "*")
    return Aggregate("count")


def refuse_ungroupable(items: Iterable[tuple[str, Source]], resource: Resource, kids: Mapping[str, Kid]) -> None:
    """Beside an aggregate only columns and to-one embeds can stand: they are what is grouped by."""
    relations = [resource.relations[kid.relation] for kid in kids.values()]
    for key, source in items:
        if isinstance(source, Embedded | Lifted) and relations[source.kid].to_many:
            raise _ungrouped(resource, key)
        if isinstance(source, Cast) and source.target != "text":  # rows are grouped by the column, not by the cast
            details = f"a cast to {source.target} beside an aggregate is not available"
            raise BadQuery("Feature not implemented", code="PGRST127", details=details)
        name = source.column if isinstance(source, Cast) else source
        if isinstance(name, str) and not kind_of(resource.columns[name].type).filterable:
            text = f"could not identify an equality operator for type {kind_of(resource.columns[name].type).name}"
            raise BadQuery(text, code="42883", status=404)


def refuse_ungrouped_order(items: Iterable[tuple[str, Source]], resource: Resource, order: Iterable[Order]) -> None:
    """Groups can be ordered by what they are grouped by."""
    grouped = {source.column if isinstance(source, Cast) else source for _, source in items}
    for term in order:
        if term.kid >= 0 or term.column not in grouped:
            raise _ungrouped(resource, term.column)


def _refuse_type(function: str, type_: TypeEngine[Any]) -> None:
    kind = kind_of(type_)
    unordered = isinstance(type_, Boolean | Uuid | Json)
    if (function in ("sum", "avg") and kind.name not in ("bigint", "integer", "numeric")) or (
        function in ("min", "max") and unordered
    ):
        raise BadQuery(f"function {function}({kind.name}) does not exist", code="42883", status=404)


def _ungrouped(resource: Resource, name: str) -> BadQuery:
    text = f'column "{resource.name}.{name}" must appear in the GROUP BY clause or be used in an aggregate function'
    return BadQuery(text, code="42803")
