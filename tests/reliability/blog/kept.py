"""What the database holds, read by plain SQL past the service, in the model's form; and what must hold of it whatever
was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
from sqlalchemy import make_url

from tests.reliability.blog.state import BESIDE, POST_COLUMNS, UNKEPT, USER_COLUMNS, Row, State

Tables = dict[str, list[Row]]
REVISION = ("at", "actor_id", "key_id", "request_id", "table_name", "row_id", "version", "operation", "changes")
TRANSFER = ("id", "from_user_id", "to_user_id", "amount", "note", "created_at", "created_by")
COLUMNS = {
    "users": USER_COLUMNS,
    "posts": POST_COLUMNS,
    "tags": ("id", "name", "created_at", "updated_at", "version"),
    "post_tags": ("post_id", "tag_id"),
    "transfers": TRANSFER,
    "revisions": REVISION,
    "credentials": ("user_id", "changed_at"),
}
ORDER = {"post_tags": "post_id, tag_id", "credentials": "user_id"}
EMPTIED = ("events", "idempotency_keys", "revisions", "transfers", "post_tags", "tags", "posts", "credentials", "users")
PATIENCE = 1  # seconds in which who was cancelled must have let go
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
NUMBERED = ("revisions", "transfers", "tags", "posts", "users")


class SqliteKept:
    """A connection of its own to the file."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(str(make_url(url).database), isolation_level=None)
        self._connection.row_factory = sqlite3.Row

    async def read(self) -> Tables:
        self._connection.execute("BEGIN")  # one snapshot
        try:
            return {name: [_row_of(row) for row in self._connection.execute(_query(name))] for name in COLUMNS}
        finally:
            self._connection.execute("COMMIT")

    async def empty(self) -> None:
        """No rows, and ids begin at 1."""
        self._connection.execute("BEGIN IMMEDIATE")
        for name in (*EMPTIED, "sqlite_sequence"):
            self._connection.execute(f"DELETE FROM {name}")
        self._connection.execute("COMMIT")

    async def is_free(self) -> bool:
        """Whether a writer gets through: nobody has left a transaction open."""
        self._connection.execute("PRAGMA busy_timeout=0")  # a wait in here would stop the loop that is to let go
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(sqlite3.OperationalError):
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute("COMMIT")
                return True
            await asyncio.sleep(0.01)
        return False

    async def close(self) -> None:
        self._connection.close()


class PostgresKept:
    """The same on PostgreSQL: one statement reads everything."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        parts = [f"'{name}', (SELECT json_agg(t) FROM ({_query(name)}) t)" for name in COLUMNS]
        self._sql = f"SELECT json_build_object({', '.join(parts)})"
        self._sequences = [f"ALTER SEQUENCE {name}_id_seq RESTART" for name in NUMBERED]

    async def read(self) -> Tables:
        found: dict[str, list[Row] | None] = json.loads(await self._connection.fetchval(self._sql))
        return {name: rows or [] for name, rows in found.items()}

    async def empty(self) -> None:
        await self._connection.execute("; ".join([*(f"DELETE FROM {name}" for name in EMPTIED), *self._sequences]))

    async def is_free(self) -> bool:
        end = time.monotonic() + PATIENCE
        while await self._connection.fetchval(OPEN):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.01)  # the server tells nobody when a transaction ends
        return True

    async def close(self) -> None:
        await self._connection.close()


async def open_kept(url: str) -> SqliteKept | PostgresKept:
    if url.startswith("sqlite"):
        return SqliteKept(url)
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return PostgresKept(await asyncpg.connect(plain, server_settings={"timezone": "UTC"}))


def _query(name: str) -> str:
    return f"SELECT {', '.join(COLUMNS[name])} FROM {name} ORDER BY {ORDER.get(name, 'id')}"


def _row_of(row: sqlite3.Row) -> Row:
    return {name: _value_of(name, row[name]) for name in row.keys()}  # noqa: SIM118  # iterating gives values


def _value_of(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "at" or name.endswith(("_at", "_until")):
        fraction = value[19:].rstrip("0").rstrip(".")
        return f"{value[:10]}T{value[11:19]}{fraction}+00:00"
    if name == "changes":
        return json.loads(value)
    return str(UUID(value)) if name == "uid" else value


# ---- is it what the model holds? ------------------------------------------------------------------------------------


def differences(kept: Tables, state: State) -> Iterator[str]:
    """In words, by table."""
    links = [{"post_id": post, "tag_id": tag} for post, tags in sorted(state.links.items()) for tag in sorted(tags)]
    held = {
        name: [row for _, row in sorted(state.table(name).items())] for name in ("users", "posts", "tags", "transfers")
    }
    held |= {"post_tags": links, "revisions": sorted(state.revisions, key=_place)}
    for name, rows in held.items():
        kept_rows = sorted(kept[name], key=_place) if name == "revisions" else kept[name]
        if kept_rows == rows:
            continue
        if len(kept_rows) != len(rows):
            yield f"{name} has {len(kept_rows)} rows, the model {len(rows)}"
        for found, row in zip(kept_rows, rows, strict=False):
            if found != row:
                unlike = sorted(column for column in row if found[column] != row[column])
                shown = {column: (found[column], row[column]) for column in unlike}
                yield f"{name} {row.get('id', row)} differs (found, expected): {shown}"


def _place(revision: Row) -> tuple[str, str, str, int]:
    """In which order one request changes its rows, nobody says."""
    return revision["request_id"], revision["table_name"], revision["row_id"], revision["version"]


# ---- is it sound by itself? -----------------------------------------------------------------------------------------


def faults(kept: Tables) -> Iterator[str]:
    """What must hold in every state: uniqueness, foreign keys, one revision for each version that tells what it was,
    balances.
    """
    for name, column in (("users", "email"), ("users", "username"), ("posts", "slug"), ("tags", "name")):
        values = Counter(row[column] for row in kept[name] if row.get("deleted_at") is None)
        yield from (f"{n} {name} have the {column} {value}" for value, n in values.items() if value and n > 1)
    yield from _dangling(kept)
    yield from _untold(kept)
    yield from _unbalanced(kept)


def _dangling(kept: Tables) -> Iterator[str]:
    ids = {name: {row["id"] for row in kept[name]} for name in ("users", "posts", "tags")}
    for table, column, target in (
        ("posts", "user_id", "users"),
        ("post_tags", "post_id", "posts"),
        ("post_tags", "tag_id", "tags"),
        ("transfers", "from_user_id", "users"),
        ("transfers", "to_user_id", "users"),
    ):
        named = {row[column] for row in kept[table]} - {None}
        yield from (f"{table}.{column} names {key}, which {target} does not have" for key in named - ids[target])


def _untold(kept: Tables) -> Iterator[str]:
    told = defaultdict(list)
    for revision in kept["revisions"]:
        told[revision["table_name"], revision["row_id"]].append(revision)
    for table in ("users", "posts"):
        for row in kept[table]:
            revisions = told.pop((table, str(row["id"])), [])
            versions = [revision["version"] for revision in revisions]
            if versions != list(range(1, row["version"] + 1)):
                yield f"{table} {row['id']} is at version {row['version']}, its revisions are {versions}"
            now = {name: value for name, value in row.items() if name not in UNKEPT[table]}
            if (rebuilt := rebuild(revisions)) != now:
                yield f"the revisions of {table} {row['id']} make {rebuilt}, which is {now}"
    yield from (f"a revision tells of {table} {key}, which is not there" for table, key in told)


def rebuild(revisions: Iterable[Row]) -> Row:
    """The row that these revisions tell of, without its links."""
    row: Row = {}
    for revision in revisions:
        row |= {name: pair[1] for name, pair in revision["changes"].items() if name != "tags"}
        if revision["operation"] != "insert":
            values = (revision["at"], revision["actor_id"], revision["version"])
            row |= dict(zip(("updated_at", "updated_by", "version"), values, strict=True))
            assert row.keys() >= BESIDE
    return row


def _unbalanced(kept: Tables) -> Iterator[str]:
    sums: Counter[int | None] = Counter()
    for transfer in kept["transfers"]:
        sums[transfer["to_user_id"]] += transfer["amount"]
        sums[transfer["from_user_id"]] -= transfer["amount"]
    for row in kept["users"]:
        if row["balance"] != sums[row["id"]] or row["balance"] < 0:
            yield f"user {row['id']} has {row['balance']}, its transfers make {sums[row['id']]}"
