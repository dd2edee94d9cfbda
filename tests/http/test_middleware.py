"""The layers around the application, each by itself: names of the service, headers by scheme, cancelled requests."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from app.http.metrics import Metrics
from app.http.middleware import ABANDONED, Front, Names

NAMES = ("api.example.org", "*.example.net", "[::1]")


async def hello(request: Request) -> Response:
    return Response("hello")


def client_of(names: tuple[str, ...] = (), *, scheme: str = "http") -> httpx2.AsyncClient:
    front = Front(Router([Route("/{path:path}", hello)]), Metrics(), names=Names(names))
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(front), base_url=f"{scheme}://test")


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("api.example.org", True),
        ("API.Example.org:8000", True),
        ("api.example.org.", True),
        ("a.example.net", True),
        ("a.b.example.net:80", True),
        ("[::1]:8000", True),
        ("example.net", False),
        (".example.net", False),
        ("badexample.net", False),
        ("example.org", False),
        ("api.example.org.evil.test", False),
        ("evil.test:api.example.org", False),
        ("[::2]", False),
        ("", False),
    ],
)
async def test_service_answers_to_its_own_names(host: str, own: bool) -> None:
    async with client_of(NAMES) as client:
        response = await client.get("/posts", headers={"host": host})
    assert response.status_code == (200 if own else 400)
    if not own:
        assert (response.json()["code"], response.json()["message"]) == ("BRD400", "invalid host header")


async def test_second_host_is_refused() -> None:
    async with client_of(NAMES) as client:
        response = await client.get("/posts", headers=[("host", "api.example.org"), ("host", "a.example.net")])
    assert response.status_code == 400


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/health/live", 200), ("/healthy", 400)])
async def test_probes_may_come_by_address(path: str, status: int) -> None:
    async with client_of(NAMES) as client:
        assert (await client.get(path, headers={"host": "10.0.0.7:8000"})).status_code == status


async def test_every_name_is_right_where_none_is_given() -> None:
    async with client_of() as client:
        assert (await client.get("/posts", headers={"host": "anything"})).status_code == 200


# ---- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "value"), [("http", None), ("https", "max-age=31536000")])
async def test_browsers_are_told_to_come_back_by_tls_where_they_came_so(scheme: str, value: str | None) -> None:
    async with client_of(scheme=scheme) as client:
        headers = (await client.get("/")).headers
    assert headers.get("strict-transport-security") == value
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"


# ---- cancelled requests ---------------------------------------------------------------------------------------------


REQUEST: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def cancelled(scope: Scope) -> list[Message]:
    """What is answered when a request that waits is cancelled."""
    sent: list[Message] = []
    waits = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        waits.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    task = asyncio.ensure_future(Front(endless, Metrics())(scope, receive, send))
    await waits.wait()
    task.cancel()
    await task
    return sent


async def test_request_that_the_server_gave_up_ends_quietly() -> None:
    assert await cancelled({**REQUEST, ABANDONED: True}) == []


async def test_other_cancellations_pass() -> None:
    with pytest.raises(asyncio.CancelledError):
        await cancelled(REQUEST)
