"""What a database says of itself and of the role that the service has there: facts, judged elsewhere.

Nothing is changed: the one write that is tried is on a connection that must refuse it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from app.data.database import Database
from app.data.rules import SYSTEM
from app.errors import BroadsheetError


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """PostgreSQL. Times are seconds, 0 is no limit. `ahead` is by how much the server's clock is before ours."""

    version: str
    role: str
    schema: str | None  # the first of the search path that the role may use
    superuser: bool  # or may become one
    bypasses_rules: bool
    owned: list[str]  # tables that the role owns, or whose owner it may become
    creates: list[str]  # `schema ...`, `database ...`: where the role may create
    rewritable: list[str]  # tables of `append_only` and `read_only` where the role may do more
    closed: list[str]  # tables of `needed`, and their sequences, that the role may not use as it must
    lock_timeout: float
    statement_timeout: float
    time_zone: str
    room: int  # connections that the role may open in all
    pooled: bool  # another process than the one that we connected to answers
    ahead: timedelta
    writing: str | None  # the code by which a reading connection refuses a write, None where it does not


@dataclass(frozen=True, slots=True)
class FileFacts:
    """SQLite."""

    version: tuple[int, int, int]
    journal_mode: str
    foreign_keys: bool
    synchronous: int
    damage: list[str] | None  # what is wrong in the file; None where it was not read
    writing: str | None  # as in ServerFacts


SERVER = text("""
WITH here AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = current_schema()),
     tables AS (SELECT pg_class.oid, relname, relowner FROM pg_class JOIN here ON relnamespace = here.oid
                WHERE relkind IN ('r', 'p')),
     used AS (SELECT * FROM tables WHERE relname = ANY(CAST(:needed AS text[]))),
     mine AS (SELECT bool_or(rolsuper) AS super, bool_or(rolbypassrls) AS bypasses FROM pg_roles
              WHERE pg_has_role(oid, 'MEMBER'))
SELECT current_setting('server_version') AS version,
       current_user::text AS role,
       (SELECT nspname::text FROM here) AS schema,
       (SELECT super FROM mine) AS superuser,
       (SELECT bypasses FROM mine) AS bypasses_rules,
       ARRAY(SELECT relname::text FROM tables WHERE pg_has_role(relowner, 'MEMBER') ORDER BY 1) AS owned,
       ARRAY(SELECT 'schema ' || nspname FROM here WHERE has_schema_privilege(oid, 'CREATE')
             UNION ALL
             SELECT 'database ' || current_database() WHERE has_database_privilege(current_database(), 'CREATE')
            ) AS creates,
       ARRAY(SELECT relname::text FROM tables
             WHERE relname = ANY(CAST(:append_only AS text[]) || CAST(:read_only AS text[]))
             AND (has_table_privilege(oid, 'DELETE, TRUNCATE') OR has_any_column_privilege(oid, 'UPDATE')
                  OR relname = ANY(CAST(:read_only AS text[])) AND has_table_privilege(oid, 'INSERT'))
             ORDER BY 1) AS rewritable,
       ARRAY(SELECT relname::text FROM used
             WHERE NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
                        AND (relname = ANY(CAST(:append_only AS text[]))
                             OR has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')))
             UNION ALL
             SELECT pg_class.relname::text FROM used
             JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = used.oid
                           AND classid = 'pg_class'::regclass
             JOIN pg_class ON pg_class.oid = objid
             WHERE CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege(pg_class.oid, 'USAGE') END
             ORDER BY 1) AS closed,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'lock_timeout') AS lock_timeout,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'statement_timeout') AS statement_timeout,
       current_setting('TimeZone') AS time_zone,
       LEAST(current_setting('max_connections')::int
               - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true)::int, 0),
             (SELECT NULLIF(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
             (SELECT NULLIF(datconnlimit, -1) FROM pg_database WHERE datname = current_database())) AS room,
       pg_backend_pid() AS pid,
       clock_timestamp() AS now
""")

# What a reading connection must refuse; both leave nothing behind where it does not.
SERVER_PROBE = "CREATE TEMPORARY TABLE broadsheet_probe (id integer) ON COMMIT DROP"
FILE_PROBE = text("CREATE TABLE broadsheet_probe (id integer)")  # rolled back with the session


async def server_facts(
    database: Database, *, append_only: Collection[str], read_only: Collection[str], needed: Collection[str]
) -> ServerFacts:
    """Of a PostgreSQL that is open. Raises BroadsheetError, DBAPIError."""
    names = {"append_only": list(append_only), "read_only": list(read_only), "needed": list(needed)}
    async with database.writer.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        found = dict((await connection.execute(SERVER, names)).mappings().one())
    ahead = found.pop("now") - database.clock()
    # a pooler invents the process id that it tells at the start
    pooled = found.pop("pid") != driver.get_server_pid()
    return ServerFacts(**found, ahead=ahead, pooled=pooled, writing=await _refused_on_server(database))


async def file_facts(database: Database, *, thorough: bool) -> FileFacts:
    """Of a SQLite file that is open; `thorough` reads all of it. Raises BroadsheetError, DBAPIError."""
    async with database.writer.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        # the driver's own: a statement of SQLAlchemy's would begin a transaction and wait for other writers
        values = [
            (await driver.execute_fetchall(f"PRAGMA {name}"))[0][0]
            for name in ("journal_mode", "foreign_keys", "synchronous")
        ]
    journal_mode, foreign_keys, synchronous = values
    return FileFacts(
        version=sqlite3.sqlite_version_info,
        journal_mode=journal_mode,
        foreign_keys=bool(foreign_keys),
        synchronous=synchronous,
        damage=await _damage(database) if thorough else None,
        writing=await _refused_on_file(database),
    )


async def _damage(database: Database) -> list[str]:
    try:
        async with database.lanes.session() as connection:
            found = (await connection.exec_driver_sql("PRAGMA quick_check(10)")).scalars().all()
    except DatabaseError as exc:  # so damaged that even the check ends early
        return [str(exc.orig)]
    return [str(line) for line in found if line != "ok"]


async def _refused_on_server(database: Database) -> str | None:
    """Without SQLAlchemy, which would say BEGIN READ ONLY: reads run without it."""
    try:
        async with database.reader(SYSTEM) as driver:
            await driver.execute(SERVER_PROBE)
    except BroadsheetError as exc:
        return exc.code
    return None


async def _refused_on_file(database: Database) -> str | None:
    try:
        async with database.reading(SYSTEM) as session:
            await session.execute(FILE_PROBE)
    except BroadsheetError as exc:
        return exc.code
    return None
