"""Repository: what is said of every model. A subclass sets `model` and adds queries named by their answer.

    page = await Posts(session).page(Post.status == PostStatus.PUBLISHED, order=(Post.published_at,), descending=True)
    more = await Posts(session).page(..., after=page.next)

Conditions may name masked columns, which are compared behind their mask, but none that do not exist for the caller.
Nothing here commits: `database.writing(who)` does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, UnaryExpression, func, literal, select, tuple_
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.orm.interfaces import ORMOption

from app.data.base import Base
from app.data.catalog import Resource
from app.data.session import AppSession
from app.errors import Internal, ManyFound, NotFound, Unavailable
from app.query import removal, writer

M = TypeVar("M", bound=Base)

Cursor = tuple[object, ...]  # the values of the order's columns in the last row: opaque to callers
Condition = ColumnElement[bool]
Options = Sequence[ORMOption]

MOST = 1000  # rows that one call returns
LOCKED_AT_ONCE = 1000  # rows that one bulk step locks and changes


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """`next` is the cursor of the following page, None on the last one."""

    items: list[M]
    next: Cursor | None


class Repository(Generic[M]):
    """Queries over one model in one session."""

    model: ClassVar[type[Any]]

    def __init__(self, session: AppSession) -> None:
        self.session = session

    @property
    def resource(self) -> Resource:
        return self.session.catalog.of(self.model)

    def key(self) -> QueryableAttribute[int]:
        """The primary key as an attribute of the model. No property: mypy would take it for the value."""
        (name,) = self.resource.key
        attribute: QueryableAttribute[int] = getattr(self.model, name)
        return attribute

    # ---- one row ----

    async def find(self, id: int, *, options: Options = ()) -> M | None:
        """The row with this key, with the load plan applied even where the session already holds the entity."""
        query = select(self.model).where(self.key() == id).options(*options)
        found: M | None = (await self.session.scalars(query)).unique().one_or_none()
        return found

    async def require(self, id: int, *, options: Options = ()) -> M:
        """Raises NotFound."""
        found = await self.find(id, options=options)
        if found is None:
            raise writer.missing_row(self.resource, id)
        return found

    async def one(self, *conditions: Condition, options: Options = ()) -> M:
        """The only row that matches. Raises NotFound for none and ManyFound for several."""
        found = await self._rows(self.where(*conditions).options(*options), limit=2)
        match found:
            case [row]:
                return row
            case []:
                raise NotFound(f"no row of {self.resource.name} matches", code="PGRST116")
            case _:
                raise ManyFound(f"several rows of {self.resource.name} match, not one", hint="Give more conditions.")

    # ---- many rows ----

    async def count(self, *conditions: Condition) -> int:
        rows = self._conditions(select(literal(1)).select_from(self.model), conditions).subquery()
        return await self.session.scalar(select(func.count()).select_from(rows)) or 0

    async def exists(self, *conditions: Condition) -> bool:
        query = self._conditions(select(literal(1)).select_from(self.model), conditions).limit(1)
        return await self.session.scalar(query) is not None

    async def page(
        self,
        *conditions: Condition,
        after: Cursor | None = None,
        limit: int = 20,
        order: Sequence[QueryableAttribute[Any]] = (),
        descending: bool = False,
        options: Options = (),
    ) -> Page[M]:
        """A stable page by key set: by the NOT NULL columns of `order`, then the primary key, all in one direction."""
        columns = [*order, self.key()]
        self._refuse_order(columns)
        query = self.where(*conditions).options(*options)
        if after is not None:
            query = query.where(_beyond(columns, after, descending=descending))
        items = await self._rows(query, *_ordered(columns, descending=descending), limit=_bounded(limit), one_more=True)
        last = items[limit - 1] if len(items) > limit else None
        cursor = None if last is None else tuple(getattr(last, column.key) for column in columns)
        return Page(items[:limit], cursor)

    # ---- writing ----

    async def add(self, entity: M | None = None, /, **values: Any) -> M:
        """The new row, flushed: it has its id. Write-only fields (`tags` by name, `password`) are given as values."""
        if entity is None and values.keys() & self.resource.rule.extra.keys():
            (id,) = await self.add_many([values])
            return await self.require(id)
        made: M = self.model(**values) if entity is None else entity
        self.session.add(made)
        await self.session.flush()
        return made

    async def add_many(self, rows: Iterable[Mapping[str, Any]]) -> list[int]:
        """Inserts set by set, without entities. The new ids in the order given."""
        await self.session.flush()
        made = await writer.insert(self.session, self.resource, [dict(row) for row in rows])
        return [row[self.key().key] for row in made]

    async def change(self, entity: M, /, *, expect: int | None = None, **values: Any) -> M:
        """Sets and flushes. Raises Stale when it is not at version `expect`, Unavailable when it changed under us."""
        if expect is not None and getattr(entity, "version", expect) != expect:
            raise writer.stale(self.resource, getattr(entity, "version", expect))
        unknown = values.keys() - self.resource.columns.keys() - self.resource.relations.keys()
        if unknown:
            raise Internal(f"{self.resource.name} has no column {min(unknown)}")
        for name, value in values.items():
            setattr(entity, name, value)
        try:
            await self.session.flush()
        except StaleDataError as exc:
            raise Unavailable("the row was changed at the same time", code="40001", retry_after=1) from exc
        return entity

    async def change_where(self, *conditions: Condition, **values: Any) -> int:
        """Changes every row that matches; returns how many. Raises Forbidden when one of them is not the caller's."""
        changed = 0
        async for ids in self._batches(conditions):
            rows = await writer.update(self.session, self.resource, ids, values)
            self.session.absorb(self.resource, rows)
            changed += len(rows)
        return changed

    async def remove(self, entity: M) -> None:
        """Soft where the model is SoftDeleted, else for good; with what its rule says goes along."""
        await self._remove([getattr(entity, self.key().key)])

    async def remove_where(self, *conditions: Condition) -> int:
        removed = 0
        async for ids in self._batches(conditions):
            removed += await self._remove(ids)
        return removed

    async def restore(self, id: int) -> M:
        """Brings a soft-deleted row back. Raises NotFound, Forbidden, Conflict."""
        await self.session.flush()
        await removal.restore(self.session, self.resource, [id])
        await self._reread()
        return await self.require(id)

    async def purge(self, id: int) -> None:
        """Deletes the row for good, soft-deleted or not. Raises NotFound, Forbidden."""
        await self.session.flush()
        await removal.purge(self.session, self.resource, [id])
        await self._reread()

    # ---- for subclasses ----

    def where(self, *conditions: Condition) -> Select[Any]:
        """A select of the model with these conditions, masked columns behind their masks."""
        return self._conditions(select(self.model), conditions)

    async def _rows(self, query: Select[Any], *order: Any, limit: int, one_more: bool = False) -> list[M]:
        """The first rows by `order`, which ends in the primary key; without one, by the primary key."""
        query = query.order_by(*(order or (self.key(),))).limit(limit + one_more)
        return list((await self.session.scalars(query)).unique())

    def _conditions(self, query: Select[Any], conditions: Iterable[Condition]) -> Select[Any]:
        return query.where(*(self.session.masking(condition) for condition in conditions))

    # ---- helpers ----

    def _refuse_order(self, columns: Iterable[QueryableAttribute[Any]]) -> None:
        masked = self.session.sync_session.sight.masked.get(self.model, ())
        for column in columns:
            info = self.resource.columns.get(column.key)
            if info is None or info.nullable or column.key in masked:
                raise Internal(f"a page cannot be ordered by {column.key}: name NOT NULL columns without a mask")

    async def _batches(self, conditions: tuple[Condition, ...]) -> AsyncIterator[list[int]]:
        """The matching keys in ascending order, so that all callers take their locks in one order."""
        await self.session.flush()
        last = None
        while True:
            query = self._conditions(select(self.key()), conditions)
            query = query if last is None else query.where(self.key() > last)
            ids = list(await self.session.scalars(query.order_by(self.key()).limit(LOCKED_AT_ONCE)))
            if ids:
                yield ids
            if len(ids) < LOCKED_AT_ONCE:
                return
            last = ids[-1]

    async def _remove(self, ids: list[int]) -> int:
        await self.session.flush()
        rows = await removal.remove(self.session, self.resource, ids)
        await self._reread()
        return len(rows)

    async def _reread(self) -> None:
        """A removal changes other rows too, as the rule says; entities of them that the session holds must follow."""
        rule, relations = self.resource.rule, self.resource.relations
        for model in (self.model, *(relations[name].target for name in (*rule.cascades, *rule.touches))):
            await self.session.reread(model)


def _ordered(columns: Sequence[QueryableAttribute[Any]], *, descending: bool) -> list[UnaryExpression[Any]]:
    return [column.desc() if descending else column.asc() for column in columns]


def _beyond(columns: Sequence[QueryableAttribute[Any]], after: Cursor, *, descending: bool) -> ColumnElement[bool]:
    if len(after) != len(columns):
        raise Internal("this cursor belongs to a page of another order")
    values = tuple_(*(literal(value, column.type) for value, column in zip(after, columns, strict=True)))
    return tuple_(*columns) < values if descending else tuple_(*columns) > values


def _bounded(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise Internal(f"a limit is a number from 1 to {MOST}, not {limit}")
    return limit
