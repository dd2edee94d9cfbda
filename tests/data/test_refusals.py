"""AppSession: what a flush refuses, for whom, and that nothing of a refused unit of work stays."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.data.session import AppSession
from app.errors import BadValue, BroadsheetError, Forbidden, Internal
from app.models import Credentials, Post, PostStatus, PostTag, Revision, Tag, Transfer, User, UserRole
from tests.factories import author_with_post, make_tag, make_user


async def refused(database: Database, who: Principal, kind: type[BroadsheetError], work: Any, match: str = ".") -> None:
    async def write() -> None:
        async with database.writing(who) as session:
            await work(session)
            await session.flush()

    with pytest.raises(kind, match=match):
        await write()
    async with database.reading(SYSTEM) as session:
        assert all(row.version == 1 for row in await session.scalars(select(Post)))


async def test_columns_that_a_role_may_not_write(database: Database) -> None:
    who, id = await author_with_post(database)
    assert who.user_id is not None
    me = who.user_id

    async def set_user(session: AppSession) -> None:
        (await session.get_one(Post, id)).user_id = me + 1

    async def set_author(session: AppSession) -> None:
        (await session.get_one(Post, id)).author = await session.get_one(User, me)
        (await session.get_one(Post, id)).created_by = me + 1

    async def give_author(session: AppSession) -> None:
        session.add(Post(title="x", author=await session.get_one(User, me)))

    async def set_role(session: AppSession) -> None:
        (await session.get_one(User, me)).role = UserRole.ADMIN

    async def give_id(session: AppSession) -> None:
        session.add(Post(id=77, title="x"))

    for work in (set_user, set_author, give_author, set_role, give_id):
        await refused(database, who, Forbidden, work, "permission denied for column")


async def test_what_nobody_sets(database: Database) -> None:
    _, id = await author_with_post(database)

    async def set_balance(session: AppSession) -> None:
        (await session.scalars(select(User))).one().balance = 100

    async def give_balance(session: AppSession) -> None:
        await make_user(session)
        session.add(User(username="rich", balance=5))

    async def set_deleted(session: AppSession) -> None:
        (await session.get_one(Post, id)).deleted_at = session.unit.now

    async def set_version(session: AppSession) -> None:
        (await session.get_one(Post, id)).version = 9

    async def set_id(session: AppSession) -> None:
        (await session.get_one(Post, id)).id = 9

    async def transfer(session: AppSession) -> None:
        session.add(Transfer(to_user_id=1, amount=1))

    async def link(session: AppSession) -> None:
        session.add(PostTag(post_id=id, tag_id=(await make_tag(session)).id))

    for work in (set_balance, give_balance, set_deleted, set_version, set_id, transfer, link):
        await refused(database, SYSTEM, Forbidden, work)


async def test_rows_of_others(database: Database) -> None:
    _, id = await author_with_post(database)
    other, _ = await author_with_post(database, tags=("a",))

    async def change(session: AppSession) -> None:
        (await session.get_one(Post, id)).title = "mine"

    async def tag(session: AppSession) -> None:
        post = await session.get_one(Post, id, options=[selectinload(Post.tags)])
        post.tags = list(await session.scalars(select(Tag)))

    async def rename(session: AppSession) -> None:
        (await session.scalars(select(User).where(User.id != other.user_id))).one().full_name = "x"

    for work in (change, tag, rename):
        await refused(database, other, Forbidden, work, "row-level security|permission denied")


@pytest.mark.parametrize("who", [ANONYMOUS, user(5)])
async def test_who_may_not_insert(database: Database, who: Principal) -> None:
    async def add(session: AppSession) -> None:
        session.add(Post(title="x"))

    await refused(database, who, Forbidden, add, "permission denied for table posts")


async def test_bad_values(database: Database) -> None:
    who, id = await author_with_post(database)

    async def slug(session: AppSession) -> None:
        (await session.get_one(Post, id)).slug = "not a slug"

    async def nothing(session: AppSession) -> None:
        (await session.get_one(Post, id)).title = None  # type: ignore[assignment]  # the very mistake

    async def long(session: AppSession) -> None:
        session.add(Post(title="x" * 201))

    for work in (slug, nothing, long):
        await refused(database, who, BadValue, work)


async def test_delete_is_refused(database: Database) -> None:
    who, id = await author_with_post(database)

    async def delete(session: AppSession) -> None:
        await session.delete(await session.get_one(Post, id, options=[selectinload(Post.tags)]))

    await refused(database, SYSTEM, Internal, delete, "refused")
    await refused(database, who, Internal, delete, "refused")


async def test_a_reading_session_does_not_write(database: Database) -> None:
    _, id = await author_with_post(database)
    async with database.reading(SYSTEM) as session:
        (await session.get_one(Post, id)).title = "changed"
        with pytest.raises(BroadsheetError, match="read-only") as caught:
            await session.flush()
        assert caught.value.code == "25006"
    async with database.reading(SYSTEM) as session:
        session.add(User(username="new"))
        with pytest.raises(BroadsheetError, match="read-only"):
            await session.flush()
    async with database.reading(SYSTEM) as session:
        assert (await session.get_one(Post, id)).title != "changed"


async def test_credentials_are_written_by_the_system_or_with_a_new_user(database: Database) -> None:
    def credentials(session: AppSession) -> Credentials:
        return Credentials(hashed_password="h", changed_at=session.unit.now)

    async def with_user(session: AppSession) -> None:
        session.add(User(username="withuser", credentials=credentials(session)))

    async def alone(session: AppSession) -> None:
        row = credentials(session)
        row.user_id = (await session.scalars(select(User.id).order_by(User.id).limit(1))).one()
        session.add(row)

    async with database.writing(SERVICE) as session:
        await with_user(session)
        await session.flush()
        (row,) = await session.scalars(select(Revision).where(Revision.table_name == "users"))
        assert not {"credentials", "password", "hashed_password"} & row.changes.keys()
    await refused(database, SERVICE, Forbidden, alone, "permission denied for table credentials")
    await refused(database, user(1, "author"), BadValue, with_user, "a new user needs a password")


async def test_a_refusal_that_is_swallowed_comes_again(database: Database) -> None:
    """Whoever catches it inside the unit of work does not get the rest committed."""
    who, id = await author_with_post(database)

    async def work(session: AppSession) -> None:
        (await session.get_one(Post, id)).title = "fine"
        await session.flush()
        session.add(Post(title="x", user_id=1))
        with contextlib.suppress(Forbidden):
            await session.flush()

    await refused(database, who, Forbidden, work, "user_id")


async def test_a_refusal_leaves_nothing_behind(database: Database) -> None:
    who, id = await author_with_post(database)

    async def work(session: AppSession) -> None:
        session.add(Post(title="good", status=PostStatus.PUBLISHED))
        await session.flush()
        session.add(Post(title=""))
        (await session.get_one(Post, id)).slug = "bad slug"

    await refused(database, who, BadValue, work)
    async with database.reading(SYSTEM) as session:
        assert len((await session.scalars(select(Post))).all()) == 1
        assert len((await session.scalars(select(Revision).where(Revision.table_name == "posts"))).all()) == 1
