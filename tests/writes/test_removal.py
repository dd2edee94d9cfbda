"""Soft delete, restore and purge, with what goes along."""

from __future__ import annotations

import pytest

from app.data.database import Database
from app.data.rules import SERVICE, SYSTEM, user
from app.errors import BroadsheetError, Conflict, Forbidden, NotFound
from app.models import User
from app.query import removal
from tests.conftest import Clock, Statements
from tests.factories import make_transfer, make_user
from tests.writes.support import an_author, insert, purge, read, remove, resource, restore, revisions, update


async def test_removed_post_is_absent_and_has_its_revision(database: Database, clock: Clock) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One", "status": "published"})
    clock.advance(5)
    (before,) = await remove(database, author, "posts", post["id"])
    assert before["deleted_at"] is None
    assert await read(database, "posts?select=id") == []
    last = (await revisions(database, "posts", post["id"]))[-1]
    assert (last["operation"], last["version"]) == ("delete", 2)
    assert last["changes"] == {"deleted_at": [None, "2026-01-01T12:00:05+00:00"]}
    with pytest.raises(NotFound):
        await remove(database, author, "posts", post["id"])


async def test_slug_of_a_removed_post_is_free(database: Database) -> None:
    author = await an_author(database)
    (first,) = await insert(database, author, "posts", {"title": "One", "slug": "one"})
    await remove(database, author, "posts", first["id"])
    await insert(database, author, "posts", {"title": "Again", "slug": "one"})
    with pytest.raises(Conflict) as refusal:
        await restore(database, SERVICE, "posts", first["id"])
    assert refusal.value.code == "23505"


async def test_removing_a_user_takes_the_posts_along_and_restore_brings_back_those(
    database: Database, clock: Clock
) -> None:
    author = await an_author(database)
    assert author.user_id is not None
    gone, kept = await insert(database, author, "posts", {"title": "Gone before"}, {"title": "Along"})
    await remove(database, author, "posts", gone["id"])
    clock.advance(60)
    await remove(database, SERVICE, "users", author.user_id)
    assert await read(database, "posts?select=id") == []
    assert [r["operation"] for r in await revisions(database, "posts", kept["id"])] == ["insert", "delete"]
    clock.advance(60)
    await restore(database, SERVICE, "users", author.user_id)
    assert await read(database, "posts?select=id,version") == [{"id": kept["id"], "version": 3}]
    assert [r["operation"] for r in await revisions(database, "users", author.user_id)] == [
        "insert",
        "delete",
        "restore",
    ]


async def test_user_with_a_balance_stays(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        rich = (await make_user(session, balance=5)).id
    with pytest.raises(Conflict) as refusal:
        await remove(database, SERVICE, "users", rich)
    assert refusal.value.status == 409
    assert await read(database, "users?select=id") == [{"id": rich}]


async def test_removing_a_tag_is_a_change_of_its_posts(database: Database) -> None:
    author = await an_author(database)
    (post, other) = await insert(
        database, author, "posts", {"title": "One", "tags": ["a", "b"]}, {"title": "Two", "tags": ["b"]}
    )
    tag = (await read(database, "tags?select=id&name=eq.a"))[0]["id"]
    await remove(database, SERVICE, "tags", tag)
    assert await read(database, "tags?select=name") == [{"name": "b"}]
    assert (await read(database, f"posts?select=version,tags(name)&id=eq.{post['id']}")) == [
        {"version": 2, "tags": [{"name": "b"}]}
    ]
    assert (await revisions(database, "posts", post["id"]))[-1]["changes"] == {"tags": [["a", "b"], ["b"]]}
    assert len(await revisions(database, "posts", other["id"])) == 1


async def test_only_those_who_may_remove(database: Database) -> None:
    author = await an_author(database)
    assert author.user_id is not None
    (post,) = await insert(database, author, "posts", {"title": "One", "status": "published", "tags": ["a"]})
    other = await an_author(database, "eve")
    for who, table, key in (
        (other, "posts", post["id"]),
        (user(other.user_id or 0), "posts", post["id"]),
        (author, "tags", (await read(database, "tags?select=id"))[0]["id"]),
        (author, "users", author.user_id),
    ):
        with pytest.raises(Forbidden):
            await remove(database, who, table, key)
    for action in (restore, purge):
        with pytest.raises(BroadsheetError):
            await action(database, other, "posts", post["id"])


async def test_author_restores_the_own_post(database: Database) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One"})
    await remove(database, author, "posts", post["id"])
    (back,) = await restore(database, author, "posts", post["id"])
    assert (back["deleted_at"], back["version"]) == (None, 3)


async def test_present_rows_are_not_restored(database: Database, statements: Statements) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One"})
    statements.clear()
    assert await restore(database, author, "posts", post["id"]) == [post]
    assert statements.count == (1 if database.name == "sqlite" else 2)  # the row; on PostgreSQL its author before it
    assert len(await revisions(database, "posts", post["id"])) == 1


async def test_post_of_a_removed_author_stays_removed(database: Database) -> None:
    author = await an_author(database)
    assert author.user_id is not None
    (post,) = await insert(database, author, "posts", {"title": "One"})
    await remove(database, author, "posts", post["id"])
    await remove(database, SERVICE, "users", author.user_id)
    with pytest.raises(Conflict) as refusal:
        await restore(database, SERVICE, "posts", post["id"])
    assert refusal.value.code == "23503"
    assert await read(database, "posts?select=id") == []


async def test_purge_removes_posts_before_the_user(database: Database) -> None:
    author = await an_author(database)
    assert author.user_id is not None
    (post,) = await insert(database, author, "posts", {"title": "One", "tags": ["a"]})
    await remove(database, SERVICE, "users", author.user_id)
    await purge(database, SERVICE, "users", author.user_id)
    assert await read(database, "users?select=id") == []
    last = (await revisions(database, "posts", post["id"]))[-1]
    assert (last["operation"], last["changes"]["title"]) == ("purge", ["One", None])
    assert await read(database, "post_tags?select=post_id") == []


async def test_purged_user_with_transfers_is_anonymised(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        ada, bob = await make_user(session, full_name="Ada"), await make_user(session)
        key = ada.id
        await make_transfer(session, ada, bob)
    await purge(database, SERVICE, "users", key)
    assert await read(database, f"users?select=id&id=eq.{key}") == []
    async with database.reading(SYSTEM) as session:
        kept = await session.get(User, key, execution_options={"include_deleted": True})
        assert kept is not None
        assert (kept.username, kept.email) == (f"purged-{key}", f"{key}@purged.invalid")
        assert (kept.full_name, kept.is_active) == (None, False)
    assert len(await read(database, "transfers?select=id")) == 1
    last = (await revisions(database, "users", key))[-1]
    assert "Ada" not in str(last)
    assert (last["changes"]["username"], last["changes"]["full_name"]) == ([None, f"purged-{key}"], [None, None])


async def test_removing_takes_a_constant_number_of_statements(database: Database, statements: Statements) -> None:
    author = await an_author(database)
    rows = await insert(database, author, "posts", *({"title": f"Post {i}"} for i in range(20)))
    statements.clear()
    removed = await remove(database, author, "posts", *(row["id"] for row in rows))
    assert len(removed) == 20
    assert statements.count == 3  # lock, stamp, revisions


async def test_stale_remove_is_refused(database: Database) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One"})
    await update(database, author, "posts", [post["id"]], {"title": "Two"})
    with pytest.raises(BroadsheetError) as refusal:
        async with database.writing(author) as session:
            await removal.remove(session, resource("posts"), [post["id"]], expect=1)
    assert refusal.value.code == "BRD412"
