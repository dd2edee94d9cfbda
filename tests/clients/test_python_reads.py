"""The async Python client: select with embeds, order, pages, counts, and the forms of an answer."""

from __future__ import annotations

import pytest
from postgrest import APIError, AsyncPostgrestClient, CountMethod

from tests.clients.asking import counted, data, refused
from tests.clients.conftest import Served


async def test_select_all_columns(client: AsyncPostgrestClient) -> None:
    ((post,), count) = await counted(client.from_("posts").select("*").eq("id", 1))
    assert post["title"] == "Hello, World"
    assert post["published_at"] == "2025-12-01T09:30:00+00:00"
    assert post["deleted_at"] is None
    assert count is None


async def test_table_and_columns_as_arguments(client: AsyncPostgrestClient) -> None:
    found = await data(client.table("tags").select("id", "label: name").order("id").limit(1))
    assert found == [{"id": 1, "label": "python"}]


async def test_embeds(client: AsyncPostgrestClient) -> None:
    query = client.from_("posts").select("title, author(username), tags(name)").eq("id", 3)
    found = await data(query.order("name", foreign_table="tags"))
    assert found == [
        {"title": "Async Python", "author": {"username": "bob"}, "tags": [{"name": "async"}, {"name": "python"}]}
    ]


async def test_embed_is_cut_and_ordered(client: AsyncPostgrestClient) -> None:
    query = client.from_("users").select("username", "posts(id)").order("id").limit(2)
    query = query.order("id", desc=True, foreign_table="posts")
    first = await data(query.limit(1, foreign_table="posts"))
    assert first == [{"username": "ada", "posts": [{"id": 5}]}, {"username": "bob", "posts": [{"id": 6}]}]
    second = await data(query.range(1, 2, foreign_table="posts"))
    assert [[post["id"] for post in user["posts"]] for user in second] == [[2, 1], [4, 3]]


async def test_embed_is_filtered(client: AsyncPostgrestClient) -> None:
    query = client.from_("users").select("id, posts(id)").in_("id", [1, 2]).order("id")
    trimmed = await data(query.or_("id.eq.1,id.eq.3", reference_table="posts"))
    assert trimmed == [{"id": 1, "posts": [{"id": 1}]}, {"id": 2, "posts": [{"id": 3}]}]
    query = client.from_("users").select("id, posts(id)").eq("id", 1)
    negated = await data(query.not_.or_("id.eq.1,id.eq.2", reference_table="posts"))
    assert negated == [{"id": 1, "posts": [{"id": 5}]}]


async def test_inner_embed_keeps_parents_that_have_it(client: AsyncPostgrestClient) -> None:
    query = client.from_("posts").select("id, tags!inner(name)").eq("tags.name", "python").order("id")
    found = await data(query)
    assert found == [{"id": number, "tags": [{"name": "python"}]} for number in (1, 3, 6)]


async def test_parents_without_related_rows(client: AsyncPostgrestClient) -> None:
    found = await data(client.from_("posts").select("id, tags()").is_("tags", None).order("id"))
    assert found == [{"id": 4}, {"id": 5}]


async def test_spread_count_and_casts(client: AsyncPostgrestClient) -> None:
    query = client.from_("posts").select("id::text", "...author(writer:username)", "tags(count)").eq("id", 1)
    assert await data(query) == [{"id": "1", "writer": "ada", "tags": [{"count": 2}]}]


async def test_aggregates(client: AsyncPostgrestClient) -> None:
    found = await data(client.from_("transfers").select("amount.sum()", "count()"))
    assert found == [{"sum": 507, "count": 3}]


async def test_ambiguous_embed_is_refused(client: AsyncPostgrestClient) -> None:
    error = await refused(client.from_("transfers").select("*, users(*)"), "PGRST201")
    assert isinstance(error.details, list)
    named = client.from_("transfers").select("sender:users!from_user_id(username)", "receiver:to_user_id(username)")
    assert (await data(named.order("id")))[:2] == [
        {"sender": None, "receiver": {"username": "ada"}},
        {"sender": {"username": "ada"}, "receiver": {"username": "bob"}},
    ]


async def test_order(client: AsyncPostgrestClient) -> None:
    query = client.from_("posts").select("id").order("published_at", desc=True, nullsfirst=False)
    assert [row["id"] for row in await data(query)] == [6, 5, 3, 2, 1, 4]
    query = client.from_("posts").select("id").order("published_at", desc=True)
    assert [row["id"] for row in await data(query)] == [4, 6, 5, 3, 2, 1]
    query = client.from_("posts").select("id, author()").order("author(username)", desc=True).order("id", desc=True)
    assert [row["id"] for row in await data(query)] == [6, 4, 3, 5, 2, 1]


async def test_pages_and_counts(client: AsyncPostgrestClient) -> None:
    select = client.from_("posts").select
    found = await counted(select("id", count=CountMethod.exact).order("id").range(2, 3))
    assert found == ([{"id": 3}, {"id": 4}], 6)
    found = await counted(select("id", count=CountMethod.exact).order("id").limit(2).offset(5))
    assert found == ([{"id": 6}], 6)
    found = await counted(select("id", count=CountMethod.exact, head=True).eq("status", "draft"))
    assert found == ([], 1)
    await refused(select("id", count=CountMethod.exact).offset(7), "PGRST103")


@pytest.mark.parametrize("count", [CountMethod.planned, CountMethod.estimated])
async def test_estimated_counts_are_numbers(client: AsyncPostgrestClient, count: CountMethod) -> None:
    found = await counted(client.from_("posts").select("id", count=count).limit(1))
    assert isinstance(found[1], int)


async def test_wrong_pages_are_refused(client: AsyncPostgrestClient) -> None:
    await refused(client.from_("posts").select("id").limit(5).offset(-1), "PGRST100")
    await refused(client.from_("posts").select("id").order("id", foreign_table="author"), "PGRST108")


async def test_single(client: AsyncPostgrestClient) -> None:
    found = await data(client.from_("users").select("username").eq("id", 1).single())
    assert found == {"username": "ada"}
    error = await refused(client.from_("users").select("id").single(), "PGRST116")
    assert error.details == "The result contains 3 rows"
    error = await refused(client.from_("users").select("id").eq("id", 99).single(), "PGRST116")
    assert error.details == "The result contains 0 rows"


async def test_maybe_single(client: AsyncPostgrestClient) -> None:
    one = await client.from_("users").select("username").eq("id", 1).maybe_single().execute()
    assert one is not None
    assert one.data == {"username": "ada"}
    assert await client.from_("users").select("username").eq("id", 99).maybe_single().execute() is None
    with pytest.raises(APIError, match="single JSON object"):
        await client.from_("users").select("username").maybe_single().execute()


async def test_csv(client: AsyncPostgrestClient) -> None:
    query = client.from_("transfers").select("id", "from_user_id", "amount", "note").order("id").limit(2)
    assert await data(query.csv()) == "id,from_user_id,amount,note\n1,,500,\n2,1,5,"
    quoted = await data(client.from_("tags").select("name").eq("id", 4).csv())
    assert quoted == 'name\n"C, the language"'


async def test_strip_nulls(client: AsyncPostgrestClient) -> None:
    query = client.from_("users").select("id", "full_name").order("id", desc=True).limit(2)
    assert await data(query.strip_nulls()) == [{"id": 3}, {"id": 2, "full_name": "Bob Stone"}]
    one = client.from_("users").select("id", "full_name").eq("id", 3).strip_nulls().single()
    assert await data(one) == {"id": 3}


async def test_explain_is_refused(client: AsyncPostgrestClient) -> None:
    await refused(client.from_("posts").select("id").explain(analyze=True), "PGRST107")


async def test_retry_changes_nothing(client: AsyncPostgrestClient) -> None:
    assert await data(client.from_("tags").select("name").eq("id", 2).retry(False)) == [{"name": "sql"}]


async def test_other_schema_is_refused(client: AsyncPostgrestClient) -> None:
    await refused(client.schema("private").from_("posts").select("id"), "PGRST106")
    assert await data(client.schema("public").from_("tags").select("id").eq("id", 1)) == [{"id": 1}]


async def test_unknown_table_is_refused(client: AsyncPostgrestClient) -> None:
    for name in ("post", "credentials"):
        await refused(client.from_(name).select("*"), "PGRST205")
    # without a body: the code stands in Proxy-Status
    await refused(client.from_("post").select("*", head=True), "PGRST205")


# ---- who asks -------------------------------------------------------------------------------------------------------


async def test_visitor_sees_what_is_public(public: AsyncPostgrestClient) -> None:
    rows, count = await counted(public.from_("posts").select("id", count=CountMethod.exact).order("id"))
    assert ([row["id"] for row in rows], count) == ([1, 2, 3, 5], 4)
    found = await data(public.from_("users").select("username", "email", "balance").eq("id", 1))
    assert found == [{"username": "ada", "email": None, "balance": None}]
    assert await data(public.from_("transfers").select("id")) == []
    await refused(public.from_("users").select("role"), "42703")


async def test_key_as_a_token(served: Served) -> None:
    async with served.client(served.publishable) as client:
        assert len(await data(client.auth(served.secret).from_("posts").select("id"))) == 6
        await refused(client.auth("wrong").from_("posts").select("id"), "PGRST301")
