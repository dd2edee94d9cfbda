"""The async Python client: insert, upsert, update and delete, by their answers and what the tables hold after."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from postgrest import AsyncPostgrestClient, CountMethod, ReturnMethod

from tests.clients.asking import counted, data, refused

pytestmark = pytest.mark.usefixtures("fresh")


async def rows(client: AsyncPostgrestClient, table: str, columns: str, **filters: Any) -> Any:
    query = client.from_(table).select(columns).order("id")
    return await data(query.match(filters) if filters else query)


# ---- insert ---------------------------------------------------------------------------------------------------------


async def test_insert_one(client: AsyncPostgrestClient) -> None:
    (tag,), count = await counted(client.from_("tags").insert({"name": "new"}))
    assert (tag["id"], tag["name"], tag["version"]) == (5, "new", 1)
    assert tag["created_at"] == "2026-01-01T12:00:00+00:00"
    assert count is None


async def test_insert_many_with_different_keys(client: AsyncPostgrestClient) -> None:
    posts = [{"user_id": 1, "title": "One", "content": "a"}, {"user_id": 2, "title": "Two", "slug": "second"}]
    insert = client.from_("posts").insert(posts, count=CountMethod.exact, default_to_null=False)
    done, count = await counted(insert.select("id", "slug", "content", "status"))
    assert done == [
        {"id": 7, "slug": "one", "content": "a", "status": "draft"},
        {"id": 8, "slug": "second", "content": "", "status": "draft"},
    ]
    assert count == 2


async def test_missing_key_is_null_by_default(client: AsyncPostgrestClient) -> None:
    posts: list[dict[str, object]] = [{"user_id": 1, "title": "One"}, {"user_id": 1}]
    await refused(client.from_("posts").insert(posts), "23502")
    assert await rows(client, "posts", "id", title="One") == []


async def test_insert_returns_nothing_if_told_so(client: AsyncPostgrestClient) -> None:
    done = await data(client.from_("tags").insert({"name": "new"}, returning=ReturnMethod.minimal))
    assert done == []
    assert await rows(client, "tags", "name", id=5) == [{"name": "new"}]


async def test_insert_of_nothing(client: AsyncPostgrestClient) -> None:
    assert await data(client.from_("tags").insert([])) == []
    assert len(await rows(client, "tags", "id")) == 4


async def test_insert_with_tags_and_embeds(client: AsyncPostgrestClient) -> None:
    post = {"user_id": 1, "title": "Tagged", "tags": ["sql", "fresh"]}
    (made,) = await data(client.from_("posts").insert(post).select("title, author(username), tags(name)"))
    assert made["author"] == {"username": "ada"}
    assert sorted(tag["name"] for tag in made["tags"]) == ["fresh", "sql"]


async def test_values_of_python_types(client: AsyncPostgrestClient) -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    post = {"user_id": 1, "title": "Dated", "published_at": moment}
    done = await data(client.from_("posts").insert(post).select("published_at"))
    assert done == [{"published_at": "2026-02-03T04:05:06+00:00"}]
    uid = (await rows(client, "users", "uid", id=1))[0]["uid"]
    assert await rows(client, "users", "id", uid=UUID(uid)) == [{"id": 1}]
    assert await rows(client, "posts", "id", published_at=date(2030, 1, 1)) == [{"id": 6}]


@pytest.mark.parametrize(
    ("table", "row", "code"),
    [
        ("tags", {"name": "python"}, "23505"),
        ("tags", {}, "23502"),
        ("tags", {"name": "x", "colour": "red"}, "PGRST204"),
        ("tags", {"name": "x", "id": 9}, "428C9"),
        ("posts", {"user_id": 99, "title": "x"}, "23503"),
        ("posts", {"user_id": "one", "title": "x"}, "22P02"),
        ("posts", {"user_id": 1, "title": "x" * 201}, "22001"),
        ("posts", {"user_id": 1, "title": "x", "published_at": "soon"}, "22007"),
        ("transfers", {"to_user_id": 1, "amount": 5}, "42501"),
    ],
)
async def test_insert_is_refused(client: AsyncPostgrestClient, table: str, row: dict[str, Any], code: str) -> None:
    before = await rows(client, table, "id")
    await refused(client.from_(table).insert(row), code)
    assert await rows(client, table, "id") == before


async def test_visitor_may_not_write(public: AsyncPostgrestClient) -> None:
    for query in (
        public.from_("tags").insert({"name": "new"}),
        public.from_("posts").update({"title": "mine"}).eq("id", 1),
        public.from_("posts").delete().eq("id", 1),
    ):
        await refused(query, "42501")


# ---- upsert ---------------------------------------------------------------------------------------------------------


async def test_upsert_inserts_and_merges(client: AsyncPostgrestClient) -> None:
    users = [{"username": "ada", "full_name": "Ada King"}, {"username": "eve", "full_name": "Eve"}]
    done, count = await counted(client.from_("users").upsert(users, on_conflict="username", count=CountMethod.exact))
    assert sorted((row["id"], row["full_name"]) for row in done) == [(1, "Ada King"), (4, "Eve")]
    assert count == 2
    assert await rows(client, "users", "email,role,version", id=1) == [
        {"email": "ada@example.org", "role": "author", "version": 2}
    ]


async def test_upsert_by_the_primary_key(client: AsyncPostgrestClient) -> None:
    done = await data(client.from_("tags").upsert({"id": 1, "name": "Python"}))
    assert [(row["id"], row["name"]) for row in done] == [(1, "Python")]
    assert len(await rows(client, "tags", "id")) == 4


async def test_upsert_that_ignores(client: AsyncPostgrestClient) -> None:
    tags = [{"name": "python"}, {"name": "rust"}]
    done = await data(client.from_("tags").upsert(tags, on_conflict="name", ignore_duplicates=True))
    assert [row["name"] for row in done] == ["rust"]
    assert await rows(client, "tags", "version", name="python") == [{"version": 1}]


async def test_insert_as_upsert(client: AsyncPostgrestClient) -> None:
    done = await data(client.from_("tags").insert({"id": 2, "name": "SQL"}, upsert=True))
    assert [(row["id"], row["name"]) for row in done] == [(2, "SQL")]


@pytest.mark.parametrize(
    ("tags", "columns", "code"),
    [
        ([{"name": "x"}, {"name": "x"}], "name", "21000"),
        ([{"name": "x"}], "created_at", "42P10"),
        ([{"name": "x"}], "colour", "42703"),
        ([{"id": 99, "name": "x"}], "id", "428C9"),
    ],
)
async def test_upsert_is_refused(
    client: AsyncPostgrestClient, tags: list[dict[str, Any]], columns: str, code: str
) -> None:
    await refused(client.from_("tags").upsert(tags, on_conflict=columns, default_to_null=False), code)
    assert len(await rows(client, "tags", "id")) == 4


# ---- update ---------------------------------------------------------------------------------------------------------


async def test_update(client: AsyncPostgrestClient) -> None:
    change = client.from_("posts").update({"status": "archived"}, count=CountMethod.exact)
    done, count = await counted(change.eq("user_id", 1))
    assert sorted((row["id"], row["status"], row["version"]) for row in done) == [
        (number, "archived", 2) for number in (1, 2, 5)
    ]
    assert count == 3
    assert await rows(client, "posts", "id", status="published") == [{"id": 3}, {"id": 6}]


async def test_update_answers_as_told(client: AsyncPostgrestClient) -> None:
    change = client.from_("posts").update({"title": "New"})
    done = await data(change.eq("id", 2).select("title, author(username)"))
    assert done == [{"title": "New", "author": {"username": "ada"}}]
    quiet = await data(client.from_("posts").update({"title": "Newer"}, returning=ReturnMethod.minimal).eq("id", 2))
    assert quiet == []
    assert await data(client.from_("posts").update({"title": "None"}).eq("id", 99)) == []


async def test_update_of_one_as_an_object(client: AsyncPostgrestClient) -> None:
    one = await data(client.from_("tags").update({"name": "Py"}).eq("id", 1).select("name").single())
    assert one == {"name": "Py"}
    await refused(client.from_("posts").update({"content": "same"}).gt("id", 0).single(), "PGRST116")
    assert await rows(client, "posts", "id", content="same") == []


async def test_unfiltered_change_is_refused(client: AsyncPostgrestClient) -> None:
    for query in (client.from_("tags").update({"name": "x"}), client.from_("tags").delete()):
        assert "requires a WHERE clause" in str((await refused(query, "21000")).message)
    assert len(await rows(client, "tags", "id")) == 4


async def test_max_affected(client: AsyncPostgrestClient) -> None:
    change = client.from_("posts").update({"status": "archived"})
    error = await refused(change.eq("user_id", 1).max_affected(2), "PGRST124")
    assert error.details == "The query affects 3 rows"
    assert await rows(client, "posts", "id", status="archived") == []
    assert len(await data(client.from_("posts").delete().in_("id", [1, 2]).max_affected(2))) == 2


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"slug": "sql-joins"}, "23505"),
        ({"title": None}, "23502"),
        ({"balance": 5}, "PGRST204"),
        ({"version": 5}, "PGRST204"),
        ({"status": "lost"}, "23514"),
        ({"user_id": "one"}, "22P02"),
    ],
)
async def test_update_is_refused(client: AsyncPostgrestClient, values: dict[str, Any], code: str) -> None:
    await refused(client.from_("posts").update(values).eq("id", 1), code)
    assert await rows(client, "posts", "version", id=1) == [{"version": 1}]


# ---- delete ---------------------------------------------------------------------------------------------------------


async def test_delete(client: AsyncPostgrestClient) -> None:
    done, count = await counted(client.from_("posts").delete(count=CountMethod.exact).eq("user_id", 2).order("id"))
    assert [(row["id"], row["title"]) for row in done] == [(3, "Async Python"), (4, "Draft notes"), (6, "Later")]
    assert count == 3
    assert await rows(client, "posts", "id") == [{"id": 1}, {"id": 2}, {"id": 5}]


async def test_delete_answers_as_told(client: AsyncPostgrestClient) -> None:
    quiet = await data(client.from_("tags").delete(returning=ReturnMethod.minimal).eq("name", "sql"))
    assert quiet == []
    shown = await data(client.from_("posts").delete().eq("id", 1).select("title, tags(name)"))
    assert shown == [{"title": "Hello, World", "tags": [{"name": "python"}]}]


async def test_delete_of_a_user_with_a_balance_is_refused(client: AsyncPostgrestClient) -> None:
    await refused(client.from_("users").delete().eq("id", 1), "BRD409")
