"""The engines of the peers that use SQLAlchemy: one to read, one to write, which on PostgreSQL are the same.

On SQLite one writes at a time, so the writing engine has one connection, whose pool lets its callers wait in line:
sixteen connections that wait for the lock by themselves wait in no order, some of them for longer than busy_timeout.
Connections are set up after "SQLite: Enabling Non-Legacy SQLite Transactional Modes" and "Foreign Key Support": their
pragmas, and a BEGIN of our own. Who reads needs none.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bench.peers.environment import POOL, PRAGMAS, SQLITE, driver


def async_engines() -> tuple[AsyncEngine, AsyncEngine]:
    url = driver("asyncpg", "aiosqlite")
    reader = create_async_engine(url, pool_size=POOL, max_overflow=0)
    if not SQLITE:
        return reader, reader
    writer = create_async_engine(url, pool_size=1, max_overflow=0)
    _set_up(reader.sync_engine, writer.sync_engine)
    return reader, writer


def engines() -> tuple[Engine, Engine]:
    url = driver("psycopg", "pysqlite")
    reader = create_engine(url, pool_size=POOL, max_overflow=0)
    if not SQLITE:
        return reader, reader
    writer = create_engine(url, pool_size=1, max_overflow=0)
    _set_up(reader, writer)
    return reader, writer


def _set_up(reader: Engine, writer: Engine) -> None:
    event.listen(reader, "connect", _connected)
    event.listen(writer, "connect", _connected)
    event.listen(writer, "begin", _begun)


def _connected(connection: Any, record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for name, value in PRAGMAS.items():
        cursor.execute(f"PRAGMA {name}={value}")
    cursor.close()


def _begun(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
