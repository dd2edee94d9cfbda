"""Database: the one object that holds engines and gives out sessions. Only it commits; repositories flush.

    async with Database("sqlite:///data/broadsheet.db", CATALOG) as database:
        async with database.writing(who) as session: ...        # one unit of work: committed at the end, or nothing
        async with database.reading(who) as session: ...        # cannot write
        rows = await database.read(who, steps)                  # driver SQL on a reader lane

Errors of the database leave as BroadsheetError (`faults`). It belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, TypeVar

from sqlalchemy import Dialect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.data import engines, failpoints, faults
from app.data.audit import Unit
from app.data.catalog import Catalog
from app.data.clock import Clock, now
from app.data.counters import PoolCounters
from app.data.failpoints import Point
from app.data.lanes import Lane, Lanes
from app.data.line import Turn
from app.data.pools import Pools
from app.data.retrying import ATTEMPTS, repeat
from app.data.rules import Principal, Role
from app.data.running import Observe, finish, unobserved
from app.data.schema import newest_revision
from app.data.session import AppSession
from app.data.steps import Steps
from app.data.transactions import Transaction
from app.errors import BadSetting, BroadsheetError
from app.settings import Limits

T = TypeVar("T")

DEFAULT_LIMITS = Limits()


class Database:
    """`pool_size` readers and as many writers on PostgreSQL. `observe` is told the text of every statement."""

    def __init__(
        self,
        url: str,
        catalog: Catalog,
        *,
        clock: Clock = now,
        pool_size: int = 16,
        limits: Limits = DEFAULT_LIMITS,
        pooler: str = "",
        migrate_url: str = "",
        observe: Observe | None = None,
    ) -> None:
        self.url = engines.parse(url)
        self.migrate_url = engines.parse(migrate_url) if migrate_url else self.url
        self.catalog = catalog
        self.clock = clock
        self.limits = limits
        self.pooler = pooler
        self.pool_size = pool_size
        self.name = self.url.get_backend_name()
        self.counters = PoolCounters()
        self._observe = observe or unobserved
        self._pools: Pools | None = None

    # ---- life ----

    async def __aenter__(self) -> Database:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the engines and make the first connection, which tells `dialect` about the server.

        Raises BadSetting, Unavailable.
        """
        if self._pools is not None:
            return
        self._pools = Pools(self.url, self.pool_size, self.pooler, self.counters, self._observe)
        try:
            await self._greet()
        except BaseException:
            await finish(self.close())
            raise

    async def _greet(self) -> None:
        try:
            async with self._writer() as connection:
                encoding = "UTF8" if self.name == "sqlite" else await connection.scalar(text("SHOW server_encoding"))
        except (BroadsheetError, DBAPIError) as exc:
            if (reason := engines.unsuitable(exc)) is not None:
                raise BadSetting(reason) from exc
            raise
        if self.name == "postgresql" and (self.dialect.server_version_info or ()) < (14,):
            raise BadSetting(engines.OLD_SERVER)
        if encoding != "UTF8":
            raise BadSetting(f"the database is encoded in {encoding}: make one with ENCODING 'UTF8'")

    async def close(self) -> None:
        """Close every connection. Cancellation waits for it, and a connection that does not answer is dropped."""
        pools, self._pools = self._pools, None
        if pools is not None:
            await finish(pools.close())

    @property
    def writer(self) -> AsyncEngine:
        """For what needs no session: set-up, tests, maintenance."""
        return self.pools.writer

    @property
    def lanes(self) -> Lanes:
        return self.pools.lanes

    @property
    def dialect(self) -> Dialect:
        return self.writer.dialect

    @property
    def in_use(self) -> int:
        """Connections that are out now."""
        return self.pools.in_use

    @property
    def pools(self) -> Pools:
        if self._pools is None:
            raise RuntimeError("the database is not open: use `async with Database(...)`")
        return self._pools

    # ---- sessions ----

    @contextlib.asynccontextmanager
    async def reading(self, who: Principal) -> AsyncGenerator[AppSession]:
        """A session that cannot write, on a reader lane; a write raises BroadsheetError 25006."""
        with self.translated(read_only=True):
            async with self.lanes.lend() as lane:
                session = self._session(lane, Unit(who, self.clock()), write=False)
                try:
                    yield session
                finally:
                    if session.transaction.is_open or not session.is_untouched:
                        await finish(_end(session))

    @contextlib.asynccontextmanager
    async def writing(self, who: Principal, *, request_id: str | None = None) -> AsyncGenerator[AppSession]:
        """One unit of work: flushed and committed when the block ends, rolled back when it raises. Not to be nested."""
        async with self._unit(who, request_id) as session:
            yield session

    @contextlib.asynccontextmanager
    async def _unit(
        self, who: Principal, request_id: str | None, *, shared: bool = False
    ) -> AsyncGenerator[AppSession]:
        with self.translated():
            async with self.pools.turn(shared=shared) as place:
                session = self._session(place, Unit(who, self.clock(), request_id), write=True)
                try:
                    if failpoints.ON:
                        await failpoints.reach(Point.CHECKED_OUT)
                    yield session
                    await session.settle()
                    await self._commit(session)
                finally:
                    if session.transaction.is_open or not session.is_untouched:
                        await finish(_end(session))

    async def transact(
        self,
        who: Principal,
        work: Callable[[AppSession], Awaitable[T]],
        *,
        request_id: str | None = None,
        attempts: int = ATTEMPTS,
        keyed: bool = False,
        keep: bool = True,
    ) -> T:
        """Run a whole unit of work, and again when the database asks for that; `keyed` as in `retrying`. `work` must
        have no effect elsewhere. Unless it is to be kept, all is undone, and its result returned all the same. As it
        may be repeated, it may share its transaction with others (`line`).
        """

        async def unit() -> T:
            async with self._unit(who, request_id, shared=attempts > 1) as session:
                result = await work(session)
                if not keep:
                    await session.rollback()
                return result

        return await repeat(unit, self.counters, attempts=attempts, keyed=keyed)

    def _session(self, place: Lane | Turn, unit: Unit, *, write: bool) -> AppSession:
        lane, turn = (place.lane, place) if isinstance(place, Turn) else (place, None)
        assert lane.connection is not None
        transaction = Transaction(lane.connection, lane.driver, engines.OPENING[write], self._observe, turn)
        patience = self.patience(unit.who)
        return AppSession(
            lane.connection,
            catalog=self.catalog,
            unit=unit,
            transaction=transaction,
            patience=patience,
            autoflush=write,
        )

    async def _commit(self, session: AppSession) -> None:
        if failpoints.ON:
            await failpoints.reach(Point.COMMITTING)
        committed = False
        try:
            if session.in_transaction():  # SQLAlchemy must commit what it has begun itself
                await finish(session.commit())
            await session.transaction.commit()
            committed = True
            if failpoints.ON:
                await failpoints.reach(Point.COMMITTED)
        except (*faults.KINDS, BroadsheetError) as exc:
            if committed or (self.name == "postgresql" and faults.is_lost(exc)):
                raise faults.outcome_unknown() from exc
            raise

    @contextlib.asynccontextmanager
    async def _writer(self) -> AsyncGenerator[AsyncConnection]:
        """The connection of a writing lane for statements of SQLAlchemy, rolled back at the end."""
        with self.translated():
            async with self.pools.writing.session() as connection:
                yield connection

    @contextlib.contextmanager
    def translated(self, *, read_only: bool = False) -> Generator[None]:
        """Errors of the database leave the block as BroadsheetError; what is no refusal, as it is."""
        try:
            yield
        except faults.KINDS as exc:
            error = faults.translate(exc, self.catalog)
            if error is None:
                raise
            if error.code.startswith(faults.SLIPPED):
                self.counters.slipped += 1
            if read_only and error.code == "25006":
                error = faults.read_only()
            elif error.code in engines.OUTDATED:
                self.pools.suspect_all()
            raise error from exc

    # ---- compiled statements ----

    async def read(self, who: Principal, steps: Callable[[], Steps[T]]) -> T:
        """Run statements on a reader lane, outside any session; from the start once more if the connection was lost."""
        with self.translated(read_only=True):
            return await self.lanes.read(steps, self.patience(who))

    @contextlib.asynccontextmanager
    async def reader(self, who: Principal) -> AsyncGenerator[Any]:
        """The driver's own connection of a lane, which cannot write."""
        with self.translated(read_only=True):
            async with self.lanes.lend() as lane:
                if not self.pooler:
                    yield lane.driver
                    return
                async with lane.driver.transaction(readonly=True):
                    yield lane.driver

    def patience(self, who: Principal) -> float:
        """Seconds that a statement of this caller may take."""
        if who.role in (Role.SERVICE, Role.SYSTEM):
            return self.limits.statement_service
        return self.limits.statement_anonymous if who.role is Role.ANONYMOUS else self.limits.statement_user

    # ---- the schema ----

    async def ready(self) -> bool:
        """Whether the database answers, takes writes, and has the newest schema."""
        try:
            return await self.revision() == newest_revision() and await self._is_writable()
        except (BroadsheetError, DBAPIError):
            return False

    async def migrate(self, target: str = "head") -> None:
        """Upgrade, or downgrade to an older revision, `base` or `-n`. One small read where there is nothing to do."""
        if target == "head" and await self.revision() == newest_revision():
            return
        # a server whose schema is up to date never needs Alembic, nor the time and memory that its import takes
        from app.data import migrating  # noqa: PLC0415

        await finish(asyncio.to_thread(migrating.migrate, self.migrate_url, target))
        self.pools.suspect_all()  # plans of the old schema

    def sql(self, target: str = "head") -> str:
        """The migrations from nothing to `target` as SQL."""
        from app.data import migrating  # noqa: PLC0415  # as above

        return migrating.sql(self.url, target)

    async def revision(self) -> str | None:
        """What the database says of itself, None for an empty one."""
        with self.translated():
            async with self.lanes.session() as connection:
                if not await connection.run_sync(lambda sync: self.dialect.has_table(sync, "alembic_version")):
                    return None
                revision: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
                return revision

    async def _is_writable(self) -> bool:
        if self.name == "sqlite":
            return True
        async with self._writer() as connection:
            return bool(await connection.scalar(text("SHOW transaction_read_only")) == "off")


async def _end(session: AppSession) -> None:
    """Nothing is left but what was committed."""
    if session.is_untouched:
        await session.transaction.rollback()
        return
    try:
        await session.close()
    finally:
        await session.transaction.rollback()
