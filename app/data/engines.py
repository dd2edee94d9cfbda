"""The engines of both databases, with every setting that the service relies on. Refuses URLs that it cannot keep its
promises on.

    engines.parse("sqlite:///data/broadsheet.db")            engines.parse("postgresql://user@host/name")

SQLite has two engines on one file: a writer whose transactions begin with BEGIN IMMEDIATE, and readers that cannot
write.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
import msgspec
from sqlalchemy import URL, Connection, NullPool, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.data import faults, regex
from app.data.base import dumps
from app.data.running import Observe, SqliteConnection, finish, halt
from app.errors import BadSetting

SQLITE_WRITERS = 1  # units of work at a time: waiting in line beats SQLite's busy handler (p99 31 ms against 80)
SQLITE_READERS = 2  # one is fastest (2,889 req/s against 2,640), two so that a slow read stops nobody
BUSY = 5  # seconds that SQLite waits for a lock of another process
STATEMENTS = 512  # prepared statements kept by each connection: a shape is about three
RECYCLE = 900  # seconds after which a connection is replaced: plans and failovers grow old
POOL_WAIT = 2  # seconds
# Who writes must trust the schema: triggers keep the search index, and SQLite counts FTS5 as unsafe in them (3.40).
TRIGGERS = "trusted_schema=on"
OPENING = {True: "BEGIN IMMEDIATE", False: "BEGIN"}  # of a transaction on SQLite that may write, or not
SPARE = 2  # connections of a writing engine beside those of units of work: for what needs no session
COMMAND = 35  # seconds until a server that is frozen counts as lost; above the server's own statement_timeout

EXPECTED = "give sqlite:///path/to/file or postgresql://user:password@host/name"
POSTGRESQL_SETTINGS = {
    "application_name": "broadsheet",
    "timezone": "UTC",
    "jit": "off",
    "lock_timeout": "2s",
    "statement_timeout": "30s",  # the belt: each read brings its own, shorter one
    "idle_in_transaction_session_timeout": "10s",
    # a query whose client has gone ends within a second, not when it is finished (PostgreSQL 14)
    "client_connection_check_interval": "1s",
}

OLD_SERVER = "PostgreSQL 14 or newer is needed"
UNSUITABLE = {  # what a server says to our start-up settings
    "unrecognized configuration parameter": OLD_SERVER,
    "unsupported startup parameter": "the database URL leads to a pooler: set BROADSHEET_POOLER=transaction",
}


# What tells that a connection is of another time: its server became a standby, which answers every ping, or its plans
# are those of another schema.
OUTDATED = ("25006", "0A000")


class Outdated:
    """Whether the connections of a pool are. All are replaced before the next one is used: else each of them would
    cost a unit of work.
    """

    def __init__(self) -> None:
        self.since = 0.0

    def note(self) -> None:
        self.since = time.time()

    def replace(self, connection: Any, record: Any, fairy: Any) -> None:
        """Listens to checkouts."""
        if record.last_connect_time < self.since:
            raise InvalidatePoolError("outdated")


# ---- URLs ----


def parse(url: str | URL) -> URL:
    """The URL with the driver that we use. Raises BadSetting for every database that we cannot serve from."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise BadSetting(f"the database URL cannot be read: {EXPECTED}") from None
    match parsed.drivername:
        case "sqlite" | "sqlite+aiosqlite":
            return _sqlite_url(parsed)
        case "postgresql" | "postgres" | "postgresql+asyncpg":
            return _postgresql_url(parsed)
        case other:
            raise BadSetting(f"the database URL begins with {other}: {EXPECTED}")


def _sqlite_url(url: URL) -> URL:
    if not url.database or url.database == ":memory:":
        raise BadSetting("SQLite in memory cannot be shared by a writer and readers: give sqlite:///path/to/file")
    if url.host or url.query:
        raise BadSetting("a SQLite URL takes no host and no parameters: give sqlite:///path/to/file")
    return URL.create("sqlite+aiosqlite", database=str(Path(url.database).absolute()))


def _postgresql_url(url: URL) -> URL:
    query = dict(url.query)
    if "sslmode" in query:  # libpq's name, which every provider's URL has
        query["ssl"] = query.pop("sslmode")
    if unknown := sorted(set(query) - set(inspect.signature(asyncpg.connect).parameters)):
        raise BadSetting(f"the database URL has a parameter that the driver does not know: {unknown[0]}")
    if not url.database:
        raise BadSetting("the database URL names no database: give postgresql://user:password@host/name")
    return url.set(drivername="postgresql+asyncpg", query=query)


def make_file(url: URL) -> None:
    """Make the SQLite file and its folder, readable by their owner alone, where they are missing. Raises BadSetting."""
    path = Path(str(url.database))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as exc:
        raise BadSetting(f"the database file {path} cannot be written: {exc.strerror}") from None
    if not os.access(path.parent, os.W_OK):
        raise BadSetting(f"the folder of the database file {path} cannot be written")


# ---- engines ----


def create(url: URL, *, write: bool, pool_size: int, pooler: str = "") -> AsyncEngine:
    """The writing or the reading engine of a URL from `parse`."""
    if url.get_backend_name() == "sqlite":
        return sqlite_engine(url, write)
    return postgresql_engine(url, write, pool_size, pooler)


def sqlite_engine(url: str | URL, write: bool) -> AsyncEngine:
    """Raises BadSetting where the file cannot be made."""
    url = parse(url)
    make_file(url)
    size = SQLITE_WRITERS + SPARE if write else SQLITE_READERS
    engine = create_async_engine(url, **_sqlite_arguments(), pool_size=size, max_overflow=0, pool_timeout=POOL_WAIT)
    mode = ("query_only=off", TRIGGERS) if write else ("query_only=on",)
    _on_sqlite_connect(engine, "foreign_keys=on", "synchronous=full", *mode)
    _begin_with(engine, OPENING[write])
    event.listen(engine.sync_engine, "invalidate", _stop_cancelled)
    return engine


def postgresql_engine(url: str | URL, write: bool, pool_size: int, pooler: str = "") -> AsyncEngine:
    """`pooler="transaction"` is for a pooler that gives each transaction another server connection: nothing is kept
    between them.
    """
    settings = POSTGRESQL_SETTINGS if write else {**POSTGRESQL_SETTINGS, "default_transaction_read_only": "on"}
    engine = create_async_engine(
        parse(url),
        **_postgresql_arguments(settings, pooler),
        pool_size=pool_size,
        max_overflow=SPARE if write else 0,
        pool_timeout=POOL_WAIT,
        pool_recycle=RECYCLE,
        pool_pre_ping=True,
        execution_options={} if write else {"postgresql_readonly": True},
    )
    event.listen(engine.sync_engine, "handle_error", _lost)
    return engine


def migration_engine(url: str | URL) -> AsyncEngine:
    """For one migration: no pool, no statement time-out, short lock time-outs, and on SQLite no foreign keys."""
    url = parse(url)
    if url.get_backend_name() == "sqlite":
        make_file(url)
        engine = create_async_engine(url, **_sqlite_arguments(), poolclass=NullPool)
        # off before the transaction: a table that batch mode recreates would take its child rows with it
        _on_sqlite_connect(engine, "foreign_keys=off", "synchronous=full", f"busy_timeout={600_000}", TRIGGERS)
        _begin_with(engine, "BEGIN IMMEDIATE")
        return engine
    settings = {
        "application_name": "broadsheet-migration",
        "timezone": "UTC",
        "statement_timeout": "0",
        "lock_timeout": "500ms",
    }
    arguments = _postgresql_arguments(settings, "")
    del arguments["connect_args"]["command_timeout"]
    return create_async_engine(url, **arguments, poolclass=NullPool)


def unsuitable(exc: BaseException) -> str | None:
    """Why a server that refused the first connection can never serve, or None."""
    said = f"{exc} {exc.__cause__}"
    return next((reason for complaint, reason in UNSUITABLE.items() if complaint in said), None)


def observe(engine: AsyncEngine, hook: Observe) -> None:
    """Tells `hook` the text of each statement that SQLAlchemy sends, but for BEGIN."""

    def before(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith("BEGIN"):
            hook(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", before)


# ---- parts ----


def _sqlite_arguments() -> dict[str, Any]:
    return {
        "hide_parameters": True,
        "json_serializer": dumps,
        "json_deserializer": msgspec.json.decode,
        "connect_args": {"timeout": BUSY, "cached_statements": STATEMENTS, "async_creator_fn": SqliteConnection},
    }


def _postgresql_arguments(settings: dict[str, str], pooler: str) -> dict[str, Any]:
    connect: dict[str, Any] = {"timeout": 3, "command_timeout": COMMAND}
    if pooler == "transaction":
        # a prepared statement and a session's settings would meet another client on the server's connection;
        # PgBouncer refuses start-up settings: the role has them (ALTER ROLE ... SET)
        connect |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    elif pooler:
        raise BadSetting(f"the pooler must be transaction or empty, not {pooler!r}")
    else:
        connect |= {"statement_cache_size": STATEMENTS, "prepared_statement_cache_size": STATEMENTS}
        connect["server_settings"] = settings
    return {
        "hide_parameters": True,
        "json_serializer": dumps,
        "json_deserializer": msgspec.json.decode,
        "connect_args": connect,
    }


def _on_sqlite_connect(engine: AsyncEngine, *pragmas: str) -> None:
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves: the module's own begins lose updates (hazards 1)
        connection.create_function("lower", 1, lower, deterministic=True)
        connection.create_function("broadsheet_match", 3, regex.search, deterministic=True)
        cursor = connection.cursor()
        _use_wal(connection, cursor)
        for pragma in (
            f"busy_timeout={BUSY * 1000}",
            "trusted_schema=off",
            "case_sensitive_like=on",
            "mmap_size=0",
            "journal_size_limit=67108864",
            *pragmas,
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", connect)


def _use_wal(connection: Any, cursor: Any) -> None:
    """Kept in the file, so all but the first find it done. While another process does it, busy_timeout is no help."""
    deadline = time.monotonic() + BUSY
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=wal")
            break
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
        connection.run_async(lambda driver: asyncio.sleep(0.02))
    if cursor.fetchone() != ("wal",):
        raise BadSetting("the database file is on a file system that cannot share memory, which SQLite's WAL needs")


def _begin_with(engine: AsyncEngine, sql: str) -> None:
    """Unless Steps have begun on the same connection."""

    def begin(connection: Connection) -> None:
        adapter: Any = connection.connection.dbapi_connection
        driver: SqliteConnection = adapter.driver_connection
        if driver.share is not None:
            adapter.run_async(lambda driver: driver.open(sql))
        elif not driver.in_transaction:
            connection.exec_driver_sql(sql)

    event.listen(engine.sync_engine, "begin", begin)


def _stop_cancelled(connection: Any, record: Any, exc: BaseException | None) -> None:
    """Before a cancelled connection is closed: its statement would run to its end, and its transaction would live on,
    write lock and all, for as long as a traceback holds the cursor.
    """
    if isinstance(exc, asyncio.CancelledError):
        with contextlib.suppress(asyncio.CancelledError):  # SQLAlchemy raises the first one
            connection.run_async(lambda driver: finish(halt(driver)))


def _lost(context: ExceptionContext) -> Exception | None:
    """A socket error or the driver's time-out is no error of the database's, so SQLAlchemy lets it pass as it is."""
    if isinstance(context.original_exception, OSError):
        context.is_disconnect = True
        return faults.lost()
    return None


def lower(value: Any) -> Any:
    """Unicode lower case, character by character as PostgreSQL does it: without the rule for a final sigma."""
    if not isinstance(value, str):
        return value
    if "Σ" in value or "İ" in value:
        return "".join(character.lower()[0] for character in value)
    return value.lower()
