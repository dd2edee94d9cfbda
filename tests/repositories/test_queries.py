"""The named queries: what they answer to whom, and in how many statements."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy.exc import InvalidRequestError

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, user
from app.errors import BadValue, Forbidden
from app.models import Credentials, PostStatus, User
from app.repositories import Posts, Tags, Transfers, Users
from tests.conftest import Clock, Statements
from tests.factories import make_post, make_tag, make_transfer, make_user


@dataclass(frozen=True)
class World:
    ada: int
    bob: int
    posts: dict[str, int]


@pytest.fixture
async def world(database: Database, clock: Clock) -> World:
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, role="author", username="ada", email="ada@example.org", full_name="Ädä 100%")
        bob = await make_user(session, role="author", username="bob", email="bob@example.org", full_name=None)
        posts = {
            "new": await make_post(session, ada, title="new", tags=("python", "async")),
            "old": await make_post(
                session, ada, title="old", tags=("python",), published_at=clock.now - timedelta(days=9)
            ),
            "draft": await make_post(session, ada, title="draft", tags=("python", "secret"), status=PostStatus.DRAFT),
            "bobs": await make_post(session, bob, title="bobs", published_at=clock.now - timedelta(days=1)),
        }
        await make_tag(session, "unused")
        await Users(session).change(bob, is_active=False)
    return World(ada.id, bob.id, {name: post.id for name, post in posts.items()})


# ---- posts ----


async def test_recent_posts_with_author_and_tags(database: Database, world: World, statements: Statements) -> None:
    async with database.reading(ANONYMOUS) as session:
        posts = await Posts(session).recent()
        assert statements.count == 2  # posts joined with authors; tags
        assert [post.title for post in posts] == ["new", "bobs", "old"]
        assert [post.author.username for post in posts] == ["ada", "bob", "ada"]
        assert sorted(tag.name for tag in posts[0].tags) == ["async", "python"]
        assert [post.title for post in await Posts(session).recent(limit=1)] == ["new"]
    async with database.reading(user(world.ada, "author")) as session:
        assert [post.title for post in await Posts(session).recent()] == ["new", "bobs", "old"]


async def test_one_post_with_author_and_tags(database: Database, world: World, statements: Statements) -> None:
    async with database.reading(user(world.ada, "author")) as session:
        post = await Posts(session).with_author_and_tags(world.posts["draft"])
        assert statements.count == 2  # the post joined with its author; tags
        assert (post.author.id, len(post.tags)) == (world.ada, 2)


async def test_posts_by_tag(database: Database, world: World, statements: Statements) -> None:
    async with database.reading(ANONYMOUS) as session:
        assert [post.title for post in await Posts(session).by_tag(" python ")] == ["old", "new"]
        assert statements.count == 2
        assert await Posts(session).by_tag("secret") == []
        with pytest.raises(BadValue):
            await Posts(session).by_tag(" ")
    async with database.reading(user(world.ada, "author")) as session:
        assert [post.title for post in await Posts(session).by_tag("secret")] == ["draft"]


async def test_posts_of_active_authors_are_the_admins_question(
    database: Database, world: World, statements: Statements
) -> None:
    async with database.reading(SERVICE) as session:
        posts = await Posts(session).by_active_authors()
        assert statements.count == 1  # the authors come in the join
        assert [(post.title, post.author.username) for post in posts] == [
            ("draft", "ada"),
            ("old", "ada"),
            ("new", "ada"),
        ]
    for who in (ANONYMOUS, user(world.ada), user(world.ada, "author")):
        async with database.reading(who) as session:
            with pytest.raises(Forbidden, match="is_active"):
                await Posts(session).by_active_authors()


async def test_summaries_leave_the_content(database: Database, world: World, statements: Statements) -> None:
    async with database.reading(ANONYMOUS) as session:
        (first, *_) = await Posts(session).summaries()
        assert statements.count == 1
        assert "content" not in statements.texts[0]
        assert (first.title, first.user_id, first.version) == ("bobs", world.bob, 1)
        with pytest.raises(InvalidRequestError, match="raiseload"):
            _ = first.content
        assert statements.count == 1


async def test_publish(database: Database, world: World, clock: Clock) -> None:
    clock.advance(60)
    async with database.writing(user(world.ada, "author")) as session:
        post = await Posts(session).publish(await Posts(session).require(world.posts["draft"]))
        assert (post.status, post.published_at, post.version) == (PostStatus.PUBLISHED, clock.now, 2)
    async with database.reading(ANONYMOUS) as session:
        assert (await Posts(session).find(world.posts["draft"])) is not None


async def test_set_tags(database: Database, world: World, statements: Statements) -> None:
    async with database.writing(user(world.ada, "author")) as session:
        posts = Posts(session)
        post = await posts.require(world.posts["new"])
        statements.clear()
        await posts.set_tags(post, ["python", "  brand  new ", "python"])
        # names found, made, found; tags; the post with its tags (2); UPDATE, links out, links in, revision
        assert statements.count == 10
        assert sorted(tag.name for tag in post.tags) == ["brand new", "python"]
        assert post.version == 2
        await posts.set_tags(post, ["brand new", "python"])
        assert post.version == 2
        await posts.set_tags(post, [])
        assert (post.tags, post.version) == ([], 3)
    with pytest.raises(Forbidden):
        async with database.writing(user(world.bob, "author")) as session:
            await Posts(session).set_tags(await Posts(session).require(world.posts["new"]), ["mine"])


# ---- users ----


async def test_users_by_name(database: Database, world: World) -> None:
    async with database.reading(ANONYMOUS) as session:
        users = Users(session)
        found = await users.by_username(" ADA ")
        assert found is not None
        assert (found.id, found.email) == (world.ada, None)
        assert await users.by_username("nobody") is None
        assert await users.by_email("ada@example.org") is None
    async with database.reading(user(world.ada)) as session:
        assert await Users(session).by_email("ADA@example.org") is not None
        assert await Users(session).by_email("bob@example.org") is None
    async with database.reading(SERVICE) as session:
        assert await Users(session).by_email("bob@example.org") is not None


async def test_search(database: Database, world: World) -> None:
    async def names(session_of: object, text: str) -> list[str]:
        async with database.reading(session_of) as session:  # type: ignore[arg-type]  # each is a Principal
            return [found.username for found in await Users(session).search(text)]

    assert await names(ANONYMOUS, "AD") == ["ada"]
    assert await names(ANONYMOUS, "100%") == ["ada"]
    assert await names(ANONYMOUS, "äDÄ") == ["ada"]
    assert await names(ANONYMOUS, "%") == ["ada"]
    assert await names(ANONYMOUS, "_") == []
    # addresses answer for oneself and for admins
    assert await names(ANONYMOUS, "example.org") == []
    assert await names(user(world.bob), "example.org") == ["bob"]
    assert await names(SERVICE, "Example.ORG") == ["ada", "bob"]


async def test_users_with_posts(database: Database, world: World, statements: Statements) -> None:
    async with database.reading(ANONYMOUS) as session:
        ada, bob = await Users(session).with_posts()
        assert statements.count == 3  # users, posts, tags
        assert sorted(post.title for post in ada.posts) == ["new", "old"]
        assert [tag.name for post in bob.posts for tag in post.tags] == []
        assert [found.username for found in await Users(session).recent()] == ["bob", "ada"]


async def test_users_with_post_counts(database: Database, world: World, statements: Statements) -> None:
    expected = {ANONYMOUS: [("ada", 2), ("bob", 1)], user(world.ada, "author"): [("ada", 3), ("bob", 1)]}
    for who, counts in expected.items():
        async with database.reading(who) as session:
            statements.clear()
            rows = await Users(session).with_post_counts()
            assert statements.count == 1
            assert [(found.username, number) for found, number in rows] == counts
            assert all(found.email is None for found, _ in rows if found.id != who.user_id)


async def test_users_with_credentials(database: Database, world: World, statements: Statements) -> None:
    async with database.writing(SYSTEM) as session:
        session.add(Credentials(user_id=world.ada, hashed_password="h", changed_at=session.unit.now))
    async with database.reading(SYSTEM) as session:
        statements.clear()
        for name in ("ada", "Ada@Example.org"):
            found = await Users(session).with_credentials(name)
            assert found is not None
            assert found.credentials is not None
        assert statements.count == 2  # one each
        assert await Users(session).with_credentials("nobody") is None
    async with database.reading(SERVICE) as session:
        with pytest.raises(Forbidden):
            await Users(session).with_credentials("ada")


# ---- tags, transfers ----


async def test_popular_tags_count_visible_posts(database: Database, world: World, statements: Statements) -> None:
    async with database.reading(ANONYMOUS) as session:
        assert await Tags(session).popular() == [("python", 2), ("async", 1)]
        assert statements.count == 1
        assert await Tags(session).popular(limit=1) == [("python", 2)]
    async with database.reading(user(world.ada, "author")) as session:
        assert await Tags(session).popular() == [("python", 3), ("async", 1), ("secret", 1)]


async def test_find_or_add(database: Database, world: World) -> None:
    async with database.writing(user(world.ada, "author")) as session:
        tags = await Tags(session).find_or_add(["python", " x  y "])
        assert [tag.name for tag in tags] == ["python", "x y"]
        assert await Tags(session).find_or_add([]) == []
    async with database.writing(user(world.ada)) as session:
        assert [tag.name for tag in await Tags(session).find_or_add(["python"])] == ["python"]
        with pytest.raises(Forbidden):
            await Tags(session).find_or_add(["another"])


async def test_transfers_of_a_user(database: Database, world: World, statements: Statements) -> None:
    async with database.writing(SYSTEM) as session:
        ada, bob = await session.get_one(User, world.ada), await session.get_one(User, world.bob)
        await make_transfer(session, None, bob, 5)
        await make_transfer(session, bob, ada, 2)
    async with database.reading(user(world.ada)) as session:
        statements.clear()
        (row,) = await Transfers(session).of_user(world.bob)
        assert statements.count == 1
        assert row.sender is not None
        assert (row.amount, row.sender.username, row.receiver.username) == (2, "bob", "ada")
    async with database.reading(user(world.bob)) as session:
        rows = await Transfers(session).of_user(world.bob)
        assert [(found.amount, found.sender and found.sender.username) for found in rows] == [(2, "bob"), (5, None)]
    async with database.reading(ANONYMOUS) as session:
        assert await Transfers(session).of_user(world.bob) == []
