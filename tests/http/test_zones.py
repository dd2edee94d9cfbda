"""`Prefer: timezone=`: times out and literals in, on both databases."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.http.conftest import Headers

INDIA = {"prefer": "timezone=Asia/Kolkata"}


async def write(client: httpx2.AsyncClient, secret: Headers, at: str, zone: str = "UTC") -> Any:
    user = await client.post("/users", json={"username": f"ada{zone[:1].lower()}"}, headers=secret)
    body = {"user_id": user.json()["id"], "title": "Hello", "status": "published", "published_at": at, "tags": ["a"]}
    headers = {**secret, "prefer": f"timezone={zone}"}
    answer = await client.post("/posts?select=id,published_at", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_times_come_in_the_preferred_zone(client: httpx2.AsyncClient, secret: Headers) -> None:
    await write(client, secret, "2025-06-30T20:00:00.25Z")
    query = "/posts?select=published_at,tags(posts(published_at)),author(posts(p:published_at))"
    answer = await client.get(query, headers=INDIA)
    time = "2025-07-01T01:30:00.25+05:30"
    assert answer.json() == [
        {"published_at": time, "tags": [{"posts": [{"published_at": time}]}], "author": {"posts": [{"p": time}]}}
    ]
    assert answer.headers["preference-applied"] == "timezone=Asia/Kolkata"
    plain = await client.get("/posts?select=published_at")
    assert plain.json() == [{"published_at": "2025-06-30T20:00:00.25+00:00"}], "the next request is its own"


async def test_offset_of_times_before_there_were_zones_has_seconds(client: httpx2.AsyncClient, secret: Headers) -> None:
    await write(client, secret, "1892-01-01T00:00:00Z")
    answer = await client.get("/posts?select=published_at", headers={"Prefer": "timezone=Europe/Berlin"})
    assert answer.json() == [{"published_at": "1892-01-01T00:53:28+00:53:28"}]


async def test_csv_and_aggregates_and_spreads(client: httpx2.AsyncClient, secret: Headers) -> None:
    await write(client, secret, "2025-01-01T00:00:00Z")
    headers = {"prefer": "timezone=America/New_York", "accept": "text/csv"}
    answer = await client.get("/posts?select=published_at", headers=headers)
    assert answer.text == 'published_at\n"2024-12-31 19:00:00-05"'
    lifted = await client.get("/tags?select=...posts(published_at)", headers=INDIA)
    assert lifted.json() == [{"published_at": ["2025-01-01T05:30:00+05:30"]}]


async def test_literals_without_a_zone_are_read_in_it(client: httpx2.AsyncClient, secret: Headers) -> None:
    made = await write(client, secret, "2025-07-01T05:30:00", "Asia/Kolkata")
    assert made["published_at"] == "2025-07-01T05:30:00+05:30"
    path = "/posts?select=id&published_at=eq.2025-07-01T05:30:00"
    assert len((await client.get(path, headers=INDIA)).json()) == 1
    assert (await client.get(path)).json() == []
    assert len((await client.get("/posts?select=id&published_at=eq.2025-07-01T00:00:00Z", headers=INDIA)).json()) == 1


@pytest.mark.parametrize("name", ["utc", "Etc/UTC", "asia/kolkata", "UTC"])
async def test_names_have_no_case(client: httpx2.AsyncClient, name: str) -> None:
    assert (await client.get("/posts", headers={"prefer": f"timezone={name}"})).status_code == 200


async def test_unknown_zones_are_refused(client: httpx2.AsyncClient) -> None:
    for name in ("Mars/Olympus", "../etc/passwd"):
        answer = await client.get("/posts", headers={"prefer": f"timezone={name}"})
        assert (answer.status_code, answer.json()["code"]) == (400, "22023")


async def test_casts_of_times_are_not_available_there(client: httpx2.AsyncClient, secret: Headers) -> None:
    await write(client, secret, "2025-01-01T00:00:00Z")
    answer = await client.get("/posts?select=published_at::date", headers=INDIA)
    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST127")
