"""Requests a minute: whose requests count together, whose not at all, and what callers are told."""

from __future__ import annotations

import itertools
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from app.data.rates import Left, MemoryStorage, Rates, TooMany
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, Role, user
from app.http.metrics import Metrics
from app.http.middleware import Front
from app.http.rating import RequestRates, rate_headers
from tests.conftest import Clock

HOST = "203.0.113.9"


def requests(clock: Clock, *, anonymous: int = 2, signed_in: int = 4, count_loopback: bool = False) -> RequestRates:
    rates = Rates(MemoryStorage(clock=lambda: clock().timestamp()))
    return RequestRates(rates, anonymous, signed_in, count_loopback=count_loopback)


@pytest.fixture
def counted(clock: Clock) -> RequestRates:
    return requests(clock)


PORTS = itertools.count(40_000)


def scope_of(host: str | None, **headers: str) -> dict[str, Any]:
    """As the server makes it; every connection of a client has a port of its own."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "client": None if host is None else (host, next(PORTS)), "headers": raw}


async def left(counted: RequestRates, who: Principal | None, host: str | None = HOST) -> int | None:
    """What is left after a request; -1 where it is refused, None where it is not counted."""
    scope = scope_of(host)
    try:
        await counted.count(scope, who)
    except TooMany:
        return -1
    found: Left | None = scope.get("broadsheet.rate")
    return None if found is None else found.remaining


# ---- whose requests count together ----------------------------------------------------------------------------------


async def test_requests_without_a_token_count_by_address(counted: RequestRates) -> None:
    assert [await left(counted, ANONYMOUS) for _ in range(3)] == [1, 0, -1]
    assert await left(counted, ANONYMOUS, "203.0.113.10") == 1


async def test_a_failed_authentication_counts_like_no_token(counted: RequestRates) -> None:
    assert [await left(counted, who) for who in (None, ANONYMOUS, None)] == [1, 0, -1]


async def test_a_key_that_gives_no_rights_counts_like_no_token(counted: RequestRates) -> None:
    keys = [Principal(Role.ANONYMOUS, key_id=str(number)) for number in range(3)]
    assert [await left(counted, key) for key in keys] == [1, 0, -1]


async def test_a_user_counts_by_id_and_address(counted: RequestRates) -> None:
    assert [await left(counted, user(7)) for _ in range(5)] == [3, 2, 1, 0, -1]
    assert await left(counted, user(7), "203.0.113.10") == 3
    assert await left(counted, user(8)) == 3
    assert await left(counted, ANONYMOUS) == 1


async def test_a_new_role_is_no_new_limit(counted: RequestRates) -> None:
    assert [await left(counted, user(7, role)) for role in ("member", "author", "admin")] == [3, 2, 1]


async def test_a_key_of_nobody_counts_by_its_id_and_address(counted: RequestRates) -> None:
    key = Principal(Role.AUTHOR, key_id="7")
    assert [await left(counted, key) for _ in range(5)] == [3, 2, 1, 0, -1]
    assert await left(counted, user(7)) == 3  # another "7"
    assert await left(counted, key, "203.0.113.10") == 3


async def test_the_service_is_not_limited(counted: RequestRates) -> None:
    service = Principal(Role.SERVICE, key_id="k")
    assert [await left(counted, who) for who in (SERVICE, service, SYSTEM) * 5] == [None] * 15


async def test_no_limit_says_nothing(clock: Clock) -> None:
    free = requests(clock, anonymous=0)
    scope = scope_of(HOST)
    for _ in range(5):
        await free.count(scope, ANONYMOUS)
    assert rate_headers(scope["broadsheet.rate"]) == []


async def test_a_minute_later_requests_pass_again(counted: RequestRates, clock: Clock) -> None:
    assert [await left(counted, None) for _ in range(3)] == [1, 0, -1]
    clock.advance(120)
    assert await left(counted, None) == 1


# ---- addresses ------------------------------------------------------------------------------------------------------


async def test_headers_change_nothing(counted: RequestRates) -> None:
    """Whoever could choose the address would never be limited."""
    for number in range(2):
        forged = f"198.51.100.{number}"
        headers = {"x_forwarded_for": forged, "x_real_ip": forged, "forwarded": f"for={forged}"}
        await counted.count(scope_of(HOST, **headers), None)
    with pytest.raises(TooMany):
        await counted.count(scope_of(HOST, x_forwarded_for="198.51.100.3"), None)


async def test_addresses_of_one_ipv6_network_count_together(counted: RequestRates) -> None:
    hosts = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2::3"]
    assert [await left(counted, None, host) for host in hosts] == [1, 0, -1]
    assert await left(counted, None, "2001:db8:1:3::1") == 1


async def test_peers_without_an_address_count_together(counted: RequestRates) -> None:
    assert [await left(counted, None, host) for host in (None, "testclient", None)] == [1, 0, -1]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
async def test_loopback_counts_only_where_it_is_said_to(clock: Clock, host: str) -> None:
    assert [await left(requests(clock), who, host) for who in (None, user(7))] == [None, None]
    counting = requests(clock, count_loopback=True)
    assert [await left(counting, None, host) for _ in range(3)] == [1, 0, -1]


# ---- what callers are told ------------------------------------------------------------------------------------------


def test_the_headers_are_those_of_the_draft() -> None:
    assert rate_headers(Left(600, 599, 30)) == [
        (b"ratelimit-policy", b'"default";q=600;w=60'),
        (b"ratelimit", b'"default";r=599;t=30'),
    ]
    assert rate_headers(None) == []


async def test_a_refusal_says_when_to_come_back(counted: RequestRates, clock: Clock) -> None:
    async def endpoint(request: Request) -> Response:
        await counted.count(request.scope, None)
        return Response("{}")

    front = Front(Router([Route("/", endpoint)]), Metrics())
    transport = httpx2.ASGITransport(front, client=(HOST, 1))
    clock.advance(45)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        assert [(await client.get("/")).status_code for _ in range(2)] == [200, 200]
        response = await client.get("/")
    assert response.status_code == 429
    assert response.headers["retry-after"] == "16"
    assert response.json() == {
        "code": "BRD429",
        "message": "too many requests in a short time",
        "details": "at most 2 in 60 seconds",
        "hint": "Try again in 16 s.",
    }


async def test_nobody_is_told_to_come_back_before_the_window_ends(counted: RequestRates) -> None:
    """The draft, 6: Retry-After is no earlier than the end of the effective window."""
    scope = scope_of(HOST)
    for _ in range(2):
        await counted.count(scope, None)
    with pytest.raises(TooMany) as refusal:
        await counted.count(scope, None)
    assert scope["broadsheet.rate"] == refusal.value.left == Left(2, 0, refusal.value.retry_after or -1)
    assert rate_headers(refusal.value.left)[1] == (b"ratelimit", b'"default";r=0;t=61')
