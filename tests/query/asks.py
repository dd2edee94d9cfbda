"""A request as a tree, for the evaluator and for the printer: what it means, without how it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Caller:
    view: str  # anonymous, member, author, admin
    me: int  # -1 for none


@dataclass(frozen=True)
class Word:
    """A time by its name: `now`, `today`, `infinity`."""

    name: str


@dataclass(frozen=True)
class Test:
    """`column operator operand`; the operand is a value, a tuple of values, or a word of `is`."""

    __test__ = False

    column: str
    operator: str
    operand: Any
    negated: bool = False
    option: str = ""


@dataclass(frozen=True)
class Null:
    """Whether the embed of this key has a row."""

    key: str
    present: bool


@dataclass(frozen=True)
class Tree:
    operator: str
    terms: tuple[Term, ...]
    negated: bool = False


Term = Test | Null | Tree


@dataclass(frozen=True)
class Cast:
    column: str
    target: str


@dataclass(frozen=True)
class Total:
    """An aggregate; `bare` is the `count` without parentheses."""

    function: str
    column: str | None = None
    bare: bool = False


@dataclass(frozen=True)
class Order:
    column: str
    descending: bool
    nulls_first: bool
    embed: str | None = None


@dataclass(frozen=True)
class Ask:
    """One level of a request. `written` is how the relation is named, `aliased` whether the key is an alias."""

    table: str
    items: tuple[tuple[str, str | Cast | Total | Ask], ...]
    where: tuple[Term, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int | None = None
    relation: str = ""
    written: str = ""
    aliased: bool = True
    inner: bool = False
    spread: bool = False

    @property
    def embeds(self) -> dict[str, Ask]:
        return {key: what for key, what in self.items if isinstance(what, Ask)}

    @property
    def grouped(self) -> bool:
        return any(isinstance(what, Total) for _, what in self.items)

    @property
    def shown(self) -> bool:
        """Whether it adds anything to a document."""
        return any(not isinstance(what, Ask) or what.shown for _, what in self.items)


def columns_named(term: Term) -> set[str]:
    match term:
        case Tree():
            return {name for inner in term.terms for name in columns_named(inner)}
        case Test():
            return {term.column}
        case Null():
            return set()
