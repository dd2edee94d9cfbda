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

from sqlalchemy import Dialect, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.data import engines, failpoints, faults
from app.data.audit import Unit
from app.data.catalog import Catalog
from app.data.clock import Clock, now
from app.data.counters import PoolCounters
from app.data.failpoints import Point
from app.data.lanes import Lanes
from app.data.retrying import ATTEMPTS, repeat
from app.data.rules import Principal, Role
from app.data.running import Observe, finish, run_in_session, unobserved
from app.data.schema import newest_revision
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import BadSetting, BroadsheetError
from app.settings import Limits

T = TypeVar("T")

CLOSING = 5  # seconds for connections to say goodbye
LOCKED = 5  # seconds to wait for the writer on SQLite, as for one of another process
DEFAULT_LIMITS = Limits()


class Database:
    """`pool_size` readers and as many writers on PostgreSQL. `observe` is told the text of every statement."""

    def __init__(
        self,
        url: str,
        catalog: Catalog,
        *,
        clock: Clock = now,
        pool_size: int = 6,
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
        self._turn = asyncio.Lock() if self.name == "sqlite" else None
        self._outdated = engines.Outdated()
        self._started: tuple[AsyncEngine, AsyncEngine, Lanes] | None = None

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
        if self._started is not None:
            return
        writer = engines.create(self.url, write=True, pool_size=self.pool_size, pooler=self.pooler)
        reader = engines.create(self.url, write=False, pool_size=self.pool_size, pooler=self.pooler)
        for engine in (writer, reader):
            self._watch(engine)
        event.listen(writer.sync_engine, "checkout", self.counters.count_checkout)
        event.listen(writer.sync_engine, "checkout", self._outdated.replace)
        size = engines.SQLITE_READERS if self.name == "sqlite" else self.pool_size
        lanes = Lanes(reader, size, self.counters, transactions=bool(self.pooler), observe=self._observe)
        self._started = writer, reader, lanes
        try:
            await self._greet()
        except BaseException:
            await finish(self.close())
            raise

    async def _greet(self) -> None:
        try:
            async with self._connected() as connection:
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
        started, self._started = self._started, None
        if started is not None:
            await finish(_close(*started))

    def _watch(self, engine: AsyncEngine) -> None:
        event.listen(engine.sync_engine, "connect", self.counters.count_connect)
        event.listen(engine.sync_engine, "invalidate", self.counters.count_invalidation)
        if self._observe is not unobserved:
            engines.observe(engine, self._observe)

    @property
    def writer(self) -> AsyncEngine:
        """For what needs no session: set-up, tests, maintenance."""
        return self._open()[0]

    @property
    def lanes(self) -> Lanes:
        return self._open()[2]

    @property
    def dialect(self) -> Dialect:
        return self.writer.dialect

    @property
    def in_use(self) -> int:
        """Connections that are out now: leased lanes and open units of work."""
        checked_out: int = self.writer.pool.checkedout()  # type: ignore[attr-defined]  # of the queue pool that we chose
        return checked_out + self.lanes.leased

    def _open(self) -> tuple[AsyncEngine, AsyncEngine, Lanes]:
        if self._started is None:
            raise RuntimeError("the database is not open: use `async with Database(...)`")
        return self._started

    # ---- sessions ----

    @contextlib.asynccontextmanager
    async def reading(self, who: Principal) -> AsyncGenerator[AppSession]:
        """A session that cannot write, on a reader lane; a write raises BroadsheetError 25006."""
        with self.translated(read_only=True):
            async with self.lanes.session() as connection:
                session = self._session(connection, Unit(who, self.clock()), autoflush=False)
                try:
                    yield session
                finally:
                    await finish(session.close())

    @contextlib.asynccontextmanager
    async def writing(self, who: Principal, *, request_id: str | None = None) -> AsyncGenerator[AppSession]:
        """One unit of work: flushed and committed when the block ends, rolled back when it raises. Not to be nested."""
        async with self._in_turn(), self._connected() as connection:
            session = self._session(connection, Unit(who, self.clock(), request_id))
            try:
                with self.translated():
                    if failpoints.ON:
                        await failpoints.reach(Point.CHECKED_OUT)
                    yield session
                    await session.flush()
                    await self._commit(session)
            finally:
                await finish(session.close())

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
        have no effect elsewhere. Unless it is to be kept, all is undone, and its result returned all the same.
        """

        async def unit() -> T:
            async with self.writing(who, request_id=request_id) as session:
                result = await work(session)
                if not keep:
                    await session.rollback()
                return result

        return await repeat(unit, self.counters, attempts=attempts, keyed=keyed)

    def _session(self, connection: AsyncConnection, unit: Unit, *, autoflush: bool = True) -> AppSession:
        bind: Any = connection  # its owner, who closes it, is the caller
        return AppSession(bind, catalog=self.catalog, unit=unit, runner=self.run, autoflush=autoflush)

    async def _commit(self, session: AppSession) -> None:
        if failpoints.ON:
            await failpoints.reach(Point.COMMITTING)
        committed = False
        try:
            await finish(session.commit())
            committed = True
            if failpoints.ON:
                await failpoints.reach(Point.COMMITTED)
        except (*faults.KINDS, BroadsheetError) as exc:
            if committed or (self.name == "postgresql" and faults.is_lost(exc)):
                raise faults.outcome_unknown() from exc
            raise

    @contextlib.asynccontextmanager
    async def _in_turn(self) -> AsyncGenerator[None]:
        """One writer at a time on SQLite: waiting in line beats SQLite's busy handler (p99 31 ms against 80)."""
        if self._turn is None:
            yield
            return
        try:
            async with asyncio.timeout(LOCKED):
                await self._turn.acquire()
        except TimeoutError as exc:
            self.counters.timeouts += 1
            raise faults.no_connection() from exc
        try:
            yield
        finally:
            self._turn.release()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncGenerator[AsyncConnection]:
        with self.translated():
            try:
                connection = await self.writer.connect()
            except OSError as exc:  # refused, no such socket, no answer in time
                raise faults.unreachable() from exc
        try:
            yield connection
        finally:
            await finish(connection.close())

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
                self._outdated.note()
                self.lanes.suspect_all()
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

    async def run(self, session: AppSession, steps: Steps[T]) -> T:
        """Run statements inside the session's transaction, after a flush. Raises the driver's errors, as the session
        does.
        """
        await session.flush()
        return await run_in_session(session, steps, self.patience(session.unit.who), self._observe)

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
        self.lanes.suspect_all()  # plans of the old schema

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
        async with self._connected() as connection:
            return bool(await connection.scalar(text("SHOW transaction_read_only")) == "off")


async def _close(writer: AsyncEngine, reader: AsyncEngine, lanes: Lanes) -> None:
    with contextlib.suppress(TimeoutError, *faults.KINDS):
        async with asyncio.timeout(CLOSING):
            await lanes.close()
            await reader.dispose()
            await writer.dispose()
