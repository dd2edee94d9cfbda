"""Read plan -> one SELECT for the root and one for each embed, built with SQLAlchemy and compiled once per shape to
driver SQL.

Every FROM occurrence is an alias of its own and gets its rule in `_conditions`: root, embeds and keyed reads alike.
Parents' keys travel as one parameter, so the text of a shape is constant. Compiling takes milliseconds of the event
loop; results are kept in bounded caches, by shape and by the caller's view, so that an anonymous caller's statement
holds no way round its rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Select,
    String,
    Text,
    bindparam,
    case,
    cast,
    func,
    inspect,
    literal_column,
    not_,
    null,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList
from sqlalchemy.sql.expression import Join
from sqlalchemy.types import TypeEngine

from app.data.base import Base, Json, UtcTime
from app.data.catalog import Catalog, Relation, Resource
from app.data.rules import Role, Scope
from app.query.driver import Lru, Prepared, one_of, prepare, slot, unbounded
from app.query.encoder import Builder, Layout, Output, build_many, build_one, build_root, converter, only_columns
from app.query.plan import Cond, Kid, Node
from app.settings import Limits

COMPARISONS = {operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge}


@dataclass(slots=True)
class Part:
    """One compiled node. `kids` are its embeds, each with the position of the column that holds the keys to ask for."""

    prepared: Prepared
    build: Builder
    kids: list[tuple[Part, int]]
    local: str = ""


class Forced(Join):
    """A join that SQLite runs in exactly this order: the keys first. Left to its planner it read whole tables (65 ms
    instead of 0.8).
    """

    inherit_cache = True


@compiles(Forced)
def _compile_forced(join: Any, compiler: SQLCompiler, asfrom: bool = False, **kw: Any) -> str:
    kw.pop("from_linter", None)
    left, right = (compiler.process(side, asfrom=True, **kw) for side in (join.left, join.right))
    return f"{left} CROSS JOIN {right} ON {compiler.process(join.onclause, **kw)}"


class Compiler:
    """Compiled reads of one catalog for one dialect."""

    def __init__(self, catalog: Catalog, dialect: Dialect, limits: Limits) -> None:
        self.catalog, self.dialect, self.limits = catalog, dialect, limits
        self.sqlite = dialect.name == "sqlite"
        self.aliases: dict[tuple[type[Base], int], Any] = {}
        self.roots: Lru[Part] = Lru(limits.shapes)
        self.embeds: Lru[Part] = Lru(limits.shapes)

    def read(self, node: Node, view: Role) -> Part:
        """The root by filters, order and page: builds a list of documents."""
        return self.roots.hit((node, view)) or self.roots.store((node, view), _Compilation(self, view).root(node))

    def keyed(self, node: Node, view: Role) -> Part:
        """The root by a list of primary keys: builds a dict key -> document."""
        key = (node, view, "keyed")
        return self.roots.hit(key) or self.roots.store(key, _Compilation(self, view).keyed(node))

    def alias(self, model: type[Base], number: int) -> Any:
        """Kept for ever: an alias adapts each attribute once, which is a third of a compilation."""
        if (model, number) not in self.aliases:
            self.aliases[model, number] = aliased(model, name=f"t{number}")
        return self.aliases[model, number]


@dataclass(slots=True)
class _Compilation:
    """Compiles one plan for one view. `number` makes the names of its aliases unique."""

    compiler: Compiler
    view: Role
    number: int = 0
    columns: dict[tuple[Any, str], Any] = field(default_factory=dict)
    lists: dict[str, TypeEngine[Any]] = field(default_factory=dict)

    # ---- statements

    def root(self, node: Node) -> Part:
        entity = self.alias(node.model)
        kids, columns, layout = self.selection(entity, node)
        where = self.conditions(entity, node)
        statement = select(*columns).select_from(entity).where(*where).order_by(*self.order(entity, node, where))
        if node.limit >= 0:
            statement = statement.limit(slot(node.limit, BigInteger()))
        if node.offset >= 0:
            statement = statement.offset(slot(node.offset, BigInteger()))
        return Part(self.prepare(statement), build_root(layout), kids)

    def keyed(self, node: Node) -> Part:
        entity = self.alias(node.model)
        (name,) = self.resource(node).key
        return self.by_key(entity, node, getattr(entity, name))

    def embed(self, parent: Any, kid: Kid) -> Part:
        """An embed does not depend on the root: all shapes that hold it share one."""
        mapper = inspect(parent).mapper
        key = (mapper, kid, self.view)
        if (found := self.compiler.embeds.hit(key)) is not None:
            return found
        relation = self.compiler.catalog.of(mapper.class_).relations[kid.relation]
        part = _Compilation(self.compiler, self.view).related(kid.node, relation)
        return self.compiler.embeds.store(key, part)

    def related(self, node: Node, relation: Relation) -> Part:
        entity = self.alias(node.model)
        if relation.secondary is None:
            part = self.by_key(entity, node, getattr(entity, relation.remote), many=relation.to_many)
        else:
            self.number += 1
            link = relation.secondary.alias(f"t{self.number}")
            on = link.c[relation.far] == getattr(entity, relation.remote)
            part = self.by_key(entity, node, link.c[relation.near], many=True, link=(link, on))
        part.local = relation.local
        return part

    def by_key(self, entity: Any, node: Node, key: Any, *, many: bool = False, link: Any = None) -> Part:
        """SELECT key, columns for the keys that the statement is given."""
        kids, columns, layout = self.selection(entity, node)
        source, where = self.keyed_source(inspect(entity).selectable, key, link)
        where += self.conditions(entity, node)
        statement: Select[Any] = select(key.label("k"), *columns).select_from(source).where(*where)
        if not many:
            return Part(self.prepare(statement.where(*_page_of_one(node))), build_one(layout), kids)
        order = self.order(entity, node, where)
        if node.limit < 0 and node.offset < 0:
            statement = statement.order_by(*order)
        else:
            statement = _page_of_each(statement, key, order, node)
        # One row more than an answer may hold: enough to refuse it, never enough to fill the memory.
        statement = statement.limit(self.compiler.limits.answer_rows + 1)
        return Part(self.prepare(statement), build_many(layout, self.compiler.limits.page), kids)

    def keyed_source(self, table: Any, key: Any, link: Any) -> tuple[Any, list[Any]]:
        """FROM and WHERE by the parents' keys: `= ANY(:keys)`, or on SQLite a join that the keys drive."""
        if not self.compiler.sqlite:
            source = table if link is None else link[0].join(table, link[1])
            return source, [self.one_of(key, "keys", key.type)]
        keys = func.json_each(bindparam("keys", None, type_=String(), required=False)).table_valued("value")
        if link is None:
            return Forced(keys, table, key == keys.c.value), []
        return Forced(Forced(keys, link[0], key == keys.c.value), table, link[1]), []

    # ---- what is fetched

    def selection(self, entity: Any, node: Node) -> tuple[list[tuple[Part, int]], list[Any], Layout]:
        """The embeds, the columns to fetch (shown ones and the keys that embeds need, each once), and how rows become
        documents.
        """
        columns: list[Any] = []
        kids: list[tuple[Part, int]] = []
        outputs = []
        for key, source in node.items:
            if isinstance(source, str):
                outputs.append(self.output(entity, node, key, source, columns))
                continue
            part = self.embed(entity, node.kids[source])
            at = _place(columns, self.raw(entity, part.local))
            relation = self.resource(node).relations[node.kids[source].relation]
            outputs.append(Output(key, (at,), kid=len(kids), to_many=relation.to_many))
            kids.append((part, at))
        columns = columns or [literal_column("1")]
        return kids, columns, Layout(tuple(outputs), len(columns), len(kids))

    def output(self, entity: Any, node: Node, key: str, name: str, columns: list[Any]) -> Output:
        column = self.column(entity, name)
        at = _place(columns, self.shown(entity, name, column))
        maps = self.resource(node).rule.maps_columns
        if maps and maps[0] == name:
            table = _place(columns, self.raw(entity, maps[1]))
            return Output(key, (at, table), only_columns(self.readable))
        return Output(key, (at,), converter(column.type, sqlite=self.compiler.sqlite))

    def readable(self, table: str) -> tuple[str, ...]:
        """Names that the view reads of another table, masked columns left out: whose row it was is not known there."""
        resource = self.compiler.catalog.get(table)
        if resource is None:
            return ()
        rule = resource.rule
        plain = tuple(name for name in rule.readable(self.view) if rule.mask(name, self.view) is None)
        return plain + tuple(rule.extra)

    def shown(self, entity: Any, name: str, column: Any) -> Any:
        """What PostgreSQL prints by itself in the wanted form is fetched as text (the session's zone is UTC): no
        object per value.
        """
        if self.compiler.sqlite or not isinstance(column.type, UtcTime | Json):
            return column
        if (entity, f"text of {name}") not in self.columns:
            if isinstance(column.type, Json):
                text: Any = cast(column, Text())
            else:
                text = func.to_json(column).op("#>>", return_type=String())(literal_column("'{}'"))
            self.columns[entity, f"text of {name}"] = text
        return self.columns[entity, f"text of {name}"]

    # ---- names -> expressions

    def alias(self, model: type[Base]) -> Any:
        self.number += 1
        return self.compiler.alias(model, self.number)

    def resource(self, node: Node) -> Resource:
        return self.compiler.catalog.of(node.model)

    def raw(self, entity: Any, name: str) -> Any:
        """One object for each column: `_place` goes by identity."""
        return self.columns.setdefault((entity, f"raw {name}"), getattr(entity, name))

    def column(self, entity: Any, name: str) -> Any:
        """The column as the view sees it: masked at every use, in output, filters and order alike."""
        if (entity, name) not in self.columns:
            resource = self.compiler.catalog.of(inspect(entity).mapper.class_)
            self.columns[entity, name] = masked(resource, entity, name, Scope.named(self.view))
        return self.columns[entity, name]

    def one_of(self, column: Any, name: str, type_: TypeEngine[Any]) -> Any:
        self.lists[name] = type_
        return one_of(column, name, type_, sqlite=self.compiler.sqlite)

    def conditions(self, entity: Any, node: Node) -> list[Any]:
        """The rule of this occurrence, then its filters."""
        rule = self.resource(node).conditions(entity, Scope.named(self.view), deleted=node.deleted)
        return [*rule, *(self.condition(entity, cond) for cond in node.where)]

    def condition(self, entity: Any, cond: Cond) -> Any:
        column = self.column(entity, cond.column)
        type_ = unbounded(column.type)
        if cond.operator == "in":
            test = self.one_of(column, f"v{cond.slot}", type_)
        else:
            test = column == slot(cond.slot, type_)
        return not_(test) if cond.negated else test

    def order(self, entity: Any, node: Node, where: list[Any]) -> list[Any]:
        """What was asked, then the primary key in the last direction, so that one index serves both. NULLS only where
        a NULL can be.
        """
        resource = self.resource(node)
        never_null = {name for test in where for name in _compared(test)}
        out = []
        for term in node.order:
            column = self.column(entity, term.column)
            x = column.desc() if term.descending else column.asc()
            plain = not resource.columns[term.column].nullable and resource.rule.mask(term.column, self.view) is None
            if not plain and term.column not in never_null:
                x = x.nulls_first() if term.nulls_first else x.nulls_last()
            out.append(x)
        asked = {term.column for term in node.order}
        last = bool(node.order) and node.order[-1].descending
        keys = [getattr(entity, name) for name in resource.key if name not in asked]
        return out + [key.desc() if last else key.asc() for key in keys]

    def prepare(self, statement: Select[Any]) -> Prepared:
        return prepare(statement, self.compiler.dialect, self.lists)


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


def _place(columns: list[Any], column: Any) -> int:
    """The position of a column in the list, put there if it is not yet. By identity: ORM expressions cannot be
    compared.
    """
    for at, have in enumerate(columns):
        if have is column:
            return at
    columns.append(column)
    return len(columns) - 1


def _page_of_one(node: Node) -> Iterable[ColumnElement[bool]]:
    """Limit and offset where each parent has one row: it is on the page or not."""
    if node.limit >= 0:
        yield slot(node.limit, BigInteger()) > 0
    if node.offset >= 0:
        yield slot(node.offset, BigInteger()) == 0


def _page_of_each(statement: Select[Any], key: Any, order: list[Any], node: Node) -> Select[Any]:
    """Limit and offset for each parent: number the rows of each key, keep a slice."""
    number = func.row_number().over(partition_by=key, order_by=order).label("n")
    columns = [c.label(f"c{i}") for i, c in enumerate(statement.exported_columns)]
    rows = statement.with_only_columns(*columns, number, maintain_column_froms=True).subquery()
    page = select(*[rows.c[f"c{i}"] for i in range(len(columns))]).order_by(rows.c.n)
    offset = slot(node.offset, BigInteger()) if node.offset >= 0 else None
    if offset is not None:
        page = page.where(rows.c.n > offset)
    if node.limit >= 0:
        limit = slot(node.limit, BigInteger())
        page = page.where(rows.c.n <= (limit if offset is None else limit + offset))
    return page


def _compared(test: ColumnElement[Any]) -> Iterable[str]:
    """Names of columns that a row which passes the test has not NULL: those that it compares, joined by AND."""
    if isinstance(test, BooleanClauseList) and test.operator is operators.and_:
        for clause in test.clauses:
            yield from _compared(clause)
    elif isinstance(test, BinaryExpression) and test.operator in COMPARISONS:
        yield from (name for side in (test.left, test.right) if (name := getattr(side, "name", None)))
