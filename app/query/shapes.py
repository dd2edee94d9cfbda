"""Plans for requests that differ from one before in their values alone: these are read anew, and nothing is looked up.

The shape of a query is all that it says but for its values: operands of filters, limit, offset, cursor. What was
refused is never kept, so a known shape can only be refused for its values, and those are read in the order of planning:
the errors are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from app.errors import BadQuery, BadValue
from app.query.operators import OPERATORS
from app.query.plan import Given, ReadPlan, plan_of
from app.query.syntax import Filter, Group, Operand, Query, Term

Fill = Callable[[list[Operand], Query, Sequence[Any]], Any]


def shape_of(query: Query) -> Hashable:
    """Equal for two queries whose plans differ in their values alone. Whether a number is 0 may change a plan."""
    return (
        query.texts,
        tuple([(path, _shape(term)) for path, term in query.conditions]),
        tuple([(path, number == 0) for path, number in query.limits.items()]),
        tuple([(path, number == 0) for path, number in query.offsets.items()]),
    )


def _shape(term: Term) -> Hashable:
    if isinstance(term, Group):
        return (term.operator, term.negated, tuple([_shape(inner) for inner in term.terms]))
    return (term.column, term.operator, term.negated, term.option, _operand_shape(term))


def _operand_shape(term: Filter) -> Hashable:
    """A word is no value, and each element of an array has a bind of its own; a list is one bind."""
    takes = OPERATORS[term.operator].takes
    if isinstance(term.operand, str):
        return term.operand if takes == "word" else None
    return () if takes == "list" else len(term.operand)


class Template:
    """A plan that was made of one query, for all of its shape."""

    __slots__ = ("fills", "plan")

    def __init__(self, plan: ReadPlan, query: Query) -> None:
        self.plan = plan
        numbers = {id(leaf): number for number, leaf in enumerate(_leaves(query))}
        fills = [(slot, _fill(given, numbers)) for slot, given in enumerate(plan.given)]
        self.fills = [(slot, fill) for slot, fill in fills if fill is not None]

    def filled(self, query: Query, after: Sequence[Any] = ()) -> ReadPlan:
        """The same plan with the values of this query, and of a cursor. Raises BadQuery as planning does."""
        operands = [leaf.operand for leaf in _leaves(query)]
        values = list(self.plan.values)
        try:
            for slot, fill in self.fills:
                values[slot] = fill(operands, query, after)
        except BadValue as exc:
            raise as_query(exc) from None
        return plan_of(self.plan.resource, self.plan.node, values, self.plan.given)


def as_query(exc: BadValue) -> BadQuery:
    """In a query string a bad value is a 400 on every surface."""
    return BadQuery(exc.message, code=exc.code, details=exc.details, hint=exc.hint)


def _fill(given: Given | None, numbers: dict[int, int]) -> Fill | None:
    """None for a value of our own, which stays."""
    if given is None or (isinstance(given.part, Filter) and id(given.part) not in numbers):
        return None
    part, read, element = given
    if part is None:
        return lambda operands, query, after: after[element]
    if isinstance(part, Filter):
        number = numbers[id(part)]
        if element < 0:
            return lambda operands, query, after: read(operands[number])
        return lambda operands, query, after: read(operands[number][element])
    name, path = part
    if name == "limit":
        return lambda operands, query, after: read(query.limits[path])
    return lambda operands, query, after: read(query.offsets[path])


def _leaves(query: Query) -> list[Filter]:
    """The filters in the order of writing, those of groups too."""
    found: list[Filter] = []
    waiting = [term for _, term in reversed(query.conditions)]
    while waiting:
        term = waiting.pop()
        if isinstance(term, Filter):
            found.append(term)
        else:
            waiting.extend(reversed(term.terms))
    return found
