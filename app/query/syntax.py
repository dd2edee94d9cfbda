"""What a query string says, as frozen data: names and literals are still text, nothing is looked up yet.

A path names an embed by its key in the answer: `()` is the root, `("author", "posts")` an embed of an embed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Path = tuple[str, ...]
# What follows an operator: its literal, or the elements of its list (None for a bare NULL in an array).
Operand = str | tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Star:
    """Every column that exists for the caller."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column. `count` alone may also mean the number of rows; the plan decides."""

    name: str
    alias: str | None = None
    cast: str | None = None

    @property
    def key(self) -> str:
        return self.alias or self.name


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`amount.sum()`; `name` is None for `count()`. `before` casts the column, `after` the result."""

    function: str
    name: str | None = None
    alias: str | None = None
    before: str | None = None
    after: str | None = None

    @property
    def key(self) -> str:
        return self.alias or self.function


@dataclass(frozen=True, slots=True)
class Embed:
    """A relation's rows inside each parent. `target` is a relationship, a table or a foreign key, as written; `hint`
    tells relations apart; `inner` drops parents without rows; `spread` lifts the columns into the parent.
    """

    target: str
    items: tuple[SelectItem, ...]
    alias: str | None = None
    hint: str | None = None
    inner: bool = False
    spread: bool = False

    @property
    def key(self) -> str:
        return self.alias or self.target


SelectItem = Star | Field | Aggregate | Embed
ALL: tuple[SelectItem, ...] = (Star(),)


@dataclass(frozen=True, slots=True)
class Filter:
    """`option` is what stands in parentheses behind the operator: `any`, `all`, or a language for full-text search."""

    column: str
    operator: str
    operand: Operand
    negated: bool = False
    option: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Terms joined by `and` or `or`."""

    operator: str
    terms: tuple[Term, ...]
    negated: bool = False


Term = Filter | Group


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """`nulls_first` is None where the query does not say: then NULLs come last ascending, first descending. `embed` is
    the key of the to-one embed that has the column.
    """

    column: str
    descending: bool = False
    nulls_first: bool | None = None
    embed: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """`conditions` are all to hold, each on the rows of its path. `columns` and `on_conflict` concern writes. `texts`
    are the parameters that hold no value but are part of the shape, as they were written.
    """

    select: tuple[SelectItem, ...] = ALL
    conditions: tuple[tuple[Path, Term], ...] = ()
    orders: Mapping[Path, tuple[OrderTerm, ...]] = field(default_factory=dict)
    limits: Mapping[Path, int] = field(default_factory=dict)
    offsets: Mapping[Path, int] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    on_conflict: tuple[str, ...] | None = None
    texts: tuple[tuple[str, str], ...] = field(default=(), compare=False)
