"""Many rows at once: what they leave behind is what single inserts leave, and they are refused as those are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.data.audit import Revision
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, Values
from app.data.session import AppSession
from app.errors import BadValue, BroadsheetError, Conflict, Forbidden
from app.models import Post, Tag
from app.query import bulk, writer
from tests.conftest import EPOCH, Statements, delete_all_rows
from tests.query.kept import kept
from tests.writes.support import an_author, resource

LATER = datetime(2026, 6, 1, 8, 30, 0, 120000, UTC)

USERS: list[Values] = [
    {"username": " Ada ", "email": "A@x.org", "role": "author", "full_name": 'Ada  "=1+1" Łovelace'},
    {"username": "bob", "is_active": False, "banned_until": LATER},
]
TAGS: list[Values] = [{"name": "Äpfel"}, {"name": "zebra", "created_at": LATER}]
POSTS: list[Values] = [
    {"title": "One", "content": 'a\tb\r\n"\\N\\', "status": "published", "tags": ["zebra", "news", "Äpfel", "zebra"]},
    {"title": "Two", "slug": "two", "published_at": LATER, "created_at": LATER, "tags": []},
    {"title": "One", "content": "\ufeff👩‍🚀\u2028", "status": "archived"},
]


async def insert(database: Database, who: Principal, table: str, *rows: Values) -> list[Values]:
    async with database.writing(who, request_id="req-1") as session:
        return await bulk.insert(session, resource(table), rows)


async def one_by_one(database: Database, who: Principal, table: str, *rows: Values) -> list[Values]:
    async with database.writing(who, request_id="req-1") as session:
        return [row for values in rows for row in await writer.insert(session, resource(table), [values])]


async def count(database: Database) -> int:
    return sum(len(rows) for rows in (await kept(database)).values())


async def test_many_rows_leave_what_single_inserts_leave(database: Database) -> None:
    found = []
    for write in (one_by_one, insert):
        ada, _ = await write(database, SYSTEM, "users", *USERS)
        await write(database, SYSTEM, "tags", *TAGS)
        author = Principal(SYSTEM.role, None, key_id="abc")
        await write(database, author, "posts", *({"user_id": ada["id"]} | post for post in POSTS))
        found.append(await kept(database))
        await delete_all_rows(database)
    single, many = found
    assert many == single
    assert [post["slug"] for post in many["posts"]] == ["one", "two", "one-2"]
    assert len(many["revisions"]) == len(USERS) + len(POSTS)
    assert many["revisions"][2]["changes"]["tags"] == [None, ["news", "zebra", "Äpfel"]]


async def test_new_rows_come_back_as_they_are_in_their_order(database: Database) -> None:
    author = await an_author(database)
    rows = await insert(database, SYSTEM, "posts", *({"user_id": author.user_id} | post for post in POSTS))
    assert [row["title"] for row in rows] == ["One", "Two", "One"]
    assert rows[0]["id"] < rows[1]["id"] < rows[2]["id"]
    async with database.reading(SYSTEM) as session:
        for row in rows:
            values = (await session.execute(select(*Post.__table__.columns).where(Post.id == row["id"]))).mappings()
            assert dict(values.one()) == row
        ids = await session.scalars(select(Revision.row_id).where(Revision.table_name == "posts").order_by(Revision.id))
        assert list(ids) == [str(row["id"]) for row in rows]


async def test_rows_that_come_later_get_other_keys(database: Database) -> None:
    """Keys of a COPY are taken from the sequence, not made up."""
    first = await insert(database, SYSTEM, "tags", {"name": "a"}, {"name": "b"})
    single = await one_by_one(database, SYSTEM, "tags", {"name": "c"})
    last = await insert(database, SYSTEM, "tags", {"name": "d"})
    ids = [row["id"] for row in (*first, *single, *last)]
    assert ids == sorted(set(ids))


async def test_nothing_to_insert_is_no_statement(database: Database, statements: Statements) -> None:
    assert await insert(database, SYSTEM, "posts") == []
    assert statements.count == 0


async def test_statements_do_not_grow_with_the_rows(database: Database, statements: Statements) -> None:
    author = await an_author(database)

    async def cost(size: int) -> int:
        statements.clear()
        await insert(
            database, author, "posts", *({"title": "x", "slug": f"s-{size}-{n}", "tags": ["a"]} for n in range(size))
        )
        return statements.count

    await cost(1)  # makes the tag
    # the author, the tag by name, its name, posts, links, revisions; on PostgreSQL keys, a savepoint and its end
    assert await cost(3) == await cost(60) == (6 if database.name == "sqlite" else 9)


async def test_slugs_are_free_among_writers_at_once(database: Database) -> None:
    author = await an_author(database)

    async def write(session: AppSession) -> list[str]:
        rows = await bulk.insert(session, resource("posts"), [{"title": "Same"}])
        return [row["slug"] for row in rows]

    slugs = await asyncio.gather(*[database.transact(author, write, attempts=20) for _ in range(8)])
    assert sorted(slugs) == [["same"], *([f"same-{n}"] for n in range(2, 9))]


# ---- what is refused ------------------------------------------------------------------------------------------------


async def refusal(database: Database, write: Any, who: Principal, table: str, *rows: Values) -> BroadsheetError:
    before = await count(database)
    with pytest.raises(BroadsheetError) as caught:
        await write(database, who, table, *rows)
    assert await count(database) == before
    return caught.value


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (BadValue, {"title": "x" * 201}),
        (BadValue, {"title": "x", "content": "a\0b"}),
        (BadValue, {"title": "x", "status": "secret"}),
        (BadValue, {"title": "x", "slug": "a b"}),
        (Conflict, {"title": "x", "slug": "taken"}),
        (Conflict, {"title": "x", "tags": [10**6]}),
        (Conflict, {"title": "x", "user_id": 10**6}),
    ],
    ids=["long", "nul", "status", "slug", "taken", "tag", "user"],
)
async def test_one_bad_row_keeps_all_out_with_the_same_words(
    database: Database, kind: type[BroadsheetError], bad: Values
) -> None:
    author = await an_author(database)
    await insert(database, author, "posts", {"title": "x", "slug": "taken"})
    good = {"title": "Good", "user_id": author.user_id}
    rows: list[Values] = [good, good | bad, good]
    single = await refusal(database, one_by_one, SYSTEM, "posts", *rows)
    many = await refusal(database, insert, SYSTEM, "posts", *rows)
    assert isinstance(many, kind)
    assert (many.code, many.message, many.details, many.hint) == (
        single.code,
        single.message,
        single.details,
        single.hint,
    )


async def test_unit_that_goes_on_after_a_refusal_keeps_nothing_of_it(database: Database) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    async with database.writing(SYSTEM) as session:
        with pytest.raises(BadValue):
            await bulk.insert(session, resource("tags"), [{"name": "a"}, {"name": "b", "created_at": last}])
        await bulk.insert(session, resource("tags"), [{"name": "c"}])
    assert [tag["name"] for tag in (await kept(database))["tags"]] == ["c"]


async def test_two_rows_of_one_name_are_a_conflict(database: Database) -> None:
    error = await refusal(database, insert, SYSTEM, "tags", {"name": "a"}, {"name": "b"}, {"name": "a"})
    assert (error.code, error.details) == ("23505", "Key (name)=(a) already exists.")


@pytest.mark.parametrize("who", [ANONYMOUS, SERVICE])
async def test_who_may_not_write_may_not_write_much(database: Database, who: Principal) -> None:
    row = {"title": "x"} if who is ANONYMOUS else {"title": "x", "version": 7}
    assert isinstance(await refusal(database, insert, who, "posts", row), Forbidden)


async def test_author_cannot_give_posts_away(database: Database) -> None:
    ada, bob = await an_author(database), await an_author(database, "bob")
    row = {"title": "x", "user_id": bob.user_id}
    assert isinstance(await refusal(database, insert, ada, "posts", row), Forbidden)


# ---- look-ups -------------------------------------------------------------------------------------------------------


async def test_among_finds_whole_values_and_no_others(database: Database) -> None:
    names = ["a" * 100, "Ä'\"", "%", "b"]
    await insert(database, SYSTEM, "tags", *({"name": name} for name in names))
    async with database.reading(SYSTEM) as session:
        asked = ["a" * 100 + "x", "Ä'\"", "A", "%", "b", "b", *(f"no {n}" for n in range(40_000))]
        found = await session.scalars(select(Tag.name).where(bulk.among(session, Tag.name, asked)).order_by(Tag.id))
        assert list(found) == ["Ä'\"", "%", "b"]
        ids = (await session.scalars(select(Tag.id).order_by(Tag.id))).all()
        query = select(Tag.name).where(bulk.among(session, Tag.id, [ids[0], -1])).order_by(Tag.id)
        assert list(await session.scalars(query)) == ["a" * 100]
        assert list(await session.scalars(select(Tag.name).where(bulk.among(session, Tag.name, [])))) == []


async def test_stamps_are_those_of_the_unit(database: Database) -> None:
    rows = await insert(database, SYSTEM, "tags", {"name": "a"}, {"name": "b", "created_at": LATER})
    assert [(row["created_at"], row["updated_at"]) for row in rows] == [(EPOCH, EPOCH), (LATER, EPOCH)]
