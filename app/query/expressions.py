"""Names of a plan -> SQL expressions: columns behind their masks, the rule of each occurrence, filters, EXISTS, order,
cursor.

Every FROM occurrence is an alias of its own and gets its rule in `conditions`: root, embeds, EXISTS and related orders
alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    false,
    inspect,
    literal_column,
    null,
    or_,
    select,
    tuple_,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList
from sqlalchemy.types import TypeEngine

from app.data.base import Base
from app.data.catalog import Catalog, Relation, Resource
from app.data.rules import Role, Scope
from app.query import search
from app.query.conditions import compare, negated
from app.query.driver import one_of, slot, unbounded
from app.query.plan import Cond, Group, Has, Kid, Node, Term

COMPARISONS = {operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge}


class Sorted(NamedTuple):
    """One column of an order. `nullable` says whether a NULL can be among the rows."""

    column: Any
    descending: bool
    nulls_first: bool
    nullable: bool

    @property
    def clause(self) -> Any:
        """NULLS only where one can be: without it an index fits."""
        x = self.column.desc() if self.descending else self.column.asc()
        return x if not self.nullable else x.nulls_first() if self.nulls_first else x.nulls_last()


class Joined(NamedTuple):
    """The far side of a relation: its alias, the expression that holds the parent's key, and what to join with the
    junction.
    """

    entity: Any
    key: Any
    link: tuple[Any, Any] | None

    @property
    def source(self) -> Any:
        table = inspect(self.entity).selectable
        return table if self.link is None else self.link[0].join(table, self.link[1])


@dataclass(slots=True)
class Expressions:
    """The expressions of one compilation. `number` makes the names of its aliases unique."""

    catalog: Catalog
    view: Role
    sqlite: bool
    aliases: Any
    number: int = 0
    columns: dict[tuple[Any, str], Any] = field(default_factory=dict)
    lists: dict[str, TypeEngine[Any]] = field(default_factory=dict)

    # ---- occurrences and columns

    def alias(self, model: type[Base]) -> Any:
        self.number += 1
        return self.aliases(model, self.number)

    def resource(self, node: Node) -> Resource:
        return self.catalog.of(node.model)

    def raw(self, entity: Any, name: str) -> Any:
        """One object for each column, so that a column can be found again by identity."""
        return self.columns.setdefault((entity, f"raw {name}"), getattr(entity, name))

    def column(self, entity: Any, name: str) -> Any:
        """The column as the view sees it: masked at every use, in output, filters and order alike."""
        if (entity, name) not in self.columns:
            resource = self.catalog.of(inspect(entity).mapper.class_)
            self.columns[entity, name] = masked(resource, entity, name, Scope.named(self.view))
        return self.columns[entity, name]

    def joined(self, relation: Relation) -> Joined:
        entity = self.alias(relation.target)
        if relation.secondary is None:
            return Joined(entity, getattr(entity, relation.remote), None)
        self.number += 1
        link = relation.secondary.alias(f"t{self.number}")
        return Joined(entity, link.c[relation.near], (link, link.c[relation.far] == getattr(entity, relation.remote)))

    def one_of(self, column: Any, name: str, type_: TypeEngine[Any]) -> Any:
        self.lists[name] = type_
        return one_of(column, name, type_, sqlite=self.sqlite)

    # ---- filters

    def conditions(self, entity: Any, node: Node) -> list[Any]:
        """The rule of this occurrence, its filters, and the embeds that must have a row."""
        rule = self.resource(node).conditions(entity, Scope.named(self.view), deleted=node.deleted)
        terms = [self.term(entity, node, term) for term in node.where]
        return [*rule, *terms, *(self.exists(entity, node, kid) for kid in node.kids if kid.inner)]

    def term(self, entity: Any, node: Node, term: Term) -> Any:
        match term:
            case Has():
                return negated(self.exists(entity, node, node.kids[term.kid]), not term.present)
            case Group():
                joined = and_ if term.operator == "and" else or_
                return negated(joined(*[self.term(entity, node, inner) for inner in term.terms]), term.negated)
            case Cond():
                return negated(self.condition(entity, node, term), term.negated)

    def condition(self, entity: Any, node: Node, cond: Cond) -> Any:
        if cond.operator == "fts":
            resource = self.resource(node)
            key = getattr(entity, resource.key[0])
            return search.matches(
                entity, resource.name, key, slot(cond.slots[0], search.SearchText()), sqlite=self.sqlite
            )
        column = self.column(entity, cond.column)
        if cond.operator == "in":
            return self.one_of(column, f"v{cond.slots[0]}", unbounded(column.type))
        return compare(column, cond, sqlite=self.sqlite)

    def exists(self, parent: Any, node: Node, kid: Kid) -> Any:
        """The parent has a row in this embed, after the embed's own filters. Its order and page do not matter."""
        relation = self.resource(node).relations[kid.relation]
        far = self.joined(relation)
        test: Select[Any] = select(literal_column("1")).select_from(far.source)
        test = test.where(far.key == getattr(parent, relation.local), *self.conditions(far.entity, kid.node))
        return test.correlate(parent).exists()

    # ---- order and cursor

    def order(self, entity: Any, node: Node, where: list[Any]) -> list[Sorted]:
        """What was asked, then the primary key in the last direction, so that one index serves both."""
        resource = self.resource(node)
        never_null = {name for test in where for name in _compared(test)}
        out = []
        for term in node.order:
            if term.kid >= 0:
                column = self.lifted(entity, node, node.kids[term.kid], term.column)
                out.append(Sorted(column, term.descending, term.nulls_first, nullable=True))
                continue
            plain = not resource.columns[term.column].nullable and resource.rule.mask(term.column, self.view) is None
            nullable = not plain and term.column not in never_null
            out.append(Sorted(self.column(entity, term.column), term.descending, term.nulls_first, nullable))
        asked = {term.column for term in node.order if term.kid < 0}
        last = bool(node.order) and node.order[-1].descending
        keys = [name for name in resource.key if name not in asked]
        return out + [Sorted(self.raw(entity, name), last, last, nullable=False) for name in keys]

    def lifted(self, parent: Any, node: Node, kid: Kid, name: str) -> Any:
        """A to-one embed's column for the order of its parents; a row that the caller may not see sorts as NULL."""
        relation = self.resource(node).relations[kid.relation]
        far = self.joined(relation)
        value = select(self.column(far.entity, name)).select_from(far.source)
        value = value.where(far.key == getattr(parent, relation.local), *self.conditions(far.entity, kid.node))
        return value.correlate(parent).scalar_subquery()

    def after(self, node: Node, order: list[Sorted]) -> Any:
        """The rows behind a cursor: a row value where one index range can serve, else the steps of the order, NULLs
        included.
        """
        binds = [slot(number, unbounded(s.column.type)) for number, s in zip(node.after, order, strict=True)]
        if not any(s.nullable for s in order) and len({s.descending for s in order}) == 1:
            left, right = tuple_(*[s.column for s in order]), tuple_(*binds)
            return left < right if order[0].descending else left > right
        terms: list[Any] = []
        same: list[Any] = []
        for s, bind, is_null in zip(order, binds, node.after_nulls, strict=True):
            step = _step(s, bind, is_null=is_null)
            if step is not None:
                terms.append(and_(*same, step))
            same.append(s.column.is_(None) if is_null else s.column == bind)
        return or_(*terms) if terms else false()


def _step(s: Sorted, bind: Any, *, is_null: bool) -> Any:
    if is_null:  # behind NULLs come the values, or nothing
        return s.column.is_not(None) if s.nulls_first else None
    step = s.column < bind if s.descending else s.column > bind
    return or_(step, s.column.is_(None)) if s.nullable and not s.nulls_first else step


def masked(resource: Resource, entity: Any, name: str, scope: Scope) -> Any:
    """A masked column is NULL outside the rows of its test: `CASE WHEN <test> THEN column END`."""
    column = getattr(entity, name)
    test = resource.rule.mask(name, scope.view)
    if test is None:
        return column
    if scope.view is Role.ANONYMOUS:  # nobody's own row
        return cast(null(), column.type)
    condition = test(entity, scope)
    return column if condition is None else case((condition, column))


def _compared(test: ColumnElement[Any]) -> Iterable[str]:
    """Names of columns that a row which passes the test has not NULL: those that it compares, joined by AND."""
    if isinstance(test, BooleanClauseList) and test.operator is operators.and_:
        for clause in test.clauses:
            yield from _compared(clause)
    elif isinstance(test, BinaryExpression) and test.operator in COMPARISONS:
        yield from (name for side in (test.left, test.right) if (name := getattr(side, "name", None)))
