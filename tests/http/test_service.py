"""What surrounds the resources: links, health, metrics, request ids, logs, faults, CORS."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import logs
from app.data.database import Database
from app.errors import Internal
from app.http.app import create_app
from app.settings import Settings
from tests.http.conftest import Blog, Headers, client_of


class Lines(logging.Handler):
    """What the log would have printed, decoded again."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs.JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["logger"] == logger]


@pytest.fixture
def lines() -> Generator[Lines]:
    handler = Lines()
    logger = logging.getLogger("broadsheet")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


# ---- links, health, metrics -----------------------------------------------------------------------------------------


async def test_root_links_what_the_caller_may_read(client: httpx2.AsyncClient, secret: Headers) -> None:
    body = (await client.get("/")).json()
    assert (body["name"], body["version"]) == ("Broadsheet", "0.1.0")
    assert body["links"]["posts"] == "/posts"
    assert "revisions" not in body["links"]
    assert "revisions" in (await client.get("/", headers=secret)).json()["links"]


async def test_health(client: httpx2.AsyncClient, database: Database) -> None:
    for path in ("/health/live", "/health/ready"):
        response = await client.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_service_is_not_ready_without_the_newest_schema(settings: Settings, empty_url: str) -> None:
    async with client_of(create_app(replace(settings, database_url=empty_url))) as client:
        assert (await client.get("/health/live")).status_code == 200
        response = await client.get("/health/ready")
    assert (response.status_code, response.json()["code"]) == (503, "PGRST000")
    assert response.headers["retry-after"] == "5"


async def test_metrics_count_by_template(client: httpx2.AsyncClient, blog: Blog) -> None:
    for path in ("/posts", f"/posts/{blog.post}", "/posts/999999", "/a/b/c", "/comments"):
        await client.get(path)
    await client.request("BREW", "/posts")
    text = (await client.get("/metrics")).text
    assert 'broadsheet_requests_total{method="GET",route="/{resource}",status="200"} 1.0' in text
    assert 'broadsheet_requests_total{method="GET",route="/{resource}/{id}",status="404"} 1.0' in text
    assert 'broadsheet_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert 'broadsheet_requests_total{method="other",route="/{resource}",status="405"} 1.0' in text
    assert 'broadsheet_request_seconds_count{method="GET",route="/{resource}/{id}"} 2.0' in text
    assert "broadsheet_database_checkouts_total" in text
    assert "comments" not in text


@pytest.mark.parametrize("path", ["/health/live", "/metrics"])
async def test_service_paths_refuse_other_methods_as_tables_do(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.post(path)
    assert (response.status_code, response.json()["code"]) == (405, "PGRST117")
    assert response.headers["allow"] == "GET,HEAD"


@pytest.mark.parametrize("path", ["/health", "/rest", "/auth/v2/token", "/posts/", "http://test//posts"])
async def test_paths_that_are_the_services_own_are_no_tables(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "PGRST125")


# ---- request ids, headers, logs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("x" * 129, False), ("a b", False), ("", False)])
async def test_request_id(client: httpx2.AsyncClient, given: str, kept: bool) -> None:
    response = await client.get("/health/live", headers={"x-request-id": given})
    answered = response.headers["x-request-id"]
    assert (answered == given) is kept
    assert answered


async def test_every_answer_has_the_common_headers(client: httpx2.AsyncClient, blog: Blog) -> None:
    for path in ("/posts", "/comments", "/a/b/c", "/health/live"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == "default-src 'none'"
        assert "server" not in headers


async def test_access_line(client: httpx2.AsyncClient, blog: Blog, secret: Headers, lines: Lines) -> None:
    path = "/posts?select=title,tags(name)&title=eq.Hello"
    await client.get(path, headers={**secret, "x-request-id": "r-1"})
    (line,) = lines.of("broadsheet.access")
    assert line["request_id"] == "r-1"
    assert (line["method"], line["path"], line["route"], line["status"]) == ("GET", "/posts", "/{resource}", 200)
    assert (line["role"], line["statements"]) == ("service", 2)
    assert set(line["stages"]) == {"authenticate", "plan", "database", "encode"}
    assert line["ms"] >= sum(line["stages"].values()) - 0.1
    assert "Hello" not in json.dumps(line)
    assert secret["apikey"] not in json.dumps(line)


async def test_write_is_logged_without_values(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, lines: Lines
) -> None:
    row = {"username": "eve", "password": "a good long secret", "email": "eve@example.org"}
    await client.post("/users", json=row, headers=secret)
    await client.post("/users", json=row, headers=secret)
    text = json.dumps(lines.lines)
    assert len(lines.of("broadsheet.access")) == 2
    for value in ("a good long secret", "eve@example.org", secret["apikey"]):
        assert value not in text


def test_rows_are_cut_from_tracebacks() -> None:
    text = "asyncpg.NotNullViolationError: null value\nDETAIL:  Failing row contains (1, secret).\nmore"
    assert logs.without_rows(text) == "asyncpg.NotNullViolationError: null value\nmore"


# ---- faults ---------------------------------------------------------------------------------------------------------


async def break_down(request: Request) -> Response:
    raise ZeroDivisionError("the secret of the house")


async def break_down_knowingly(request: Request) -> Response:
    raise Internal("the secret of the house")


@pytest.mark.parametrize("endpoint", [break_down, break_down_knowingly])
async def test_fault_is_logged_and_not_shown(
    settings: Settings, database: Database, lines: Lines, endpoint: Any
) -> None:
    app = create_app(settings, database=database, routes=[Route("/broken", endpoint)])
    async with client_of(app) as client:
        response = await client.get("/broken", headers={"x-request-id": "r-2", "origin": "https://example.org"})
    assert response.status_code == 500
    assert response.json() == {
        "code": "PGRSTX00",
        "message": "Internal error",
        "details": "request r-2",
        "hint": None,
    }
    assert response.headers["proxy-status"] == "PostgREST; error=PGRSTX00"
    assert response.headers["access-control-allow-origin"] == "*"
    (line,) = lines.of("broadsheet.http")
    assert line["request_id"] == "r-2"
    assert "the secret of the house" in line["traceback"]
    assert lines.of("broadsheet.access")[0]["status"] == 500


async def test_client_that_leaves_in_its_body_is_no_fault(
    settings: Settings, database: Database, secret: Headers, lines: Lines
) -> None:
    app = create_app(settings, database=database)
    messages: list[Any] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"apikey", secret["apikey"].encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/posts",
        "raw_path": b"/posts",
        "query_string": b"",
        "headers": headers,
    }
    async with app.router.lifespan_context(app) as state:
        await app({**scope, "state": dict(state or {})}, receive, send)
    assert sent == []
    assert lines.of("broadsheet.http") == []
    assert lines.of("broadsheet.access")[0]["status"] == 499


# ---- CORS and OPTIONS -----------------------------------------------------------------------------------------------


async def test_preflight(client: httpx2.AsyncClient) -> None:
    headers = {
        "origin": "https://example.org",
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "apikey, prefer, x-client-info",
    }
    response = await client.options("/posts/1", headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert "PATCH" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "apikey, prefer, x-client-info"
    assert response.headers["access-control-max-age"] == "86400"
    assert "access-control-allow-credentials" not in response.headers


async def test_other_origins_may_read_what_clients_need(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.get("/posts", headers={"origin": "https://example.org"})
    assert response.headers["access-control-allow-origin"] == "*"
    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert {"Content-Range", "Location", "ETag", "Preference-Applied", "Proxy-Status", "Retry-After"} <= set(exposed)


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/posts", "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"),
        ("/rest/v1/posts", "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"),
        ("/transfers", "OPTIONS,GET,HEAD"),
        ("/post_tags", "OPTIONS,GET,HEAD"),
        ("/posts/1", "OPTIONS,GET,HEAD,PUT,PATCH,DELETE"),
        ("/transfers/1", "OPTIONS,GET,HEAD"),
        ("/", "OPTIONS,GET,HEAD"),
    ],
)
async def test_options_names_the_methods(client: httpx2.AsyncClient, path: str, allow: str) -> None:
    response = await client.options(path)
    assert (response.status_code, response.headers["allow"], response.content) == (200, allow, b"")


@pytest.mark.parametrize(
    ("path", "code"), [("/comments", "PGRST205"), ("/revisions", "PGRST205"), ("/auth", "PGRST125")]
)
async def test_options_of_what_is_not_there(client: httpx2.AsyncClient, path: str, code: str) -> None:
    response = await client.options(path)
    assert (response.status_code, response.json()["code"]) == (404, code)
