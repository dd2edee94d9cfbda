"""What a query string says, as frozen data: names and literals are still text, nothing is looked up yet.

A path names an embed by its key in the answer: `()` is the root, `("author", "posts")` an embed of an embed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Star:
    """Every column that exists for the caller."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    alias: str | None = None

    @property
    def key(self) -> str:
        return self.alias or self.name


@dataclass(frozen=True, slots=True)
class Embed:
    """A relation's rows inside each parent. `target` is a relationship or a table, as written."""

    target: str
    items: tuple[SelectItem, ...]
    alias: str | None = None

    @property
    def key(self) -> str:
        return self.alias or self.target


SelectItem = Star | Field | Embed
ALL: tuple[SelectItem, ...] = (Star(),)


@dataclass(frozen=True, slots=True)
class Filter:
    """`operand` is the literal as written; for a list operator the tuple of its elements."""

    path: Path
    column: str
    operator: str
    operand: str | tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """`nulls_first` is None where the query does not say: then NULLs come last ascending, first descending."""

    column: str
    descending: bool = False
    nulls_first: bool | None = None


@dataclass(frozen=True, slots=True)
class Query:
    select: tuple[SelectItem, ...] = ALL
    filters: tuple[Filter, ...] = ()
    orders: Mapping[Path, tuple[OrderTerm, ...]] = field(default_factory=dict)
    limits: Mapping[Path, int] = field(default_factory=dict)
    offsets: Mapping[Path, int] = field(default_factory=dict)
