"""Two writers, one meaning: entities and the set-based writer leave equal rows and revisions."""

from __future__ import annotations

from typing import Any

from app.data.database import Database
from app.data.rules import SERVICE, SYSTEM, Principal, user
from app.models import Post, Tag, User
from app.query import removal, writer
from app.repositories import Posts, Users
from tests.conftest import Clock, delete_all_rows
from tests.writes.support import read, resource

NAMES = ("users", "posts", "tags")
# Ids go on counting after rows are deleted and uids are random: everything else must be equal.
IDS = ("id", "uid", "user_id", "row_id", "created_by", "updated_by", "actor_id")


async def by_entities(database: Database, clock: Clock) -> None:
    async with database.writing(SYSTEM) as session:
        ada = await Users(session).add(User(username=" Ada ", email="A@x.org", role="author"))
    who = user(ada.id, "author")
    async with database.writing(who) as session:
        post = await Posts(session).add(Post(title="  Hello   World ", content="text"))
        await Posts(session).set_tags(post, ["b", "a"])
    clock.advance(10)
    async with database.writing(who) as session:
        post = await Posts(session).require(post.id)
        await Posts(session).change(post, status="published", title="Hello again")
    clock.advance(10)
    async with database.writing(who) as session:
        loaded = await Posts(session).with_author_and_tags(post.id)
        await Posts(session).set_tags(loaded, ["c"])
    clock.advance(10)
    async with database.writing(SERVICE) as session:
        await Posts(session).remove(await Posts(session).require(post.id))


async def by_sets(database: Database, clock: Clock) -> None:
    async def insert(who: Principal, table: str, **values: Any) -> int:
        async with database.writing(who) as session:
            (row,) = await writer.insert(session, resource(table), [values])
        return int(row["id"])

    async def update(who: Principal, table: str, key: int, **values: Any) -> None:
        async with database.writing(who) as session:
            await writer.update(session, resource(table), [key], values)

    who = user(await insert(SYSTEM, "users", username=" Ada ", email="A@x.org", role="author"), "author")
    post = await insert(who, "posts", title="  Hello   World ", content="text")
    await update(who, "posts", post, tags=["b", "a"])
    clock.advance(10)
    await update(who, "posts", post, status="published", title="Hello again")
    clock.advance(10)
    await update(who, "posts", post, tags=["c"])
    clock.advance(10)
    async with database.writing(SERVICE) as session:
        await removal.remove(session, resource("posts"), [post])


async def kept(database: Database) -> dict[str, Any]:
    """Every row and revision, without ids. Soft-deleted posts come through their revisions."""
    found = {name: await read(database, f"{name}?select=*&order=id") for name in (*NAMES, "revisions")}
    for rows in found.values():
        for row in rows:
            for name in IDS:
                row.pop(name, None)
                row.get("changes", {}).pop(name, None)
    return found


async def test_entities_and_sets_mean_the_same(database: Database, clock: Clock) -> None:
    start = clock.now
    await by_entities(database, clock)
    entities = await kept(database)
    await delete_all_rows(database)
    clock.now = start
    await by_sets(database, clock)
    sets = await kept(database)
    assert entities == sets
    assert [row["operation"] for row in sets["revisions"]] == ["insert", "insert", *["update"] * 3, "delete"]
    assert Tag.__tablename__ in sets
