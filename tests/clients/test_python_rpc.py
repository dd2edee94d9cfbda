"""The async Python client: functions, by POST, GET and HEAD, shaped like tables."""

from __future__ import annotations

from typing import Any

import pytest
from postgrest import AsyncPostgrestClient, CountMethod

from tests.clients.asking import counted, data, refused

PERIOD = {"since": "2025-12-01", "until": "2025-12-31"}


async def test_search_finds_posts(public: AsyncPostgrestClient) -> None:
    found = await data(public.rpc("search", {"q": "quick"}))
    assert {row["id"] for row in found} == {1, 2}
    assert {"title", "slug", "published_at"} <= set(found[0])


async def test_search_is_shaped_like_a_table(public: AsyncPostgrestClient) -> None:
    query = public.rpc("search", {"q": "quick"}).select("id, author(username), tags(name)").order("id", desc=True)
    found = await data(query.limit(1))
    assert found == [{"id": 2, "author": {"username": "ada"}, "tags": [{"name": "sql"}]}]
    assert await data(public.rpc("search", {"q": "quick"}).select("id").eq("id", 1)) == [{"id": 1}]
    later = await data(public.rpc("search", {"q": "quick"}).select("id").order("id").offset(1))
    assert later == [{"id": 2}]
    ranged = await data(public.rpc("search", {"q": "quick"}).select("id").order("id").range(0, 0))
    assert ranged == [{"id": 1}]


async def test_search_by_get_and_head(public: AsyncPostgrestClient) -> None:
    found = public.rpc("search", {"q": '"brown fox"'}, get=True, count=CountMethod.exact).select("id")
    assert await counted(found) == ([{"id": 1}], 1)
    assert await counted(public.rpc("search", {"q": "quick"}, head=True, count=CountMethod.exact)) == ([], 2)


async def test_search_as_one_object(public: AsyncPostgrestClient) -> None:
    one = await data(public.rpc("search", {"q": "fox"}).select("title").single())
    assert one == {"title": "Hello, World"}
    none = await public.rpc("search", {"q": "unheard"}).select("title").maybe_single().execute()
    assert none is None
    await refused(public.rpc("search", {"q": "quick"}).single(), "PGRST116")


async def test_search_as_csv_and_without_nulls(client: AsyncPostgrestClient) -> None:
    table = await data(client.rpc("search", {"q": "quick"}).select("id", "title").order("id").csv())
    assert table == 'id,title\n1,"Hello, World"\n2,"SQL joins"'
    short = await data(client.rpc("search", {"q": "fox"}).select("id", "deleted_at").strip_nulls())
    assert short == [{"id": 1}]


async def test_dashboard(public: AsyncPostgrestClient) -> None:
    by_post = await data(public.rpc("dashboard", PERIOD))
    assert by_post["totals"] == {"posts": 4, "authors": 2, "tags": 3}
    assert by_post["top_tags"][2] == {"name": "async", "posts": 1}
    assert await data(public.rpc("dashboard", PERIOD, get=True)) == by_post
    assert await data(public.rpc("dashboard", {})) != by_post


@pytest.mark.usefixtures("fresh")
async def test_transfer_answers_its_row(client: AsyncPostgrestClient, public: AsyncPostgrestClient) -> None:
    service: Any = client  # its types know texts alone as arguments
    sent: Any = {"from_user_id": 1, "to_user_id": 2, "amount": 95, "note": "Thanks"}
    row = await data(service.rpc("transfer", sent))
    assert row == {"id": 4, **sent, "created_at": "2026-01-01T12:00:00+00:00", "created_by": None}
    shaped = service.rpc("transfer", {**sent, "amount": 300}).select("amount, receiver(username, balance)").single()
    assert await data(shaped) == {"amount": 300, "receiver": {"username": "bob", "balance": 398}}
    assert await data(service.rpc("balance_of", {"user_id": 1}, get=True)) == 100
    found = await data(service.rpc("statement", {"user_id": 1, "limit": 2}))
    assert [(entry["amount"], entry["balance"]) for entry in found["entries"]] == [(-300, 100), (-95, 400)]
    await refused(service.rpc("transfer", {**sent, "amount": 101}), "BRD605")
    await refused(public.rpc("transfer", sent), "42501")


@pytest.mark.parametrize(
    ("function", "arguments", "code"),
    [
        ("nothing", {}, "PGRST202"),
        ("search", {}, "PGRST202"),
        ("search", {"q": "x", "colour": "red"}, "PGRST202"),
        ("dashboard", {"since": "yesterday's"}, "22007"),
    ],
)
async def test_call_is_refused(
    public: AsyncPostgrestClient, function: str, arguments: dict[str, str], code: str
) -> None:
    for get in (False, True):
        await refused(public.rpc(function, arguments, get=get), code)


async def test_max_affected_needs_a_function_that_returns_rows(public: AsyncPostgrestClient) -> None:
    await refused(public.rpc("dashboard", PERIOD).max_affected(1), "PGRST128")
