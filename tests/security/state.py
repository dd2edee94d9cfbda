"""All that a database holds, for comparing what a request has changed: table -> primary key -> row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table, select

from app.data.base import Base
from app.data.database import Database
from app.resources import CATALOG, PRIVATE
from tests.query.rows import Row

State = dict[str, dict[tuple[Any, ...], Row]]


def tables() -> list[Table]:
    own = {*PRIVATE, *(resource.model for resource in CATALOG)}
    names = {model.__tablename__ for model in own}
    return [table for table in Base.metadata.sorted_tables if table.name in names]


async def state_of(database: Database) -> State:
    found: State = {}
    async with database.writer.connect() as connection:
        for table in tables():
            rows = [dict(row._mapping) for row in await connection.execute(select(table))]
            found[table.name] = {tuple(row[c.name] for c in table.primary_key): row for row in rows}
    return found


def changes(before: State, after: State) -> Iterator[tuple[str, Row | None, Row | None]]:
    """(table, row before, row after) of every row that differs; None for one that is not there."""
    for name, rows in before.items():
        for key in sorted(rows.keys() | after[name].keys(), key=str):
            old, new = rows.get(key), after[name].get(key)
            if old != new:
                yield name, old, new
