"""Care of a database after much was written. Nothing here changes a row."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import text

from app.data.base import Base
from app.data.database import Database
from app.data.rules import SYSTEM


async def analyze(database: Database, models: Iterable[type[Base]]) -> None:
    """Tell the planner how many rows there are now. PostgreSQL warns and goes on where the table is another role's.

    In a unit of work of its own, whose end keeps the statistics: on an engine in AUTOCOMMIT mode the BEGIN of our event
    stays open, and SQLite's ANALYZE is rolled back with it, silently.
    """
    async with database.writing(SYSTEM) as session:
        for model in models:
            table = database.dialect.identifier_preparer.format_table(model.__table__)
            await session.execute(text(f"ANALYZE {table}"))
