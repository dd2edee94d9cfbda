"""How migrations run: one process at a time, and either whole or not at all. Alembic runs this file for every command.

The database is that of `config.attributes["connection"]` or `["url"]`, else BROADSHEET_MIGRATE_URL, else the service's.

PostgreSQL: a direct connection holds an advisory lock; each migration is one transaction; a statement that cannot have
its lock within 500 ms gives way to those who wait behind it, and the migration is tried again. SQLite: one transaction
for all of them, with foreign keys off (a table that batch mode recreates would take its child rows with it), checked
before COMMIT.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from logging.config import fileConfig
from pathlib import Path
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.rewriter import Rewriter
from alembic.operations import ops
from sqlalchemy import Connection, Enum, String, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from app.data.base import Base, Json, UtcTime
from app.data.engines import migration_engine, parse
from app.models import User
from app.settings import Settings
from migrations import search_objects

ADVISORY_LOCK = 0x62726F61  # "broa"
PATIENCE = 600  # seconds to wait for another process that migrates
TRIES = 40  # of a migration that cannot have its locks; about a minute
METADATA = Base.metadata
assert User.metadata is METADATA, "all models are mapped on one MetaData"

config = context.config


class Refused(Exception):
    """A migration would damage data; it was rolled back."""


def main() -> None:
    if config.config_file_name is not None:
        fileConfig(config.config_file_name, disable_existing_loggers=False)
    url = config.attributes.get("url") or url_of_service()
    given = config.attributes.get("connection")
    if context.is_offline_mode():
        configure(url=parse(url), literal_binds=True, dialect_opts={"paramstyle": "named"})
        run()
    elif given is not None:
        configure(connection=given)
        run()
    else:
        run_apart(online(url))


def url_of_service() -> str:
    settings = Settings.from_env()
    return settings.migrate_url or settings.url


def configure(**options: Any) -> None:
    context.configure(
        target_metadata=METADATA,
        render_as_batch=True,  # revisions are written against PostgreSQL, and run on SQLite too
        compare_server_default=True,
        autogenerate_plugins=["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
        render_item=render_item,
        include_object=include_object,
        process_revision_directives=writer,
        transactional_ddl=True,  # also on SQLite, where Alembic does not expect it
        **options,
    )


def run_apart(work: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: the caller's may have a running loop."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, work).result()


def run() -> None:
    with context.begin_transaction():
        context.run_migrations()


async def online(url: str) -> None:
    engine = migration_engine(url)
    try:
        async with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                await connection.run_sync(on_sqlite)
            else:
                await on_postgresql(connection)
    finally:
        await engine.dispose()


# ---- PostgreSQL ----


async def on_postgresql(connection: AsyncConnection) -> None:
    await connection.execution_options(isolation_level="AUTOCOMMIT")
    await wait_for_turn(connection)
    await connection.execution_options(isolation_level="READ COMMITTED")
    for attempt in range(1, TRIES + 1):
        try:
            await connection.run_sync(migrate_postgresql)
            return
        except DBAPIError as exc:
            if getattr(exc.orig, "sqlstate", None) != "55P03" or attempt == TRIES:
                raise
            await connection.rollback()
        await asyncio.sleep(min(2.0, 0.1 * attempt))


async def wait_for_turn(connection: AsyncConnection) -> None:
    """Polled: a statement that waits for the lock would hold a snapshot, and CREATE INDEX CONCURRENTLY waits for those.

    The lock ends with the connection. Who comes second reads the revision afterwards, so finds nothing left to do.
    """
    deadline = time.monotonic() + PATIENCE
    while not await connection.scalar(text(f"SELECT pg_try_advisory_lock({ADVISORY_LOCK})")):
        if time.monotonic() > deadline:
            raise Refused(f"another process has been migrating this database for {PATIENCE} seconds")
        await asyncio.sleep(0.2)
    await connection.rollback()  # SQLAlchemy counts this as a transaction, though the server does not


def migrate_postgresql(connection: Connection) -> None:
    configure(connection=connection, transaction_per_migration=True)
    run()


# ---- SQLite ----


def on_sqlite(connection: Connection) -> None:
    """BEGIN IMMEDIATE comes first, so that of two processes the second reads the revision when the first is done."""
    with connection.begin():
        guard = Guard(connection)
        configure(connection=connection, on_version_apply=guard.check)
        if is_migration() and inspect(connection).get_table_names():
            copy_file(Path(str(connection.engine.url.database)))
        run()


class Guard:
    """After each migration no foreign key may dangle, no table have lost rows that the migration does not name, and no
    search index stand without the triggers that keep it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rows = count_rows(connection)

    def check(self, *, step: Any, **rest: Any) -> None:
        dangling = self.connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if dangling:
            table, row, parent, _ = dangling[0]
            raise Refused(f"{step}: {len(dangling)} foreign keys dangle, first {table} row {row} -> {parent}")
        for table in search_objects.untended(self.connection):
            raise Refused(f"{step}: {table} has lost its search triggers: see migrations/search_objects.py")
        before, self.rows = self.rows, count_rows(self.connection)
        meant = named_changes(step)
        for table in sorted((before.keys() & self.rows.keys()) - meant):
            if before[table] != self.rows[table]:
                raise Refused(f"{step}: {table} had {before[table]} rows and has {self.rows[table]}")


def named_changes(step: Any) -> set[str]:
    modules = (script.module for script in (*step.up_revisions, *step.down_revisions) if script is not None)
    return {name for module in modules for name in getattr(module, "changes_rows", ())}


def count_rows(connection: Connection) -> dict[str, int]:
    """Of every table but Alembic's own and the search index's, which are made anew."""
    names = [n for n in inspect(connection).get_table_names() if n != "alembic_version" and "_fts" not in n]
    quoted = connection.dialect.identifier_preparer.quote
    return {n: connection.exec_driver_sql(f"SELECT count(*) FROM {quoted(n)}").scalar_one() for n in names}


def is_migration() -> bool:
    """Whether this command leads from one revision to another: `check` and `current` do not."""
    try:
        target = context.get_revision_argument()
    except KeyError:
        return False
    return target != context.get_context().get_current_revision()


def copy_file(path: Path) -> None:
    """A copy beside the file, named by its revision. Writers wait outside, so it is what the migration starts from."""
    revision = context.get_context().get_current_revision() or "base"
    target = path.with_name(f"{path.name}.before-{time.strftime('%Y%m%dT%H%M%S')}-{revision}")
    target.touch(mode=0o600)
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


# ---- autogenerate ----

writer = Rewriter()


@writer.rewrites(ops.ModifyTableOps)
def without_doubled_checks(context: Any, revision: Any, change: ops.ModifyTableOps) -> ops.ModifyTableOps:
    """An enumeration brings its CHECK along when its column is added; the comparison of CHECKs would add it again."""
    added = [op.column.type for op in change.ops if isinstance(op, ops.AddColumnOp)]
    brought = {f"{change.table_name}_{t.name}_check" for t in added if isinstance(t, Enum) and t.create_constraint}
    change.ops = [
        op for op in change.ops if not (isinstance(op, ops.CreateCheckConstraintOp) and op.constraint_name in brought)
    ]
    return change


def include_object(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Everything but the search objects, which stand outside the MetaData."""
    table = item.table.name if kind in ("column", "index") else None
    return not (reflected and search_objects.owns(kind, name, table))


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Our column types as those of SQLAlchemy: a migration that has run must not change with the application."""
    if kind != "type":
        return False
    return next((render(item) for type_, render in RENDERED.items() if type(item) is type_), False)


def _text(item: Any) -> str | Literal[False]:
    """A type with a collation on PostgreSQL; without the prefix that Alembic would put before a variant's module."""
    variant = item._variant_mapping.get("postgresql")
    if variant is None:
        return False
    plain, sorted_ = repr(item).partition(".with_variant")[0], repr(variant)
    return f"sa.{plain}.with_variant(sa.{sorted_}, 'postgresql')"


RENDERED: dict[type[TypeEngine[Any]], Callable[[Any], str | Literal[False]]] = {
    UtcTime: lambda item: "sa.DateTime(timezone=True)",
    Json: lambda item: "sa.Text().with_variant(sa.JSON(), 'postgresql')",
    String: _text,
}

main()
