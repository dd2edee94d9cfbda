"""Scopes as they are written, and sessions that hold Python code to them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from app.accounts.api_keys import present
from app.accounts.scopes import checked
from app.data.database import Database
from app.data.rules import SYSTEM, Principal, Role
from app.errors import BadValue, Forbidden
from app.models import Post, PostStatus, Tag, User
from app.resources import CATALOG
from tests.accounts.keeping import made
from tests.factories import make_post, make_user

# ---- scopes as they are written -------------------------------------------------------------------------------------


def test_scopes_name_what_there_is() -> None:
    texts = ["posts:read", "posts:write", "*:read", "*:write", "rpc/search", "*"]
    assert checked(texts, CATALOG, ["search"]) == frozenset(texts)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("post:read", "names no table"),
        ("credentials:read", "names no table"),
        (":read", "names no table"),
        ("posts:delete", "is no scope"),
        ("posts", "is no scope"),
        ("POSTS:READ", "is no scope"),
        ("", "is no scope"),
        ("**", "is no scope"),
        ("rpc/serch", "names no function"),
        ("rpc/*", "names no function"),
        ("rpc/", "names no function"),
    ],
)
def test_scope_that_names_nothing_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadValue, match=reason):
        checked(["*", text], CATALOG, ["search"])


async def test_key_with_a_wrong_scope_or_none_at_all_is_not_made(database: Database) -> None:
    for scopes in (["nothing:read"], []):
        with pytest.raises(BadValue):
            await made(database, scopes=scopes)
    async with database.reading(SYSTEM) as session:
        assert await present(session) == []


# ---- sessions hold Python code to scopes ----------------------------------------------------------------------------


def scoped(*scopes: str) -> Principal:
    return Principal(Role.SERVICE, key_id="0" * 16, scopes=frozenset(scopes))


async def test_session_refuses_tables_outside_of_the_scopes(database: Database) -> None:
    async with database.reading(scoped("posts:read")) as session:
        await session.scalars(select(Post))
        refused: list[Any] = [
            select(User),
            select(User.username),
            select(Post).where(Post.author.has(User.username == "ada")),
            select(Post).where(Post.tags.any(Tag.name == "python")),
            select(Post.id).where(Post.user_id.in_(select(User.id))),
        ]
        for statement in refused:
            with pytest.raises(Forbidden, match=r"lacks the scope (users|tags):read"):
                await session.execute(statement)


async def test_tables_outside_of_the_scopes_are_empty_where_only_a_relation_names_them(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        await make_post(session, await make_user(session), tags=["python"])
    found = (
        select(Post.id).where(Post.author.has()),
        select(Post.id).join(Post.author),
        select(Post.id).where(Post.tags.any()),
    )
    async with database.reading(scoped("posts:read")) as session:
        assert [(await session.scalars(statement)).all() for statement in found] == [[], [], []]


async def test_session_loads_no_relation_outside_of_the_scopes(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session)
        post = (await make_post(session, ada, tags=["python"])).id
    from_posts = select(Post).where(Post.id == post)
    async with database.reading(scoped("posts:read")) as session:
        joined = (await session.scalars(from_posts.options(joinedload(Post.author)))).one()
        assert joined.author is None
    async with database.reading(scoped("posts:read")) as session:
        with pytest.raises(Forbidden, match="tags:read"):
            await session.scalars(from_posts.options(selectinload(Post.tags)))
    async with database.reading(scoped("posts:read", "tags:read")) as session:
        found = (await session.scalars(from_posts.options(selectinload(Post.tags)))).one()
        assert [tag.name for tag in found.tags] == ["python"]


async def test_session_refuses_to_flush_what_the_scopes_do_not_let_write(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        post = (await make_post(session, await make_user(session))).id
    async with database.writing(scoped("posts:read", "tags:write")) as session:
        found = await session.get(Post, post)
        assert found is not None
        found.title = "Other"
        with pytest.raises(Forbidden, match="posts:write"):
            await session.flush()
        session.expunge_all()
    with pytest.raises(Forbidden, match="tags:write"):
        async with database.writing(scoped("posts:write")) as session:
            session.add(Tag(name="new"))
    async with database.writing(scoped("posts:write")) as session:
        found = await session.get(Post, post)
        assert found is not None
        found.title, found.status = "Other", PostStatus.DRAFT
