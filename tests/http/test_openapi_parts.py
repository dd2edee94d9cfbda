"""What the description says beside the tables: parts that describe other calls, who may join, how many requests."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.data.database import Database
from app.data.rates import Left
from app.data.rules import ANONYMOUS, Principal, Role
from app.http.app import create_app
from app.http.openapi.document import document
from app.http.rating import rate_headers
from app.resources import CATALOG
from app.settings import Settings
from tests.http.conftest import client_of
from tests.http.test_openapi import audience, plain

HELLO: dict[str, Any] = {
    "tags": [{"name": "greetings"}],
    "paths": {
        "/a/hello": {
            "parameters": [{"name": "to", "in": "query", "schema": {"type": "string"}}],
            "get": {"operationId": "greet", "responses": {"200": {"description": "OK"}}},
        }
    },
    "components": {"schemas": {"Hello": {"type": "string"}}},
}


async def greet(request: Request) -> Response:
    return Response("hello")


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_part_stands_among_what_is_there() -> None:
    own = document(audience(CATALOG, Role.ANONYMOUS), {})
    before = copy.deepcopy(HELLO)
    whole = document(audience(CATALOG, Role.ANONYMOUS), {}, [HELLO])
    assert before == HELLO
    assert whole["tags"] == [*own["tags"], {"name": "greetings"}]
    assert list(whole["paths"]) == sorted([*own["paths"], "/a/hello"])
    assert whole["components"]["schemas"] == {**own["components"]["schemas"], "Hello": {"type": "string"}}
    assert whole["info"] == own["info"]


def test_every_call_of_a_part_may_end_in_a_fault() -> None:
    path = document(audience(CATALOG, Role.ANONYMOUS), {}, [HELLO])["paths"]["/a/hello"]
    assert path["get"]["responses"] == {
        "200": {"description": "OK"},
        "500": {"$ref": "#/components/responses/status500"},
    }
    assert path["parameters"] == HELLO["paths"]["/a/hello"]["parameters"]


async def test_application_describes_the_routes_that_it_adds(settings: Settings, database: Database) -> None:
    routes = [Route("/a/hello", greet)]
    async with client_of(create_app(settings, routes=routes, described=[HELLO], database=database)) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/a/hello", "/posts", "/auth/v1/token"} <= paths.keys()


async def test_service_without_accounts_describes_none(settings: Settings, database: Database) -> None:
    async def nobody(headers: Any, database: Database) -> Principal:
        return ANONYMOUS

    async with client_of(create_app(settings, authenticate=nobody, database=database)) as client:
        described = (await client.get("/openapi.json")).json()
        assert (await client.get("/auth/v1/health")).status_code == 404
    assert not [path for path in described["paths"] if path.startswith("/auth")]


# ---- joining --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [Role.ANONYMOUS, Role.MEMBER, Role.AUTHOR])
def test_who_joins_brings_a_name_and_a_password(view: Role) -> None:
    new = plain(CATALOG, view)["components"]["schemas"]["users.insert"]
    assert set(new["properties"]) == {"username", "full_name", "email", "password"}
    assert new["required"] == ["username", "password"]
    assert new["properties"]["password"] == {"type": "string", "writeOnly": True}


def test_admin_adds_users_without_a_password() -> None:
    new = plain(CATALOG, Role.ADMIN)["components"]["schemas"]["users.insert"]
    assert new["required"] == ["username"]
    assert {"role", "is_active", "password"} <= new["properties"].keys()


def test_who_joins_changes_nobody_before_signing_in() -> None:
    described = plain(CATALOG, Role.ANONYMOUS)
    assert set(described["paths"]["/users"]) == {"get", "post"}
    assert "users.update" not in described["components"]["schemas"]


async def test_sign_up_takes_what_is_described(client: httpx2.AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    body = {"username": "eve", "email": "eve@example.org", "password": "correct horse battery"}
    jsonschema_rs.validate(schemas["users.insert"], body)
    for name in schemas["users.insert"]["required"]:
        lacking = {key: value for key, value in body.items() if key != name}
        assert (await client.post("/users", json=lacking)).status_code == 422
    assert (await client.post("/users", json={**body, "role": "admin"})).status_code in (401, 422)
    assert (await client.post("/users", json=body)).status_code == 201


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_too_many_requests_are_described_with_what_is_left() -> None:
    described = plain(CATALOG, Role.ANONYMOUS)
    headers = described["components"]["responses"]["status429"]["headers"]
    assert {name.decode() for name, _ in rate_headers(Left(600, 0, 1))} < {name.lower() for name in headers}
    assert "Retry-After" in headers
    for path, methods in described["paths"].items():
        if not path.startswith("/health/"):
            assert all("429" in operation["responses"] for name, operation in methods.items() if name != "parameters")


async def test_refusal_of_a_sign_up_that_is_closed_is_described(settings: Settings, database: Database) -> None:
    closed = replace(settings, accounts=replace(settings.accounts, sign_up="closed"))
    async with client_of(create_app(closed, database=database)) as client:
        post = (await client.get("/openapi.json")).json()["paths"]["/users"]["post"]
        response = await client.post("/users", json={"username": "eve", "password": "correct horse battery"})
    assert response.status_code == 401
    assert "401" in post["responses"]
    assert "403" in plain(CATALOG, Role.MEMBER)["paths"]["/users"]["post"]["responses"]
