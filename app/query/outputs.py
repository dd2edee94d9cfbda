"""What is fetched for the items of a plan, and how each fetched value becomes JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import msgspec
from sqlalchemy import Integer, String, Text, case, cast, func, literal_column, not_, null
from sqlalchemy.types import TypeEngine

from app.data.base import Json, UtcTime
from app.data.catalog import Resource
from app.data.rules import Scope
from app.query.aggregates import result_type
from app.query.casts import caster
from app.query.encoder import Convert, Output, converter, only_columns
from app.query.expressions import Expressions
from app.query.plan import Aggregate, Cast, Node

AVERAGE = Decimal(1).scaleb(-16)  # digits of an average behind the point
EXACT = Context(prec=1000, rounding=ROUND_HALF_EVEN)
HALF = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Note:
    """How fetched rows tell which of them are to be recorded: column `at` holds the key of a row that is, NULL for
    others; of a group, how many of its rows are.
    """

    table: str
    at: int
    grouped: bool


@dataclass(slots=True)
class Fetched:
    """The columns that one statement fetches, each once."""

    x: Expressions
    entity: Any
    node: Node
    columns: list[Any] = field(default_factory=list)
    note: Note | None = None

    @property
    def resource(self) -> Resource:
        return self.x.resource(self.node)

    @property
    def wide(self) -> tuple[int, ...]:
        """The positions of texts without a length."""
        return tuple(at for at, column in enumerate(self.columns) if isinstance(column.type, Text | Json))

    def place(self, column: Any) -> int:
        """The position of a column, which is added if it is not there yet. By identity: ORM expressions cannot be
        compared.
        """
        for at, have in enumerate(self.columns):
            if have is column:
                return at
        self.columns.append(column)
        return len(self.columns) - 1

    def key(self, name: str) -> int:
        return self.place(self.x.raw(self.entity, name))

    def take_note(self) -> None:
        """Fetches what `note` is about, where the rule has rows to note and the node shows more than their number."""
        rule, grouped = self.resource.rule, self.node.grouped
        if rule.noted is None or all(isinstance(s, Aggregate) and s.function == "count" for _, s in self.node.items):
            return
        (name,) = self.resource.key
        test = rule.noted(self.entity, Scope.named(self.x.view))
        key = self.x.raw(self.entity, name)
        noted = key if test is None else case((not_(test), null()), else_=key)
        self.note = Note(self.resource.name, self.place(func.count(noted) if grouped else noted), grouped)

    def output(self, key: str, source: str | Cast | Aggregate) -> Output:
        match source:
            case Aggregate():
                return self._aggregate(key, source)
            case Cast():
                shown = self._column(key, source.column)
                return _then(shown, caster(self.resource.columns[source.column].type, source.target))
            case _:
                return self._column(key, source)

    def shown(self, name: str) -> int:
        """The position of a column in the form that `converter` takes."""
        column = self.x.column(self.entity, name)
        return self.place(self.as_text((self.entity, f"text of {name}"), column, column.type))

    def _column(self, key: str, name: str) -> Output:
        at = self.shown(name)
        maps = self.resource.rule.maps_columns
        if maps and maps[0] == name:
            return Output(key, (at, self.key(maps[1])), only_columns(self._readable))
        return Output(key, (at,), converter(self.resource.columns[name].type, sqlite=self.x.sqlite))

    def as_text(self, name: Any, column: Any, type_: TypeEngine[Any]) -> Any:
        """What PostgreSQL prints by itself in the wanted form is fetched as text (the session's zone is UTC): no
        object per value.
        """
        if self.x.sqlite or not isinstance(type_, UtcTime | Json):
            return column
        if name not in self.x.columns:
            if isinstance(type_, Json):
                text: Any = cast(column, Text())
            else:
                text = func.to_json(column).op("#>>", return_type=String())(literal_column("'{}'"))
            self.x.columns[name] = text
        return self.x.columns[name]

    def _aggregate(self, key: str, source: Aggregate) -> Output:
        if source.column is None:
            return _then(Output(key, (self.place(func.count()),), counts=True), _cast_of(self.resource, source))
        column = self.x.column(self.entity, source.column)
        type_ = self.resource.columns[source.column].type
        at: tuple[int, ...]
        convert: Convert | None
        match source.function:
            case "count":
                at, convert = (self.place(func.count(column)),), None
            case "sum":
                at, convert = self._sum(column, type_)
            case "avg":
                at, convert = self._average(column, type_)
            case function:
                value = getattr(func, function)(column)
                at = (self.place(self.as_text((self.entity, key, function), value, type_)),)
                convert = converter(type_, sqlite=self.x.sqlite)
        return _then(Output(key, at, convert, counts=source.function == "count"), _cast_of(self.resource, source))

    def _sum(self, column: Any, type_: TypeEngine[Any]) -> tuple[tuple[int, ...], Convert | None]:
        """On SQLite integers are added up in halves: a sum beyond 64 bits would fail."""
        if not isinstance(type_, Integer):
            return (self.place(func.sum(column)),), converter(type_, sqlite=self.x.sqlite)
        if not self.x.sqlite:
            return (self.place(func.sum(column)),), int
        halves = (func.sum(column.bitwise_rshift(32)), func.sum(column.bitwise_and(HALF)))
        return tuple(map(self.place, halves)), lambda high, low: (high << 32) + low

    def _average(self, column: Any, type_: TypeEngine[Any]) -> tuple[tuple[int, ...], Convert]:
        """sum / count in Decimal, half-even to 16 digits, so that both databases agree. On SQLite a sum of numerics is
        a float.
        """
        at, summed = self._sum(column, type_)
        if not isinstance(type_, Integer):
            scale = getattr(type_, "scale", None) or 0
            summed = (lambda total: Decimal(f"{total:.{scale}f}")) if self.x.sqlite else None

        def average(*values: Any) -> msgspec.Raw:
            *parts, count = values
            total = summed(*parts) if summed else parts[0]
            return msgspec.Raw(format(EXACT.divide(total, count).quantize(AVERAGE, context=EXACT), "f").encode())

        return (*at, self.place(func.count(column))), average

    def _readable(self, table: str) -> tuple[str, ...]:
        """Names that the view reads of another table, masked columns left out: whose row it was is not known there."""
        resource = self.x.catalog.get(table)
        if resource is None:
            return ()
        rule = resource.rule
        plain = tuple(name for name in rule.readable(self.x.view) if rule.mask(name, self.x.view) is None)
        return plain + tuple(rule.extra)


def _cast_of(resource: Resource, source: Aggregate) -> Convert | None:
    if source.target is None:
        return None
    return caster(result_type(resource, source.function, source.column), source.target)


def _then(output: Output, after: Convert | None) -> Output:
    """The output with another conversion behind its own."""
    first = output.convert
    if after is None:
        return output
    convert: Callable[..., Any] = after if first is None else lambda *values: after(first(*values))
    return replace(output, convert=convert)
