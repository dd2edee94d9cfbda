"""What a database complains of, as our own errors: one table by SQLSTATE, the same codes and texts on both databases.

SQLite has neither SQLSTATEs nor constraint names, so both are derived here from its error names, its texts and the
models' metadata. An error that the table does not know is no refusal but a fault: `translate` returns None, and the
caller logs it and answers 500.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Table
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError

from app.data.catalog import Catalog
from app.errors import BadQuery, BadValue, BroadsheetError, Conflict, Unavailable

T = TypeVar("T")

# What a unit of work may raise that `translate` may know. Not every OSError: a handler's own file errors are none of
# ours. It has no other connection that it could lose than the database's.
KINDS = (
    SQLAlchemyError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
    OverflowError,
    UnicodeEncodeError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` None keeps PostgreSQL's own; `status` None is that of the class; `details` says whether the database's may
    be shown.
    """

    kind: type[BroadsheetError]
    text: str | None = None
    status: int | None = None
    retry: bool = False
    details: bool = False


MISFIT = Answer(BadValue, "a value does not fit its column")  # our validation let it through: counted, see SLIPPED

LOST = "PGRST001"
UNKNOWN = "08007"  # lost during COMMIT

# By SQLSTATE, the longest prefix first. PostgreSQL's details of 23502 and 23514 are the whole row, hash and all.
ANSWERS: dict[str, Answer] = {
    "23505": Answer(Conflict, details=True),
    "23503": Answer(Conflict, details=True),
    "23502": Answer(BadValue),
    "23514": Answer(BadValue),
    "40001": Answer(Unavailable, "could not serialize access due to concurrent update", retry=True),
    "40P01": Answer(Unavailable, "deadlock detected", retry=True),
    "55P03": Answer(Unavailable, "canceling statement due to lock timeout", retry=True),
    "57014": Answer(Unavailable, "canceling statement due to statement timeout", 504, retry=True),
    "0A000": Answer(Unavailable, "the schema has just changed", retry=True),
    "25006": Answer(Unavailable, "the database takes no writes at the moment", retry=True),
    "08": Answer(Unavailable, "the connection to the database was lost", retry=True),
    "25P03": Answer(Unavailable, "the transaction was idle for too long", retry=True),
    "57P": Answer(Unavailable, "the connection to the database was lost", retry=True),
    "55000": Answer(Unavailable, "the database takes no connections at the moment", retry=True),
    "28": Answer(Unavailable, "Database connection error", retry=True),
    "3D000": Answer(Unavailable, "Database connection error", retry=True),
    "53100": Answer(Unavailable, "the database's disk is full", 507),
    "53": Answer(Unavailable, "the database has no room for another connection", retry=True),
    "PGRST000": Answer(Unavailable, "Database connection error", retry=True),
    LOST: Answer(Unavailable, "the connection to the database was lost", retry=True),
    "PGRST003": Answer(Unavailable, "Timed out acquiring connection from connection pool.", 504, retry=True),
    "2201B": Answer(BadQuery),
    "22": MISFIT,
}
SLIPPED = "22"  # prefix of the codes of values that our own checks should have refused

# By sqlite3's error name, the longest prefix first.
SQLSTATES = {
    "SQLITE_CONSTRAINT_UNIQUE": "23505",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "23505",
    "SQLITE_CONSTRAINT_ROWID": "23505",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "23503",
    "SQLITE_CONSTRAINT_NOTNULL": "23502",
    "SQLITE_CONSTRAINT_CHECK": "23514",
    "SQLITE_BUSY": "55P03",
    "SQLITE_LOCKED": "55P03",
    "SQLITE_INTERRUPT": "57014",
    "SQLITE_READONLY": "25006",
    "SQLITE_FULL": "53100",
    "SQLITE_IOERR": "53100",  # a quota and some full disks say this
    "SQLITE_CANTOPEN": "PGRST000",
}


CLOSED = re.compile("no active connection|closed database|connection closed", re.IGNORECASE)
# what SQLAlchemy says when it is asked for a connection that was lost meanwhile
GONE = re.compile("connection is closed|can't reconnect until invalid", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of a driver, read: a code of ANSWERS, and for constraints the text and details."""

    code: str
    text: str | None = None
    details: str | None = None


def translate(
    exc: BaseException, catalog: Catalog, row: Mapping[str, Any] | None = None, table: str | None = None
) -> BroadsheetError | None:
    """The refusal that stands for an error of the database, or None. `row` and `table` say on SQLite what was
    written.
    """
    driver_error = _driver_error(exc)
    if row is None:
        table, row = getattr(driver_error, "written", (table, None))
    fault = _read(driver_error, catalog, row, table)
    return None if fault is None else _answer(fault)


def about(exc: sqlite3.IntegrityError, table: str, row: Mapping[str, Any]) -> sqlite3.IntegrityError:
    """The error with what was being written: SQLite's own texts name columns, but no values and no foreign key."""
    exc.written = (table, row)  # type: ignore[attr-defined]  # read by `translate` alone
    return exc


def lost() -> BroadsheetError:
    return _answer(Fault(LOST))


def unreachable() -> BroadsheetError:
    return _answer(Fault("PGRST000"))


def too_slow() -> BroadsheetError:
    return _answer(Fault("57014"))


def undone() -> BroadsheetError:
    """The transaction ended that a unit of work shared with others: nothing of it was kept."""
    return _answer(Fault("40001"))


def no_connection() -> BroadsheetError:
    """Every connection is taken and none came free in time."""
    return _answer(Fault("PGRST003"))


def outcome_unknown() -> BroadsheetError:
    """The connection was lost between COMMIT and its answer: nobody may repeat this without asking what became of
    it.
    """
    text = "the connection was lost during COMMIT: whether the changes were kept is not known"
    return Unavailable(text, code=UNKNOWN, retry_after=1)


def is_lost(exc: BaseException) -> bool:
    """Whether this, of a COMMIT, is the end of a connection, after which nobody knows what the server has done."""
    if isinstance(exc, asyncpg.InterfaceError | asyncpg.InternalClientError | ConnectionError):
        return True
    code = exc.code if isinstance(exc, BroadsheetError) else str(getattr(_driver_error(exc), "sqlstate", None) or "")
    return code == LOST or code.startswith(("08", "57P")) or bool(getattr(exc, "connection_invalidated", False))


def read_only() -> BroadsheetError:
    text = "cannot write in a read-only transaction"
    return BroadsheetError(
        text, code="25006", status=405, hint="Write in database.writing(who), or call the function by POST."
    )


def _answer(fault: Fault) -> BroadsheetError:
    answer = longest_prefix(ANSWERS, fault.code)
    assert answer is not None
    error = answer.kind(
        answer.text or fault.text or "the database refused a value",
        code=fault.code,
        details=fault.details if answer.details else None,
        retry_after=1 if answer.retry else None,
    )
    if answer.status is not None:
        error.status = answer.status
    return error


def longest_prefix(table: Mapping[str, T], key: str) -> T | None:
    """What a table by the beginnings of codes has for a code."""
    return next((table[key[:n]] for n in range(len(key), 1, -1) if key[:n] in table), None)


def _driver_error(exc: BaseException) -> BaseException:
    """What the driver raised, beneath SQLAlchemy's wrapping and its adapter's."""
    if isinstance(exc, StatementError) and exc.orig is not None:
        exc = exc.orig
        if not isinstance(exc, sqlite3.Error) and isinstance(exc.__cause__, Exception):
            return exc.__cause__  # the adapter of asyncpg raises its own classes from asyncpg's
    return exc


def _read(exc: BaseException, catalog: Catalog, row: Mapping[str, Any] | None, table: str | None) -> Fault | None:
    match exc:
        case sqlite3.Error():
            return _read_sqlite(exc, _tables(catalog), row or {}, table)
        case asyncpg.PostgresError() if longest_prefix(ANSWERS, str(exc.sqlstate)):
            return Fault(str(exc.sqlstate), str(exc.args[0]), exc.detail)
        case asyncpg.DataError() | OverflowError():
            return Fault("22003" if isinstance(exc, OverflowError) else "22P02")
        case UnicodeEncodeError():
            return Fault("22021")
        case asyncpg.InternalClientError() | OSError():
            return Fault(LOST)
        case asyncpg.InterfaceError() if "closed" in str(exc):
            return Fault(LOST)
        case InvalidRequestError() if GONE.search(str(exc)):
            return Fault(LOST)
        case PoolTimeoutError():
            return Fault("PGRST003")
        case StaleDataError():
            return Fault("40001")
        case _:
            return None


# ---- SQLite: names and texts as PostgreSQL has them ----


def _read_sqlite(
    exc: sqlite3.Error, tables: Mapping[str, Table], row: Mapping[str, Any], table: str | None
) -> Fault | None:
    text = str(exc)
    code = longest_prefix(SQLSTATES, getattr(exc, "sqlite_errorname", ""))
    subject = text.partition(": ")[2]  # "users.email", "posts.id, posts.slug", or the name of a CHECK
    match code:
        case "23505":
            return _unique(tables, subject, row)
        case "23503":
            return _foreign_key(tables.get(table or ""), row)
        case "23502":
            name, _, column = subject.partition(".")
            return Fault(code, f'null value in column "{column}" of relation "{name}" violates not-null constraint')
        case "23514":
            name = _table_of_check(tables.values(), subject)
            return Fault(code, f'new row for relation "{name}" violates check constraint "{subject}"')
        case None:
            return Fault(LOST) if CLOSED.search(text) else None
        case _:
            return Fault(code)


def _unique(tables: Mapping[str, Table], subject: str, row: Mapping[str, Any]) -> Fault:
    columns = re.findall(r"\w+\.(\w+)", subject)
    name = next(_unique_names(tables.get(subject.partition(".")[0]), columns), subject)
    details = f"Key {_key(columns, row)} already exists." if row.keys() >= set(columns) else None
    return Fault("23505", f'duplicate key value violates unique constraint "{name}"', details)


def _unique_names(table: Table | None, columns: list[str]) -> Iterator[str]:
    if table is None:
        return
    for index in table.indexes:
        if index.unique and [c.name for c in index.columns] == columns:
            yield str(index.name)
    for constraint in table.constraints:
        if [c.name for c in getattr(constraint, "columns", ())] == columns and _is_unique(constraint):
            yield str(constraint.name)


def _is_unique(constraint: Any) -> bool:
    return constraint.__visit_name__ in ("unique_constraint", "primary_key_constraint")


def _foreign_key(table: Table | None, row: Mapping[str, Any]) -> Fault:
    """SQLite does not say which: named where the row that was written has only one."""
    given = [fk for fk in _foreign_keys(table) if all(row.get(c.name) is not None for c in fk.columns)]
    if table is None or len(given) != 1:
        return Fault("23503", "insert or update violates foreign key constraint")
    (key,) = given
    columns = [c.name for c in key.columns]
    return Fault(
        "23503",
        f'insert or update on table "{table.name}" violates foreign key constraint "{key.name}"',
        f'Key {_key(columns, row)} is not present in table "{key.referred_table.name}".',
    )


def _foreign_keys(table: Table | None) -> Iterable[ForeignKeyConstraint]:
    return () if table is None else table.foreign_key_constraints


def _key(columns: list[str], row: Mapping[str, Any]) -> str:
    return f"({', '.join(columns)})=({', '.join(str(row[c]) for c in columns)})"


def _table_of_check(tables: Iterable[Table], name: str) -> str:
    checks = ((t.name, c) for t in tables for c in t.constraints if isinstance(c, CheckConstraint))
    return next((table for table, check in checks if str(check.name) == name), name)


def _tables(catalog: Catalog) -> dict[str, Table]:
    """Every table beside those of the catalog, exposed or not."""
    return {t.name: t for resource in catalog for t in resource.table.metadata.tables.values()}
