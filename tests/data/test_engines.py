"""Engines: the settings that the service relies on are really in force, and URLs that cannot be served are refused."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.data import engines
from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import SYSTEM
from app.errors import BadSetting

SQLITE = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "busy_timeout": 5000,
    "trusted_schema": 0,
    "mmap_size": 0,
    "journal_size_limit": 67108864,
}
POSTGRESQL = {
    "application_name": "broadsheet",
    "TimeZone": "UTC",
    "jit": "off",
    "lock_timeout": "2s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "10s",
    "client_connection_check_interval": "1s",
}


async def in_force(connection: AsyncConnection, name: str) -> dict[str, Any]:
    ask, expected = ("PRAGMA", SQLITE) if name == "sqlite" else ("SHOW", POSTGRESQL)
    return {key: (await connection.exec_driver_sql(f"{ask} {key}")).scalar() for key in expected}


async def test_settings_are_in_force_for_writers(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        connection = await session.connection()
        settings = await in_force(connection, database.name)
        read_only = "PRAGMA query_only" if database.name == "sqlite" else "SHOW transaction_read_only"
        assert (await connection.exec_driver_sql(read_only)).scalar() in (0, "off")
    # the triggers of the search index write to a virtual table
    assert settings == ({**SQLITE, "trusted_schema": 1} if database.name == "sqlite" else POSTGRESQL)


async def test_settings_are_in_force_for_readers(database: Database) -> None:
    async with database.reading(SYSTEM) as session:
        connection = await session.connection()
        settings = await in_force(connection, database.name)
        read_only = "PRAGMA query_only" if database.name == "sqlite" else "SHOW transaction_read_only"
        assert (await connection.exec_driver_sql(read_only)).scalar() in (1, "on")
    assert settings == (SQLITE if database.name == "sqlite" else POSTGRESQL)


async def test_writers_begin_immediate_and_readers_do_not_block_them(spare_url: str, catalog: Catalog) -> None:
    sent: list[str] = []
    async with Database(spare_url, catalog) as database:
        if database.name == "sqlite":
            async with database.pools.writing.lend() as lane:
                await lane.driver.set_trace_callback(sent.append)
        async with database.reading(SYSTEM) as reader:
            await (await reader.connection()).execute(text("SELECT * FROM tags"))
            async with database.writing(SYSTEM) as writer:
                await (await writer.connection()).execute(text("DELETE FROM tags"))
    assert sent == (["BEGIN IMMEDIATE", "DELETE FROM tags", "COMMIT"] if database.name == "sqlite" else [])


async def test_ddl_and_savepoints_are_rolled_back(database: Database) -> None:
    """Python's own BEGIN leaves both behind on SQLite (hazards, finding 1)."""
    async with database.writer.connect() as connection:
        await connection.begin()
        await connection.execute(text("CREATE TABLE scratch (id INTEGER)"))
        await connection.begin_nested()
        await connection.execute(text("INSERT INTO genres (label) VALUES ('under a savepoint')"))
        await connection.rollback()
    async with database.writer.connect() as connection:
        assert not await connection.run_sync(lambda sync: database.dialect.has_table(sync, "scratch"))
        assert await connection.scalar(text("SELECT count(*) FROM genres")) == 0


async def test_like_and_lower_mean_the_same_on_both(database: Database) -> None:
    """LIKE tells cases apart, and lower() knows more than ASCII, one character at a time."""
    lower = "lower({0})" if database.name == "sqlite" else 'lower({0} COLLATE "default")'
    async with database.reading(SYSTEM) as session:
        connection = await session.connection()
        assert not (await connection.scalar(text("SELECT 'Python' LIKE 'python'")))
        for given, expected in {"ÄÖÜ ÉŁ": "äöü éł", "ΣΑΣ": "\u03c3\u03b1\u03c3", "ЖЯ": "жя", "ß": "ß"}.items():
            query = text(f"SELECT {lower.format('CAST(:text AS TEXT)')}")
            assert await connection.scalar(query, {"text": given}) == expected


# ---- URLs and files ----


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "cannot be read"),
        ("mysql://root@localhost/x", "begins with mysql"),
        ("postgresql+psycopg://a@b/c", "begins with postgresql\\+psycopg"),
        ("postgresql://a@b:port/c", "cannot be read"),
        ("postgresql://a@b", "names no database"),
        ("postgresql://a@b/c?sslmod=require", "does not know: sslmod"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "no parameters"),
        ("sqlite:////dev/null/folder/x.db", "cannot be written"),
    ],
)
def test_urls_that_cannot_be_served_are_refused_in_one_line(url: str, complaint: str) -> None:
    with pytest.raises(BadSetting, match=complaint) as caught:
        engines.sqlite_engine(url, write=True) if url.startswith("sqlite") else engines.parse(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_urls_of_providers_are_understood(scheme: str) -> None:
    url = engines.parse(f"{scheme}://ada:se%40cret@host:5433/name?sslmode=require")
    assert (url.drivername, url.password, url.query) == ("postgresql+asyncpg", "se@cret", {"ssl": "require"})


def test_password_is_in_no_complaint() -> None:
    with pytest.raises(BadSetting) as caught:
        engines.parse("postgresql://ada:secret@host/name?nonsense=1")
    assert "secret" not in str(caught.value)


async def test_new_file_and_folder_are_their_owners_alone(tmp_path: Path, catalog: Catalog) -> None:
    path = tmp_path / "data" / "broadsheet.db"
    async with Database(f"sqlite:///{path}", catalog) as database:
        await database.migrate()
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (path.parent, *path.parent.iterdir())}
    assert modes == {"data": 0o700, "broadsheet.db": 0o600}


def test_unknown_pooler_is_refused() -> None:
    with pytest.raises(BadSetting, match="pooler"):
        engines.postgresql_engine("postgresql://a@b/c", write=True, pool_size=1, pooler="session")
