"""AppSession: what a flush refuses, completes and records."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import load_only, selectinload
from sqlalchemy.orm.exc import StaleDataError

from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.errors import Internal, Unavailable
from app.models import Post, Revision, Tag, User, UserRole
from tests.conftest import Clock, Statements
from tests.factories import author_with_post, make_post, make_tag, make_user


async def revisions(session: AppSession, table: str = "posts") -> list[Revision]:
    query = select(Revision).where(Revision.table_name == table).order_by(Revision.id)
    return list(await session.scalars(query))


# ---- stamps and revisions ----


async def test_an_insert_is_completed_and_recorded(database: Database, clock: Clock) -> None:
    who, _ = await author_with_post(database)
    clock.advance(60)
    async with database.writing(who, request_id="r-1") as session:
        post = Post(title="  Hello   World ", content="x")
        session.add(post)
        await session.flush()
        assert (post.title, post.slug, post.user_id, post.version) == ("Hello World", "hello-world", who.user_id, 1)
        assert (post.created_at, post.updated_at) == (clock.now, clock.now)
        assert (post.created_by, post.updated_by) == (who.user_id, who.user_id)
    async with database.reading(SYSTEM) as session:
        row = (await revisions(session))[-1]
        assert (row.at, row.actor_id, row.request_id, row.version) == (clock.now, who.user_id, "r-1", 1)
        assert (row.row_id, row.operation) == (str(post.id), "insert")
        assert set(row.changes) == set(Post.__table__.columns.keys())
        assert row.changes["title"] == [None, "Hello World"]
        assert row.changes["created_at"] == [None, "2026-01-01T12:01:00+00:00"]
        assert row.changes["deleted_at"] == [None, None]


async def test_an_update_records_what_changed(database: Database, clock: Clock) -> None:
    who, id = await author_with_post(database, title="Old", content="same")
    clock.advance(5)
    async with database.writing(who) as session:
        post = await session.get_one(Post, id)
        post.title, post.content = " New ", "same"
        await session.flush()
        assert (post.version, post.updated_at, post.updated_by) == (2, clock.now, who.user_id)
        assert post.created_at == clock.now - timedelta(seconds=5)
        row = (await revisions(session))[-1]
        assert (row.version, row.operation, row.changes) == (2, "update", {"title": ["Old", "New"]})


async def test_a_change_of_tags_is_a_change_of_the_post(database: Database, clock: Clock) -> None:
    who, id = await author_with_post(database, tags=("b", "a"))
    async with database.writing(who) as session:
        post = await session.get_one(Post, id, options=[selectinload(Post.tags)])
        post.tags = [post.tags[0], await make_tag(session, "c")]
        await session.flush()
        assert post.version == 2
        post.tags.append(await make_tag(session, "0"))
        await session.flush()
        # the clock stands still: the stamps are the same, the version moves all the same
        assert post.version == 3
        first, second, third = await revisions(session)
        assert first.changes["tags"] == [None, ["a", "b"]]
        kept = post.tags[0].name
        assert second.changes == {"tags": [["a", "b"], sorted([kept, "c"])]}
        assert third.changes == {"tags": [sorted([kept, "c"]), sorted([kept, "c", "0"])]}
    async with database.reading(SYSTEM) as session:
        found = await session.get_one(Post, id, options=[selectinload(Post.tags)])
        assert found.version == 3
        assert {tag.name for tag in found.tags} == {kept, "c", "0"}


async def test_tags_changed_from_the_other_side_count_too(database: Database, clock: Clock) -> None:
    _, id = await author_with_post(database)
    async with database.writing(SYSTEM) as session:
        post = await session.get_one(Post, id, options=[selectinload(Post.tags)])
        session.add(Tag(name="new", posts=[post]))
        await session.flush()
        assert post.version == 2
        assert (await revisions(session))[-1].changes == {"tags": [[], ["new"]]}
    async with database.writing(SYSTEM) as session:
        tag = (await session.scalars(select(Tag).options(selectinload(Tag.posts)))).one()
        other = await make_post(session, await make_user(session, role="author"))
        session.expire(other, ["tags"])
        tag.posts.append(other)
        with pytest.raises(Internal, match="without having been loaded"):
            await session.flush()
        await session.rollback()


async def test_nothing_changed_writes_nothing(database: Database, statements: Statements) -> None:
    who, id = await author_with_post(database, title="Same")
    async with database.writing(who) as session:
        post = await session.get_one(Post, id)
        statements.clear()
        post.title = "  Same "
        await session.flush()
        assert (post.title, post.version, statements.count) == ("Same", 1, 0)
        session.expunge(post)
        part = (await session.scalars(select(Post).options(load_only(Post.id, Post.version)))).one()
        part.title = "Same"
        statements.clear()
        await session.flush()
        assert statements.count == 1  # the read of the old row
        assert part.version == 1


async def test_a_partly_loaded_row_is_read_before_its_change(database: Database, statements: Statements) -> None:
    who, _ = await author_with_post(database, title="Old")
    async with database.writing(who) as session:
        post = (await session.scalars(select(Post).options(load_only(Post.id, Post.version)))).one()
        post.title = "New"
        statements.clear()
        await session.flush()
        assert statements.count == 3  # the old row, the update, the revision
        assert (await revisions(session))[-1].changes == {"title": ["Old", "New"]}
        session.expunge_all()
        blind = (await session.scalars(select(Post).options(load_only(Post.id)))).one()
        blind.title = "Newer"
        with pytest.raises(Internal, match="without its version"):
            await session.flush()
        await session.rollback()


async def test_many_changes_are_recorded_in_one_statement(database: Database, statements: Statements) -> None:
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, role="author")
        statements.clear()
        session.add_all([Post(author=ada, title="One"), Post(author=ada, title="One"), Post(author=ada, title="One")])
        await session.flush()
        # slugs, numbered ones, the posts, one INSERT of revisions; SQLite cannot return several new ids in a known
        # order, PostgreSQL takes its turn for the slugs
        assert statements.count == (2 + 3 + 1 if database.name == "sqlite" else 3 + 1 + 1)
        rows = await revisions(session)
        assert [row.changes["slug"][1] for row in rows] == ["one", "one-2", "one-3"]
        assert [row.id for row in rows] == sorted(row.id for row in rows)


async def test_a_row_may_point_at_one_of_the_same_flush(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        ada = User(username="ada", role=UserRole.AUTHOR)
        post = Post(author=ada, title="First", tags=[Tag(name=" one  tag ")])
        session.add(post)
        await session.flush()
        assert post.user_id == ada.id
        assert post.tags[0].name == "one tag"
        (row,) = await revisions(session)
        assert row.changes["user_id"] == [None, ada.id]
        assert row.changes["tags"] == [None, ["one tag"]]


async def test_rows_that_resolve_reads_do_not_flush_again(database: Database) -> None:
    """The rules ask the database within a flush that a query has begun."""
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, role="author")
        session.add(Post(author=ada, title="Pending"))
        assert list(await session.scalars(select(Post.slug))) == ["pending"]


# ---- versions ----


async def test_a_stale_entity_is_not_written(database: Database) -> None:
    """Both read version 1; the second one to write finds another version and writes nothing."""
    who, id = await author_with_post(database, title="One")
    async with database.reading(who) as session:
        stale = await session.get_one(Post, id)
    async with database.writing(who) as session:
        (await session.get_one(Post, id)).title = "Two"

    async def write() -> None:
        async with database.writing(who) as session:
            session.add(stale)
            stale.title = "Three"

    with pytest.raises(Unavailable) as caught:
        await write()
    assert caught.value.code == "40001"
    assert isinstance(caught.value.__cause__, StaleDataError)
    async with database.reading(SYSTEM) as session:
        found = await session.get_one(Post, id)
        assert (found.title, found.version) == ("Two", 2)
        assert [row.version for row in await revisions(session)] == [1, 2]


async def test_absorbed_rows_are_what_the_entity_holds(database: Database) -> None:
    who, id = await author_with_post(database, tags=("a",))
    async with database.writing(who) as session:
        post = await session.get_one(Post, id, options=[selectinload(Post.tags)])
        row = {name: getattr(post, name) for name in session.catalog.of(Post).columns} | {
            "title": "Else",
            "version": 2,
        }
        session.absorb(session.catalog.of(Post), [row, row | {"id": 999}])
        assert (post.title, post.version) == ("Else", 2)
        assert "tags" not in post.__dict__
        assert not session.dirty
        await session.rollback()
