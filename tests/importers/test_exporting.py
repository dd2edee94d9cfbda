"""What an export holds, what it leaves out, that it shows one moment, and that an import makes the same of it."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, select

from app.data.audit import Revision
from app.data.database import Database
from app.data.rules import SYSTEM
from app.importers import exporting, jsonl
from app.importers.exporting import export
from app.importers.loader import load
from app.importers.report import Report
from app.models import Credentials, Post, PostStatus, Tag, User, UserRole
from app.query import writer
from app.query.removal import remove
from app.resources import CATALOG
from tests.conftest import EPOCH, Clock, Statements
from tests.factories import make_post, make_tag, make_user

LATER = datetime(2026, 6, 1, 8, 30, 0, 123456, UTC)


async def exported(database: Database, **options: Any) -> bytes:
    out = io.BytesIO()
    await export(database, out.write, **options)
    return out.getvalue()


def parsed(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.splitlines()]


async def imported(database: Database, content: bytes, *, admins: bool = True, **options: Any) -> Report:
    return await load(database, jsonl.read_stream(io.BytesIO(content), "test", admins=admins), **options)


async def empty(database: Database) -> None:
    """Removes all rows but the revisions."""
    async with database.writer.begin() as connection:
        for table in ("post_tags", "posts", "tags", "credentials", "users"):
            await connection.exec_driver_sql(f"DELETE FROM {table}")


async def fill(database: Database, clock: Clock) -> None:
    """Users, tags and posts in every state that a row may be in."""
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, username="ada", role="admin", email=None, full_name='Ada "=1+1" Łovelace')
        bob = await make_user(session, username="bob", is_active=False, banned_until=LATER, balance=70)
        await make_tag(session, "zebra")
        await make_post(
            session,
            ada,
            title="One",
            slug="one",
            tags=("news", "Äpfel", "apple", "zebra"),
            content="\ufeffa\r\nb\0"[:-1],
        )
        await make_post(session, bob, title="Two", slug="two", status=PostStatus.DRAFT)
        await make_post(session, bob, title="Three", slug="three", published_at=LATER)
        four = await make_post(session, ada, title="Four", slug="four")
        hash_ = {"user_id": ada.id, "hashed_password": "$argon2id$canary", "changed_at": EPOCH}
        await (await session.connection()).execute(insert(Credentials.__table__), [hash_])  # type: ignore[arg-type]
    clock.advance(60)
    async with database.writing(SYSTEM) as session:
        await writer.update(session, CATALOG.of(Post), [four.id], {"status": PostStatus.ARCHIVED})


# ---- what it holds --------------------------------------------------------------------------------------------------


async def test_export_holds_users_tags_and_posts(database: Database, clock: Clock) -> None:
    await fill(database, clock)
    first, *rest = parsed(await exported(database))
    assert first == {"broadsheet": 1, "exported_at": "2026-01-01T12:01:00Z", "users": 2, "tags": 4, "posts": 4}
    users = [line["user"] for line in rest if "user" in line]
    made = {"created_at": "2026-01-01T12:00:00Z", "updated_at": "2026-01-01T12:00:00Z"}
    assert users[0] == {
        "username": "ada",
        "full_name": 'Ada "=1+1" Łovelace',
        "email": None,
        "role": "admin",
        "is_active": True,
        "banned_until": None,
        **made,
    }
    assert (users[1]["is_active"], users[1]["banned_until"]) == (False, "2026-06-01T08:30:00.123456Z")
    assert {line["tag"]["name"] for line in rest if "tag" in line} == {"zebra", "news", "Äpfel", "apple"}
    posts = {line["post"]["slug"]: line["post"] for line in rest if "post" in line}
    assert posts["one"] == {
        "slug": "one",
        "title": "One",
        "content": "\ufeffa\r\nb",
        "status": "published",
        "published_at": "2026-01-01T12:00:00Z",
        "author": "ada",
        "tags": ["apple", "news", "zebra", "Äpfel"],
        **made,
    }
    assert (posts["two"]["status"], posts["two"]["published_at"], posts["two"]["author"]) == ("draft", None, "bob")
    assert posts["three"]["published_at"] == "2026-06-01T08:30:00.123456Z"
    assert (posts["four"]["status"], posts["four"]["updated_at"]) == ("archived", "2026-01-01T12:01:00Z")


async def test_export_holds_no_secrets_and_no_balances(database: Database, clock: Clock) -> None:
    await fill(database, clock)
    content = await exported(database)
    for word in (b"argon2", b"password", b"balance", b'"id"', b'"uid"', b"version", b"metadata"):
        assert word not in content


async def test_deleted_rows_are_left_out(database: Database, clock: Clock) -> None:
    await fill(database, clock)
    async with database.writing(SYSTEM) as session:
        post = await session.scalar(select(Post.id).where(Post.slug == "two"))
        await remove(session, CATALOG.of(Post), [post])
    first, *rest = parsed(await exported(database))
    assert first["posts"] == 3
    assert "two" not in {line["post"]["slug"] for line in rest if "post" in line}


async def test_posts_of_a_deleted_author_go_to_the_owner_of_imported_posts(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, username="ada", email="ada@example.org", full_name="Canary", deleted_at=EPOCH)
        await make_post(session, ada, slug="left")
    content = await exported(database)
    assert b"Canary" not in content
    assert b"ada@" not in content
    first, user, line = parsed(content)
    assert first["users"] == 1
    assert (user["user"]["username"], user["user"]["is_active"]) == ("imported", False)
    assert line["post"]["author"] == "imported"
    await empty(database)
    assert (await imported(database, content)).problems == []
    assert await exported(database) == content


async def test_empty_database_is_a_first_line(database: Database) -> None:
    content = await exported(database)
    assert parsed(content) == [
        {"broadsheet": 1, "exported_at": "2026-01-01T12:00:00Z", "users": 0, "tags": 0, "posts": 0}
    ]
    assert (await imported(database, content)).plain()["problems"] == []


# ---- and back -------------------------------------------------------------------------------------------------------


async def test_export_of_an_import_is_the_same(database: Database, clock: Clock) -> None:
    await fill(database, clock)
    content = await exported(database)
    await empty(database)
    report = await imported(database, content, batch=3)
    assert (report.created, report.problems, len(report.users_made), len(report.tags_made)) == (4, [], 2, 4)
    assert await exported(database) == content


async def test_second_import_changes_nothing(database: Database, clock: Clock) -> None:
    await fill(database, clock)
    content = await exported(database)
    report = await imported(database, content, update=True)
    assert (report.created, report.unchanged, report.updated, report.problems) == (0, 4, 0, [])
    assert await exported(database) == content


async def test_imported_users_and_tags_keep_their_times_and_have_a_revision(database: Database, clock: Clock) -> None:
    await fill(database, clock)
    content = await exported(database)
    await empty(database)
    clock.advance(3600)
    await imported(database, content)
    async with database.reading(SYSTEM) as session:
        user = (await session.scalars(select(User).where(User.username == "ada"))).one()
        tag = (await session.scalars(select(Tag).where(Tag.name == "zebra"))).one()
        written = await session.scalar(select(Revision.operation).order_by(Revision.id.desc()).limit(1))
    assert (user.role, user.created_at, tag.created_at) == (UserRole.ADMIN, EPOCH, EPOCH)
    assert written == "insert"


async def test_dry_run_of_an_import_counts_and_writes_nothing(database: Database, clock: Clock) -> None:
    await fill(database, clock)
    content = await exported(database)
    await empty(database)
    report = await imported(database, content, dry_run=True)
    assert (report.created, len(report.users_made), len(report.tags_made)) == (4, 2, 4)
    assert parsed(await exported(database))[0]["posts"] == 0


async def test_update_changes_posts_that_differ(database: Database, clock: Clock) -> None:
    await fill(database, clock)
    content = (await exported(database)).replace(b'"title":"Two"', b'"title":"Second"')
    assert (await imported(database, content)).exists == 1
    assert (await imported(database, content, update=True)).updated == 1
    titles = [line["post"]["title"] for line in parsed(await exported(database)) if "post" in line]
    assert titles == ["One", "Second", "Three", "Four"]


# ---- how it is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 3])
async def test_batches_make_no_difference(database: Database, clock: Clock, batch: int) -> None:
    await fill(database, clock)
    assert await exported(database, batch=batch) == await exported(database)


async def test_long_posts_are_read_a_few_at_a_time(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database, clock)
    content = await exported(database)
    monkeypatch.setattr(exporting, "BATCH_LENGTH", 10)  # any two have more
    done: list[int] = []
    assert await exported(database, progress=lambda extent: done.append(extent.done)) == content
    assert done[-4:] == [1, 2, 3, 4]


async def test_export_costs_the_same_statements_whatever_its_size(database: Database, statements: Statements) -> None:
    async def cost(posts: int) -> int:
        async with database.writing(SYSTEM) as session:
            ada = await make_user(session)
            for _ in range(posts):
                await make_post(session, ada, tags=("news",))
        statements.clear()
        await exported(database)
        return statements.count

    assert await cost(1) == await cost(30)


async def test_export_shows_one_moment(database: Database, clock: Clock) -> None:
    """What is committed after its first line is written does not show, however late the rows are read."""
    await fill(database, clock)
    content = await exported(database)
    loop = asyncio.get_running_loop()
    parts: list[bytes] = []

    async def change() -> None:
        async with database.writing(SYSTEM) as session:
            ids = list(await session.scalars(select(Post.id).order_by(Post.id)))
            await writer.update(session, CATALOG.of(Post), ids, {"title": "Changed"})
            await make_post(session, await make_user(session, username="zoe"), tags=("late",))
            await remove(session, CATALOG.of(Post), ids[-1:])

    def write(part: bytes) -> None:
        parts.append(part)
        if len(parts) == 1:
            asyncio.run_coroutine_threadsafe(change(), loop).result(10)

    await export(database, write, batch=1)
    assert b"".join(parts) == content
    assert b"Changed" in await exported(database)
