"""What is set or limited from outside: new shapes of queries a minute, Server-Timing, origins."""

from __future__ import annotations

import re

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS
from app.errors import BroadsheetError
from app.http.allowance import Allowance
from app.settings import Settings
from tests.conftest import Clock
from tests.http.asking import client_as, service_client
from tests.http.conftest import Blog

# ---- new shapes -----------------------------------------------------------------------------------------------------


class Seconds:
    now = 30.0

    def __call__(self) -> float:
        return self.now


def test_known_shapes_cost_nothing() -> None:
    allowance = Allowance(2, 100, Seconds())
    allowance.spend(lambda: "ada", ["a", "b"])
    for _ in range(10):
        allowance.spend(lambda: "ada", ["a", "b"])
        allowance.spend(lambda: "bob", ["a"])


def test_new_shapes_are_counted_for_each_caller() -> None:
    seconds = Seconds()
    allowance = Allowance(2, 100, seconds)
    allowance.spend(lambda: "ada", ["a", "b"])
    with pytest.raises(BroadsheetError) as refusal:
        allowance.spend(lambda: "ada", ["c"])
    assert (refusal.value.code, refusal.value.status, refusal.value.retry_after) == ("BRD429", 429, 30)
    allowance.spend(lambda: "bob", ["c"])
    seconds.now = 60.0
    allowance.spend(lambda: "ada", ["d"])


async def test_too_many_new_shapes_are_refused(settings: Settings, database: Database, blog: Blog) -> None:
    """Other values in a known shape are never refused."""
    async with client_as(ANONYMOUS, settings, database, limits={"new_shapes": 3}) as client:
        for column in ("id", "title", "slug"):
            assert (await client.get(f"/posts?select={column}")).status_code == 200
        response = await client.get("/posts?select=content")
        assert (response.status_code, response.json()["code"]) == (429, "BRD429")
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert (await client.get("/posts?select=id&limit=3")).status_code == 200
        assert (await client.get("/posts?select=id&limit=4")).status_code == 200


async def test_writes_of_one_shape_cost_one(settings: Settings, database: Database, blog: Blog) -> None:
    """PATCH has two: the rows, and how they are shown."""
    async with service_client(settings, database, limits={"new_shapes": 2}) as client:
        for number in range(10):
            response = await client.patch(f"/rest/v1/posts?id=eq.{number}", json={"title": "x"})
            assert response.status_code == 204


# ---- Server-Timing --------------------------------------------------------------------------------------------------


async def test_server_timing(settings: Settings, database: Database, blog: Blog) -> None:
    async with service_client(settings, database, server_timing=True) as client:
        read = (await client.get("/posts")).headers["server-timing"]
        assert re.fullmatch(r"jwt;dur=[\d.]+, plan;dur=[\d.]+, transaction;dur=[\d.]+, response;dur=[\d.]+", read)
        write = (await client.post("/tags", json={"name": "x"})).headers["server-timing"]
        assert [part.partition(";")[0] for part in write.split(", ")] == ["jwt", "parse", "plan", "transaction"]


async def test_no_server_timing_by_default(client: httpx2.AsyncClient, blog: Blog) -> None:
    assert "server-timing" not in (await client.get("/posts")).headers


# ---- origins --------------------------------------------------------------------------------------------------------


async def test_listed_origins_alone_may_read(settings: Settings, database: Database, clock: Clock) -> None:
    async with service_client(settings, database, origins=("https://blog.example",)) as client:
        known = await client.get("/tags", headers={"origin": "https://blog.example"})
        assert known.headers["access-control-allow-origin"] == "https://blog.example"
        assert known.headers["access-control-allow-credentials"] == "true"
        other = await client.get("/tags", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers
        asking = {"origin": "https://other.example", "access-control-request-method": "PATCH"}
        assert "access-control-allow-origin" not in (await client.options("/tags", headers=asking)).headers


def test_settings_are_read() -> None:
    env = {
        "BROADSHEET_CORS_ORIGINS": "https://a.example, https://b.example,",
        "BROADSHEET_TX_ROLLBACK": "1",
        "BROADSHEET_SERVER_TIMING": "on",
    }
    found = Settings.from_env(env)
    assert found.origins == ("https://a.example", "https://b.example")
    assert found.allow_rollback
    assert found.server_timing
    assert not Settings.from_env({}).allow_rollback
