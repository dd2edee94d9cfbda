"""Filters and orders of one table of a plan: columns looked up, literals typed, values put into slots. Pure.

A NULL test on the key of an embed (`tags=is.null`) asks whether the parent has a row there; every other term concerns a
column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Boolean, String

from app.data.catalog import Catalog, Relation, Resource, nearest
from app.data.rules import Role
from app.errors import BadQuery
from app.query import patterns, search, syntax
from app.query.operators import OPERATORS, Operator
from app.query.plan import Cond, Given, Group, Has, Kid, Order, Page, Term
from app.query.syntax import Filter, OrderTerm, Path, Query
from app.query.values import kind_of, operand
from app.settings import Limits

Read = Callable[[str], Any]


@dataclass(slots=True)
class Planning:
    """What a plan under construction knows: the request, the relation of each embed, and the values met so far."""

    catalog: Catalog
    view: Role
    limits: Limits
    query: Query
    page: Page | None
    after: Sequence[Any] | None = None
    values: list[Any] = field(default_factory=list)
    given: list[Given | None] = field(default_factory=list)
    relations: dict[Path, Relation] = field(default_factory=dict)

    def slot(self, value: Any, given: Given | None = None) -> int:
        self.values.append(value)
        self.given.append(given)
        return len(self.values) - 1

    def read(self, given: Given, written: Any) -> int:
        """A slot for what a request wrote. Raises what the reading raises."""
        return self.slot(given.read(written), given)


def column_of(p: Planning, resource: Resource, name: str) -> str:
    """The name of a column that exists for the view. Raises BadQuery 42703."""
    readable = resource.rule.readable(p.view)
    if name in readable:
        return name
    near = nearest(name, readable)
    if p.catalog.named(resource, name, p.view):
        hint: str | None = f'"{name}" is a relation: write {name}(*) to embed it.'
    else:
        hint = f'Perhaps you meant to reference the column "{resource.name}.{near}".' if near else None
    raise BadQuery(f"column {resource.name}.{name} does not exist", code="42703", hint=hint)


# ---- filters --------------------------------------------------------------------------------------------------------


def conditions_of(p: Planning, resource: Resource, path: Path, kids: Mapping[str, Kid]) -> tuple[Term, ...]:
    """The terms of this path, all to hold."""
    return tuple(_term(p, resource, term, kids) for at, term in p.query.conditions if at == path)


def names_column(term: Term, column: str) -> bool:
    match term:
        case Group():
            return any(names_column(inner, column) for inner in term.terms)
        case Cond():
            return term.column == column
        case _:
            return False


def _term(p: Planning, resource: Resource, term: syntax.Term, kids: Mapping[str, Kid]) -> Term:
    """Recursive, but no deeper than `logic_depth`, which the parser has seen to."""
    if isinstance(term, syntax.Group):
        return Group(term.operator, tuple(_term(p, resource, t, kids) for t in term.terms), term.negated)
    if term.operator == "is" and term.column in kids and term.operand in ("null", "not_null"):
        return Has(list(kids).index(term.column), (term.operand == "not_null") is not term.negated)
    operator = OPERATORS[term.operator]
    if operator.takes == "search":
        return _search(p, resource, term)
    name = column_of(p, resource, term.column)
    return _condition(p, resource, name, operator, term)


def _condition(p: Planning, resource: Resource, name: str, operator: Operator, term: Filter) -> Cond:
    type_ = resource.columns[name].type
    kind = kind_of(type_)
    if operator.takes == "word":
        return _is(resource, name, term)
    if not kind.filterable or (operator.takes == "pattern" and not isinstance(type_, String)):
        raise BadQuery(f"operator does not exist: {kind.name} {operator.sql} unknown", code="42883", status=404)
    read = _pattern_reader(p, operator) if operator.takes == "pattern" else partial(operand, type_)
    if isinstance(term.operand, str):
        return Cond(name, operator.name, (p.read(Given(term, read), term.operand),), term.negated)
    if operator.takes == "list":
        return Cond(name, operator.name, (p.read(Given(term, _each(read)), term.operand),), term.negated)
    read = _unless_null(read)
    slots = [p.read(Given(term, read, number), text) for number, text in enumerate(term.operand)]
    return Cond(name, operator.name, tuple(slots), term.negated, option=term.option)


def _each(read: Read) -> Callable[[Sequence[str]], tuple[Any, ...]]:
    return lambda texts: tuple([read(text) for text in texts])


def _unless_null(read: Read) -> Callable[[str | None], Any]:
    return lambda text: None if text is None else read(text)


def _is(resource: Resource, name: str, term: Filter) -> Cond:
    word, type_ = str(term.operand), resource.columns[name].type
    if word in ("true", "false", "unknown") and not isinstance(type_, Boolean):
        text = f"argument of IS {word.upper()} must be type boolean, not type {kind_of(type_).name}"
        raise BadQuery(text, code="42804")
    return Cond(name, "is", (), term.negated, word=word)


def _pattern_reader(p: Planning, operator: Operator) -> Read:
    def read(text: str) -> str:
        if len(text) > p.limits.pattern:
            raise BadQuery(f"a pattern has at most {p.limits.pattern} characters", code="54000")
        return patterns.regular(text) if operator.name in ("match", "imatch") else patterns.like(text)

    return read


def _search(p: Planning, resource: Resource, term: Filter) -> Cond:
    """Full-text operators work on the one search field of a resource. Any other name is a column, which has no
    index for them.
    """
    if term.column != resource.rule.search:
        name = column_of(p, resource, term.column)
        details = f"full-text search in {resource.name}.{name} is not available"
        hint = f"Use {resource.rule.search}={term.operator}..." if resource.rule.search else None
        raise BadQuery("Feature not implemented", code="PGRST127", details=details, hint=hint)
    given = Given(term, lambda text: search.parse(term.operator, text, term.option))
    return Cond(term.column, "fts", (p.read(given, term.operand),), term.negated)


# ---- order ----------------------------------------------------------------------------------------------------------


def orders_of(p: Planning, resource: Resource, path: Path, kids: Mapping[str, Kid]) -> tuple[Order, ...]:
    return tuple(_order(p, resource, term, kids) for term in p.query.orders.get(path, ()))


def _order(p: Planning, resource: Resource, term: OrderTerm, kids: Mapping[str, Kid]) -> Order:
    number = -1
    if term.embed is not None:
        number = list(kids).index(term.embed)
        resource = p.catalog.of(resource.relations[kids[term.embed].relation].target)
    name = column_of(p, resource, term.column)
    kind = kind_of(resource.columns[name].type)
    if not kind.filterable:
        text = f"could not identify an ordering operator for type {kind.name}"
        raise BadQuery(text, code="42883", status=404)
    nulls_first = term.descending if term.nulls_first is None else term.nulls_first
    return Order(name, term.descending, nulls_first, number)
