"""POST /batch: several requests in one transaction, all or nothing."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, user
from app.settings import Settings
from tests.conftest import Statements
from tests.http.asking import OBJECT, SURFACES, client_as, make_tags, prefer, service_client
from tests.http.conftest import Blog, Headers


def post(path: str, body: Any, **headers: str) -> dict[str, Any]:
    return {"method": "POST", "path": path, "body": body, "headers": headers}


async def names(client: httpx2.AsyncClient) -> list[str]:
    return [row["name"] for row in (await client.get("/tags?order=id")).json()]


@SURFACES
async def test_requests_see_those_before_them(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str
) -> None:
    requests = [
        post("/tags?select=name", {"name": "new"}, prefer="return=representation"),
        {"path": "/tags?name=eq.new&select=name,version", "headers": {"Accept": OBJECT}},
        {"method": "PATCH", "path": f"/posts?id=eq.{blog.post}", "body": {"tags": ["new"]}},
        {"method": "get", "path": f"/posts?id=eq.{blog.post}&select=version,tags(name)"},
        {"method": "DELETE", "path": "/tags?name=eq.sql", "headers": {"prefer": "count=exact"}},
    ]
    response = await client.post(f"{prefix}/batch", json={"requests": requests}, headers=secret)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    made, read, patched, again, removed = response.json()
    assert (made["status"], made["body"]) == (201, {"name": "new"} if prefix == "" else [{"name": "new"}])
    assert made["headers"]["Preference-Applied"] == "return=representation"
    assert (read["status"], read["body"]) == (200, {"name": "new", "version": 1})
    assert read["headers"]["Content-Type"] == f"{OBJECT}; charset=utf-8"
    assert patched["status"] == (200 if prefix == "" else 204)
    assert again["body"] == [{"version": 2, "tags": [{"name": "new"}]}]
    assert again["headers"]["Content-Range"] == "0-0/*"
    assert (removed["status"], removed["body"], removed["headers"]["Content-Range"]) == (204, None, "*/1")
    assert (await client.get(f"/posts/{blog.post}?select=tags(name)")).json() == {"tags": [{"name": "new"}]}


@SURFACES
@pytest.mark.parametrize(
    ("bad", "rest", "plain", "code"),
    [
        (post("/tags", {"name": "taken"}), 409, 409, "23505"),
        (post("/tags", {"nam": "x"}), 400, 422, "PGRST204"),
        (post("/tags", [1]), 400, 400, "PGRST102"),
        ({"path": "/comments"}, 404, 404, "PGRST205"),
        ({"path": "/tags?nam=eq.x"}, 400, 400, "42703"),
        ({"path": "/tags?name=eq.x", "headers": {"accept": OBJECT}}, 406, 406, "PGRST116"),
        ({"path": "/tags", "headers": {"accept-profile": "other"}}, 406, 406, "PGRST106"),
        ({"path": "/a/b/c/d"}, 404, 404, "PGRST125"),
        ({"path": "/batch", "method": "POST", "body": []}, 404, 404, "PGRST125"),
        ({"path": "/health/live"}, 404, 404, "PGRST125"),
        ({"path": "/tags", "method": "BREW"}, 405, 405, "PGRST117"),
        ({"path": "/tags", "method": "OPTIONS"}, 405, 405, "PGRST117"),
        ({"path": "/tags", "method": "DELETE"}, 400, 400, "21000"),
        ({"path": "tags"}, 400, 400, "PGRST102"),
        ({"path": "/tags", "headers": {"apikey": "x"}}, 400, 400, "PGRST102"),
        ({"path": f"/tags?name=eq.{'x' * 20_000}"}, 414, 414, "BRD414"),
        ({"path": "/tags?name=eq.é"}, 400, 400, "PGRST102"),
    ],
    ids=lambda value: value["path"][:20] if isinstance(value, dict) else None,
)
async def test_request_that_is_refused_ends_all(
    client: httpx2.AsyncClient, secret: Headers, prefix: str, bad: Any, rest: int, plain: int, code: str
) -> None:
    await make_tags(client, secret, "taken")
    requests = [post("/tags", {"name": "first"}), bad, post("/tags", {"name": "last"})]
    response = await client.post(f"{prefix}/batch", json={"requests": requests}, headers=secret)
    assert (response.status_code, response.json()["code"]) == (rest if prefix else plain, code), response.text
    assert set(response.json()) == {"code", "message", "details", "hint"}
    assert response.json()["message"].startswith("requests[1]: ")
    assert response.headers["proxy-status"] == f"PostgREST; error={code}"
    assert await names(client) == ["taken"]


async def test_items_belong_to_the_plain_surface(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    requests: list[dict[str, Any]] = [
        {"method": "PATCH", "path": f"/posts/{blog.post}?select=title", "body": {"title": "New"}},
        {"method": "GET", "path": f"/posts/{blog.post}?select=title"},
    ]
    patched, read = (await client.post("/batch", json=requests, headers=secret)).json()
    assert patched["body"] == read["body"] == {"title": "New"}
    assert patched["headers"]["ETag"] == read["headers"]["ETag"]
    stale = [{**requests[0], "headers": {"if-match": '"1"'}}]
    response = await client.post("/batch", json=stale, headers=secret)
    assert (response.status_code, response.json()["code"]) == (412, "BRD412")
    response = await client.post("/rest/v1/batch", json=requests, headers=secret)
    assert (response.status_code, response.json()["message"][:12]) == (404, "requests[0]:")


async def test_known_answer_and_head_have_no_body(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    etag = (await client.get("/posts?select=title", headers=secret)).headers["etag"]
    requests = [
        {"path": "/posts?select=title", "headers": {"If-None-Match": etag}},
        {"path": "/posts?select=title", "method": "HEAD"},
        {"path": "/posts?select=title&limit=1", "headers": {"accept": "text/csv", "prefer": "count=exact"}},
    ]
    known, head, csv = (await client.post("/batch", json=requests, headers=secret)).json()
    assert (known["status"], known["body"]) == (304, None)
    assert (head["status"], head["body"]) == (200, None)
    assert (csv["status"], csv["body"]) == (206, "title\nHello")


async def test_csv_travels_as_a_string(client: httpx2.AsyncClient, secret: Headers) -> None:
    requests = [post("/tags", "name\nx\ny\n", **{"content-type": "text/csv"})]
    response = await client.post("/batch", json=requests, headers=secret)
    assert response.status_code == 200
    assert await names(client) == ["x", "y"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "PGRST102"),
        ({"requests": {}}, "PGRST102"),
        ({"requests": [], "x": 1}, "PGRST102"),
        ([1], "PGRST102"),
        ([{}], "PGRST102"),
        ([{"path": 1}], "PGRST102"),
        ([{"path": "/tags", "header": {}}], "PGRST102"),
        ([{"path": "/tags", "headers": {"a": 1}}], "PGRST102"),
        ("x", "PGRST102"),
        ([{"path": "/tags"}] * 51, "BRD413"),
    ],
)
async def test_bad_batch(client: httpx2.AsyncClient, secret: Headers, body: Any, code: str) -> None:
    response = await client.post("/rest/v1/batch", json=body, headers=secret)
    assert (response.status_code, response.json()["code"]) == (413 if code == "BRD413" else 400, code)
    assert not response.json()["message"].startswith("requests[")


async def test_empty_batch(client: httpx2.AsyncClient, statements: Statements) -> None:
    bodies: tuple[Any, ...] = ([], {"requests": []})
    for body in bodies:
        response = await client.post("/batch", json=body)
        assert (response.status_code, response.json()) == (200, [])
    assert statements.count == 0


async def test_body_is_bounded_as_any_other(client: httpx2.AsyncClient, secret: Headers) -> None:
    for content, status in ((b"[" * 100, 400), (b'[{"path":"/tags","body":%s}]' % (b"9" * 50), 422)):
        headers = {**secret, "content-type": "application/json"}
        assert (await client.post("/batch", content=content, headers=headers)).status_code == status
    response = await client.post("/batch", content=b"x", headers={**secret, "content-type": "text/csv"})
    assert response.status_code == 415


async def test_answer_is_bounded(settings: Settings, database: Database, blog: Blog) -> None:
    async with service_client(settings, database, limits={"batch_answer": 300}) as client:
        assert (await client.post("/batch", json=[{"path": "/posts?select=id"}])).status_code == 200
        response = await client.post("/batch", json=[{"path": "/posts"}, {"path": "/posts"}])
        assert (response.status_code, response.json()["code"]) == (400, "54000")


async def test_batch_that_is_rolled_back_on_demand(settings: Settings, database: Database) -> None:
    async with service_client(settings, database, allow_rollback=True) as client:
        requests = [post("/tags", {"name": "gone"}, prefer="tx=commit"), {"path": "/tags?select=name"}]
        response = await client.post("/batch", json=requests, headers=prefer("tx=rollback"))
        assert response.headers["preference-applied"] == "tx=rollback"
        assert response.json()[1]["body"] == [{"name": "gone"}]
        assert "Preference-Applied" not in response.json()[0]["headers"]
        assert await names(client) == []


async def test_caller_of_a_batch_is_the_caller_of_its_requests(
    settings: Settings, database: Database, blog: Blog
) -> None:
    async with client_as(user(blog.bob, "member"), settings, database) as client:
        reads = [{"path": "/posts?select=title&order=id"}, {"path": "/users?select=email&order=id"}]
        posts, users = (await client.post("/batch", json=reads)).json()
        assert posts["body"] == [{"title": "Hello"}]
        assert users["body"] == [{"email": None}, {"email": "bob@example.org"}]
        response = await client.post("/batch", json=[*reads, post("/tags", {"name": "x"})])
        assert (response.status_code, response.json()["code"]) == (403, "42501")
    async with client_as(ANONYMOUS, settings, database) as client:
        response = await client.post("/batch", json=[post("/tags", {"name": "x"})])
        assert (response.status_code, response.json()["message"]) == (
            401,
            "requests[0]: permission denied for table tags",
        )
        assert response.headers["www-authenticate"] == "Bearer"


async def test_batch_of_reads_takes_no_writer(
    client: httpx2.AsyncClient, database: Database, blog: Blog, statements: Statements
) -> None:
    """While another unit of work holds SQLite's one writer."""
    async with database.writing(user(blog.ada, "author")):
        response = await client.post("/batch", json=[{"path": "/posts?select=id"}] * 3)
    assert [answer["status"] for answer in response.json()] == [200] * 3
    assert statements.count == 3


async def test_revisions_of_a_batch_share_stamp_and_request(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers
) -> None:
    requests = [
        {"method": "PATCH", "path": f"/posts/{number}", "body": {"title": "x"}} for number in (blog.post, blog.draft)
    ]
    headers = {**secret, "x-request-id": "batch-1"}
    assert (await client.post("/batch", json=requests, headers=headers)).status_code == 200
    rows = (await client.get("/revisions?request_id=eq.batch-1&select=at,row_id&order=id", headers=secret)).json()
    assert [row["row_id"] for row in rows] == [str(blog.post), str(blog.draft)]
    assert rows[0]["at"] == rows[1]["at"]
