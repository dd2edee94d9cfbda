"""Writes the rows of the benchmarks into databases of Broadsheet's own schema, made by its migrations: in bulk, with
sequences, statistics and visibility as they would be after a while in service.

Everybody has a balance, with the grant that it comes from.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # the package ships no types

from app.data.migrating import migrate
from app.models import Base
from bench.data import Row, Rows, Sizes

Tables = dict[str, Iterable[Row]]


def blog(sizes: Sizes, *, posts: bool = True) -> Tables:
    """`posts=False` leaves the posts to an import."""
    rows = Rows(sizes)
    tables: Tables = {"users": rows.users(), "credentials": rows.credentials(), "transfers": rows.grants()}
    tables["tags"] = rows.tags()
    return tables | ({"posts": rows.posts(), "post_tags": rows.links()} if posts else {})


def bank(sizes: Sizes) -> Tables:
    rows = Rows(sizes)
    return {"users": rows.users(), "transfers": rows.grants()}


# ---- SQLite ---------------------------------------------------------------------------------------------------------


def sqlite(path: Path, tables: Tables) -> None:
    """A file without a WAL beside it: a copy of it is a copy of the database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    migrate(f"sqlite:///{path}")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=off")
    connection.execute("BEGIN")
    for table, rows in tables.items():
        names, values = _columns(rows)
        places = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", map(_plain, values))
    connection.execute("COMMIT")
    for table in Base.metadata.tables:  # not all: statistics of an empty full-text index make it quadratic to fill
        connection.execute(f"ANALYZE {table}")
    connection.execute("PRAGMA wal_checkpoint(truncate)")
    connection.close()


def _columns(rows: Iterable[Row]) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    remaining = iter(rows)
    first = next(remaining)
    return list(first), (tuple(row.values()) for row in chain([first], remaining))


def _plain(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """As app/data/base.py keeps them on SQLite."""
    return tuple(_text(value) if isinstance(value, datetime | UUID) else value for value in values)


def _text(value: datetime | UUID) -> str:
    return value.hex if isinstance(value, UUID) else value.strftime("%Y-%m-%d %H:%M:%S.%f")


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


def postgresql(url: str, tables: Tables) -> None:
    """`url` as libpq and asyncpg read it; the database is there and empty."""
    migrate(url)
    asyncio.run(_copy(url, tables))


async def _copy(url: str, tables: Tables) -> None:
    connection = await asyncpg.connect(url)
    try:
        for table, rows in tables.items():
            names, values = _columns(rows)
            await connection.copy_records_to_table(table, columns=names, records=values)
            if "id" in names:
                await connection.execute(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")
        await connection.execute("VACUUM (FREEZE, ANALYZE)")
    finally:
        await connection.close()
