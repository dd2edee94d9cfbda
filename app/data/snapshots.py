"""Many reads of one moment: what is committed meanwhile does not show, and nobody is kept from writing.

It costs what old moments cost: PostgreSQL keeps the rows that vacuum would clear, SQLite lets its WAL grow, until the
block ends. So it is for reads that go on by themselves, and none that wait for whoever takes the answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from sqlalchemy import text

from app.data.database import Database
from app.data.rules import Principal
from app.data.session import AppSession


@contextlib.asynccontextmanager
async def snapshot(database: Database, who: Principal) -> AsyncGenerator[AppSession]:
    """A session that cannot write. On SQLite each of them sees one moment anyway."""
    async with database.reading(who) as session:
        if database.name == "postgresql":
            await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        yield session
