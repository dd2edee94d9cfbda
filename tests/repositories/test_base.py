"""Repository: what it does for every model, shown on posts, users and tags."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.orm import joinedload, selectinload

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.errors import Conflict, Forbidden, Internal, ManyFound, NotFound, Stale, Unavailable
from app.models import Post, PostStatus, Revision, Tag, User, UserRole
from app.repositories import Posts, Repository, Tags, Users
from tests.conftest import Clock, Statements
from tests.factories import make_post, make_tag, make_transfer, make_user


class Revisions(Repository[Revision]):
    model = Revision


async def author(database: Database, posts: int = 0) -> tuple[Principal, list[int]]:
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, role="author")
        ids = [(await make_post(session, ada, title=f"T{n:02}")).id for n in range(posts)]
    return user(ada.id, "author"), ids


async def changes(database: Database, table: str) -> list[tuple[str, str, int | None]]:
    async with database.reading(SYSTEM) as session:
        page = await Revisions(session).page(Revision.table_name == table, limit=1000)
    return [(row.row_id, row.operation, row.version) for row in page.items]


# ---- finding ----


async def test_find_require_one(database: Database, statements: Statements) -> None:
    _, (first, second) = await author(database, 2)
    async with database.reading(ANONYMOUS) as session:
        posts = Posts(session)
        assert await posts.find(10**6) is None
        with pytest.raises(NotFound, match="no row of posts has the id 1000000"):
            await posts.require(10**6)
        statements.clear()
        found = await posts.require(first)
        # the entity is in the session, and still gets what the plan says
        again = await posts.require(first, options=[selectinload(Post.tags), joinedload(Post.author)])
        assert again is found
        assert (again.tags, again.author.id) == ([], found.user_id)
        assert statements.count == 1 + 2  # the post; the post with its author, the tags
        assert (await posts.one(Post.title == "T01")).id == second
        with pytest.raises(NotFound, match="no row of posts matches"):
            await posts.one(Post.title == "nothing")
        with pytest.raises(ManyFound, match="several rows of posts match"):
            await posts.one(Post.id > 0)
        assert await posts.count() == 2
        assert await posts.count(Post.title == "T01") == 1
        assert await posts.exists(Post.title == "T01")
        assert not await posts.exists(Post.title == "nothing")


async def test_conditions_on_masked_and_hidden_columns(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        mia = await make_user(session, email="mia@example.org")
        await make_user(session, email="joe@example.org")
    for who, number in ((ANONYMOUS, 0), (user(mia.id), 1), (SERVICE, 2)):
        async with database.reading(who) as session:
            assert await Users(session).count(User.email.like("%example.org")) == number
            assert await Users(session).exists(User.email == "joe@example.org") == (who is SERVICE)
            if who is not SERVICE:
                with pytest.raises(Forbidden):
                    await Users(session).count(User.is_active.is_(True))
                with pytest.raises(Internal, match="ordered by balance"):
                    await Users(session).page(order=[User.balance])


# ---- pages ----


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_cover_every_row_once(database: Database, clock: Clock, descending: bool) -> None:
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, role="author")
        for number in range(11):
            await make_post(session, ada, title=f"{number % 3}")
    seen: list[tuple[str, int]] = []
    async with database.reading(ANONYMOUS) as session:
        cursor, pages = None, 0
        while True:
            page = await Posts(session).page(after=cursor, limit=4, order=[Post.title], descending=descending)
            seen += [(post.title, post.id) for post in page.items]
            cursor, pages = page.next, pages + 1
            if cursor is None:
                break
    assert (len(seen), pages) == (11, 3)
    assert seen == sorted(seen, reverse=descending)


async def test_pages_by_time_and_of_exactly_one_page(database: Database, clock: Clock) -> None:
    for _ in range(4):
        await author(database, 1)
        clock.advance(0.000001)
    async with database.reading(ANONYMOUS) as session:
        posts = Posts(session)
        first = await posts.page(limit=2, order=[Post.created_at], descending=True)
        second = await posts.page(limit=2, order=[Post.created_at], descending=True, after=first.next)
        times = [post.created_at for post in (*first.items, *second.items)]
        assert times == sorted(times, reverse=True)
        assert len(set(times)) == 4
        assert second.next is None
        with pytest.raises(Internal, match="another order"):
            await posts.page(after=first.next)
        with pytest.raises(Internal, match="ordered by published_at"):
            await posts.page(order=[Post.published_at])
        with pytest.raises(Internal, match="a limit"):
            await posts.page(limit=0)


# ---- writing ----


async def test_add(database: Database, clock: Clock) -> None:
    who, _ = await author(database)
    async with database.writing(who) as session:
        posts = Posts(session)
        given = await posts.add(Post(title="Entity"))
        made = await posts.add(title="Values", content="x")
        tagged = await posts.add(title="Tagged", tags=["b", "a"])
        assert (given.slug, made.slug, tagged.slug) == ("entity", "values", "tagged")
        assert [post.created_at for post in (given, made, tagged)] == [clock.now] * 3
        full = await posts.require(tagged.id, options=[selectinload(Post.tags)])
        assert sorted(tag.name for tag in full.tags) == ["a", "b"]
    with pytest.raises(Forbidden):
        async with database.writing(who) as session:
            await Posts(session).add(title="x", user_id=1)


async def test_add_many(database: Database, statements: Statements) -> None:
    who, _ = await author(database)
    async with database.writing(who) as session:
        statements.clear()
        ids = await Posts(session).add_many({"title": f"Same {n % 2}"} for n in range(50))
        # slugs, numbered ones, the author, an INSERT of posts, one of revisions; on PostgreSQL the last two are one,
        # and there is the turn for the slugs
        assert statements.count == 5
        assert len(set(ids)) == 50
        assert await Posts(session).add_many([]) == []
    assert await changes(database, "posts") == [(str(id), "insert", 1) for id in ids]


async def test_change_and_versions(database: Database) -> None:
    who, (id,) = await author(database, 1)
    async with database.writing(who) as session:
        post = await Posts(session).require(id)
        await Posts(session).change(post, title="New", expect=1)
        assert post.version == 2
        with pytest.raises(Stale, match="version 2"):
            await Posts(session).change(post, title="Newer", expect=1)
        with pytest.raises(Internal, match="no column titel"):
            await Posts(session).change(post, titel="x")
    async with database.reading(who) as session:
        stale = await Posts(session).require(id)
    async with database.writing(who) as session:
        await Posts(session).change(await Posts(session).require(id), title="Third")

    async def write() -> None:
        async with database.writing(who) as session:
            session.add(stale)
            await Posts(session).change(stale, title="Lost")

    with pytest.raises(Unavailable) as caught:
        await write()
    assert caught.value.code == "40001"
    assert await changes(database, "posts") == [
        (str(id), op, v) for op, v in (("insert", 1), ("update", 2), ("update", 3))
    ]


async def test_change_where(database: Database, statements: Statements) -> None:
    who, ids = await author(database, 3)
    _, (foreign,) = await author(database, 1)
    async with database.writing(who) as session:
        held = await Posts(session).require(ids[0], options=[selectinload(Post.tags)])
        statements.clear()
        assert await Posts(session).change_where(Post.title < "T02", Post.user_id == who.user_id, content="all") == 2
        assert statements.count == 4  # ids, locked rows, one text of UPDATE, one of revisions
        assert (held.content, held.version) == ("all", 2)
        assert await Posts(session).change_where(Post.title == "nothing", content="x") == 0
        assert await Posts(session).change_where(Post.id == ids[2], tags=["t"]) == 1
        with pytest.raises(Forbidden):
            await Posts(session).change_where(content="everything, of others too")
        await session.rollback()
    assert await changes(database, "posts") == [(str(id), "insert", 1) for id in (*ids, foreign)]


async def test_remove_and_restore(database: Database, clock: Clock) -> None:
    who, ids = await author(database, 3)
    clock.advance(1)
    async with database.writing(who) as session:
        posts = Posts(session)
        post = await posts.require(ids[0])
        await posts.remove(post)
        assert (post.deleted_at, post.version) == (clock.now, 2)
        assert await posts.find(ids[0]) is None
        assert await posts.remove_where(Post.title == "T01") == 1
        assert await posts.count() == 1
        back = await posts.restore(ids[0])
        assert back is post
        assert (back.deleted_at, back.version) == (None, 3)
        assert await posts.count() == 2
        with pytest.raises(NotFound):
            await posts.restore(10**6)
        with pytest.raises(Forbidden):
            await posts.purge(ids[1])
    assert (await changes(database, "posts"))[3:] == [
        (str(ids[0]), "delete", 2),
        (str(ids[1]), "delete", 2),
        (str(ids[0]), "restore", 3),
    ]


async def test_restore_checks_uniqueness_again(database: Database) -> None:
    who, (id,) = await author(database, 1)
    async with database.writing(who) as session:
        post = await Posts(session).require(id)
        await Posts(session).remove(post)
        await Posts(session).add(title="Another", slug=post.slug)
    with pytest.raises(Conflict) as caught:
        async with database.writing(who) as session:
            await Posts(session).restore(id)
    assert caught.value.code == "23505"


async def test_removing_a_user_takes_posts_along_also_in_the_session(database: Database, clock: Clock) -> None:
    who, ids = await author(database, 2)
    assert who.user_id is not None
    clock.advance(1)
    async with database.writing(SYSTEM) as session:
        held = await Posts(session).require(ids[0])
        ada = await Users(session).require(who.user_id)
        await Users(session).remove(ada)
        assert (held.deleted_at, held.version) == (clock.now, 2)
        assert await Posts(session).count() == 0
        await Users(session).restore(ada.id)
        assert (held.deleted_at, held.version) == (None, 3)
        await Users(session).purge(ada.id)
        assert held not in session
        assert ada not in session
        assert await Users(session).count() == 0


async def test_a_user_with_a_balance_stays(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        rich = await make_user(session, balance=5)
        with pytest.raises(Conflict, match="balance"):
            await Users(session).remove(rich)


async def test_a_purged_user_with_transfers_is_anonymised(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        mia = await make_user(session)
        await make_transfer(session, None, mia)
        await Users(session).purge(mia.id)
        assert mia.username == f"purged-{mia.id}"
        assert mia.deleted_at is not None


async def test_removing_a_tag_changes_its_posts(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, role="author")
        post = await make_post(session, ada, tags=("gone", "kept"))
        await make_tag(session, "unused")
        assert await Tags(session).remove_where(Tag.name == "gone") == 1
        assert post.version == 2
        full = await Posts(session).with_author_and_tags(post.id)
        assert [tag.name for tag in full.tags] == ["kept"]
        assert await Tags(session).count() == 2
        last = (await Revisions(session).page(descending=True, limit=1)).items[0]
        assert last.changes == {"tags": [["gone", "kept"], ["kept"]]}


async def test_changes_of_users_and_their_roles(database: Database) -> None:
    who, _ = await author(database)
    assert who.user_id is not None
    async with database.writing(who) as session:
        me = await Users(session).require(who.user_id)
        await Users(session).change(me, full_name="  Ada   L ")
        assert me.full_name == "Ada L"
        with pytest.raises(Forbidden):
            await Users(session).change(me, role=UserRole.ADMIN)
        await session.rollback()
    async with database.writing(SERVICE) as session:
        me = await Users(session).require(who.user_id)
        await Users(session).change(me, role=UserRole.ADMIN, email="ADA@example.org")
        assert me.email == "ada@example.org"


async def test_scheduled_posts_appear_in_time(database: Database, clock: Clock) -> None:
    who, (id,) = await author(database, 1)
    async with database.writing(who) as session:
        later = clock.now + timedelta(hours=1)
        await Posts(session).change(await Posts(session).require(id), published_at=later, status=PostStatus.PUBLISHED)
    for seconds, seen in ((0, False), (3599, False), (3600, True)):
        clock.advance(seconds if seconds < 3600 else 1)
        async with database.reading(ANONYMOUS) as session:
            assert (await Posts(session).find(id) is not None) == seen
