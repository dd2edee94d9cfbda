"""Functions over HTTP, on both databases: arguments, results shaped like tables, refusals. Source: dialect 1.19."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from app.actions import ACTIONS
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE
from app.data.session import AppSession
from app.http.app import create_app
from app.models import Post, PostTag, Tag, User
from app.query.functions import Action, Returns
from app.repositories import Posts
from app.settings import Limits, Settings
from tests.conftest import EPOCH, Statements
from tests.http.conftest import client_of
from tests.query.rows import a_post, a_tag, a_user, fill, links

DAY = timedelta(days=1)


async def add(session: AppSession, a: int, b: int = 2) -> int:
    """The sum of two numbers."""
    return a + b


async def echo(
    session: AppSession,
    text: str | None = None,
    day: date | None = None,
    at: datetime | None = None,
    yes: bool = False,
    numbers: list[int] | None = None,
) -> dict[str, Any]:
    return {"text": text, "day": day, "at": at, "yes": yes, "numbers": numbers}


async def rename(session: AppSession, id: int, title: str) -> int:
    await Posts(session).change(await Posts(session).require(id), title=title)
    return id


async def forget(session: AppSession, id: int) -> None:
    await rename(session, id, "Forgotten")


async def newest(session: AppSession) -> Sequence[int]:
    """Every post that the caller sees, the newest first."""
    return (await session.scalars(select(Post.id).order_by(Post.id.desc()))).all()


async def retitle(session: AppSession, title: str) -> Sequence[int]:
    keys = await newest(session)
    for key in keys:
        await rename(session, key, title)
    return keys


OWN = {
    **ACTIONS,
    "add": Action(add, reads=True),
    "echo": Action(echo, reads=True),
    "rename": Action(rename, Returns.ROW, Post),
    "forget": Action(forget, Returns.VOID),
    "newest": Action(newest, Returns.ROWS, Post, reads=True),
    "retitle": Action(retitle, Returns.ROWS, Post),
}


@pytest.fixture
async def rpc(database: Database, settings: Settings) -> AsyncGenerator[httpx2.AsyncClient]:
    """Four public posts of two authors, a draft, and functions that only this file has."""
    posts = [a_post(i, 1 + i % 2, title=title, published_at=EPOCH - i * DAY) for i, title in enumerate(TITLES, 1)]
    draft = a_post(5, 1, title="Draft loops", status="draft", published_at=None)
    users = [a_user(1, username="ada", role="author"), a_user(2, username="bob", role="author")]
    tags = {Tag: [a_tag(1, "python"), a_tag(2, "news")], PostTag: [*links(1, 1, 2), *links(2, 1)]}
    await fill(database, {User: users, Post: [*posts, draft], **tags})

    async def authenticate(headers: Any, database: Database) -> Any:
        return SERVICE if "apikey" in headers else ANONYMOUS

    app = create_app(settings, actions=OWN, authenticate=authenticate, database=database)
    async with client_of(app) as client:
        yield client


TITLES = ("Event loops", "Loops", "Loops of loops", "Nothing")
KEY = {"apikey": "secret"}


def refusal(answer: httpx2.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert list(body) == ["code", "message", "details", "hint"]
    return answer.status_code, body["code"], body["message"]


# ---- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/rest/v1"])
async def test_scalar_is_bare_json(rpc: httpx2.AsyncClient, prefix: str) -> None:
    for answer in (
        await rpc.get(f"{prefix}/rpc/add?a=40"),
        await rpc.post(f"{prefix}/rpc/add", json={"a": 40}),
        await rpc.post(f"{prefix}/rpc/add", json=[{"a": "40"}, {"a": 1}]),
        await rpc.post(f"{prefix}/rpc/add", data={"a": "39", "b": "3"}),
    ):
        assert (answer.status_code, answer.text, answer.headers["content-range"]) == (200, "42", "0-0/*")
        assert answer.headers["content-type"] == "application/json; charset=utf-8"


async def test_head_has_the_headers_of_get(rpc: httpx2.AsyncClient) -> None:
    answer = await rpc.head("/rest/v1/rpc/newest", headers={"Prefer": "count=exact"})
    assert (answer.status_code, answer.text, answer.headers["content-range"]) == (200, "", "0-3/4")


async def test_set_comes_in_the_order_of_the_function(rpc: httpx2.AsyncClient) -> None:
    answer = await rpc.get("/rest/v1/rpc/newest?select=id")
    assert answer.text == '[{"id":4},{"id":3},{"id":2},{"id":1}]'
    assert answer.headers["content-range"] == "0-3/*"
    assert (await rpc.post("/rpc/newest?select=id")).text == answer.text


async def test_search_finds_rows_and_shapes_them(rpc: httpx2.AsyncClient) -> None:
    answer = await rpc.get("/rest/v1/rpc/search?q=loops -event&select=title,author(username),tags(name)&order=id")
    assert answer.json() == [
        {"title": "Loops", "author": {"username": "ada"}, "tags": [{"name": "python"}]},
        {"title": "Loops of loops", "author": {"username": "bob"}, "tags": []},
    ]
    everything = await rpc.post("/rest/v1/rpc/search?select=id", json={"q": "loops"}, headers=KEY)
    assert sorted(row["id"] for row in everything.json()) == [1, 2, 3, 5]


SHAPED = [
    ("select=id&limit=2", [4, 3], "0-1/4", 206),
    ("select=id&limit=2&offset=3", [1], "3-3/4", 206),
    ("select=id&id=lt.3", [2, 1], "0-1/2", 200),
    ("select=id&order=title.desc&limit=2", [4, 3], "0-1/4", 206),
    ("select=id&order=id&id=gt.1", [2, 3, 4], "0-2/3", 200),
    ("select=id,tags!inner()&tags.name=eq.news", [1], "0-0/1", 200),
    ("select=id,tags()&tags=is.null", [4, 3], "0-1/2", 200),
    ("select=id&or=(id.eq.1,title.eq.Nothing)", [4, 1], "0-1/2", 200),
    ("select=id&search=fts.event", [1], "0-0/1", 200),
    ("select=id&limit=0", [], "*/4", 206),
    ("select=id&id=eq.99", [], "*/0", 200),
]


@pytest.mark.parametrize(("query", "ids", "rows", "status"), SHAPED, ids=[s[0] for s in SHAPED])
async def test_set_is_filtered_ordered_and_paged(
    rpc: httpx2.AsyncClient, query: str, ids: list[int], rows: str, status: int
) -> None:
    answer = await rpc.get(f"/rest/v1/rpc/newest?{query}", headers={"Prefer": "count=exact"})
    assert (answer.status_code, [row["id"] for row in answer.json()]) == (status, ids)
    assert (answer.headers["content-range"], answer.headers["preference-applied"]) == (rows, "count=exact")


async def test_range_and_page_of_the_surface(rpc: httpx2.AsyncClient) -> None:
    answer = await rpc.get("/rest/v1/rpc/newest?select=id", headers={"Range": "1-2"})
    assert (answer.json(), answer.headers["content-range"]) == ([{"id": 3}, {"id": 2}], "1-2/*")
    beyond = await rpc.get("/rest/v1/rpc/newest?offset=9", headers={"Prefer": "count=exact"})
    assert refusal(beyond) == (416, "PGRST103", "Requested range not satisfiable")


async def test_count_and_media_of_a_set(rpc: httpx2.AsyncClient) -> None:
    assert (await rpc.get("/rest/v1/rpc/newest?select=count")).text == '[{"count":4}]'
    csv = await rpc.get("/rest/v1/rpc/newest?select=id&limit=2", headers={"Accept": "text/csv"})
    assert csv.text == "id\n4\n3"
    one = {"Accept": "application/vnd.pgrst.object+json"}
    assert (await rpc.get("/rest/v1/rpc/newest?select=id&limit=1", headers=one)).text == '{"id":4}'
    assert refusal(await rpc.get("/rest/v1/rpc/newest", headers=one))[:2] == (406, "PGRST116")


async def test_row_is_an_object_and_void_is_nothing(rpc: httpx2.AsyncClient) -> None:
    row = await rpc.post("/rest/v1/rpc/rename?select=id,title", json={"id": 1, "title": "New"}, headers=KEY)
    assert (row.status_code, row.text, row.headers["content-range"]) == (200, '{"id":1,"title":"New"}', "0-0/*")
    void = await rpc.post("/rest/v1/rpc/forget", json={"id": 1}, headers=KEY)
    assert (void.status_code, void.text) == (204, "")
    assert (await rpc.get("/rest/v1/posts?select=id&title=eq.Forgotten")).json() == [{"id": 1}]


async def test_minimal_answers_only_the_count(rpc: httpx2.AsyncClient) -> None:
    """What supabase-js sends for `head: true` with arguments that no query string can hold."""
    headers = {"Prefer": "count=exact,return=minimal"}
    answer = await rpc.post("/rest/v1/rpc/search", json={"q": "loops"}, headers=headers)
    assert (answer.status_code, answer.text, answer.headers["content-range"]) == (204, "", "0-2/3")


async def test_same_request_same_tag(rpc: httpx2.AsyncClient) -> None:
    first = await rpc.get("/rpc/newest?select=id")
    again = await rpc.get("/rpc/newest?select=id", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.text) == (304, "")


async def test_statements_are_constant(rpc: httpx2.AsyncClient, statements: Statements) -> None:
    await rpc.get("/rest/v1/rpc/search?q=loops&select=title,author(username),tags(name)&id=gt.0")
    assert statements.count == 5  # the keys, those that pass the filter, the rows, authors, tags
    statements.clear()
    await rpc.get("/rest/v1/rpc/dashboard")
    assert statements.count == 4


# ---- arguments ------------------------------------------------------------------------------------------------------

ARGUMENTS = [
    ("text=a.b", {"text": "a.b"}),
    ("text=", {"text": ""}),
    ("text=hello+world&day=2026-01-31", {"text": "hello world", "day": "2026-01-31"}),
    ("day=", {"day": None}),
    ("at=2026-01-31T12:00:00Z&yes=t", {"at": "2026-01-31T12:00:00Z", "yes": True}),
    ("numbers={1,2}", {"numbers": [1, 2]}),
    ("numbers={}", {"numbers": []}),
    ("numbers=1&numbers=2", {"numbers": [1, 2]}),
    ("numbers=7", {"numbers": [7]}),
    ("text=not.an.operator", {"text": "not.an.operator"}),
]
NOTHING = {"text": None, "day": None, "at": None, "yes": False, "numbers": None}


@pytest.mark.parametrize(("query", "expected"), ARGUMENTS, ids=[a[0] for a in ARGUMENTS])
async def test_arguments_of_a_query_string(rpc: httpx2.AsyncClient, query: str, expected: dict[str, Any]) -> None:
    answer = await rpc.get(f"/rest/v1/rpc/echo?{query}")
    assert (answer.status_code, answer.json()) == (200, NOTHING | expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {}),
        ({"text": "eq.1", "day": "2026-01-31", "yes": 1}, {"text": "eq.1", "day": "2026-01-31", "yes": True}),
        ({"numbers": [1, "2"], "text": None}, {"numbers": [1, 2]}),
        ({"numbers": "{3,4}", "text": 5}, {"numbers": [3, 4], "text": "5"}),
    ],
)
async def test_arguments_of_a_body(rpc: httpx2.AsyncClient, body: dict[str, Any], expected: dict[str, Any]) -> None:
    answer = await rpc.post("/rest/v1/rpc/echo", json=body)
    assert (answer.status_code, answer.json()) == (200, NOTHING | expected)


async def test_empty_body_is_no_argument(rpc: httpx2.AsyncClient) -> None:
    assert (await rpc.post("/rest/v1/rpc/echo")).json() == NOTHING
    assert (await rpc.post("/rest/v1/rpc/echo", json=[])).json() == NOTHING


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("add?a=x", "22P02", 'invalid input syntax for type bigint: "x"'),
        ("add?a=1&a=2", "22023", "the argument a is given twice with different values"),
        ("echo?day=soon", "22007", 'invalid input syntax for type date: "soon"'),
        ("echo?numbers={1,", "22P02", 'malformed array literal: "{1,"'),
        ("echo?numbers={1,NULL}", "22004", "the argument numbers cannot be null"),
        ("echo?order=text", "PGRST100", "this function returns no rows that could be filtered or shaped"),
        ("dashboard?since=2026-02-01&until=2026-01-01", "22023", "there is no period from 2026-02-01 to 2026-01-01"),
        ("newest?select=nothing", "42703", "column posts.nothing does not exist"),
    ],
)
async def test_bad_arguments_are_400(rpc: httpx2.AsyncClient, query: str, code: str, message: str) -> None:
    for prefix in ("", "/rest/v1"):
        answer = await rpc.get(f"{prefix}/rpc/{query}")
        assert refusal(answer) == (400, code, message)


async def test_bad_values_of_a_body(rpc: httpx2.AsyncClient) -> None:
    answer = await rpc.post("/rest/v1/rpc/add", json={"a": 10**30})
    assert refusal(answer)[:2] == (400, "22003")
    assert refusal(await rpc.post("/rpc/add", json={"a": None}))[:2] == (422, "22004")
    assert refusal(await rpc.post("/rest/v1/rpc/add", json=5))[:2] == (400, "PGRST102")
    assert refusal(await rpc.post("/rest/v1/rpc/echo", json={"numbers": 5}))[:2] == (400, "22P02")


# ---- refusals -------------------------------------------------------------------------------------------------------


async def test_unknown_function_and_arguments_are_pgrst202(rpc: httpx2.AsyncClient) -> None:
    answer = await rpc.get("/rest/v1/rpc/serch?q=a")
    assert (answer.status_code, answer.json()) == (
        404,
        {
            "code": "PGRST202",
            "message": "Could not find the function public.serch(q) in the schema cache",
            "details": "Searched for the function public.serch with parameter q, but no matches were found in the "
            "schema cache.",
            "hint": "Perhaps you meant to call the function public.search(q)",
        },
    )
    answer = await rpc.post("/rest/v1/rpc/add", json={"c": 1, "a": 1})
    assert answer.json() == {
        "code": "PGRST202",
        "message": "Could not find the function public.add(a, c) in the schema cache",
        "details": "Searched for the function public.add with parameters a, c or with a single unnamed json/jsonb "
        "parameter, but no matches were found in the schema cache.",
        "hint": "Perhaps you meant to call the function public.add(a, b)",
    }
    answer = await rpc.post("/rest/v1/rpc/zzzzzz")
    assert (answer.json()["message"], answer.json()["hint"]) == (
        "Could not find the function public.zzzzzz without parameters in the schema cache",
        None,
    )


async def test_operator_in_a_value_makes_it_a_filter(rpc: httpx2.AsyncClient) -> None:
    assert refusal(await rpc.get("/rest/v1/rpc/search?q=eq.x"))[:2] == (404, "PGRST202")
    assert (await rpc.post("/rest/v1/rpc/search", json={"q": "eq.x"})).json() == []


async def test_write_function_by_get_is_405(rpc: httpx2.AsyncClient) -> None:
    for ask in (rpc.get, rpc.head):
        answer = await ask("/rest/v1/rpc/forget?id=1", headers=KEY)
        assert answer.status_code == 405
    assert refusal(await rpc.get("/rest/v1/rpc/forget?id=1")) == (
        405,
        "25006",
        "cannot execute forget in a read-only transaction",
    )


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_verbs_are_pgrst101(rpc: httpx2.AsyncClient, method: str) -> None:
    answer = await rpc.request(method, "/rest/v1/rpc/forget")
    assert refusal(answer) == (405, "PGRST101", f"Cannot use the {method} method on RPC")
    assert answer.headers["allow"] == "OPTIONS,POST"


async def test_options(rpc: httpx2.AsyncClient) -> None:
    assert (await rpc.options("/rest/v1/rpc/search")).headers["allow"] == "OPTIONS,GET,HEAD,POST"
    assert (await rpc.options("/rpc/forget")).headers["allow"] == "OPTIONS,POST"
    assert (await rpc.options("/rpc/nothing")).status_code == 404


async def test_max_affected(rpc: httpx2.AsyncClient) -> None:
    """It undoes what a function has written; a function that returns no set refuses it."""
    strict = {"Prefer": "handling=strict,max-affected=2", **KEY}
    answer = await rpc.post("/rest/v1/rpc/retitle", json={"title": "Same"}, headers=strict)
    assert refusal(answer)[:2] == (400, "PGRST124")
    assert (await rpc.get("/rest/v1/posts?select=id&title=eq.Same")).json() == []
    assert refusal(await rpc.post("/rest/v1/rpc/add", json={"a": 1}, headers=strict))[:2] == (400, "PGRST128")


async def test_singular_undoes_what_a_function_has_written(rpc: httpx2.AsyncClient) -> None:
    one = {"Accept": "application/vnd.pgrst.object+json", **KEY}
    answer = await rpc.post("/rest/v1/rpc/retitle", json={"title": "Same"}, headers=one)
    assert refusal(answer)[:2] == (406, "PGRST116")
    assert (await rpc.get("/rest/v1/posts?select=id&title=eq.Same")).json() == []


async def test_function_writes_as_its_caller(rpc: httpx2.AsyncClient) -> None:
    answer = await rpc.post("/rest/v1/rpc/rename", json={"id": 1, "title": "Mine"})
    assert refusal(answer)[:2] == (401, "42501")


async def test_functions_run_inside_a_batch(rpc: httpx2.AsyncClient) -> None:
    requests = [
        {"method": "POST", "path": "/rpc/rename?select=title", "body": {"id": 4, "title": "Batched loops"}},
        {"path": "/rpc/search?q=batched&select=id"},
        {"path": "/rpc/add?a=1"},
    ]
    answer = await rpc.post("/rest/v1/batch", json=requests, headers=KEY)
    assert [each["body"] for each in answer.json()] == [{"title": "Batched loops"}, [{"id": 4}], 3]
    wrong = [
        {"method": "POST", "path": "/rpc/rename", "body": {"id": 4, "title": "Gone"}},
        {"method": "PUT", "path": "/rpc/add"},
    ]
    assert refusal(await rpc.post("/rest/v1/batch", json=wrong, headers=KEY))[:2] == (405, "PGRST101")
    assert (await rpc.get("/rest/v1/posts?select=id&title=eq.Gone")).json() == []


async def test_functions_of_another_catalog_are_its_own() -> None:
    with pytest.raises(ValueError, match="exactly when it returns rows"):
        Action(add, Returns.ROWS)

    async def odd(session: AppSession, what: object) -> None: ...

    with pytest.raises(ValueError, match="the parameter what has a type"):
        Action(odd)


def test_descriptions_name_every_function() -> None:
    assert ACTIONS["dashboard"].summary.startswith("Published posts of a period")
    assert list(ACTIONS["dashboard"].parameters) == ["since", "until"]
    assert Limits().page >= 1000  # a search finds no more rows than a page can show
