"""AppSession: the unit of work. Rules beneath every ORM statement; checks, stamps and revisions on every flush.

    async with database.writing(who) as session:        # the one way to get a session
        post = await Posts(session).require(7)

It cannot be built without a catalog and a unit. It refuses ORM bulk statements and `delete()`, which would pass by the
revisions, and without autoflush it only reads. Execution options: `include_deleted=True` shows the soft-deleted rows
that the caller may ask for; `unruled=True` is for the uniqueness look-ups of rules alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any, TypeVar

from sqlalchemy import ARRAY, BigInteger, Dialect, bindparam, event, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_session
from sqlalchemy.orm import (
    LoaderCriteriaOption,
    ORMExecuteState,
    QueryContext,
    Session,
    UOWTransaction,
)
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql import visitors

from app.data import changes, faults
from app.data.audit import Unit
from app.data.base import Base
from app.data.catalog import Catalog, Resource
from app.data.criteria import E, Sight
from app.data.rules import Links, Role
from app.data.scopes import require_write
from app.data.steps import Statement, Steps
from app.data.transactions import Transaction
from app.errors import Internal

T = TypeVar("T")

REREAD_AT_ONCE = 500


class RuledSession(Session):
    """The synchronous heart. Its events do the work; they need what `info` holds."""

    def __init__(self, *args: Any, info: dict[Any, Any], autoflush: bool = True, **options: Any) -> None:
        super().__init__(*args, info=info, autoflush=autoflush, **options)
        self.catalog: Catalog = info["catalog"]
        self.unit: Unit = info["unit"]
        self.read_only = not autoflush
        self.changes: list[changes.Change] = []
        self.resolving = False  # in the middle of a flush

    @cached_property
    def sight(self) -> Sight:
        return Sight(self.catalog, self.unit)

    def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        """A soft-deleted entity that this session still holds is absent here too."""
        found = super().get(entity, ident, **options)
        asked = (options.get("execution_options") or {}).get("include_deleted")
        return found if asked or getattr(found, "deleted_at", None) is None else None


class AppSession(AsyncSession):
    """A session of one unit of work: `unit` says who, when and for which request, `catalog` what the rules are."""

    sync_session_class = RuledSession
    sync_session: RuledSession

    def __init__(
        self,
        bind: AsyncEngine | AsyncConnection,
        *,
        catalog: Catalog,
        unit: Unit,
        transaction: Transaction | None = None,
        patience: float = 0,
        expire_on_commit: bool = False,
        **options: Any,
    ) -> None:
        info = {"catalog": catalog, "unit": unit}
        super().__init__(bind, info=info, expire_on_commit=expire_on_commit, **options)
        self._transaction = transaction
        self._patience = patience

    @property
    def catalog(self) -> Catalog:
        return self.sync_session.catalog

    @property
    def unit(self) -> Unit:
        return self.sync_session.unit

    @property
    def dialect(self) -> Dialect:
        """Of the database, whose connection is there."""
        return self.sync_session.get_bind().dialect

    @property
    def is_flushing(self) -> bool:
        """Whether entities are being written: what is asked of the database now is asked for them."""
        return self.sync_session.resolving

    def masking(self, expression: E) -> E:
        """The expression with each masked column behind its mask, for conditions that may name one."""
        return self.sync_session.sight.masking(expression)

    async def take_turns(self, *names: str) -> None:
        """Wait until no other unit of work holds one of these names; this one holds them to its end."""
        await self.run(turns(self.dialect, names))

    def absorb(self, resource: Resource, rows: Iterable[Mapping[str, Any]]) -> None:
        """Brings the entities of this session up to date with rows that were written without them."""
        links = [extra.relation for extra, _ in resource.rule.extra.values() if isinstance(extra, Links)]
        for row in rows:
            key = resource.mapper.identity_key_from_primary_key(tuple(row[name] for name in resource.key))
            entity = self.sync_session.identity_map.get(key)
            if entity is None:
                continue
            masked = self.sync_session.sight.mask(row, resource.model)
            for name in resource.columns.keys() & row.keys():
                set_committed_value(entity, name, None if name in masked else row[name])
            if links:
                self.expire(entity, links)

    async def reread(self, model: type[Base]) -> None:
        """Brings the entities of a model that this session holds up to date; those without a row leave the session."""
        held = {inspect(e).identity: e for e in self.sync_session.identity_map.values() if type(e) is model}
        (key,) = inspect(model).primary_key
        ids = sorted(identity[0] for identity in held if identity is not None)
        for start in range(0, len(ids), REREAD_AT_ONCE):
            query = select(model).where(key.in_(ids[start : start + REREAD_AT_ONCE])).order_by(key)
            found = await self.scalars(query.execution_options(populate_existing=True, include_deleted=True))
            for entity in found:
                held.pop(inspect(entity).identity)
        for entity in held.values():
            self.expunge(entity)

    async def run(self, steps: Steps[T]) -> T:
        """Runs steps on this session's connection, inside its transaction, after a flush of what was changed so far.
        Each statement may take `patience` seconds.
        """
        await self.settle()
        if self.in_nested_transaction():
            await self.connection()  # only now is its SAVEPOINT sent
        return await self.transaction.run(steps, self._patience)

    @property
    def transaction(self) -> Transaction:
        if self._transaction is None:
            raise Internal("this session has no transaction", hint="Get sessions from database.writing(who).")
        return self._transaction

    @property
    def is_untouched(self) -> bool:
        """Whether only Steps have run: SQLAlchemy has begun nothing and holds no entity."""
        session = self.sync_session
        return not (session.in_transaction() or session.identity_map or session.new)

    async def rollback(self) -> None:
        """Undoes what Steps did, too."""
        await super().rollback()
        await self.transaction.rollback()

    async def settle(self) -> None:
        """Flushes, where anything was changed."""
        session = self.sync_session
        if not session.resolving and (session.new or session.dirty or session.deleted):
            await self.flush()


def turns(dialect: Dialect, names: Collection[str]) -> Steps[None]:
    """`take_turns` as steps. On SQLite writers take turns anyway."""
    if dialect.name == "postgresql" and names:
        keys = sorted({int.from_bytes(sha256(name.encode()).digest()[:8], signed=True) for name in names})
        yield Statement(turns_on(dialect), (keys,), alone=True)


@lru_cache(maxsize=1)
def turns_on(dialect: Dialect) -> str:
    """Locks until the end of the transaction, one after the other in the order of an array."""
    turn = func.unnest(bindparam("keys", type_=ARRAY(BigInteger()))).column_valued("turn")
    return str(select(func.pg_advisory_xact_lock(turn)).compile(dialect=dialect))


# ---- reading --------------------------------------------------------------------------------------------------------


@event.listens_for(RuledSession, "do_orm_execute")
def _see(state: ORMExecuteState) -> None:
    session = state.session
    assert isinstance(session, RuledSession)
    if state.execution_options.get("unruled"):
        return
    if not state.is_orm_statement:
        _refuse_hidden_entities(state.statement)
        return
    if state.is_insert or state.is_update or state.is_delete:
        hint = "Use Repository.add_many, change_where or remove_where, which write the revisions too."
        raise Internal("ORM bulk statements are refused: they pass by the rules and the revisions", hint=hint)
    if state.is_from_statement:
        raise Internal("from_statement() is refused: no rules can be added to it", hint="Select the mapped class.")
    _add_rules(state, session)


def _add_rules(state: ORMExecuteState, session: RuledSession) -> None:
    statement: Any = state.statement
    session.sight.check_scopes(statement)
    if state.is_column_load:
        # A refresh ignores loader criteria, and would show what a row that has become hidden holds now.
        test = session.sight.criterion(state.bind_mapper.class_, include_deleted=True) if state.bind_mapper else None
        statement = statement if test is None else statement.where(test)
    elif not state.is_relationship_load:
        session.sight.check(statement)
    options = session.sight.options(include_deleted=bool(state.execution_options.get("include_deleted")))
    carried = any(isinstance(option, LoaderCriteriaOption) for option in state.user_defined_options)
    state.statement = statement if carried or not options else statement.options(*options)


def _refuse_hidden_entities(statement: Any) -> None:
    """To SQLAlchemy such a select is none of the ORM's: loader criteria would not reach it."""
    for element in visitors.iterate(statement):
        within = getattr(element, "_propagate_attrs", {}).get("compile_state_plugin") == "orm"
        if within or "parententity" in getattr(element, "_annotations", {}):
            hint = "Select a mapped class or its column, or name the class in select_from()."
            raise Internal(
                "no rules can be added to this select: it names mapped classes only inside expressions", hint=hint
            )


@event.listens_for(Base, "load", propagate=True)
def _loaded(entity: Base, context: QueryContext) -> None:
    _mask(entity, context.session)


@event.listens_for(Base, "refresh", propagate=True)
def _refreshed(entity: Base, context: QueryContext, names: Iterable[str] | None) -> None:
    _mask(entity, context.session)


def _mask(entity: Base, session: Session) -> None:
    """A masked value never reaches an entity: it is None there, and no flush writes that."""
    if not isinstance(session, RuledSession) or type(entity) not in session.sight.masked:
        return
    values = entity.__dict__
    for name in session.sight.mask({k: v for k, v in values.items() if k != "_sa_instance_state"}, type(entity)):
        if values.get(name) is not None:
            set_committed_value(entity, name, None)


# ---- writing --------------------------------------------------------------------------------------------------------


@event.listens_for(RuledSession, "before_flush")
def _check(session: Session, context: UOWTransaction, instances: Any) -> None:
    assert isinstance(session, RuledSession)
    session.changes = []
    _refuse_deletes(session)
    found = changes.collect(session, session.catalog, session.unit)
    if session.read_only and (found or session.new):
        raise faults.read_only()
    for change in found:
        require_write(session.unit.who, change.resource.name)
    owner = async_session(session)
    assert isinstance(owner, AppSession)
    session.resolving = True
    try:
        changes.apply(found, session.unit, owner)
    finally:
        session.resolving = False
    session.changes = found


@event.listens_for(RuledSession, "after_flush")
def _record(session: Session, context: UOWTransaction) -> None:
    """Only now do ids and versions exist."""
    assert isinstance(session, RuledSession)
    found, session.changes = session.changes, []
    changes.record(session.connection, found, session.unit)


def _refuse_deletes(session: RuledSession) -> None:
    for entity in session.deleted:
        if session.catalog.exposes(type(entity)) or session.unit.who.role is not Role.SYSTEM:
            hint = "Use Repository.remove, remove_where or purge."
            raise Internal("session.delete() is refused: it passes by the rules and the revisions", hint=hint)
