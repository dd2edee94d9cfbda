"""A few rows that are the same before every run, a dozen requests that get in each other's way there, and what may be
found afterwards.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, delete, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.data import engines
from app.data.audit import Revision
from app.data.base import Base
from app.models import Post, PostStatus, PostTag, Tag, Transfer, User, UserRole
from tests.reliability.paths import World, said
from tests.reliability.trial import Figures

TIME = datetime(2026, 1, 1, 12, tzinfo=UTC)
GONE = datetime(2026, 1, 2, 12, tzinfo=UTC)
# Far above what the databases give by themselves.
ANN, BOB, ADA, CARL = (1_000_001, 1_000_002, 1_000_003, 1_000_004)
FIRST, SECOND, THIRD, REMOVED, CARLS = (1_000_011, 1_000_012, 1_000_013, 1_000_014, 1_000_015)
X, Y, Z = (1_000_021, 1_000_022, 1_000_023)
BALANCE = 100
POSTS = f"{FIRST},{SECOND},{THIRD}"

# ---- the rows -------------------------------------------------------------------------------------------------------

STAMPS = {"created_at": TIME, "updated_at": TIME, "version": 1}


def _user(number: int, name: str, role: str, balance: int = 0, **more: Any) -> dict[str, Any]:
    row = {"id": number, "uid": UUID(int=number), "username": name, "email": f"{name}@example.org"}
    return row | {"role": UserRole(role), "is_active": True, "balance": balance, "deleted_at": None} | STAMPS | more


def slug(number: int) -> str:
    """In the other order than the ids."""
    return f"post-{1_000_100 - number}"


def _post(number: int, author: int, **more: Any) -> dict[str, Any]:
    name = f"post-{number - 1_000_000}"
    row = {"id": number, "user_id": author, "title": name, "slug": slug(number), "content": "old", "deleted_at": None}
    return row | {"status": PostStatus.PUBLISHED, "published_at": TIME} | STAMPS | more


DELETED: dict[str, Any] = {"deleted_at": GONE, "version": 2}
ROWS: dict[type[Base], list[dict[str, Any]]] = {
    User: [
        _user(ANN, "ann", "member", BALANCE),
        _user(BOB, "bob", "member", BALANCE),
        _user(ADA, "ada", "author"),
        _user(CARL, "carl", "author", **DELETED),
    ],
    Post: [
        *(_post(number, ADA) for number in (FIRST, SECOND, THIRD)),
        _post(REMOVED, ADA, **DELETED),
        _post(CARLS, CARL, **DELETED),
    ],
    Tag: [{"id": number, "name": name} | STAMPS for number, name in ((X, "x"), (Y, "y"), (Z, "z"))],
    PostTag: [{"post_id": post, "tag_id": tag} for post, tag in ((FIRST, X), (SECOND, X), (SECOND, Y), (REMOVED, Y))],
}


def _revisions() -> list[dict[str, Any]]:
    rows = []
    for model in (User, Post):
        for row in ROWS[model]:
            what = {"at": TIME, "table_name": model.__tablename__, "row_id": str(row["id"]), "changes": {}}
            rows += [what | {"version": n + 1, "operation": "insert"} for n in range(row["version"])]
    return rows


ROWS[Revision] = _revisions()


# ---- the requests ---------------------------------------------------------------------------------------------------

Ask = Callable[[World], Coroutine[Any, Any, tuple[int, str]]]


def asking(method: str, path: str, body: Any = None) -> Ask:
    async def ask(world: World) -> tuple[int, str]:
        return said(await world.ask(method, path, body))

    return ask


def transferring(sender: int, receiver: int, amount: int) -> Ask:
    return asking("POST", "/rpc/transfer", {"from_user_id": sender, "to_user_id": receiver, "amount": amount})


async def upsert(world: World) -> tuple[int, str]:
    rows = [{"slug": slug(n), "content": "met", "title": f"met {n}", "user_id": ADA} for n in (FIRST, THIRD)]
    headers = {"prefer": "resolution=merge-duplicates"}
    return said(await world.ask("POST", "/posts?on_conflict=slug&select=title", rows, headers))


REQUESTS: Mapping[str, Ask] = {
    "transfer from A to B": transferring(ANN, BOB, 30),
    "transfer from B to A": transferring(BOB, ANN, 120),
    "PATCH of many posts": asking("PATCH", f"/posts?id=in.({POSTS})", {"content": "new"}),
    "DELETE of a user": asking("DELETE", f"/users/{ADA}"),
    "tags of a post": asking("PATCH", f"/posts/{SECOND}", {"tags": ["x", "z", "fresh"]}),
    "role of a user": asking("PATCH", f"/users/{ADA}", {"role": "admin"}),
    "restore of a post": asking("POST", f"/posts/{REMOVED}/restore"),
    "restore of a user": asking("POST", f"/users/{CARL}/restore"),
    "DELETE of a tag": asking("DELETE", f"/tags/{X}"),
    "upsert of posts": upsert,
    "POST of a post": asking("POST", "/posts?select=title", {"title": "made", "user_id": ADA, "tags": ["x", "fresh"]}),
}
REFUSALS = frozenset(["BRD404", "BRD409", "BRD604", "BRD605", "23503", "23505"])


# ---- what stands there ----------------------------------------------------------------------------------------------

QUERIES = {
    "users": "SELECT username, role, balance, version, deleted_at IS NOT NULL FROM users ORDER BY username",
    "posts": "SELECT p.title, p.content, p.version, p.deleted_at IS NOT NULL, p.deleted_at = u.deleted_at"
    " FROM posts p JOIN users u ON u.id = p.user_id ORDER BY p.title",
    "tags": "SELECT name, version FROM tags ORDER BY name",
    "links": "SELECT p.title, t.name FROM post_tags l JOIN posts p ON p.id = l.post_id JOIN tags t ON t.id = l.tag_id"
    " ORDER BY p.title, t.name",
    "transfers": "SELECT from_user_id, to_user_id, amount FROM transfers ORDER BY from_user_id, amount",
}
HISTORY = (
    "SELECT r.table_name, r.row_id, r.version FROM revisions r ORDER BY r.id",
    "SELECT 'users', id, version FROM users",
    "SELECT 'posts', id, version FROM posts",
)
Found = Mapping[str, tuple[Any, ...]]


class Ground:
    """The database seen from outside, for a thread that has no loop of its own."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.engine = create_async_engine(engines.parse(url), isolation_level="AUTOCOMMIT")
        self.connection: AsyncConnection = self.runner.run(self._connect())
        self.driver: Any = self.runner.run(self.connection.get_raw_connection()).driver_connection

    async def _connect(self) -> AsyncConnection:
        connection = await self.engine.connect()
        if connection.dialect.name == "sqlite":
            await connection.exec_driver_sql("PRAGMA synchronous=off")
        return connection

    def close(self) -> None:
        self.runner.run(self.connection.close())
        self.runner.run(self.engine.dispose())
        self.runner.close()

    def reset(self) -> None:
        self.runner.run(self._reset())

    async def _reset(self) -> None:
        models: list[type[Base]] = [Transfer, *reversed(ROWS)]
        await self.connection.exec_driver_sql("BEGIN")
        for model in models:
            await self.connection.execute(delete(_table(model)))
        for model, rows in ROWS.items():
            await self.connection.execute(insert(_table(model)), rows)
        await self.connection.exec_driver_sql("COMMIT")

    def waiting(self) -> int:
        """How many wait for a lock, on PostgreSQL."""
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return int(self.runner.run(self.driver.fetchval(sql)))

    def found(self) -> Found:
        return {name: self._rows(sql) for name, sql in QUERIES.items()}

    def _rows(self, sql: str) -> tuple[Any, ...]:
        async def fetch() -> tuple[Any, ...]:
            return tuple(tuple(row) for row in await self.connection.execute(text(sql)))

        return self.runner.run(fetch())

    def check(self, when: str, figures: Figures) -> None:
        """The sum of all balances, and that each version of a row has its one revision."""
        (total,) = self._rows("SELECT sum(balance) FROM users")
        figures.expect(int(total[0]) == 2 * BALANCE, f"{when}: {total[0]} credits")
        written, *rows = (self._rows(sql) for sql in HISTORY)
        revisions = Counter((table, str(row), version) for table, row, version in written)
        wanted = Counter((table, str(row), n + 1) for found in rows for table, row, last in found for n in range(last))
        figures.expect(
            revisions == wanted, f"{when}: {revisions - wanted} too many revisions, {wanted - revisions} missing"
        )


def _table(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table
