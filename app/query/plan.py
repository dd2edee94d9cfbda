"""What is to be read, as frozen data: the shape (`Node`) and its values. Pure; `planner.py` makes it, `compiler.py`
compiles it.

A shape is hashable and holds no value: filters, limit, offset and cursor name slots in one flat tuple of values, so
equal shapes share one compiled statement, whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple

from app.data.base import Base
from app.data.catalog import Resource
from app.query.values import Moment, resolved


@dataclass(frozen=True, slots=True)
class Page:
    """How many rows of the root are answered where the query gives no limit, and at most."""

    default: int
    most: int


# ---- what a document holds ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cast:
    """A column as another type, by PostgreSQL's name."""

    column: str
    target: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`column` is None for the number of rows; `target` is the type that the result is cast to."""

    function: str
    column: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """The documents of embed number `kid`."""

    kid: int


@dataclass(frozen=True, slots=True)
class Lifted:
    """Item number `item` of a spread embed's documents."""

    kid: int
    item: int


Source = str | Cast | Aggregate | Embedded | Lifted

# ---- which rows -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cond:
    """`column operator value`. Several slots belong to `any` and `all` (`option`); `word` is the operand of `is`."""

    column: str
    operator: str
    slots: tuple[int, ...] = ()
    negated: bool = False
    option: str | None = None
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Has:
    """Whether embed number `kid` has a row."""

    kid: int
    present: bool


@dataclass(frozen=True, slots=True)
class Group:
    operator: str
    terms: tuple[Term, ...]
    negated: bool = False


Term = Cond | Has | Group


@dataclass(frozen=True, slots=True)
class Order:
    """`kid` is the to-one embed that has the column, or -1."""

    column: str
    descending: bool = False
    nulls_first: bool = False
    kid: int = -1


@dataclass(frozen=True, slots=True)
class Node:
    """One table of a plan. `items` holds (output key, source) in output order; `limit` and `offset` are slots or -1.

    `grouped` nodes aggregate: one row for each combination of their plain columns. `after` holds the slots of a cursor,
    one for each column of the order with its tie-break, `after_nulls` which of its values are NULL.
    """

    model: type[Base]
    items: tuple[tuple[str, Source], ...]
    where: tuple[Term, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int = -1
    offset: int = -1
    kids: tuple[Kid, ...] = ()
    deleted: bool = False
    grouped: bool = False
    after: tuple[int, ...] = ()
    after_nulls: tuple[bool, ...] = ()
    blank: bool = False
    _hash: int | None = field(default=None, init=False, compare=False, repr=False)

    def __hash__(self) -> int:
        """Made once: each request looks its statements up by the whole tree."""
        if self._hash is None:
            object.__setattr__(self, "_hash", hash(tuple(getattr(self, name) for name in SHAPE)))
        return self._hash  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Kid:
    """An embed. One that no item shows costs no statement, only its test in `where` or for `inner`."""

    relation: str
    node: Node
    inner: bool = False


SHAPE = tuple(each.name for each in fields(Node) if each.compare)


class Given(NamedTuple):
    """Where a value came from and how it was read. `part` is a Filter, of whose operand `number` is one element or -1
    the whole; a parameter with its path; or None for number `number` of the cursor's values.
    """

    part: Any
    read: Callable[[Any], Any]
    number: int = -1


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """`volatile` values depend on the time at which the plan runs. So a plan may be kept, but what it read may not.
    `given` says of each value where the request had it; None of those that it did not have.
    """

    resource: Resource
    node: Node
    values: tuple[Any, ...]
    volatile: bool = False
    given: tuple[Given | None, ...] = ()

    def values_at(self, now: datetime) -> tuple[Any, ...]:
        return resolved(self.values, now) if self.volatile else self.values

    def value(self, slot: int) -> Any:
        """The value of a slot, None for -1."""
        return self.values[slot] if slot >= 0 else None


def plan_of(resource: Resource, node: Node, values: Iterable[Any], given: Iterable[Given | None]) -> ReadPlan:
    values = tuple(values)
    return ReadPlan(resource, node, values, any(map(_is_volatile, values)), tuple(given))


def _is_volatile(value: Any) -> bool:
    return any(map(_is_volatile, value)) if type(value) is tuple else type(value) is Moment
