"""How guards of the service are removed for as long as a block runs: by replacing our own functions in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Select, Table, event, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.actions import credits, moving
from app.data import engines, idempotency, retrying
from app.data.idempotency import Kept, Key
from app.data.session import AppSession
from app.query.driver import Prepared
from app.query.statements import WriteStatements
from app.resources import CATALOG


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Generator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def recompiled() -> Generator[None]:
    """Statements are compiled anew inside the block, and again after it."""
    with replaced(CATALOG, "compiled", {}):
        yield


# ---- money ----------------------------------------------------------------------------------------------------------


@contextmanager
def without_row_locks() -> Generator[None]:
    """PostgreSQL: no FOR UPDATE. SQLite: plain BEGIN, and nobody waits in line."""
    with (
        recompiled(),
        replaced(Select, "with_for_update", lambda select, **options: select),
        replaced(engines, "OPENING", {True: "BEGIN", False: "BEGIN"}),
        replaced(engines, "SQLITE_WRITERS", 16),
    ):
        yield


@contextmanager
def without_compared_balance() -> Generator[None]:
    """A balance is written over whatever stands there."""
    update = WriteStatements.update

    def blind(self: WriteStatements, table: Table, columns: tuple[str, ...], match: tuple[str, ...]) -> Prepared:
        return update(self, table, columns, ("id",) if columns == ("balance",) else match)

    def as_read(users: Table, accounts: Any, key: Any, by: Any) -> Any:
        return select(accounts.c.balance).where(accounts.c.id == key).scalar_subquery() + by

    with recompiled(), replaced(WriteStatements, "update", blind), replaced(moving, "balance_after", as_read):
        yield


@contextmanager
def without_transactions() -> Generator[None]:
    """Both at once. SQLite's snapshots would still find out that somebody wrote after the balances were read, so there
    the sqlite3 module begins transactions by itself: with the first write.
    """
    connect = engines._on_sqlite_connect

    def begin_by_itself(engine: AsyncEngine, *pragmas: str) -> None:
        connect(engine, *pragmas)
        event.listen(
            engine.sync_engine, "connect", lambda connection, record: setattr(connection, "isolation_level", "")
        )

    @contextlib.asynccontextmanager
    async def no_savepoint(session: AppSession) -> AsyncGenerator[None]:
        yield

    with (
        without_row_locks(),
        without_compared_balance(),
        replaced(engines, "_begin_with", lambda engine, sql: None),
        replaced(engines, "OPENING", {True: "SELECT 1", False: "BEGIN"}),
        replaced(credits, "whole", lambda steps: steps),
        replaced(engines, "_on_sqlite_connect", begin_by_itself),
        replaced(AppSession, "begin_nested", no_savepoint),
    ):
        yield


# ---- keys -----------------------------------------------------------------------------------------------------------


@contextmanager
def without_replay() -> Generator[None]:
    """Each request is done, whatever its key."""

    async def claim(session: AppSession, key: Key, until: object) -> Kept | None:
        return None

    async def keep(session: AppSession, key: Key, kept: Kept) -> None:
        pass

    with replaced(idempotency, "claim", claim), replaced(idempotency, "keep", keep):
        yield


# ---- connections ----------------------------------------------------------------------------------------------------


@contextmanager
def without_second_chances() -> Generator[None]:
    """Connections are used without a ping, and what is lost with one is not repeated."""

    def unpinged(url: Any, **options: Any) -> AsyncEngine:
        return create_async_engine(url, **options | {"pool_pre_ping": False})

    once = dict.fromkeys(retrying.REPEATS, 0)
    with replaced(engines, "create_async_engine", unpinged), replaced(retrying, "REPEATS", once):
        yield


@contextmanager
def without_renewal() -> Generator[None]:
    """Connections stay in the pool whose server takes no writes."""
    with replaced(engines, "OUTDATED", ()):
        yield
