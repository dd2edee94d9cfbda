"""Read plan -> one SELECT for the root and one for each embed, built with SQLAlchemy and compiled once per shape to
driver SQL.

Parents' keys travel as one parameter, so the text of a shape is constant. Compiling takes milliseconds of the event
loop; results are kept in bounded caches, by shape and by the caller's view, so that an anonymous caller's statement
holds no way round its rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Select,
    String,
    bindparam,
    func,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Join

from app.data.base import Base
from app.data.catalog import Catalog
from app.data.rules import Role, Scope
from app.query.driver import Lru, Prepared, Size, prepare, slot
from app.query.encoder import Builder, Convert, Layout, Output, build_many, build_one, build_root, converter
from app.query.expressions import Expressions, Joined, Sorted
from app.query.outputs import Fetched, Note
from app.query.plan import Aggregate, Embedded, Kid, Lifted, Node
from app.settings import Limits


@dataclass(slots=True)
class Part:
    """One compiled node. `kids` are its embeds, each with the position of the column that holds the keys to ask for.
    `cursor` has the positions of the order's columns and how each becomes JSON; `empty` is what a parent without rows
    shows; `wide` are the positions of texts without a length, which may be large; `note` is there where rows are noted.
    """

    prepared: Prepared
    build: Builder
    kids: list[tuple[Part, int]]
    local: str = ""
    cursor: list[tuple[int, Convert | None]] = field(default_factory=list)
    empty: Any = None
    wide: tuple[int, ...] = ()
    note: Note | None = None


class Forced(Join):
    """A join that SQLite runs in exactly this order: the keys first. Left to its planner it read whole tables (65
    ms instead of 0.8).
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
        self.shapes: Lru[Any] = Lru(limits.shapes)
        self.embeds: Lru[Part] = Lru(limits.shapes)

    def sizes(self) -> dict[str, Size]:
        return {"compiled": self.shapes.size(), "compiled embeds": self.embeds.size()}

    def read(self, node: Node, view: Role, *, noting: bool = False) -> Part:
        """The root by filters, order and page: builds a list of documents. With `noting` the rows of every level tell
        which of them the rules want noted.
        """
        return self._once("read", node, view, lambda c: c.root(node), noting=noting)  # type: ignore[no-any-return]

    def keyed(self, node: Node, view: Role, *, noting: bool = False) -> Part:
        """The root by a list of primary keys: builds a dict key -> document."""
        return self._once("keyed", node, view, lambda c: c.keyed(node), noting=noting)  # type: ignore[no-any-return]

    def total(self, node: Node, view: Role) -> Prepared:
        """The number of rows that match, whatever the page."""
        return self._once("total", node, view, lambda c: c.total(node))  # type: ignore[no-any-return]

    def locking(self, node: Node, view: Role, *, lock: bool = True) -> Prepared:
        """The primary keys of the rows that match and that the view may write, ascending and locked: one more than
        a write may take.
        """
        kind = "locking" if lock else "matching"
        return self._once(kind, node, view, lambda c: c.locking(node, lock=lock))  # type: ignore[no-any-return]

    def alias(self, model: type[Base], number: int) -> Any:
        """Kept for ever: an alias adapts each attribute once, which is a third of a compilation."""
        if (model, number) not in self.aliases:
            self.aliases[model, number] = aliased(model, name=f"t{number}")
        return self.aliases[model, number]

    def _once(
        self, kind: str, node: Node, view: Role, make: Callable[[_Compilation], Any], *, noting: bool = False
    ) -> Any:
        key = (node, view, kind, noting)
        found = self.shapes.hit(key)
        return found if found is not None else self.shapes.store(key, make(_Compilation(self, view, noting=noting)))


class _Compilation:
    """Compiles one plan for one view."""

    def __init__(self, compiler: Compiler, view: Role, *, noting: bool) -> None:
        self.compiler, self.view, self.noting = compiler, view, noting
        self.x = Expressions(compiler.catalog, view, compiler.sqlite, compiler.alias)

    # ---- statements of the root

    def root(self, node: Node) -> Part:
        entity = self.x.alias(node.model)
        fetched, layout, kids = self.selection(entity, node)
        where = self.x.conditions(entity, node)
        order = [] if node.grouped else self.x.order(entity, node, where)
        cursor = self.cursor(fetched, node, order)
        if node.after:
            where.append(self.x.after(node, order))
        statement = self.selected(fetched, [], entity, where)
        statement = statement.order_by(*self.sorting(fetched, node, order))
        statement = _paged(statement, node)
        layout = Layout(layout.outputs, len(fetched.columns) or 1, layout.kids)
        build = build_root(layout)
        return Part(self.prepare(statement), build, kids, cursor=cursor, wide=fetched.wide, note=fetched.note)

    def keyed(self, node: Node) -> Part:
        entity = self.x.alias(node.model)
        (name,) = self.x.resource(node).key
        return self.by_key(node, Joined(entity, getattr(entity, name), None))

    def total(self, node: Node) -> Prepared:
        entity = self.x.alias(node.model)
        where = self.x.conditions(entity, node)
        if not node.grouped:
            return self.prepare(select(func.count()).select_from(entity).where(*where))
        fetched, _, _ = self.selection(entity, node)
        return self.prepare(select(func.count()).select_from(self.selected(fetched, [], entity, where).subquery()))

    def locking(self, node: Node, *, lock: bool) -> Prepared:
        entity = self.x.alias(node.model)
        resource = self.x.resource(node)
        where = self.x.conditions(entity, node)
        writable = resource.rule.writable(entity, Scope.named(self.view)) if self.view is not Role.ADMIN else None
        where += [] if writable is None else [writable]
        keys = [getattr(entity, name) for name in resource.key]
        rows = select(*keys).where(*where).order_by(*keys).limit(self.compiler.limits.affected + 1)
        return self.prepare(rows.with_for_update(of=entity) if lock else rows)

    # ---- statements of embeds

    def embed(self, parent: Any, kid: Kid) -> Part:
        """An embed does not depend on the root: all shapes that hold it share one."""
        mapper = inspect(parent).mapper
        key = (mapper, kid, self.view, self.noting)
        if (found := self.compiler.embeds.hit(key)) is not None:
            return found
        relation = self.compiler.catalog.of(mapper.class_).relations[kid.relation]
        own = _Compilation(self.compiler, self.view, noting=self.noting)
        part = own.by_key(kid.node, own.x.joined(relation), many=relation.to_many)
        part.local = relation.local
        return self.compiler.embeds.store(key, part)

    def by_key(self, node: Node, far: Joined, *, many: bool = False) -> Part:
        """SELECT key, columns for the keys that the statement is given."""
        fetched, layout, kids = self.selection(far.entity, node)
        source, where = self.keyed_source(far)
        where += self.x.conditions(far.entity, node)
        statement = self.selected(fetched, [far.key.label("k")], source, where, group=far.key)
        empty = _empty(layout, node, many=many)
        if not many:
            statement = statement.where(*_page_of_one(node))
            build = build_one(layout)
            return Part(self.prepare(statement), build, kids, empty=empty, wide=fetched.wide, note=fetched.note)
        order = [] if node.grouped else self.x.order(far.entity, node, where)
        sorting = self.sorting(fetched, node, order)
        if node.limit < 0 and node.offset < 0:
            statement = statement.order_by(*sorting)
        else:
            statement = _page_of_each(statement, far.key, sorting, node)
        # One row more than an answer may hold: enough to refuse it, never enough to fill the memory.
        statement = statement.limit(self.compiler.limits.answer_rows + 1)
        build = build_many(layout, self.compiler.limits.page)
        return Part(self.prepare(statement), build, kids, empty=empty, wide=fetched.wide, note=fetched.note)

    def keyed_source(self, far: Joined) -> tuple[Any, list[Any]]:
        """FROM and WHERE by the parents' keys: `= ANY(:keys)`, or on SQLite a join that the keys drive."""
        if not self.compiler.sqlite:
            return far.source, [self.x.one_of(far.key, "keys", far.key.type)]
        table = inspect(far.entity).selectable
        keys = func.json_each(bindparam("keys", None, type_=String(), required=False)).table_valued("value")
        if far.link is None:
            return Forced(keys, table, far.key == keys.c.value), []
        return Forced(Forced(keys, far.link[0], far.key == keys.c.value), table, far.link[1]), []

    # ---- parts

    def selection(self, entity: Any, node: Node) -> tuple[Fetched, Layout, list[tuple[Part, int]]]:
        """The columns to fetch, how rows become documents, and the embeds that are shown with the column of their
        keys.
        """
        fetched = Fetched(self.x, entity, node)
        kids: dict[int, tuple[int, Part, int]] = {}  # embed -> (its number among those shown, part, column of keys)
        outputs: list[Output] = []
        for key, source in node.items:
            if not isinstance(source, Embedded | Lifted):
                outputs.append(fetched.output(key, source))
                continue
            if source.kid not in kids:
                part = self.embed(entity, node.kids[source.kid])
                kids[source.kid] = (len(kids), part, fetched.key(part.local))
            number, part, at = kids[source.kid]
            many = self.x.resource(node).relations[node.kids[source.kid].relation].to_many
            lifted = source.item if isinstance(source, Lifted) else -1
            outputs.append(Output(key, (at,), kid=number, to_many=many, lifted=lifted, missing=part.empty))
        if self.noting:
            fetched.take_note()
        layout = Layout(tuple(outputs), len(fetched.columns) or 1, len(kids))
        return fetched, layout, [(part, at) for _, part, at in kids.values()]

    def selected(
        self, fetched: Fetched, lead: list[Any], source: Any, where: list[Any], group: Any = None
    ) -> Select[Any]:
        columns = fetched.columns or [literal_column("1")]
        statement: Select[Any] = select(*lead, *columns).select_from(source).where(*where)
        if fetched.node.grouped:
            grouping = [] if group is None else [group]
            statement = statement.group_by(*grouping, *(column for column, _ in self.grouping(fetched)))
        return statement

    def grouping(self, fetched: Fetched) -> list[tuple[Any, str]]:
        """What a grouped node groups by: its plain columns, and the keys of its embeds; each with its name."""
        out = []
        for _, source in fetched.node.items:
            if isinstance(source, Embedded | Lifted):
                relation = fetched.resource.relations[fetched.node.kids[source.kid].relation]
                out.append((self.x.raw(fetched.entity, relation.local), relation.local))
            elif not isinstance(source, Aggregate):
                name = source if isinstance(source, str) else source.column
                out.append((self.x.column(fetched.entity, name), name))
        return out

    def sorting(self, fetched: Fetched, node: Node, order: list[Sorted]) -> list[Any]:
        if not node.grouped:
            return [s.clause for s in order]
        columns = self.grouping(fetched)
        asked = [
            Sorted(self.x.column(fetched.entity, term.column), term.descending, term.nulls_first, nullable=True)
            for term in node.order
        ]
        named = {term.column for term in node.order}
        rest = [Sorted(column, False, False, nullable=True) for column, name in columns if name not in named]
        return [s.clause for s in [*asked, *rest]]

    def cursor(self, fetched: Fetched, node: Node, order: list[Sorted]) -> list[tuple[int, Convert | None]]:
        """Where the values of the next page's cursor stand; columns that are not shown are fetched for it."""
        if node.grouped or node.limit < 0:
            return []
        resource = self.x.resource(node)
        asked = [(term.column, term.kid) for term in node.order]
        names = [*asked, *((name, -1) for name in resource.key if (name, -1) not in asked)]
        out = []
        for (name, kid), s in zip(names, order, strict=True):
            type_ = s.column.type
            at = (
                fetched.shown(name)
                if kid < 0
                else fetched.place(fetched.as_text((fetched.entity, kid, name), s.column, type_))
            )
            out.append((at, converter(type_, sqlite=self.compiler.sqlite)))
        return out

    def prepare(self, statement: Select[Any]) -> Prepared:
        return prepare(statement, self.compiler.dialect, self.x.lists)


def _paged(statement: Select[Any], node: Node) -> Select[Any]:
    if node.limit >= 0:
        statement = statement.limit(slot(node.limit, BigInteger()))
    if node.offset >= 0:
        statement = statement.offset(slot(node.offset, BigInteger()))
    return statement


def _empty(layout: Layout, node: Node, *, many: bool) -> Any:
    """What a parent without rows shows: nothing, or the one row of an aggregate over no rows."""
    if node.grouped and not node.blank and all(isinstance(source, Aggregate) for _, source in node.items):
        return (layout.empty(),) if many else layout.empty()
    return () if many else None


def _page_of_one(node: Node) -> Iterable[ColumnElement[bool]]:
    """Limit and offset where each parent has one row: it is on the page or not."""
    if node.limit >= 0:
        yield slot(node.limit, BigInteger()) > 0
    if node.offset >= 0:
        yield slot(node.offset, BigInteger()) == 0


def _page_of_each(statement: Select[Any], key: Any, order: list[Any], node: Node) -> Select[Any]:
    """Limit and offset for each parent: number the rows of each key, keep a slice."""
    number = func.row_number().over(partition_by=key, order_by=order or None).label("n")
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
