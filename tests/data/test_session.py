"""AppSession: what each caller sees through the ORM, whichever way the statement is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Select, delete, exists, func, insert, literal, select, text, union, update
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import aliased, contains_eager, joinedload, load_only, selectinload

from app.data.audit import Unit
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.data.session import AppSession
from app.errors import Forbidden, Internal
from app.models import Credentials, Post, PostStatus, PostTag, Revision, Tag, Transfer, User
from app.repositories import Posts
from tests.factories import make_post, make_transfer, make_user

ALL = {"public", "archived", "draft", "scheduled"}


@dataclass(frozen=True)
class World:
    """Ada and Bob are authors; every post is Ada's and is called by its state. Mia is a member."""

    ada: int
    bob: int
    mia: int
    root: int
    posts: dict[str, int]
    tag: int

    def callers(self) -> dict[str, Principal]:
        return {
            "anonymous": ANONYMOUS,
            "member": user(self.mia),
            "author": user(self.ada, "author"),
            "other": user(self.bob, "author"),
            "admin": user(self.root, "admin"),
            "service": SERVICE,
            "system": SYSTEM,
        }


# What each caller sees of Ada's posts; what more when asking for deleted ones.
SEEN: dict[str, set[str]] = {
    "anonymous": {"public"},
    "member": {"public"},
    "author": ALL,
    "other": {"public"},
    "admin": ALL,
    "service": ALL,
    "system": ALL,
}
MAY_SEE_DELETED = {"author", "admin", "service", "system"}
CALLERS = list(SEEN)


@pytest.fixture
async def world(database: Database) -> World:
    async with database.writing(SYSTEM) as session:
        ada, bob = await make_user(session, role="author", balance=7), await make_user(session, role="author")
        mia, root = await make_user(session, balance=3), await make_user(session, role="admin")
        later = session.unit.now + timedelta(days=1)
        states: dict[str, dict[str, Any]] = {
            "public": {},
            "archived": {"status": PostStatus.ARCHIVED},
            "draft": {"status": PostStatus.DRAFT},
            "scheduled": {"published_at": later},
            "deleted": {},
        }
        made = {name: await make_post(session, ada, title=name, tags=("t",), **more) for name, more in states.items()}
        tag = made["public"].tags[0].id
        await Posts(session).remove(made["deleted"])
        await make_transfer(session, mia, ada)
        await make_transfer(session, None, bob)
    return World(ada.id, bob.id, mia.id, root.id, {name: post.id for name, post in made.items()}, tag)


def titles() -> dict[str, Select[Any]]:
    """Ways to ask for the titles of posts."""
    other, inner, table = aliased(Post), select(Post).subquery(), select(Post.title).cte()
    entity = aliased(Post, inner)
    ranked = select(Post.id, func.row_number().over(order_by=Post.id).label("rn")).subquery()
    return {
        "column": select(Post.title),
        "alias": select(other.title),
        "subquery": select(inner.c.title),
        "entity of a subquery": select(entity.title),
        "cte": select(table.c.title),
        "join": select(Post.title).join(Post.author),
        "outer join": select(Post.title).select_from(User).outerjoin(User.posts).where(Post.id.is_not(None)),
        "through tags": select(Post.title).select_from(Tag).join(Tag.posts),
        "through links": select(Post.title).select_from(PostTag).join(PostTag.post),
        "window": select(Post.title).join(ranked, ranked.c.id == Post.id),
        "expression": select(Post.title + literal("")),
        "function": select(func.lower(Post.title)),
        "union": select(union(select(Post.title), select(Post.title)).subquery().c.title),
        "where only": select(inner.c.title).where(select(Post.id).where(Post.id == inner.c.id).exists()),
    }


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("way", list(titles()))
async def test_posts_are_ruled_in_every_statement(database: Database, world: World, caller: str, way: str) -> None:
    async with database.reading(world.callers()[caller]) as session:
        assert set(await session.scalars(titles()[way])) == SEEN[caller]


@pytest.mark.parametrize("caller", CALLERS)
async def test_posts_are_ruled_in_every_load(database: Database, world: World, caller: str) -> None:
    async with database.reading(world.callers()[caller]) as session:
        seen = SEEN[caller]
        ada = await session.get(User, world.ada, options=[selectinload(User.posts).selectinload(Post.tags)])
        assert ada is not None
        assert {post.title for post in ada.posts} == seen
        assert {tag.name for post in ada.posts for tag in post.tags} == {"t"}
        session.expunge_all()
        joined = select(User).where(User.id == world.ada).options(joinedload(User.posts))
        assert {post.title for post in (await session.scalars(joined)).unique().one().posts} == seen
        session.expunge_all()
        contained = select(Tag).join(Tag.posts).options(contains_eager(Tag.posts))
        assert {post.title for post in (await session.scalars(contained)).unique().one().posts} == seen
        assert await session.scalar(select(func.count()).select_from(Post)) == len(seen)
        for name, id in world.posts.items():
            assert ((await session.get(Post, id)) is not None) == (name in seen)
            hits = await session.scalars(select(User.id).where(User.posts.any(Post.title == name)))
            assert list(hits) == ([world.ada] if name in seen else [])
            functional = User.posts.any(func.lower(Post.title) == name)
            assert list(await session.scalars(select(User.id).where(functional))) == (
                [world.ada] if name in seen else []
            )


@pytest.mark.parametrize("caller", CALLERS)
async def test_deleted_rows_come_to_those_who_ask_and_may(database: Database, world: World, caller: str) -> None:
    async with database.reading(world.callers()[caller]) as session:
        query = select(Post.title).execution_options(include_deleted=True)
        more = {"deleted"} if caller in MAY_SEE_DELETED else set()
        assert set(await session.scalars(query)) == SEEN[caller] | more
        found = await session.get(Post, world.posts["deleted"], execution_options={"include_deleted": True})
        assert (found is not None) == bool(more)
        # the session may hold it now; whoever does not ask still must not get it
        assert await session.get(Post, world.posts["deleted"]) is None


@pytest.mark.parametrize("caller", CALLERS)
async def test_link_rows_are_as_visible_as_their_posts(database: Database, world: World, caller: str) -> None:
    async with database.reading(world.callers()[caller]) as session:
        expected = {world.posts[name] for name in SEEN[caller]}
        assert set(await session.scalars(select(PostTag.post_id))) == expected
        assert set(await session.scalars(select(aliased(PostTag).post_id))) == expected
        tag = await session.get(Tag, world.tag, options=[joinedload(Tag.post_tags)])
        assert tag is not None
        assert {link.post_id for link in tag.post_tags} == expected
        used = select(Tag.id).where(Tag.post_tags.any(PostTag.post_id == world.posts["draft"]))
        assert list(await session.scalars(used)) == ([world.tag] if "draft" in SEEN[caller] else [])


@pytest.mark.parametrize(
    ("caller", "number"),
    [("anonymous", 0), ("member", 1), ("author", 1), ("other", 1), ("admin", 2), ("service", 2), ("system", 2)],
)
async def test_transfers_are_their_parties(database: Database, world: World, caller: str, number: int) -> None:
    async with database.reading(world.callers()[caller]) as session:
        assert len((await session.scalars(select(Transfer))).all()) == number
        users = select(User).options(selectinload(User.sent), selectinload(User.received))
        seen = {transfer.id for row in await session.scalars(users) for transfer in (*row.sent, *row.received)}
        assert len(seen) == number


@pytest.mark.parametrize("caller", CALLERS)
async def test_revisions_are_the_authors_own_deleted_posts_included(
    database: Database, world: World, caller: str
) -> None:
    async with database.reading(world.callers()[caller]) as session:
        rows = (await session.scalars(select(Revision))).all()
        match caller:
            case "author":
                assert {row.row_id for row in rows} == {str(id) for id in world.posts.values()}
                assert {row.table_name for row in rows} == {"posts"}
            case "admin" | "service" | "system":
                assert len(rows) == len(world.posts) + 1 + 4
            case _:
                assert rows == []


async def test_each_caller_has_its_own_rules_with_one_cached_statement(database: Database, world: World) -> None:
    """The values of the criteria are no part of the compiled statement that SQLAlchemy keeps."""
    for caller in (*CALLERS, *reversed(CALLERS)):
        async with database.reading(world.callers()[caller]) as session:
            ada = (
                await session.scalars(select(User).options(selectinload(User.posts)).order_by(User.id).limit(1))
            ).one()
            assert {post.title for post in ada.posts} == SEEN[caller]


async def test_a_deleted_author_is_none_even_if_the_session_holds_the_row(database: Database, world: World) -> None:
    async with database.writing(SYSTEM) as session:
        connection = await session.connection()
        table = User.__table__
        await connection.execute(update(table).where(table.c.id == world.ada).values(deleted_at=session.unit.now))  # type: ignore[arg-type]  # a Table
    async with database.reading(user(world.root, "admin")) as session:
        held = await session.get(User, world.ada, execution_options={"include_deleted": True})
        assert held is not None
        for plan in (joinedload(Post.author), selectinload(Post.author)):
            query = select(Post).where(Post.id == world.posts["public"]).options(plan)
            post = (await session.scalars(query.execution_options(populate_existing=True))).one()
            assert post.author is None
            assert post.user_id == world.ada


async def test_credentials_are_the_systems_alone(database: Database, world: World) -> None:
    async with database.writing(SYSTEM) as session:
        session.add(Credentials(user_id=world.ada, hashed_password="secret", changed_at=session.unit.now))
    query = select(User).where(User.id == world.ada).options(joinedload(User.credentials))
    for caller, who in world.callers().items():
        async with database.reading(who) as session:
            rows = (await session.scalars(select(Credentials))).all()
            assert len(rows) == (1 if caller == "system" else 0)
            owner = (await session.scalars(query)).one()
            assert (owner.credentials is not None) == (caller == "system")
            known = await session.scalars(select(User.id).where(User.credentials.has()))
            assert bool(known.all()) == (caller == "system")


async def test_a_refresh_does_not_show_what_has_become_hidden(database: Database, world: World) -> None:
    async with database.reading(ANONYMOUS) as session:
        post = await session.get(Post, world.posts["public"])
        assert post is not None
        async with database.writing(user(world.ada, "author")) as writing:
            await Posts(writing).change(
                await Posts(writing).require(post.id), status=PostStatus.DRAFT, content="not for you"
            )
        await session.rollback()  # PostgreSQL needs no new snapshot for this, SQLite does
        with pytest.raises(InvalidRequestError):
            await session.refresh(post)
        assert post.__dict__.get("content") != "not for you"


# ---- masked and hidden columns ----


@pytest.mark.parametrize("caller", CALLERS)
async def test_masked_columns_are_none_for_others(database: Database, world: World, caller: str) -> None:
    who = world.callers()[caller]
    plans: list[Select[Any]] = [
        select(User),
        select(aliased(User)),
        select(User).options(load_only(User.id, User.email, User.balance, User.uid)),
        select(User).execution_options(populate_existing=True),
        select(Post).options(joinedload(Post.author)),
        select(Post).options(selectinload(Post.author)),
        select(Post).join(Post.author).options(contains_eager(Post.author)),
    ]
    for plan in plans:
        async with database.reading(who) as session:
            rows = (await session.scalars(plan)).unique().all()
            for row in [found.author if isinstance(found, Post) else found for found in rows]:
                open_to = caller in ("admin", "service", "system") or row.id == who.user_id
                assert (row.email is not None) == open_to
                assert (row.uid is not None) == open_to
                assert (row.balance is not None) == open_to
                assert not session.dirty


async def test_masked_columns_that_are_loaded_later_stay_masked(database: Database, world: World) -> None:
    async with database.reading(user(world.mia)) as session:
        rows = (await session.scalars(select(User).options(load_only(User.id)).order_by(User.id))).all()
        assert all("email" not in row.__dict__ for row in rows)
        for row in rows:
            await session.refresh(row, ["email", "balance"])
        assert {row.id: row.balance for row in rows if row.balance is not None} == {world.mia: 3}
        assert [row.id for row in rows if row.email is not None] == [world.mia]
    async with database.reading(user(world.mia)) as session:
        await session.scalars(select(User).options(load_only(User.id)))
        filled = (await session.scalars(select(User).order_by(User.id))).all()
        assert [row.id for row in filled if row.email is not None] == [world.mia]


@pytest.mark.parametrize("caller", ["anonymous", "member", "author"])
async def test_masked_and_hidden_columns_cannot_be_named(database: Database, world: World, caller: str) -> None:
    inner = select(User).subquery()
    refused: list[Any] = [
        select(User.email),
        select(func.lower(User.email)),
        select(User.id).where(User.balance > 1),
        select(User).order_by(User.balance),
        select(User.id).where(User.is_active),
        select(aliased(User).role),
        select(inner.c.email),
        select(inner),
        union(select(User), select(User)),
        select(Post.id).where(Post.author.has(User.email == "x")),
        select(Post.id).join(Post.author).where(User.email == "x"),
        select(Post.created_by),
    ]
    async with database.reading(world.callers()[caller]) as session:
        for query in refused:
            with pytest.raises(Forbidden, match="permission denied for column"):
                await session.scalars(query)
    for query in refused:
        async with database.reading(SERVICE) as session:
            await session.scalars(query)


async def test_a_masked_condition_counts_others_as_null(database: Database, world: World) -> None:
    for caller, expected in {"member": {world.mia}, "admin": {world.mia, world.ada}, "anonymous": set()}.items():
        async with database.reading(world.callers()[caller]) as session:
            assert set(await session.scalars(select(User.id).where(session.masking(User.balance > 0)))) == expected
            # behind a NOT a masked value is still unknown, not false
            negated = select(User.id).where(session.masking(~(User.balance > 1000)))
            assert len((await session.scalars(negated)).all()) == {"member": 1, "admin": 4, "anonymous": 0}[caller]
            other = aliased(User)
            assert set(await session.scalars(select(other.id).where(session.masking(other.balance > 0)))) == expected


# ---- what is refused ----


async def test_a_session_needs_a_catalog_and_a_unit(database: Database) -> None:
    with pytest.raises(TypeError):
        AppSession(database.writer)  # type: ignore[call-arg]  # the very mistake
    with pytest.raises(TypeError):
        AppSession(database.writer, catalog=database.catalog)  # type: ignore[call-arg]  # the very mistake
    session = AppSession(database.writer, catalog=database.catalog, unit=Unit(SYSTEM, database.clock()))
    assert session.sync_session.info["unit"] is session.unit
    await session.close()


async def test_what_would_pass_by_the_rules_is_refused(database: Database, world: World) -> None:
    statements: list[Any] = [
        update(Post).values(title="x"),
        insert(Post),
        delete(Post),
        select(Post).from_statement(text("select * from posts")),
        select(exists().where(Post.id == world.posts["draft"])),
        select(func.max(Post.id).over()),
    ]
    for statement in statements:
        async with database.writing(SYSTEM) as session:
            with pytest.raises(Internal):
                await session.execute(statement)
