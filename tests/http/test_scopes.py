"""Scopes over HTTP: what a key without them is refused, on every surface, by every verb and way round."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, Principal, Role
from app.http.app import create_app
from app.settings import Settings
from tests.conftest import Statements
from tests.http.asking import SURFACES, client_as
from tests.http.conftest import Blog, client_of

OF = "(--kind publishable|--kind secret|--user USERNAME)"


class Scoped(Protocol):
    """A client whose caller has these scopes alone; the service's, unless `who` is another."""

    def __call__(self, *scopes: str, who: Principal | None = None) -> AbstractAsyncContextManager[httpx2.AsyncClient]:
        raise NotImplementedError


@pytest.fixture
def scoped(settings: Settings, database: Database, blog: Blog) -> Scoped:
    @asynccontextmanager
    async def make(*scopes: str, who: Principal | None = None) -> AsyncGenerator[httpx2.AsyncClient]:
        base = who or Principal(Role.SERVICE)
        caller = Principal(base.role, base.user_id, "0123456789abcdef", frozenset(scopes))
        async with client_as(caller, settings, database) as client:
            yield client

    return make


def missing(response: httpx2.Response) -> str:
    """The scope whose lack is answered."""
    body = response.json()
    assert (response.status_code, body["code"]) == (403, "42501"), response.text
    scope: str = body["message"].removeprefix("this key lacks the scope ")
    assert re.fullmatch(
        f"Make a key that has it: broadsheet keys create NAME {OF} --scope {re.escape(scope)}", body["hint"]
    )
    return scope


# ---- reading --------------------------------------------------------------------------------------------------------

READS = [
    ("posts", "posts:read"),
    ("posts?select=id&status=eq.draft&order=id.desc", "posts:read"),
    ("posts?select=title,author(username)", "users:read"),
    ("posts?select=title,...author(username)", "users:read"),
    ("posts?select=title,author()&author=not.is.null", "users:read"),
    ("posts?select=title,author!inner()", "users:read"),
    ("posts?select=title,author()&author.username=eq.ada", "users:read"),
    ("posts?select=title,author(username)&order=author(username)", "users:read"),
    ("posts?select=title,tags(name)", "tags:read"),
    ("posts?select=title,tags()&tags.name=eq.sql", "tags:read"),
    ("users?select=username,posts(title,tags(name))", "tags:read"),
    ("posts?or=(author.is.null,id.eq.1)&select=id,author()", "users:read"),
    ("transfers", "transfers:read"),
    ("revisions", "revisions:read"),
    ("post_tags", "post_tags:read"),
]
TABLES = ("posts", "users", "tags", "transfers", "revisions", "post_tags")


@SURFACES
@pytest.mark.parametrize(("path", "scope"), READS)
async def test_each_table_that_is_read_needs_its_scope(scoped: Scoped, prefix: str, path: str, scope: str) -> None:
    others = [f"{table}:read" for table in TABLES if f"{table}:read" != scope]
    async with scoped(*others, "rpc/search") as client:
        assert missing(await client.get(f"{prefix}/{path}")) == scope
        assert (await client.head(f"{prefix}/{path}")).status_code == 403
        assert missing(await client.get(f"{prefix}/{path}", headers={"accept": "text/csv"})) == scope
    async with scoped(*others, scope) as client:
        assert (await client.get(f"{prefix}/{path}")).status_code == 200


@pytest.mark.parametrize("scope", ["posts:read", "posts:write", "*:read", "*:write", "*"])
async def test_scopes_that_let_a_table_be_read(scoped: Scoped, blog: Blog, scope: str) -> None:
    async with scoped(scope) as client:
        for path in ("/posts", "/rest/v1/posts", f"/posts/{blog.draft}"):
            assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("scope", ["users:read", "users:write", "rpc/search", "post:read", "POSTS:READ"])
async def test_scopes_that_do_not(scoped: Scoped, blog: Blog, scope: str) -> None:
    async with scoped(scope) as client:
        for path in ("/posts", "/rest/v1/posts", f"/posts/{blog.draft}"):
            assert missing(await client.get(path)) == "posts:read"


async def test_junction_of_a_many_to_many_embed_counts_as_the_far_table(scoped: Scoped, blog: Blog) -> None:
    async with scoped("posts:read", "tags:read") as client:
        answer = await client.get(f"/posts/{blog.post}?select=tags(name)&tags.order=name")
        assert answer.json() == {"tags": [{"name": "python"}, {"name": "sql"}]}


async def test_embeds_of_an_item_need_their_scope(scoped: Scoped, blog: Blog) -> None:
    async with scoped("posts:read") as client:
        assert missing(await client.get(f"/posts/{blog.post}?select=title,author(username)")) == "users:read"


async def test_page_behind_a_cursor_is_refused_too(scoped: Scoped) -> None:
    async with scoped("tags:read") as client:
        link = (await client.get("/tags?limit=1")).headers["link"]
    url = link[1 : link.index(">")]
    async with scoped("posts:read") as client:
        assert missing(await client.get(url)) == "tags:read"


async def test_plan_that_somebody_else_asked_for_is_refused_all_the_same(
    settings: Settings, database: Database, blog: Blog
) -> None:
    """Plans are kept by role and query string, which say nothing of scopes."""
    now = Principal(Role.SERVICE)

    async def authenticate(headers: Any, database: Database) -> Principal:
        return now

    async with client_of(create_app(settings, authenticate=authenticate, database=database)) as client:
        assert (await client.get("/posts?select=id,author(username)")).status_code == 200
        now = Principal(Role.SERVICE, scopes=frozenset({"posts:read"}))
        assert missing(await client.get("/posts?select=id,author(username)")) == "users:read"


async def test_refusal_asks_the_database_nothing(scoped: Scoped, statements: Statements) -> None:
    async with scoped("users:read") as client:
        statements.clear()
        await client.get("/posts")
        await client.post("/posts", json={"title": "x"})
        await client.get("/rpc/dashboard")
        assert statements.texts == []


async def test_name_that_does_not_exist_is_refused_as_ever(scoped: Scoped) -> None:
    async with scoped("users:read") as client:
        assert (await client.get("/comments")).status_code == 404
        assert (await client.get("/posts?select=nothing")).json()["code"] == "42703"


@SURFACES
async def test_options_needs_no_scope(scoped: Scoped, blog: Blog, prefix: str) -> None:
    paths = [f"{prefix}/posts", f"{prefix}/rpc/search"] + ([f"/posts/{blog.post}"] if not prefix else [])
    async with scoped("tags:read") as client:
        for path in paths:
            assert (await client.options(path)).status_code == 200


# ---- writing --------------------------------------------------------------------------------------------------------


def writes(blog: Blog, prefix: str) -> list[tuple[str, str, Any]]:
    rows = f"{prefix}/posts?id=eq.{blog.post}"
    found = [
        ("POST", f"{prefix}/posts", {"title": "New", "user_id": blog.ada}),
        ("POST", f"{prefix}/posts", [{"title": "One", "user_id": blog.ada}, {"title": "Two", "user_id": blog.ada}]),
        ("PATCH", rows, {"title": "Other"}),
        ("PATCH", rows, {}),
        ("PUT", rows, {"id": blog.post, "title": "Put", "user_id": blog.ada}),
        ("DELETE", rows, None),
    ]
    if prefix == "":
        item = f"/posts/{blog.draft}"
        found += [
            ("PATCH", item, {"title": "Other"}),
            ("PUT", item, {"title": "Put", "slug": "put", "user_id": blog.ada}),
        ]
        found += [("DELETE", item, None)]
    return found


@SURFACES
async def test_each_write_needs_its_scope(scoped: Scoped, blog: Blog, prefix: str) -> None:
    async with scoped("*:read", "users:write", "tags:write", "rpc/search") as client:
        for method, path, body in writes(blog, prefix):
            assert missing(await client.request(method, path, json=body)) == "posts:write", (method, path)
        csv = await client.post(f"{prefix}/posts", content="title\nx\n", headers={"content-type": "text/csv"})
        assert missing(csv) == "posts:write"
        merge = {"prefer": "resolution=merge-duplicates"}
        upsert = await client.post(f"{prefix}/posts", json=[{"id": blog.post, "title": "x"}], headers=merge)
        assert missing(upsert) == "posts:write"


@SURFACES
@pytest.mark.parametrize("scope", ["posts:write", "*:write", "*"])
async def test_scope_to_write_lets_write_and_read_what_was_written(
    scoped: Scoped, blog: Blog, prefix: str, scope: str
) -> None:
    shown = {"prefer": "return=representation"}
    async with scoped(scope) as client:
        for method, path, body in writes(blog, prefix):
            answer = await client.request(method, path, json=body, headers=shown)
            assert answer.status_code in (200, 201), (method, path, answer.text)


async def test_what_a_write_takes_along_needs_no_scope_of_its_own(
    scoped: Scoped, database: Database, blog: Blog
) -> None:
    """Tags by name, links and revisions."""
    async with scoped("posts:write") as client:
        body = {"title": "New", "user_id": blog.ada, "tags": ["python", "brand new"]}
        made = (await client.post("/posts", json=body)).json()["id"]
        assert (await client.patch(f"/posts/{made}", json={"tags": ["other"]})).status_code == 200
    async with scoped("*:read") as client:
        found = (await client.get(f"/posts/{made}?select=tags(name)")).json()
        assert found == {"tags": [{"name": "other"}]}
        changes = (await client.get(f"/revisions?table_name=eq.posts&row_id=eq.{made}")).json()
        assert [(row["operation"], row["key_id"]) for row in changes] == [
            ("insert", "0123456789abcdef"),
            ("update", "0123456789abcdef"),
        ]


async def test_removing_takes_along_what_its_rule_says(scoped: Scoped, blog: Blog) -> None:
    async with scoped("tags:write") as client:
        assert (await client.delete("/tags?name=eq.sql")).status_code == 204


async def test_embeds_of_a_written_answer_need_their_scope(scoped: Scoped, blog: Blog) -> None:
    async with scoped("posts:write") as client:
        answer = await client.patch(f"/posts?id=eq.{blog.post}&select=id,author(username)", json={"title": "Other"})
        assert missing(answer) == "users:read"
        assert (await client.get(f"/posts/{blog.post}?select=title")).json() == {"title": "Hello"}


async def test_read_scope_lets_nothing_be_written(scoped: Scoped, blog: Blog) -> None:
    async with scoped("*:read") as client:
        assert missing(await client.post("/tags", json={"name": "x"})) == "tags:write"


# ---- functions ------------------------------------------------------------------------------------------------------


@SURFACES
async def test_function_needs_its_scope_and_then_sees_what_it_needs(scoped: Scoped, prefix: str) -> None:
    async with scoped("*:read", "*:write", "rpc/search") as client:
        for method in ("GET", "POST"):
            assert missing(await client.request(method, f"{prefix}/rpc/dashboard")) == "rpc/dashboard"
    async with scoped("rpc/dashboard", who=ANONYMOUS) as client:
        for method in ("GET", "POST"):
            answer = await client.request(method, f"{prefix}/rpc/dashboard")
            assert answer.json()["totals"] == {"posts": 1, "authors": 1, "tags": 2}


@SURFACES
async def test_rows_of_a_function_come_with_it_but_their_embeds_need_a_scope(scoped: Scoped, prefix: str) -> None:
    async with scoped("rpc/search", who=ANONYMOUS) as client:
        assert (await client.get(f"{prefix}/rpc/search?q=text&select=title")).json() == [{"title": "Hello"}]
        for select in ("title,author(username)", "title,author!inner()"):
            assert missing(await client.get(f"{prefix}/rpc/search?q=text&select={select}")) == "users:read"
            ordered = f"{prefix}/rpc/search?select={select}&order=title"
            assert missing(await client.post(ordered, json={"q": "text"})) == "users:read"
    async with scoped("rpc/search", "users:read", who=ANONYMOUS) as client:
        answer = await client.get(f"{prefix}/rpc/search?q=text&select=author(username)")
        assert answer.json() == [{"author": {"username": "ada"}}]


@pytest.mark.parametrize("scopes", [("*",), ("rpc/dashboard", "posts:read")])
async def test_scopes_that_let_a_function_be_called(scoped: Scoped, scopes: tuple[str, ...]) -> None:
    async with scoped(*scopes) as client:
        assert (await client.get("/rpc/dashboard")).status_code == 200


# ---- batches --------------------------------------------------------------------------------------------------------


@SURFACES
async def test_each_request_of_a_batch_is_held_to_the_scopes(scoped: Scoped, blog: Blog, prefix: str) -> None:
    made = {"method": "POST", "path": "/tags", "body": {"name": "new"}}
    for single, scope in (
        ({"path": "/users"}, "users:read"),
        ({"path": "/posts?select=id,author(username)"}, "users:read"),
        ({"path": "/rpc/dashboard"}, "rpc/dashboard"),
        ({"path": "/rpc/search?q=x&select=author(username)"}, "users:read"),
        ({"method": "PATCH", "path": f"/posts?id=eq.{blog.post}", "body": {"title": "x"}}, "posts:write"),
        ({"method": "DELETE", "path": f"/posts?id=eq.{blog.post}"}, "posts:write"),
    ):
        async with scoped("tags:write", "posts:read", "rpc/search") as client:
            for requests, place in (([single], 0), ([made, single], 1)):
                answer = await client.post(f"{prefix}/batch", json={"requests": requests})
                assert answer.status_code == 403
                assert answer.json()["message"] == f"requests[{place}]: this key lacks the scope {scope}"
            assert (await client.get("/tags?name=eq.new")).json() == []


@SURFACES
async def test_batch_within_the_scopes_is_done(scoped: Scoped, prefix: str) -> None:
    requests = [
        {"method": "POST", "path": "/tags", "body": {"name": "new"}},
        {"path": "/tags?name=eq.new&select=name"},
        {"path": "/rpc/dashboard"},
        {"method": "POST", "path": "/rpc/search", "body": {"q": "text"}},
    ]
    async with scoped("tags:write", "rpc/dashboard", "rpc/search") as client:
        for some in (requests, requests[1:3]):
            answer = await client.post(f"{prefix}/batch", json={"requests": some})
            assert answer.status_code == 200, answer.text
        assert answer.json()[1]["body"]["totals"]["authors"] == 1


# ---- scopes and rules -----------------------------------------------------------------------------------------------


async def test_scopes_add_nothing_to_what_the_rules_allow(scoped: Scoped, blog: Blog) -> None:
    async with scoped("*", who=Principal(Role.MEMBER, blog.bob)) as client:
        assert (await client.get(f"/posts/{blog.draft}")).status_code == 404
        assert (await client.patch(f"/posts/{blog.post}", json={"title": "x"})).status_code == 403
        assert (await client.get("/users?select=email&order=id")).json() == [
            {"email": None},
            {"email": "bob@example.org"},
        ]
        assert (await client.get("/users?select=role")).json()["code"] == "42703"


async def test_key_of_a_user_within_its_scopes_writes_as_that_user(scoped: Scoped, blog: Blog) -> None:
    async with scoped("posts:write", who=Principal(Role.AUTHOR, blog.ada)) as client:
        made = (await client.post("/posts", json={"title": "Mine"})).json()
        assert made["user_id"] == blog.ada
        assert missing(await client.patch(f"/users/{blog.ada}", json={"full_name": "x"})) == "users:write"


async def test_publishable_key_can_be_narrowed_too(scoped: Scoped) -> None:
    async with scoped("tags:read", who=ANONYMOUS) as client:
        assert (await client.get("/tags")).status_code == 200
        assert missing(await client.get("/posts")) == "posts:read"


@pytest.mark.parametrize(
    ("who", "of"),
    [
        (ANONYMOUS, "--kind publishable"),
        (Principal(Role.SERVICE), "--kind secret"),
        (Principal(Role.AUTHOR, 1), "--user USERNAME"),
    ],
)
async def test_refusal_says_how_to_make_a_key_of_this_kind(scoped: Scoped, who: Principal, of: str) -> None:
    async with scoped("tags:read", who=who) as client:
        assert f"keys create NAME {of} --scope posts:read" in (await client.get("/posts")).json()["hint"]
