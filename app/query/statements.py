"""The statements of the writer, each compiled once per table, columns and view: locked reads, inserts, updates,
deletes, links.

Like the reader's they are built with SQLAlchemy, carry the rules where they read, and take their values as slots.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Integer,
    Numeric,
    Table,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from app.data.catalog import Catalog, Relation, Resource
from app.data.rules import Role, Scope, Values
from app.data.session import AppSession
from app.data.steps import Statement, Steps
from app.query.driver import Binds, Lru, Prepared, one_of, prepare, slot, unbounded

T = TypeVar("T")

CACHED = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """The unique constraint on which an INSERT gives way: its columns, and the predicate of a partial index. Without
    columns it is any constraint.
    """

    columns: tuple[str, ...] = ()
    where: ColumnElement[bool] | None = field(default=None, compare=False)
    name: str = ""

    def of(self, row: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The values by which a row meets another one, or None where it meets none: NULL equals nothing."""
        values = tuple(row.get(name) for name in self.columns)
        return None if None in values else values


ANY = Target()


@dataclass(frozen=True, slots=True)
class RowReader:
    """Driver rows -> Python values by column name, with SQLAlchemy's result processors."""

    names: tuple[str, ...]
    processors: tuple[Callable[[Any], Any] | None, ...]

    def __call__(self, row: Sequence[Any]) -> Values:
        columns = zip(self.names, row, self.processors, strict=False)
        return {name: value if process is None else process(value) for name, value, process in columns}


class WriteStatements:
    """Compiled write statements of one catalog for one dialect."""

    def __init__(self, catalog: Catalog, dialect: Dialect) -> None:
        self.catalog, self.dialect = catalog, dialect
        self.sqlite = dialect.name == "sqlite"
        self._cache: Lru[Any] = Lru(CACHED)

    def reader(self, table: Table, names: tuple[str, ...] = ()) -> RowReader:
        """Reads whole rows, or rows of these columns."""

        def make() -> RowReader:
            columns = [table.c[name] for name in names] if names else list(table.columns)
            return RowReader(tuple(c.name for c in columns), tuple(self._processor(c.type) for c in columns))

        return self._once(("reader", table, names), make)

    def locked(self, resource: Resource, view: Role, *, deleted: bool) -> Prepared:
        """Whole rows that the view sees and that have one of `keys`, locked in ascending key order; then whether it
        may write them.
        """

        def make() -> Prepared:
            where = resource.conditions(resource.model, Scope.named(view), deleted=deleted)
            return self._prepare(self._by_keys(resource.table, resource.key[0], where, _may_write(resource, view)))

        return self._once(("locked", resource.name, view, deleted), make)

    def matching(self, resource: Resource, view: Role, columns: tuple[str, ...]) -> Prepared:
        """The same for the rows that have one of a list of values, in the first slot, in the column; or for the one row
        that has these columns in the slots.
        """

        def make() -> Prepared:
            table, lists = resource.table, {}
            where = resource.conditions(resource.model, Scope.named(view))
            types = [unbounded(table.c[name].type) for name in columns]
            if len(columns) == 1:
                lists = {"v0": types[0]}
                where.append(one_of(table.c[columns[0]], "v0", types[0], sqlite=self.sqlite))
            else:
                where += [table.c[name] == slot(i, types[i]) for i, name in enumerate(columns)]
            rows = select(*table.columns, _may_write(resource, view).label("writable")).where(*where)
            return self._prepare(rows.order_by(*table.primary_key).with_for_update(of=table), lists)

        return self._once(("matching", resource.name, view, columns), make)

    def locked_all(self, table: Table, by: str, *, keeps_key: bool = False) -> Prepared:
        """The same for every row, whatever the caller sees: for what a write must take along. Deleted rows too. Where
        the write `keeps_key`, others may meanwhile add rows that refer to these, and hold them against removal.
        """
        return self._once(
            ("all", table.name, by, keeps_key),
            lambda: self._prepare(self._by_keys(table, by, [], None, keeps_key=keeps_key)),
        )

    def named(self, resource: Resource, view: Role, column: str) -> Prepared:
        """(value of `column`, key) of the rows that the view sees and that have one of `keys` there."""

        def make() -> Prepared:
            c = resource.table.c[column]
            where = resource.conditions(resource.model, Scope.named(view))
            rows = select(c, *resource.table.primary_key).where(one_of(c, "keys", c.type, sqlite=self.sqlite), *where)
            # held against those who would remove or rename the row before this unit of work ends
            return self._prepare(rows.order_by(c).with_for_update(read=True, key_share=True, of=resource.table))

        return self._once(("named", resource.name, view, column), make)

    def parents(self, table: Table, column: str) -> Prepared:
        """The rows that the rows with these `keys` point at by one foreign key, held as by `named` whatever the caller
        sees.
        """

        def make() -> Prepared:
            near, (foreign,) = table.alias(), table.c[column].foreign_keys
            (by,), key = near.primary_key, foreign.column
            some = select(near.c[column]).where(one_of(by, "keys", by.type, sqlite=self.sqlite))
            rows = select(key).where(key.in_(some)).order_by(key)
            return self._prepare(rows.with_for_update(read=True, key_share=True, of=key.table))

        return self._once(("parents", table.name, column), make)

    def insert(
        self, table: Table, columns: tuple[str, ...], unless: Target | None = None, *, returning: bool = True
    ) -> Prepared:
        """One row from slots in the order of `columns`; returns its key unless that is not wanted. With `unless` it
        gives way to a row that is there, and returns the target's columns behind the key.
        """

        def make() -> Prepared:
            values = {name: slot(i, table.c[name].type) for i, name in enumerate(columns)}
            if not returning:
                made = self._prepare(insert(table).inline().values(values))
            elif unless is None:
                made = self._prepare(insert(table).values(values).returning(*table.primary_key))
            else:
                made = self._prepare(self._giving_way(table, values, unless))
            return made._replace(table=table.name, columns=_in_order(table, columns))

        return self._once(("insert", table.name, columns, unless, returning), make)

    def _giving_way(self, table: Table, values: dict[str, Any], unless: Target) -> Any:
        statement = (sqlite.insert if self.sqlite else postgresql.insert)(table).values(values)
        elements = [table.c[name] for name in unless.columns] or None
        statement = statement.on_conflict_do_nothing(index_elements=elements, index_where=unless.where)
        return statement.returning(*table.primary_key, *(elements or ()))

    def numbers(self, table: Table) -> Prepared:
        """As many new keys as the slot says. Of PostgreSQL alone."""

        def make() -> Prepared:
            (key,) = table.primary_key
            name = self.dialect.identifier_preparer.format_table(table)
            sequence = cast(func.pg_get_serial_sequence(name, key.name), postgresql.REGCLASS)
            rows = func.generate_series(1, slot(0, Integer())).alias()
            return self._prepare(select(func.nextval(sequence)).select_from(rows))

        return self._once(("numbers", table.name), make)

    def update(self, table: Table, columns: tuple[str, ...], match: tuple[str, ...]) -> Prepared:
        """Sets `columns` from the first slots on the row that has `match` in the next ones; returns its key."""

        def make() -> Prepared:
            values = {name: slot(i, table.c[name].type) for i, name in enumerate(columns)}
            where = [table.c[name] == slot(len(columns) + i, table.c[name].type) for i, name in enumerate(match)]
            made = self._prepare(update(table).values(values).where(*where).returning(*table.primary_key))
            return made._replace(table=table.name, columns=_in_order(table, columns))

        return self._once(("update", table.name, columns, match), make)

    def delete(self, table: Table, match: tuple[str, ...]) -> Prepared:
        """Removes the rows that have `match` in the slots; returns their keys."""

        def make() -> Prepared:
            where = [table.c[name] == slot(i, table.c[name].type) for i, name in enumerate(match)]
            return self._prepare(delete(table).where(*where).returning(*table.primary_key))

        return self._once(("delete", table.name, match), make)

    def links(self, relation: Relation, shown: str) -> Prepared:
        """(near key, far key, the far row's `shown`) for the near `keys`, ordered by what is shown."""
        target = self.catalog.of(relation.target).table

        def make() -> Prepared:
            link = _junction(relation)
            near, far = link.c[relation.near], link.c[relation.far]
            rows = select(near, far, target.c[shown]).select_from(link.join(target, far == target.c[relation.remote]))
            lists: dict[str, TypeEngine[Any]] = {"keys": near.type}
            where = one_of(near, "keys", near.type, sqlite=self.sqlite)
            return self._prepare(rows.where(where).order_by(near, target.c[shown], far), lists)

        return self._once(("links", _junction(relation).name, relation.near, shown), make)

    def shown(self, target: Resource, view: Role, remote: str, shown: str) -> Prepared:
        """(key, what is shown) of the far rows with these `keys` that the view sees."""

        def make() -> Prepared:
            table = target.table
            key = table.c[remote]
            where = target.conditions(target.model, Scope.named(view))
            rows = select(key, table.c[shown]).where(one_of(key, "keys", key.type, sqlite=self.sqlite), *where)
            return self._prepare(rows.order_by(table.c[shown], key))

        return self._once(("shown", target.name, view, remote, shown), make)

    def any_of(self, table: Table, column: str, *, present: bool = False) -> Prepared:
        """The `keys` that some row of the table has in this column, each once; whatever the caller sees. With `present`
        no row counts that is soft-deleted.
        """

        def make() -> Prepared:
            c = table.c[column]
            where = [one_of(c, "keys", c.type, sqlite=self.sqlite)]
            where += [table.c.deleted_at.is_(None)] if present else []
            return self._prepare(select(c).where(*where).distinct().order_by(c))

        return self._once(("any", table.name, column, present), make)

    def pairs(self, table: Table, near: str, far: str) -> Prepared:
        """(near, far) of a junction's rows for the near `keys`."""

        def make() -> Prepared:
            where = one_of(table.c[near], "keys", table.c[near].type, sqlite=self.sqlite)
            return self._prepare(select(table.c[near], table.c[far]).where(where).order_by(table.c[near], table.c[far]))

        return self._once(("pairs", table.name, near), make)

    @staticmethod
    def each(prepared: Prepared, rows: Sequence[tuple[Any, ...]], binds: Binds | None = None) -> Steps[Sequence[Any]]:
        """One statement for each row, all in one round trip; their returned rows in order."""
        if not rows:
            return []
        arguments = [prepared.arguments(row, binds, None) for row in rows]
        return (yield Statement(prepared.sql, arguments, many=True, table=prepared.table, columns=prepared.columns))

    def once(self, name: Hashable, make: Callable[[], Prepared]) -> Prepared:
        """A statement of somebody else's, compiled when it is first asked for under this name."""
        return self._once(("once", name), make)

    @staticmethod
    def fill(prepared: Prepared, rows: Iterable[tuple[Any, ...]]) -> Statement:
        """An INSERT that returns nothing, for all these rows of driver arguments at once."""
        return Statement(prepared.sql, (), table=prepared.table, columns=prepared.columns, rows=rows)

    def _processor(self, type_: TypeEngine[Any]) -> Callable[[Any], Any] | None:
        if isinstance(type_, Numeric) and not self.sqlite:
            return None  # asyncpg gives Decimal by itself; SQLAlchemy's processor wants to know the server's type
        return type_.dialect_impl(self.dialect).result_processor(self.dialect, None)

    def _by_keys(self, table: Table, by: str, where: list[Any], extra: Any, *, keeps_key: bool = False) -> Any:
        column = table.c[by]
        columns = list(table.columns) if extra is None else [*table.columns, extra.label("writable")]
        rows = select(*columns).where(one_of(column, "keys", column.type, sqlite=self.sqlite), *where)
        return rows.order_by(*table.primary_key).with_for_update(of=table, key_share=keeps_key)

    def _prepare(self, statement: Any, lists: dict[str, TypeEngine[Any]] | None = None) -> Prepared:
        return prepare(statement, self.dialect, lists or {})

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        found: T | None = self._cache.hit(key)
        if found is None:
            found = make()
            self._cache.store(key, found)
        return found


def statements_of(session: AppSession) -> WriteStatements:
    """The compiled statements of the session's catalog and dialect."""
    dialect = session.dialect
    key = f"writes on {dialect.name}"
    found = session.catalog.compiled.get(key)
    if not isinstance(found, WriteStatements):
        found = session.catalog.compiled[key] = WriteStatements(session.catalog, dialect)
    return found


def _may_write(resource: Resource, view: Role) -> ColumnElement[int]:
    writable = resource.rule.writable(resource.model, Scope.named(view)) if view is not Role.ADMIN else None
    return literal(1, Integer()) if writable is None else writable.cast(Integer)


def _junction(relation: Relation) -> Table:
    assert relation.secondary is not None
    return relation.secondary


def _in_order(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns as SQLAlchemy writes them: in the table's order."""
    return tuple(column.name for column in table.columns if column.name in columns)
