"""What stands beside the calls of the account API: pages for browsers, other schemes, services that are not there."""

from __future__ import annotations

import httpx2
import pytest


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
