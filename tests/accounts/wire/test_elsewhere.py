"""What stands beside the calls of the account API: pages for browsers, other schemes, services that are not there."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from app.data.database import Database
from app.http.app import create_app
from app.settings import RateLimits, Settings
from tests.http.conftest import client_of


@pytest.mark.parametrize("path", ["/authorize?provider=github", "/callback"])
async def test_browser_that_is_sent_to_a_provider_sees_a_page(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(f"/auth/v1{path}", headers={"accept": "text/html,application/xhtml+xml"})
    assert response.status_code == 400
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "not supported" in response.text
    assert (await client.get(f"/auth/v1{path}")).json()["code"] == "oauth_provider_not_supported"


async def test_scheme_of_a_proxy_is_not_looked_at(client: httpx2.AsyncClient) -> None:
    basic = {"authorization": "Basic YWRhOnNlY3JldA=="}
    assert (await client.get("/auth/v1/settings", headers=basic)).status_code == 200
    response = await client.post("/auth/v1/token?grant_type=password", json={}, headers=basic)
    assert (response.status_code, response.json()["code"]) == (400, "validation_failed")
    assert (await client.get("/auth/v1/user", headers=basic)).json()["code"] == "no_authorization"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_storage_says_that_it_is_not_there(client: httpx2.AsyncClient, method: str) -> None:
    response = await client.request(method, "/storage/v1/object/pictures/a.png")
    assert response.status_code == 404
    assert response.json()["error"] == "feature_disabled"


async def test_account_calls_count_among_the_requests_of_an_address(settings: Settings, database: Database) -> None:
    accounts = replace(settings.accounts, rates=RateLimits(anonymous=2))
    app = create_app(replace(settings, accounts=accounts, production=True), database=database)
    async with client_of(app) as client:
        answers = [await client.get("/auth/v1/user", headers={"apikey": key}) for key in ("", "sb_secret_x", "wrong")]
        last = await client.get("/auth/v1/health")
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert (last.status_code, last.json()["code"]) == (429, "over_request_rate_limit")
    assert last.headers["ratelimit"].startswith('"default";r=0;')
    assert int(last.headers["retry-after"]) > 0
