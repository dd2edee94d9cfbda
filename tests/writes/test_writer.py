"""Inserts and updates: rows, stamps, versions, revisions, links, write-only fields, refusals."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.accounts.passwords import verify
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.data.session import AppSession
from app.errors import BadValue, BroadsheetError, Conflict, Forbidden, NotFound, Stale
from app.models import Credentials
from app.policy import META
from app.query import writer
from app.query.naming import find_or_insert
from tests.conftest import Clock, Statements
from tests.writes.support import an_author, insert, read, remove, resource, revisions, update


async def test_insert_fills_defaults_stamps_and_version(database: Database, clock: Clock) -> None:
    (row,) = await insert(database, SERVICE, "users", {"username": "Ada", "email": " Ada@Example.ORG "})
    assert row["username"] == "ada"
    assert row["email"] == "ada@example.org"
    assert row["role"] == "member"
    assert (row["balance"], row["is_active"], row["version"]) == (0, True, 1)
    assert row["created_at"] == row["updated_at"] == clock.now
    assert row["created_by"] is None


async def test_insert_keeps_the_order_of_the_rows(database: Database) -> None:
    rows = await insert(database, SERVICE, "tags", *({"name": name} for name in ("c", "a", "b")))
    assert [row["name"] for row in rows] == ["c", "a", "b"]
    assert rows[0]["id"] < rows[1]["id"] < rows[2]["id"]


async def test_insert_revision_holds_every_column(database: Database) -> None:
    who = Principal(SERVICE.role, key_id="abc123")
    (row,) = await insert(database, who, "users", {"username": "ada"})
    (revision,) = await revisions(database, "users", row["id"])
    kept = {key: revision[key] for key in ("operation", "version", "actor_id", "key_id", "request_id")}
    assert kept == {"operation": "insert", "version": 1, "actor_id": None, "key_id": "abc123", "request_id": "req-1"}
    assert revision["changes"]["username"] == [None, "ada"]
    assert revision["changes"]["created_at"] == [None, "2026-01-01T12:00:00+00:00"]
    assert "balance" not in revision["changes"]
    assert revision["changes"].keys() == row.keys() - {"balance", *META}  # which nobody reads


async def test_update_writes_only_what_changes(database: Database, clock: Clock) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One", "content": "text"})
    clock.advance(60)
    (changed,) = await update(database, author, "posts", [post["id"]], {"title": "Two", "content": "text"})
    assert (changed["title"], changed["version"], changed["updated_by"]) == ("Two", 2, author.user_id)
    assert changed["updated_at"] == clock.now
    assert changed["created_at"] == post["created_at"]
    last = (await revisions(database, "posts", post["id"]))[-1]
    assert last["changes"] == {"title": ["One", "Two"]}
    assert last["version"] == 2


async def test_update_that_changes_nothing_leaves_no_trace(database: Database, clock: Clock) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One", "tags": ["a"]})
    clock.advance(60)
    (same,) = await update(database, author, "posts", [post["id"]], {"title": "One", "tags": ["a"]})
    assert (same["version"], same["updated_at"]) == (1, post["updated_at"])
    assert len(await revisions(database, "posts", post["id"])) == 1


async def test_change_of_tags_alone_is_a_change_of_the_post(database: Database) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One", "tags": ["b", "a"]})
    (changed,) = await update(database, author, "posts", [post["id"]], {"tags": ["c", "a"]})
    assert changed["version"] == 2
    last = (await revisions(database, "posts", post["id"]))[-1]
    assert last["changes"] == {"tags": [["a", "b"], ["a", "c"]]}
    (shown,) = await read(database, "posts?select=tags(name)&tags.order=name")
    assert shown == {"tags": [{"name": "a"}, {"name": "c"}]}


async def test_tags_are_named_by_name_or_by_id(database: Database) -> None:
    author = await an_author(database)
    (tag,) = await insert(database, SERVICE, "tags", {"name": "old"})
    await insert(database, author, "posts", {"title": "One", "tags": [tag["id"], "new", "old", " new "]})
    (shown,) = await read(database, "posts?select=tags(name)&tags.order=name")
    assert shown == {"tags": [{"name": "new"}, {"name": "old"}]}


async def test_unknown_tag_id_is_a_foreign_key_error(database: Database) -> None:
    author = await an_author(database)
    with pytest.raises(Conflict) as refusal:
        await insert(database, author, "posts", {"title": "One", "tags": [99]})
    assert refusal.value.body() == {
        "code": "23503",
        "message": 'insert or update on table "post_tags" violates foreign key constraint "post_tags_tag_id_fkey"',
        "details": 'Key (tag_id)=(99) is not present in table "tags".',
        "hint": None,
    }
    assert await read(database, "posts?select=id") == []


async def test_slug_is_made_from_the_title_and_free(database: Database) -> None:
    author = await an_author(database)
    rows = await insert(database, author, "posts", {"title": "Über  100%!"}, {"title": "Uber 100"}, {"title": "日本"})
    assert [row["slug"] for row in rows] == ["uber-100", "uber-100-2", "post"]
    assert rows[0]["title"] == "Über 100%!"
    (later,) = await insert(database, await an_author(database, "bob"), "posts", {"title": "Uber 100"})
    assert later["slug"] == "uber-100-3", "another author's draft counts, though bob does not see it"


async def test_slugs_are_free_among_writers_at_once(database: Database) -> None:
    """None is refused for a slug that it did not choose."""
    author = await an_author(database)

    async def write(session: AppSession) -> str:
        (row,) = await writer.insert(session, resource("posts"), [{"title": "Same", "tags": ["one", "two"]}])
        return str(row["slug"])

    slugs = await asyncio.gather(*[database.transact(author, write) for _ in range(24)])
    assert set(slugs) == {"same", *(f"same-{n}" for n in range(2, 25))}
    assert len(await read(database, "tags?select=id")) == 2


async def test_many_titles_that_are_taken(database: Database) -> None:
    author = await an_author(database)
    rows = [{"title": f"Title {i}"} for i in range(450)]
    await insert(database, author, "posts", *rows)
    again = await insert(database, author, "posts", *rows)
    assert {row["slug"] for row in again} == {f"title-{i}-2" for i in range(450)}


async def test_deleted_user_can_be_given_nothing(database: Database) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One"})
    gone = await an_author(database, "gone")
    assert gone.user_id is not None
    await remove(database, SERVICE, "users", gone.user_id)
    for attempt in (
        insert(database, SERVICE, "posts", {"title": "Two", "user_id": gone.user_id}),
        insert(database, SERVICE, "posts", {"title": "Two", "user_id": 9_999}),
        update(database, SERVICE, "posts", [post["id"]], {"user_id": gone.user_id}),
    ):
        with pytest.raises(Conflict) as refusal:
            await attempt
        assert refusal.value.code == "23503"
        assert str(refusal.value.details).endswith('is not present in table "users".')


async def test_instants_that_the_driver_calls_infinite_are_refused(database: Database) -> None:
    author = await an_author(database)
    for instant in (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
        with pytest.raises(BadValue) as refusal:
            await insert(database, author, "posts", {"title": "One", "published_at": instant})
        assert refusal.value.code == "22008"


async def test_given_slug_is_never_changed(database: Database) -> None:
    author = await an_author(database)
    await insert(database, author, "posts", {"title": "One", "slug": "same"})
    with pytest.raises(Conflict) as refusal:
        await insert(database, author, "posts", {"title": "Two", "slug": "same"})
    assert refusal.value.body() == {
        "code": "23505",
        "message": 'duplicate key value violates unique constraint "posts_slug_key"',
        "details": "Key (slug)=(same) already exists.",
        "hint": None,
    }


async def test_one_bad_row_keeps_all_out(database: Database) -> None:
    with pytest.raises(Conflict):
        await insert(database, SERVICE, "users", {"username": "ada"}, {"username": "bob"}, {"username": "ada"})
    assert await read(database, "users?select=id") == []
    assert await read(database, "revisions?select=id") == []


async def test_password_is_kept_as_a_hash_elsewhere(database: Database) -> None:
    (row,) = await insert(database, SERVICE, "users", {"username": "ada", "password": "correct horse"})
    assert "password" not in row
    async with database.reading(SYSTEM) as session:
        hashed = (await session.scalars(select(Credentials.hashed_password))).one()
    assert await verify("correct horse", hashed)
    (revision,) = await revisions(database, "users", row["id"])
    assert "password" not in str(revision)


async def test_password_can_be_replaced(database: Database) -> None:
    (row,) = await insert(database, SERVICE, "users", {"username": "ada", "password": "correct horse"})
    await update(database, SERVICE, "users", [row["id"]], {"password": "battery staple"})
    async with database.reading(SYSTEM) as session:
        hashed = (await session.scalars(select(Credentials.hashed_password))).one()
    assert await verify("battery staple", hashed)


@pytest.mark.parametrize("title", ["", "  \n "])
async def test_empty_title_is_refused(database: Database, title: str) -> None:
    author = await an_author(database)
    with pytest.raises(BadValue, match="title cannot be empty"):
        await insert(database, author, "posts", {"title": title})


async def test_publishing_sets_the_date(database: Database, clock: Clock) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One"})
    assert post["published_at"] is None
    (published,) = await update(database, author, "posts", [post["id"]], {"status": "published"})
    assert published["published_at"] == clock.now


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, "23502"),
        ({"username": None}, "23502"),
        ({"username": "x"}, "22023"),
        ({"username": "ada", "email": "no address"}, "22023"),
        ({"username": "ada", "full_name": "x" * 101}, "22001"),
        ({"username": "ada", "full_name": "a\x00b"}, "22021"),
        ({"username": "ada", "full_name": "a\ud800b"}, "22P05"),
        ({"username": "ada", "role": "king"}, "23514"),
        ({"username": "ada", "password": "short"}, "22023"),
        ({"username": "ada", "password": 7}, "22023"),
    ],
)
async def test_bad_values_are_refused_before_any_statement(
    database: Database, statements: Statements, values: dict[str, Any], code: str
) -> None:
    with pytest.raises(BadValue) as refusal:
        await insert(database, SERVICE, "users", values)
    assert refusal.value.code == code
    assert not [text for text in statements.texts if text.startswith("INSERT")]


@pytest.mark.parametrize("column", ["id", "uid", "balance", "version", "created_at", "updated_by", "deleted_at"])
async def test_server_owned_columns_cannot_be_written(database: Database, column: str) -> None:
    (row,) = await insert(database, SERVICE, "users", {"username": "ada"})
    with pytest.raises(Forbidden, match=f"permission denied for column {column}"):
        await update(database, SERVICE, "users", [row["id"]], {column: 1})


async def test_balance_changes_only_through_actions(database: Database) -> None:
    (row,) = await insert(database, SYSTEM, "users", {"username": "ada"})
    with pytest.raises(Forbidden, match="only through an action"):
        await update(database, SYSTEM, "users", [row["id"]], {"balance": 5})
    with pytest.raises(Forbidden, match="only through an action"):
        await insert(database, SYSTEM, "users", {"username": "bob", "balance": 5})


async def test_stale_version_is_refused(database: Database) -> None:
    author = await an_author(database)
    (post,) = await insert(database, author, "posts", {"title": "One"})
    await update(database, author, "posts", [post["id"]], {"title": "Two"}, expect=1)
    with pytest.raises(Stale):
        await update(database, author, "posts", [post["id"]], {"title": "Three"}, expect=1)
    assert await read(database, "posts?select=title,version") == [{"title": "Two", "version": 2}]


async def outsider(database: Database, who: Principal, key: int) -> BroadsheetError:
    with pytest.raises(BroadsheetError) as refusal:
        await update(database, who, "posts", [key], {"title": "Mine"})
    return refusal.value


async def test_outsiders_change_nothing_and_learn_nothing(database: Database) -> None:
    author = await an_author(database)
    rows = await insert(database, author, "posts", {"title": "Public", "status": "published"}, {"title": "Draft"})
    public, draft = (row["id"] for row in rows)
    other = await an_author(database, "eve")
    for who in (other, user(10_000, "author")):
        assert isinstance(await outsider(database, who, public), Forbidden)
        hidden, absent = await outsider(database, who, draft), await outsider(database, who, 4242)
        assert isinstance(hidden, NotFound)
        assert hidden.message.replace(str(draft), "N") == absent.message.replace("4242", "N")
    for who in (ANONYMOUS, user(other.user_id or 0, "member")):
        assert (await outsider(database, who, public)).code == "42501"
        with pytest.raises(Forbidden):
            await insert(database, who, "posts", {"title": "Mine"})


async def test_author_cannot_give_a_post_away(database: Database) -> None:
    author, other = await an_author(database), await an_author(database, "bob")
    (post,) = await insert(database, author, "posts", {"title": "One"})
    assert post["user_id"] == author.user_id
    with pytest.raises(Forbidden):
        await update(database, author, "posts", [post["id"]], {"user_id": other.user_id})
    (moved,) = await update(database, SERVICE, "posts", [post["id"]], {"user_id": other.user_id})
    assert moved["user_id"] == other.user_id


async def test_members_change_their_own_names_only(database: Database) -> None:
    ada, bob = await insert(database, SYSTEM, "users", {"username": "ada"}, {"username": "bob"})
    (changed,) = await update(database, user(ada["id"]), "users", [ada["id"]], {"full_name": "Ada L."})
    assert changed["full_name"] == "Ada L."
    with pytest.raises(Forbidden):
        await update(database, user(ada["id"]), "users", [ada["id"]], {"role": "admin"})
    with pytest.raises(Forbidden):
        await update(database, user(ada["id"]), "users", [bob["id"]], {"full_name": "Eve"})


async def test_insert_takes_a_constant_number_of_statements(database: Database, statements: Statements) -> None:
    author = await an_author(database)
    counts = []
    for size in (1, 30):
        statements.clear()
        rows = [{"title": f"Post {size} {i}", "tags": ["a", f"t{size}-{i}"]} for i in range(size)]
        await insert(database, author, "posts", *rows)
        counts.append(statements.count)
    # tags found, tags made, found again, slugs looked up, authors, posts, links, their names, revisions; on PostgreSQL
    # one statement for posts, links and revisions, and the turn for the slugs of several
    assert counts == ([7, 8] if database.name == "postgresql" else [9, 9])


async def test_update_of_many_takes_a_constant_number_of_statements(database: Database, statements: Statements) -> None:
    author = await an_author(database)
    rows = await insert(database, author, "posts", *({"title": f"Post {i}"} for i in range(20)))
    statements.clear()
    await update(database, author, "posts", [row["id"] for row in rows], {"content": "new"})
    assert statements.count == 3  # lock, update, revisions


async def test_find_or_insert_finds_and_makes(database: Database) -> None:
    (old,) = await insert(database, SERVICE, "tags", {"name": "old"})
    async with database.writing(SERVICE) as session:
        found = await find_or_insert(session, resource("tags").model, "name", {"old", "new"})
    assert found["old"] == old["id"]
    assert (await read(database, "tags?select=id&name=eq.new"))[0]["id"] == found["new"]
