"""The account API in OpenAPI: all calls and no others, what each needs, and answers that are as described."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from app.accounts.keys import Keys
from app.accounts.people import Account
from app.accounts.wire.described import account_description
from app.accounts.wire.routes import CALLS, OPEN
from app.actions import ACTIONS
from app.data.rules import VIEWS, Role
from app.http.openapi.audience import Audience
from app.http.openapi.document import document
from app.http.surfaces import PLAIN
from app.resources import CATALOG
from app.settings import Limits, RateLimits
from tests.accounts.wire.asking import AUTH, PASSWORD, Clients, Mails, bearer
from tests.http.test_openapi import operations, references, resolves

Described = dict[str, Any]
PART = account_description(key_needed=False)
EVE = {"email": "eve@example.org", "password": PASSWORD}
CHALLENGE = {"code_challenge": "c" * 43, "code_challenge_method": "plain"}


def calls_of(described: Described) -> Iterator[tuple[str, str, Described]]:
    """Path, method and operation of each account call."""
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if path.startswith(AUTH) and method != "parameters":
                yield path, method.upper(), operation


def closed(value: Any) -> Any:
    """The same schemas, where objects have no fields but those that are described."""
    match value:
        case {"properties": dict()}:
            return {"additionalProperties": False, **{name: closed(inner) for name, inner in value.items()}}
        case dict():
            return {name: closed(inner) for name, inner in value.items()}
        case list():
            return [closed(inner) for inner in value]
        case _:
            return value


@dataclass
class Caller:
    """Makes calls, and holds each answer against the description."""

    client: httpx2.AsyncClient
    described: Described

    async def __call__(self, method: str, path: str, uid: object = "", **more: Any) -> httpx2.Response:
        response = await self.client.request(method, AUTH + path.replace("{uid}", str(uid)), **more)
        answers = self.described["paths"][AUTH + path.partition("?")[0]][method.lower()]["responses"]
        answer = answers[str(response.status_code)]
        if "$ref" in answer:
            answer = self.described["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        assert answer.get("headers", {}).keys() <= {name.title() for name in response.headers}
        if "content" in answer:
            assert response.headers["content-type"].startswith("application/json")
            self.validator(answer["content"]["application/json"]["schema"]).validate(response.json())
        else:
            assert response.content == b""
        return response

    def validator(self, schema: Described) -> jsonschema_rs.Draft202012Validator:
        schemas = closed(self.described["components"]["schemas"])
        whole = {**schema, "components": {"schemas": schemas}}
        return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)

    async def shown(self, method: str, path: str, uid: object = "", **more: Any) -> Described:
        response = await self(method, path, uid, **more)
        assert response.status_code == 200, response.text
        found: Described = response.json()
        return found


async def caller_of(client: httpx2.AsyncClient) -> Caller:
    return Caller(client, (await client.get("/openapi.json")).json())


@pytest.fixture
async def call(client: httpx2.AsyncClient) -> Caller:
    return await caller_of(client)


# ---- the description ------------------------------------------------------------------------------------------------


def test_every_call_is_described_and_nothing_else() -> None:
    served = {(AUTH + path, method) for calls in (CALLS, OPEN) for path, found in calls.items() for method in found}
    assert {(path, method) for path, method, _ in calls_of(PART)} == served


@pytest.mark.parametrize("view", VIEWS)
def test_part_adds_to_the_document_and_replaces_nothing(view: Role) -> None:
    audience = Audience(CATALOG, view, PLAIN, Limits())
    own, whole = document(audience, ACTIONS), document(audience, ACTIONS, [PART])
    assert len(whole["paths"]) == len(own["paths"]) + len(PART["paths"])
    assert whole["tags"] == own["tags"] + PART["tags"]
    for kind, values in own["components"].items():
        assert values.items() <= whole["components"][kind].items()
        assert values.keys().isdisjoint(PART["components"].get(kind, {}))


async def test_served_document_is_valid(client: httpx2.AsyncClient, secret: dict[str, str]) -> None:
    for headers in ({}, secret):
        described = (await client.get("/openapi.json", headers=headers)).json()
        OPENAPI_31_VALIDATOR.validate(described)
        for schema in described["components"]["schemas"].values():
            jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert [r for r in references(described) if not resolves(described, r)] == []
        names = [operation["operationId"] for operation in operations(described)]
        assert len(set(names)) == len(names)
        assert {tag for _, _, operation in calls_of(described) for tag in operation["tags"]} == {"accounts"}


async def test_dialect_describes_its_own_surface_alone(client: httpx2.AsyncClient) -> None:
    described = (await client.get("/rest/v1/")).json()
    assert not [name for name in (*described["paths"], *described["definitions"]) if "auth" in name.lower()]


# ---- credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_needed", [False, True])
async def test_call_needs_the_credentials_that_are_described(
    clients: Clients, keys: Keys, ada: Account, key_needed: bool
) -> None:
    async with clients({"require_key": key_needed}) as client:
        described = (await client.get("/openapi.json", headers={"apikey": keys.publishable})).json()
        body = {"email": ada.email, "password": PASSWORD}
        given = {"apikey": keys.publishable}
        token = bearer((await client.post(f"{AUTH}/token?grant_type=password", json=body, headers=given)).json())
        for path, method, operation in calls_of(described):
            url = f"{path.replace('{uid}', str(uuid4()))}?scope=others"
            key = keys.secret if "/admin/" in path else keys.publishable
            session = path in (f"{AUTH}/user", f"{AUTH}/logout")
            headers = {
                "apikey": {"apikey": key},
                "bearer": token if session else {"authorization": f"Bearer {key}"},
            }
            allowed = operation.get("security", described["security"])
            without = (await client.request(method, url)).status_code
            assert (without in (401, 403)) == ({} not in allowed), f"{method} {path}"
            for names in allowed:
                merged = {header: value for name in names for header, value in headers[name].items()}
                response = await client.request(method, url, headers=merged)
                assert response.status_code not in (401, 403), f"{method} {path} by {names}"


# ---- answers --------------------------------------------------------------------------------------------------------


async def test_ways_in_and_out_answer_as_described(call: Caller) -> None:
    session = await call.shown("POST", "/signup", json=EVE)
    session = await call.shown("POST", "/token?grant_type=password", json=EVE)
    refresh = {"refresh_token": session["refresh_token"]}
    session = await call.shown("POST", "/token?grant_type=refresh_token", json=refresh)
    headers = bearer(session)
    await call.shown("GET", "/user", headers=headers)
    await call.shown("PUT", "/user", json={"data": {"city": "Ulm"}}, headers=headers)
    assert (await call("POST", "/logout?scope=local", headers=headers)).status_code == 204


async def test_anonymous_user_is_as_described(clients: Clients) -> None:
    async with clients(anonymous=True) as client:
        session = await (await caller_of(client)).shown("POST", "/signup", json={})
    assert session["user"]["is_anonymous"] is True


async def test_weak_password_that_was_accepted_once_is_told_as_described(clients: Clients, ada: Account) -> None:
    async with clients(password_bytes=40) as client:
        body = {"email": ada.email, "password": PASSWORD}
        session = await (await caller_of(client)).shown("POST", "/token?grant_type=password", json=body)
    assert session["weak_password"]["reasons"] == ["length"]


async def test_users_who_have_to_confirm_are_as_described(clients: Clients, mails: Mails) -> None:
    async with clients(confirm_email=True) as client:
        call = await caller_of(client)
        new, known = [await call.shown("POST", "/signup", json=EVE) for _ in range(2)]
        assert (len(new["identities"]), known["identities"]) == (1, [])
        proof = {"type": "email", "email": EVE["email"], "token": mails.last.code}
        session = await call.shown("POST", "/verify", json=proof)
        change = {"email": "eva@example.org"}
        changed = await call.shown("PUT", "/user", json=change, headers=bearer(session))
        assert changed["new_email"] == "eva@example.org"


async def test_links_by_mail_answer_as_described(call: Caller, ada: Account, mails: Mails) -> None:
    await call.shown("POST", "/resend", json={"type": "signup", "email": ada.email})
    await call.shown("POST", "/recover", json={"email": ada.email})
    link = mails.last
    assert (await call("GET", f"/verify?type=recovery&token={link.token}")).status_code == 303
    assert (await call("GET", f"/verify?type=recovery&token={link.token}")).status_code == 303
    await call.shown("POST", "/otp", json={"email": ada.email, **CHALLENGE})
    sent_on = await call("GET", f"/verify?type=magiclink&token={mails.last.token}")
    code = sent_on.headers["location"].rpartition("code=")[2]
    proof = {"auth_code": code, "code_verifier": CHALLENGE["code_challenge"]}
    await call.shown("POST", "/token?grant_type=pkce", json=proof)


async def test_admin_calls_answer_as_described(call: Caller, secret: dict[str, str]) -> None:
    made = await call.shown("POST", "/admin/users", json={**EVE, "ban_duration": "24h"}, headers=secret)
    assert "banned_until" in made
    await call.shown("POST", "/admin/users", json={"email": "bob@example.org"}, headers=secret)
    listed = await call.shown("GET", "/admin/users?per_page=1", headers=secret)
    assert len(listed["users"]) == 1
    await call.shown("GET", "/admin/users/{uid}", made["id"], headers=secret)
    change = {"app_metadata": {"plan": "pro"}, "email_confirm": True}
    await call.shown("PUT", "/admin/users/{uid}", made["id"], json=change, headers=secret)
    link = {"type": "magiclink", "email": EVE["email"]}
    await call.shown("POST", "/admin/generate_link", json=link, headers=secret)
    await call.shown("DELETE", "/admin/users/{uid}", made["id"], headers=secret)


@pytest.mark.parametrize("path", ["/.well-known/jwks.json", "/health", "/settings"])
async def test_open_call_answers_as_described(call: Caller, path: str) -> None:
    await call.shown("GET", path)


async def test_undescribed_field_would_be_noticed(call: Caller) -> None:
    health = await call.shown("GET", "/health")
    validator = call.validator({"$ref": "#/components/schemas/Auth.Health"})
    assert validator.is_valid(health)
    assert not validator.is_valid(health | {"more": 1})
    assert not validator.is_valid({name: value for name, value in health.items() if name != "name"})


# ---- refusals -------------------------------------------------------------------------------------------------------

NOBODY = "/admin/users/{uid}"
REFUSED = [
    ("POST", "/signup", {"email": "eve", "password": PASSWORD}, 400),
    ("POST", "/signup", {**EVE, "password": "short"}, 422),
    ("POST", "/signup", {}, 422),
    ("POST", "/token?grant_type=password", EVE, 400),
    ("POST", "/token?grant_type=web3", {}, 422),
    ("POST", "/token?grant_type=pkce", {"auth_code": "x", "code_verifier": "y"}, 404),
    ("POST", "/otp", {"email": EVE["email"], "create_user": False}, 422),
    ("POST", "/resend", {"type": "sms", "phone": "1"}, 400),
    ("POST", "/verify", {"type": "email", "token_hash": "x"}, 403),
    ("GET", "/verify", None, 400),
    ("GET", "/user", None, 401),
    ("PUT", "/user", {}, 401),
    ("POST", "/logout", None, 401),
    ("GET", "/admin/users", None, 403),
    ("POST", "/admin/generate_link", {}, 403),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED)
async def test_refusal_is_as_described(call: Caller, method: str, path: str, body: Any, status: int) -> None:
    assert (await call(method, path, json=body)).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/admin/users?page=0", None, 400),
        ("POST", "/admin/users", {"email": "ada@example.org"}, 422),
        ("GET", NOBODY, None, 404),
        ("PUT", NOBODY, {}, 404),
        ("DELETE", NOBODY, None, 404),
        ("POST", "/admin/generate_link", {"type": "recovery", "email": EVE["email"]}, 404),
    ],
)
async def test_refusal_of_an_admin_call_is_as_described(
    call: Caller, secret: dict[str, str], ada: Account, method: str, path: str, body: Any, status: int
) -> None:
    assert (await call(method, path, uuid4(), json=body, headers=secret)).status_code == status


async def test_id_that_is_taken_is_refused_as_described(call: Caller, secret: dict[str, str], ada: Account) -> None:
    body = {**EVE, "id": str(ada.uid)}
    assert (await call("POST", "/admin/users", json=body, headers=secret)).status_code == 409


async def test_wrong_key_or_token_is_refused_as_described(call: Caller) -> None:
    assert (await call("POST", "/signup", headers={"apikey": "sb_secret_wrong"})).status_code == 401
    assert (await call("GET", "/user", headers={"authorization": "Bearer wrong"})).status_code == 403


async def test_too_much_is_refused_as_described(clients: Clients, ada: Account) -> None:
    async with clients({"limits": Limits(body=100)}, rates=RateLimits(mail_account=1)) as client:
        call, body = await caller_of(client), {"email": ada.email}
        assert (await call("POST", "/recover", json={**body, "x": "x" * 100})).status_code == 413
        assert (await call("POST", "/recover", json=body)).status_code == 200
        assert (await call("POST", "/recover", json=body)).status_code == 429
