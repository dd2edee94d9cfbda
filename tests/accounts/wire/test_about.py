"""What the account API says of itself, and what it does not take."""

from __future__ import annotations

from typing import Any, get_args

import httpx2
import jwt
import pytest
from supabase_auth.errors import ErrorCode
from supabase_auth.helpers import parse_jwks

from app import __version__
from app.accounts.people import Account
from app.accounts.wire.refused import GRANTS, METHODS, TABLE, grant
from tests.accounts.wire.asking import AUTH, PASSWORD, Clients, refusal_of

BEYOND_THE_LIST = {"passkey_disabled", "feature_disabled", "web3_provider_disabled"}  # newer than the clients' lists


async def test_health_names_what_tools_look_for(clients: Clients) -> None:
    async with clients({"require_key": True}) as client:
        response = await client.get(f"{AUTH}/health")
    assert (response.status_code, response.json()["name"], response.json()["version"]) == (200, "GoTrue", __version__)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"disable_signup": False, "mailer_autoconfirm": True}),
        ({"sign_up": "closed"}, {"disable_signup": True, "mailer_autoconfirm": True}),
        ({"confirm_email": True}, {"disable_signup": False, "mailer_autoconfirm": False}),
    ],
)
async def test_settings_say_how_people_come_in(
    clients: Clients, changes: dict[str, Any], expected: dict[str, bool]
) -> None:
    async with clients(**changes) as client:
        found = (await client.get(f"{AUTH}/settings")).json()
    assert {name: found[name] for name in expected} == expected
    assert [name for name, is_on in found["external"].items() if is_on] == ["email"]
    assert (found["saml_enabled"], found["phone_autoconfirm"], found["sms_provider"]) == (False, False, "")


async def test_settings_name_anonymous_sign_in_when_it_is_on(clients: Clients) -> None:
    async with clients(anonymous=True) as client:
        found = (await client.get(f"{AUTH}/settings")).json()
    assert found["external"]["anonymous_users"] is True


async def test_public_keys_verify_an_access_token_and_may_be_kept(clients: Clients, ada: Account) -> None:
    async with clients() as client:
        response = await client.get(f"{AUTH}/.well-known/jwks.json", headers={"authorization": "Bearer expired.or.bad"})
        body = {"email": ada.email, "password": PASSWORD}
        token = (await client.post(f"{AUTH}/token?grant_type=password", json=body)).json()["access_token"]
    assert response.headers["cache-control"] == "public, max-age=600"
    keys = parse_jwks(response)["keys"]  # type: ignore[arg-type]  # it reads nothing but the content
    kid = jwt.get_unverified_header(token)["kid"]
    (key,) = (one for one in keys if one["kid"] == kid)
    assert {"d", "k"}.isdisjoint(key)
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, jwt.PyJWK(dict(key)), audience="authenticated", options=options)
    assert claims["sub"] == str(ada.uid)


@pytest.mark.parametrize("path", TABLE)
async def test_call_that_is_not_taken_is_refused_by_its_code(client: httpx2.AsyncClient, path: str) -> None:
    status, code, message = TABLE[path]
    concrete = path.replace("{uid}", "00000000-0000-4000-8000-000000000000")
    for method in METHODS:
        for url in (f"{AUTH}{concrete}", f"{AUTH}{concrete}/more/of/it"):
            response = await client.request(method, url)
            assert refusal_of(response) == (status, code)
            assert response.json()["message"] == message


@pytest.mark.parametrize("grant_type", ["id_token", "web3", "nonsense", ""])
def test_grant_that_is_not_taken_is_refused_by_its_code(grant_type: str) -> None:
    refusal = grant(grant_type)
    assert (refusal.status, refusal.code) == GRANTS.get(grant_type, (400, "invalid_credentials"))[:2]


def test_codes_are_those_that_clients_list() -> None:
    codes = {code for _, code, _ in [*TABLE.values(), *GRANTS.values()]}
    assert codes - set(get_args(ErrorCode)) == BEYOND_THE_LIST


async def test_unknown_path_and_method_are_refused_in_json(client: httpx2.AsyncClient) -> None:
    assert refusal_of(await client.get(f"{AUTH}/nonsense"))[0] == 404
    refused = await client.patch(f"{AUTH}/verify")
    assert refusal_of(refused)[0] == 405
    assert refused.headers["allow"] == "GET, POST"
