"""What is refused, with its exact code and its status on each surface, on both databases: the table is the contract."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from app.settings import Limits, Settings
from tests.http.conftest import Blog, Headers

LIMITS = Limits()
POST = {"title": "New", "user_id": 0}  # user_id is filled in by the test


@dataclass(frozen=True, slots=True)
class Case:
    """One bad request. `body` is JSON unless it is bytes; a dict goes on top of a post that is well otherwise."""

    name: str
    code: str
    rest: int
    plain: int
    method: str = "POST"
    path: str = "/posts"
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


def bad(name: str, code: str, body: Any, rest: int = 400, plain: int = 422, **more: Any) -> Case:
    return Case(name, code, rest, plain, body=body, **more)


def bad_query(name: str, code: str, path: str, status: int = 400, **more: Any) -> Case:
    return Case(name, code, status, status, method="GET", path=path, **more)


DEEP = b'{"title":' + b"[" * 40 + b"]" * 40 + b"}"
VERY_DEEP = b"[" * 200_000
CASES = [
    # the body as a whole
    bad("invalid json", "PGRST102", b'{"title":', plain=400),
    bad("empty body", "PGRST102", b"", plain=400),
    bad("a scalar", "PGRST102", b"5", plain=400),
    bad("a list of scalars", "PGRST102", b"[1]", plain=400),
    bad("NaN", "PGRST102", b'{"title": NaN}', plain=400),
    bad("bad UTF-8", "PGRST102", b'{"title": "\xff"}', plain=400),
    bad("text after the value", "PGRST102", b'{"title": "x"} y', plain=400),
    bad("rows with different keys", "PGRST102", [{"title": "a"}, {"slug": "b"}], plain=400),
    bad("deep json", "PGRST102", DEEP, plain=400),
    bad("very deep json", "PGRST102", VERY_DEEP, plain=400),
    bad("body too large", "BRD413", b'{"title": "' + b"x" * LIMITS.body + b'"}', rest=413, plain=413),
    bad("too many rows", "BRD413", [{"title": "x"}] * (LIMITS.body_rows + 1), rest=413, plain=413),
    bad("content type", "PGRST102", b"a=b", plain=415, headers=(("content-type", "application/xml"),)),
    bad("ragged lines", "PGRST102", b"title,slug\na\n", plain=400, headers=(("content-type", "text/csv"),)),
    bad("open quote", "PGRST102", b'title\n"a\n', plain=400, headers=(("content-type", "text/csv"),)),
    bad("empty csv", "PGRST102", b"", plain=400, headers=(("content-type", "text/csv"),)),
    bad("NUL in a form", "22021", b"title=%00", headers=(("content-type", "application/x-www-form-urlencoded"),)),
    bad("charset", "PGRST102", b"{}", plain=415, headers=(("content-type", "application/json; charset=latin-1"),)),
    # fields
    bad("unknown field", "PGRST204", {"titel": "x"}),
    bad("field that nobody writes", "PGRST204", {"version": 3}),
    bad("hidden field", "PGRST204", {"created_by": 3}),
    bad("an id", "428C9", {"id": 7}),
    bad("missing field", "23502", [{"title": "New"}]),
    bad("null in a required field", "23502", {"title": None}),
    # values
    bad("wrong type", "22P02", {"user_id": "abc"}),
    bad("a list for a number", "22P02", {"user_id": [1]}),
    bad("a boolean for a number", "22P02", {"user_id": True}),
    bad("a fraction for an integer", "22P02", {"user_id": 1.5}),
    bad("NaN as text", "22P02", {"user_id": "NaN"}),
    bad("integer out of range", "22003", {"user_id": 2**63}),
    bad("integer of many digits", "22003", b'{"title": "x", "user_id": ' + b"9" * 50 + b"}"),
    bad("exponent out of range", "22003", b'{"title": "x", "user_id": 1e400}'),
    bad("too long", "22001", {"title": "x" * 201}),
    bad("NUL byte", "22021", b'{"title": "a\\u0000b"}'),
    bad("NUL byte in a name", "22021", b'{"a\\u0000b": 1}'),
    bad("lone surrogate", "22P05", b'{"title": "a\\ud800b"}'),
    bad("not one of the choices", "23514", {"status": "hidden"}),
    bad("no time", "22007", {"published_at": "yesterday evening"}),
    bad("no such day", "22008", {"published_at": "2026-02-30"}),
    bad("bad slug", "22023", {"slug": "a b"}),
    bad("tags of another shape", "22023", {"tags": "python"}),
    bad("tags with an object", "22023", {"tags": [{"name": "x"}]}),
    bad("too many tags", "22023", {"tags": list(range(101))}),
    bad("empty tag", "22023", {"tags": [" "]}),
    bad("unknown tag id", "23503", {"tags": [999_999]}, rest=409, plain=409),
    bad("unknown author", "23503", {"user_id": 999_999}, rest=409, plain=409),
    bad("duplicate e-mail", "23505", {"username": "new", "email": "ADA@example.org"}, 409, 409, path="/users"),
    bad("no e-mail address", "22023", {"username": "new", "email": "ada"}, path="/users"),
    bad("short password", "22023", {"username": "new", "password": "short"}, path="/users"),
    bad("a password of another type", "22023", {"username": "new", "password": 12345678901}, path="/users"),
    bad("balance", "PGRST204", {"username": "new", "balance": 5}, path="/users"),
    # the query string
    bad_query("unknown column", "42703", "/posts?select=titel"),
    bad_query("hidden column", "42703", "/users?select=hashed_password"),
    bad_query("unknown column in a filter", "42703", "/posts?titel=eq.x"),
    bad_query("unknown column in the order", "42703", "/posts?order=titel"),
    bad_query("unknown embed", "PGRST200", "/posts?select=comments(*)"),
    bad_query("ambiguous embed", "PGRST201", "/transfers?select=users(*)", status=300),
    bad_query("embed that is not selected", "PGRST108", "/posts?tags.name=eq.x"),
    bad_query("unknown operator", "PGRST100", "/posts?title=almost.x"),
    bad_query("no operator", "PGRST100", "/posts?page=2"),
    bad_query("operator that is not there", "PGRST127", "/posts?title=sl.x"),
    bad_query("parameter without a value", "PGRST100", "/posts?select"),
    bad_query("malformed select", "PGRST100", "/posts?select=author(username"),
    bad_query("two selects", "PGRST100", "/posts?select=id&select=title"),
    bad_query("wrong type in a filter", "22P02", "/posts?id=eq.abc"),
    bad_query("out of range in a filter", "22003", f"/posts?id=eq.{2**63}"),
    bad_query("NUL in a filter", "22021", "/posts?title=eq.a%00b"),
    bad_query("bad UTF-8 in a filter", "PGRST100", "/posts?title=eq.%ff"),
    bad_query("negative limit", "PGRST100", "/posts?limit=-1"),
    bad_query("offset too far", "PGRST100", "/posts?offset=100001"),
    bad("unknown parameter on a write", "PGRST100", {}, plain=400, path="/posts?dry_run=1"),
    bad("unknown column in the answer of a write", "42703", {}, plain=400, path="/posts?select=titel"),
    # path, method, headers
    bad_query("unknown table", "PGRST205", "/comments", status=404),
    bad_query("table that is no resource", "PGRST205", "/credentials", status=404),
    bad_query("other path", "PGRST125", "/posts/1/tags/2", status=404),
    bad_query("bad UTF-8 in the path", "22021", "/posts%ff"),
    bad_query("NUL in the path", "22021", "/posts%00"),
    bad_query("long URL", "BRD414", f"/posts?title=eq.{'x' * LIMITS.url}", status=414),
    bad_query("media type", "PGRST107", "/posts", status=406, headers=(("accept", "text/html"),)),
    bad_query("schema", "PGRST106", "/posts", status=406, headers=(("accept-profile", "private"),)),
    Case("wrong method", "PGRST117", 405, 405, method="PATCH", path="/batch"),
    Case("change of everything", "21000", 400, 400, method="PATCH", body=b'{"title": "x"}'),
    Case("delete of everything", "21000", 400, 400, method="DELETE"),
    Case("unknown method", "PGRST117", 405, 405, method="BREW"),
    bad("unknown preference", "PGRST122", {}, plain=400, headers=(("prefer", "handling=strict, return=all"),)),
    bad_query("wrong key", "PGRST301", "/posts", status=401, headers=(("apikey", "sb_secret_wrong"),)),
    bad_query("wrong bearer", "PGRST301", "/posts", status=401, headers=(("authorization", "Bearer x"),)),
    bad_query("basic credentials", "PGRST301", "/posts", status=401, headers=(("authorization", "Basic eDp5"),)),
]


def content_of(case: Case, blog: Blog) -> bytes | None:
    if case.body is None or isinstance(case.body, bytes):
        return case.body
    if isinstance(case.body, dict) and case.path.startswith("/posts"):
        return json.dumps({**POST, "user_id": blog.ada, **case.body}).encode()
    return json.dumps(case.body).encode()


@pytest.mark.parametrize("surface", ["rest", "plain"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_bad_request_has_its_code_and_status(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, case: Case, surface: str
) -> None:
    prefix = "/rest/v1" if surface == "rest" else ""
    headers = {"content-type": "application/json", **secret, **dict(case.headers)}
    response = await client.request(case.method, prefix + case.path, content=content_of(case, blog), headers=headers)
    body = response.json()
    assert (body["code"], response.status_code) == (case.code, case.rest if surface == "rest" else case.plain), body
    assert set(body) == {"code", "message", "details", "hint"}
    assert body["message"]
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["proxy-status"] == f"PostgREST; error={case.code}"


async def test_refused_write_leaves_nothing(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    rows = [{"title": "One", "user_id": blog.ada}, {"title": "Two", "user_id": 999_999}]
    response = await client.post("/posts", json=rows, headers=secret)
    assert response.status_code == 409
    assert len((await client.get("/posts?limit=100", headers=secret)).json()) == 3


async def test_body_that_grows_too_large_is_refused(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    """Without a declared length it is counted while it comes in."""
    sent = 0

    async def chunks() -> AsyncGenerator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 1
            yield b" " * 65536
            await asyncio.sleep(0)

    response = await client.post("/posts", content=chunks(), headers={**secret, "content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (413, "BRD413")
    assert "content-length" not in response.request.headers


async def test_all_errors_of_a_row_are_said_at_once(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    row = {"titel": "x", "status": "hidden", "published_at": "soon"}
    body = (await client.post("/posts", json=row, headers=secret)).json()
    assert body["code"] == "PGRST204"
    assert body["message"] == "Could not find the 'titel' column of 'posts' in the schema cache"
    assert body["hint"] == "Perhaps you meant the column 'title'."
    problems = body["details"].split("; ")
    assert len(problems) == 5
    assert problems[3:] == [
        f'null value in column "{name}" of relation "posts" violates not-null constraint'
        for name in ("user_id", "title")
    ]


async def test_error_of_a_list_names_its_row(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    rows = [{"title": "One", "user_id": blog.ada}, {"title": "Two", "user_id": "abc"}]
    body = (await client.post("/posts", json=rows, headers=secret)).json()
    assert body["details"] == 'row 2: invalid input syntax for type bigint: "abc"'


async def test_hint_names_only_fields_that_the_caller_may_write(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers
) -> None:
    body = (await client.post("/users", json={"username": "eve", "balanc": 5}, headers=secret)).json()
    assert (body["code"], body["hint"]) == ("PGRST204", None)


async def test_unique_violation_reads_alike_on_both_databases(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers
) -> None:
    row = {"username": "new", "email": "ada@example.org"}
    body = (await client.post("/users", json=row, headers=secret)).json()
    assert body["message"] == 'duplicate key value violates unique constraint "users_email_key"'


async def test_wrong_method_says_what_is_allowed(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.patch("/batch", json={})
    assert response.headers["allow"] == "POST"
    response = await client.post("/posts/1", json={})
    assert response.headers["allow"] == "OPTIONS,GET,HEAD,PUT,PATCH,DELETE"


async def test_error_of_head_has_no_body(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.head("/comments")
    assert (response.status_code, response.content) == (404, b"")
    assert response.headers["proxy-status"] == "PostgREST; error=PGRST205"


async def test_hidden_table_is_refused_as_one_that_does_not_exist(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    hidden = (await client.get("/revisions")).json()
    missing = (await client.get("/revisionz")).json()
    assert hidden["code"] == missing["code"] == "PGRST205"
    assert hidden["hint"] == missing["hint"]
    assert hidden["message"].replace("revisions", "revisionz") == missing["message"]
