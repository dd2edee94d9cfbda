"""The write paths of the service, each with rows of its own: how they are made ready, what is asked, and by which
counts one tells whether nothing of it was done, or all of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path as Folder
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.data import engines
from app.data.database import Database
from app.data.rules import SERVICE, SYSTEM
from app.data.session import AppSession
from app.http.app import create_app
from app.importers.loader import load
from app.importers.records import Place, PostRecord, Record, Source, UserRecord
from app.models import User
from app.resources import CATALOG
from app.settings import Settings
from tests.factories import make_post, make_user
from tests.reliability.inside import Answer, Service, by_name, serving

Given = dict[str, Any]
BALANCE, AMOUNT = 100, 10
SOON = 1.0  # seconds in which a second writer gets through
TABLES = "users, posts, tags, post_tags, transfers, revisions, idempotency_keys"


@dataclass(frozen=True, slots=True)
class World:
    """A database and the service on it, in this process."""

    database: Database
    service: Service

    async def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.service.ask(method, path, body, who=SERVICE, headers=headers or {})


@asynccontextmanager
async def opened(url: str, folder: Folder, **options: Any) -> AsyncGenerator[World]:
    """`options` are those of Database."""
    settings = Settings(data_dir=folder)
    async with Database(url, CATALOG, **options) as database:
        app = create_app(settings, authenticate=by_name, database=database)
        async with serving(app) as service:
            yield World(database, service)


@dataclass(frozen=True, slots=True)
class Path:
    """`prepare` makes rows of the number's own and returns what the others need; `act` asks, and returns the answer's
    status and code. `counts` are queries of one number each, of which `before` says what they give when nothing was
    done, and `after`, when all was.
    """

    name: str
    prepare: Callable[[AppSession, str], Awaitable[Given]]
    act: Callable[[World, Given], Awaitable[tuple[int, str]]]
    counts: tuple[str, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    keyed: bool = False


async def made_ready(path: Path, database: Database, names: Iterable[str]) -> list[Given]:
    """What is asked of each name."""
    async with database.writing(SYSTEM) as session:
        return [{"name": name, "key": name, **await path.prepare(session, name)} for name in names]


class Observer:
    """Reads what stands there, by plain SQL past the service."""

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = create_async_engine(engines.parse(url), pool_size=1, max_overflow=0)

    async def state(self, path: Path, given: Given) -> str:
        """`nothing`, `all`, or what is torn."""
        async with self.engine.connect() as connection:
            found = tuple([int(await connection.scalar(text(sql), given) or 0) for sql in path.counts])
        if found == path.before:
            return "nothing"
        return "all" if found == path.after else f"{found}, neither {path.before} nor {path.after}"

    async def lock_everything(self) -> None:
        """Raises DBAPIError unless nobody else holds a lock, within a second."""
        async with self.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                await connection.exec_driver_sql(f"PRAGMA busy_timeout={SOON * 1000:.0f}")
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                await connection.execute(text(f"SET LOCAL lock_timeout = '{SOON}s'"))
                await connection.execute(text(f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE"))
            await connection.rollback()

    async def number(self, sql: str) -> int:
        async with self.engine.connect() as connection:
            return int(await connection.scalar(text(sql)) or 0)


def said(answer: Answer) -> tuple[int, str]:
    code = answer.json["code"] if answer.status >= 400 else ""
    return answer.status, code


# ---- one row --------------------------------------------------------------------------------------------------------

OF_POSTS = "revisions r JOIN posts p ON r.table_name = 'posts' AND r.row_id = CAST(p.id AS varchar)"
REVISIONS = f"SELECT count(*) FROM {OF_POSTS} WHERE p.id = :post"
TAGGED = "SELECT count(*) FROM post_tags t JOIN tags g ON g.id = t.tag_id WHERE t.post_id = :post AND g.name = :name"


async def an_author(session: AppSession, name: str) -> Given:
    return {"user": (await make_user(session, role="author")).id}


async def post_a_post(world: World, given: Given, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    body = {"title": given["name"], "user_id": given["user"], "tags": [given["name"], "common"]}
    return said(await world.ask("POST", "/posts?select=id", body, headers))


CREATED = (
    "SELECT count(*) FROM posts WHERE title = :name",
    f"SELECT count(*) FROM {OF_POSTS} WHERE p.title = :name",
    "SELECT count(*) FROM post_tags t JOIN posts p ON p.id = t.post_id WHERE p.title = :name",
    "SELECT count(*) FROM tags WHERE name = :name",
)
CREATE = Path("POST of a post", an_author, post_a_post, CREATED, (0, 0, 0, 0), (1, 1, 2, 1))


async def a_post(session: AppSession, name: str) -> Given:
    author = await make_user(session, role="author")
    return {"user": author.id, "post": (await make_post(session, author, tags=("common",))).id}


async def patch_the_post(world: World, given: Given) -> tuple[int, str]:
    body = {"title": given["name"], "tags": [given["name"]]}
    return said(await world.ask("PATCH", f"/posts/{given['post']}", body))


TITLED = "SELECT count(*) FROM posts WHERE id = :post AND title = :name"
VERSION = "SELECT version FROM posts WHERE id = :post"
CHANGED = (TITLED, VERSION, REVISIONS, TAGGED)
CHANGE = Path("PATCH of an item", a_post, patch_the_post, CHANGED, (0, 1, 1, 0), (1, 2, 2, 1))


# ---- several rows ---------------------------------------------------------------------------------------------------


async def an_author_with_posts(session: AppSession, name: str) -> Given:
    author = await make_user(session, role="author")
    for _ in range(3):
        await make_post(session, author)
    return {"user": author.id}


async def delete_the_author(world: World, given: Given) -> tuple[int, str]:
    return said(await world.ask("DELETE", f"/users/{given['user']}"))


DELETED = (
    "SELECT count(*) FROM users WHERE id = :user AND deleted_at IS NOT NULL AND version = 2",
    "SELECT count(*) FROM posts WHERE user_id = :user AND deleted_at IS NOT NULL AND version = 2",
    f"SELECT count(*) FROM {OF_POSTS} WHERE p.user_id = :user AND r.operation = 'delete'",
)
CASCADE = Path("DELETE with cascade", an_author_with_posts, delete_the_author, DELETED, (0, 0, 0), (1, 3, 3))


async def two_accounts(session: AppSession, name: str) -> Given:
    accounts: list[User] = [await make_user(session, balance=BALANCE) for _ in range(2)]
    return {"sender": accounts[0].id, "receiver": accounts[1].id}


async def transfer_credits(world: World, given: Given, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    body = {"from_user_id": given["sender"], "to_user_id": given["receiver"], "amount": AMOUNT, "note": given["name"]}
    return said(await world.ask("POST", "/rpc/transfer", body, headers))


MOVED = (
    "SELECT balance FROM users WHERE id = :sender",
    "SELECT balance FROM users WHERE id = :receiver",
    "SELECT count(*) FROM transfers WHERE note = :name",
)
TRANSFER = Path(
    "transfer",
    two_accounts,
    transfer_credits,
    MOVED,
    (BALANCE, BALANCE, 0),
    (BALANCE - AMOUNT, BALANCE + AMOUNT, 1),
)


async def accounts_and_a_post(session: AppSession, name: str) -> Given:
    return await two_accounts(session, name) | await a_post(session, name)


async def send_a_batch(world: World, given: Given, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    post = {"method": "PATCH", "path": f"/posts/{given['post']}", "body": {"title": given["name"]}}
    moved = {"from_user_id": given["sender"], "to_user_id": given["receiver"], "amount": AMOUNT, "note": given["name"]}
    requests = [post, {"method": "POST", "path": "/rpc/transfer", "body": moved}]
    return said(await world.ask("POST", "/batch", requests, headers))


BATCH = Path(
    "POST of a batch",
    accounts_and_a_post,
    send_a_batch,
    (*MOVED, TITLED, VERSION),
    (*TRANSFER.before, 0, 1),
    (*TRANSFER.after, 1, 2),
)


# ---- an import ------------------------------------------------------------------------------------------------------


async def a_known_post(session: AppSession, name: str) -> Given:
    author = await make_user(session, role="author", username=name)
    return {"user": author.id, "post": (await make_post(session, author, slug=name, content="old")).id}


async def import_posts(world: World, given: Given) -> tuple[int, str]:
    """One batch of the loader: one post is changed, two are new."""
    report = await load(world.database, Source("walk", 3, _records(given["name"])), update=True)
    return (200, "") if not report.problems else (409, str(report.problems[0]))


def _records(name: str) -> Iterator[Record]:
    place = Place(name)
    yield UserRecord(name, None, None, True, place)
    for slug in (name, f"{name}-new", f"{name}-newer"):
        times = (None, None, None)
        yield PostRecord(slug, slug, "imported", "draft", *times, name, (name,), (name,), place)


IMPORTED = (
    "SELECT count(*) FROM posts WHERE user_id = :user AND content = 'imported'",
    f"SELECT count(*) FROM {OF_POSTS} WHERE p.user_id = :user",
    "SELECT count(*) FROM post_tags t JOIN posts p ON p.id = t.post_id WHERE p.user_id = :user",
)
IMPORT = Path("import of a batch", a_known_post, import_posts, IMPORTED, (0, 1, 0), (3, 4, 3))


# ---- under a key ----------------------------------------------------------------------------------------------------


def under_a_key(path: Path, act: Callable[..., Awaitable[tuple[int, str]]]) -> Path:
    """With the header Idempotency-Key: nothing is counted unless its row stands, too."""

    async def keyed(world: World, given: Given) -> tuple[int, str]:
        return await act(world, given, {"idempotency-key": given["key"]})

    return replace(path, name=f"{path.name} under a key", act=keyed, keyed=True)


PATHS = {
    path.name: path
    for path in (
        CREATE,
        CHANGE,
        CASCADE,
        TRANSFER,
        BATCH,
        IMPORT,
        under_a_key(CREATE, post_a_post),
        under_a_key(TRANSFER, transfer_credits),
        under_a_key(BATCH, send_a_batch),
    )
}
