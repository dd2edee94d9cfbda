"""Statements that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.steps import Statement, Steps
from app.models import Tag

STOPPED = 8  # seconds within which a slow one that was stopped is over, however busy the machine is
# About 20 seconds each, if nobody stops them.
SLOW = {
    "sqlite": "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1e8) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(20)",
}


def ask(sql: str, *args: Any) -> Callable[[], Steps[Any]]:
    """Steps that return the first value of one statement's first row, or None."""

    def steps() -> Steps[Any]:
        rows = yield Statement(sql, args)
        return rows[0][0] if rows else None

    return steps


def slow(database: Database) -> Callable[[], Steps[Any]]:
    return ask(SLOW[database.name])


async def names(database: Database) -> list[str]:
    """Of all tags, in order of their ids."""
    async with database.reading(SYSTEM) as session:
        return list(await session.scalars(select(Tag.name).order_by(Tag.id)))
