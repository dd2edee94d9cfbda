"""Who may call the account API at all, and that whatever is sent there gets a refusal that both clients can read."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from app.accounts.people import Account
from app.settings import MIB
from tests.accounts.conftest import AUTH, PASSWORD, Installation, Installed, add, refusal
from tests.conftest import Clock

pytestmark = pytest.mark.usefixtures("quick")

BOB = "bob@example.org"
SECRET = "do-not-repeat-me-4711"  # a password that no answer may hold
NO_KEY = (401, "no_authorization")
CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/signup", {"email": "eve@example.org", "password": PASSWORD}),
    ("POST", "/token?grant_type=password", {"email": BOB, "password": PASSWORD}),
    ("POST", "/token?grant_type=refresh_token", {"refresh_token": "x"}),
    ("GET", "/user", None),
    ("PUT", "/user", {"data": {}}),
    ("POST", "/logout", None),
]
BODIES = [(method, path) for method, path, body in CALLS if body is not None]


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# ---- keys -----------------------------------------------------------------------------------------------------------


async def test_wrong_key_opens_nothing(here: Installation, bob: Account) -> None:
    """Whatever stands beside it."""
    signed = await here.sign_in(bob)
    wrong = ("", "x", "sb_publishable_wrong", here.keys.secret + "x", signed.access_token, "x" * 20_000)
    for key in wrong:
        for beside in ({}, signed.bearer, bearer(here.keys.secret)):
            for method, path, body in CALLS:
                answer = await here.client.request(method, AUTH + path, json=body, headers={"apikey": key} | beside)
                assert refusal(answer) == NO_KEY, (path, key[:20])
                assert answer.json()["msg"] == "Invalid API key"


async def test_wrong_key_among_two_opens_nothing(here: Installation) -> None:
    headers = [("apikey", here.keys.secret), ("apikey", "sb_secret_wrong")]
    assert refusal(await here.client.post(f"{AUTH}/signup", json={}, headers=headers)) == NO_KEY


async def test_key_may_be_left_out_or_sent_either_way(here: Installation, bob: Account) -> None:
    key, secret = here.keys.publishable, here.keys.secret
    for headers in (
        {},
        {"apikey": key},
        {"apiKey": key},
        bearer(key),
        {"apikey": key} | bearer(key),
        {"apikey": secret},
    ):
        assert (await here.enter(BOB, headers=headers)).status_code == 200


async def test_wrong_key_as_bearer_alone_is_a_wrong_key(here: Installation, bob: Account) -> None:
    assert refusal(await here.enter(BOB, headers=bearer("sb_publishable_wrong"))) == NO_KEY


async def test_bearer_is_not_looked_at_where_nobody_is_signed_in(
    here: Installation, bob: Account, clock: Clock
) -> None:
    """Clients send the token of the last user along, also when it is over."""
    signed = await here.sign_in(bob)
    clock.advance(4000)
    for token in (signed.access_token, "x", "a.b.c", "", "\xfc"):
        headers = {b"apikey": here.keys.publishable.encode(), b"authorization": f"Bearer {token}".encode("latin-1")}
        assert (await here.enter(BOB, headers=headers)).status_code == 200
        answer = await here.client.post(f"{AUTH}/signup", json={}, headers=headers)
        assert refusal(answer) == (422, "anonymous_provider_disabled")
        answer = await here.client.post(f"{AUTH}/token?grant_type=refresh_token", json={}, headers=headers)
        assert refusal(answer) == (400, "validation_failed")


async def test_other_kinds_of_authorization_are_nobodys_of_ours(installed: Installed, bob: Account) -> None:
    """They may be a proxy's own; they are neither a key nor a session."""
    async with installed(more={"require_key": True}) as here:
        for value in ("Basic eDp5", "Token x", "x", here.keys.secret):
            headers = {"authorization": value}
            assert refusal(await here.enter(BOB, headers=headers)) == NO_KEY
            headers |= {"apikey": here.keys.publishable}
            assert (await here.enter(BOB, headers=headers)).status_code == 200
            assert refusal(await here.client.get(f"{AUTH}/user", headers=headers)) == NO_KEY


async def test_key_may_be_required(installed: Installed, bob: Account) -> None:
    async with installed(more={"require_key": True}) as here:
        signed = await here.sign_in(bob)
        for method, path, body in CALLS:
            for headers in ({}, signed.bearer):
                answer = await here.client.request(method, AUTH + path, json=body, headers=headers)
                assert refusal(answer) == NO_KEY
                assert answer.json()["hint"] == "Send the header apikey."
        key = {"apikey": here.keys.publishable}
        assert (await here.enter(BOB, headers=key)).status_code == 200
        assert (await here.client.get(f"{AUTH}/user", headers=key | signed.bearer)).status_code == 200


async def test_key_that_opens_everything_is_no_user(here: Installation) -> None:
    headers = here.secret | bearer(here.keys.secret)
    answer = await here.client.get(f"{AUTH}/user", headers=headers)
    assert refusal(answer) == (403, "bad_jwt")


# ---- paths and methods ----------------------------------------------------------------------------------------------


async def test_unknown_path_is_told_in_json(here: Installation) -> None:
    for path in ("/", "/nothing", "/user/", "/user/7", "/signup/x", "//user", "/%75ser2", "/users", "/" + "x" * 9000):
        for method in ("GET", "POST", "PATCH"):
            answer = await here.client.request(method, f"{AUTH}{path}")
            assert refusal(answer) == (404, "not_found"), path


ALLOWED = [("/signup", "POST"), ("/token", "POST"), ("/user", "GET, PUT"), ("/logout", "POST")]


@pytest.mark.parametrize(("path", "allowed"), ALLOWED)
async def test_other_methods_are_refused_with_those_that_are_taken(here: Installation, path: str, allowed: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"):
        if method in allowed or (method == "HEAD" and "GET" in allowed):
            continue
        answer = await here.client.request(method, f"{AUTH}{path}")
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        if method == "HEAD":
            assert answer.content == b""
        else:
            assert refusal(answer) == (405, "validation_failed")


async def test_browsers_may_ask_from_other_origins(here: Installation, bob: Account) -> None:
    preflight = {"origin": "https://app.example", "access-control-request-method": "POST"}
    preflight["access-control-request-headers"] = "apikey,authorization,content-type,x-client-info"
    answer = await here.client.options(f"{AUTH}/token?grant_type=password", headers=preflight)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    for response in (await here.enter(BOB, headers=preflight), await here.enter(BOB, "wrong one", headers=preflight)):
        assert response.headers["access-control-allow-origin"] == "*"
        exposed = response.headers["access-control-expose-headers"].lower()
        assert "x-supabase-api-version" in exposed
        assert "x-sb-error-code" in exposed


# ---- bodies ---------------------------------------------------------------------------------------------------------


async def send(here: Installation, method: str, path: str, content: bytes, account: Account) -> httpx2.Response:
    signed = await here.sign_in(account) if path == "/user" else None
    headers = {"content-type": "application/json"} | (signed.bearer if signed else {})
    return await here.client.request(method, AUTH + path, content=content, headers=headers)


BAD_JSON: dict[str, bytes] = {
    "no JSON": b"{",
    "text": SECRET.encode(),
    "two values": b"{} {}",
    "a form": f"email=x@y&password={SECRET}".encode(),
    "no UTF-8": b'{"email": "\xff\xfe"}',
    "UTF-16": '{"email": "x"}'.encode("utf-16"),
    "a list": b"[]",
    "a list of objects": b'[{"email": "x@y"}]',
    "a string": f'"{SECRET}"'.encode(),
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "deep lists": b'{"email": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "deep objects": b'{"a":' * 100 + b"1" + b"}" * 100,
    "a bracket too few": b'{"email": [',
    "NaN": b'{"email": NaN}',
}
BAD_VALUES: dict[str, bytes] = {
    "NUL": b'{"email": "a\\u0000@x", "password": "%s"}' % SECRET.encode(),
    "NUL in a name": b'{"a\\u0000": 1, "password": "%s"}' % SECRET.encode(),
    "NUL in data": b'{"data": {"x": ["\\u0000"]}, "password": "%s"}' % SECRET.encode(),
    "a lone surrogate": b'{"email": "\\ud800", "password": "%s"}' % SECRET.encode(),
    "a lone surrogate in the password": b'{"email": "x@y", "password": "\\udfff%s"}' % SECRET.encode(),
    "a long number": b'{"email": ' + b"9" * 41 + b"}",
    "a number out of range": b'{"email": 1e400}',
}


async def test_bodies_that_cannot_be_read_are_refused(here: Installation, bob: Account) -> None:
    cases = {name: (content, (400, "bad_json")) for name, content in BAD_JSON.items()}
    cases |= {name: (content, (400, "validation_failed")) for name, content in BAD_VALUES.items()}
    for method, path in BODIES:
        for name, (content, expected) in cases.items():
            answer = await send(here, method, path, content, bob)
            assert refusal(answer) == expected, (path, name, answer.text)
            assert SECRET not in answer.text


async def test_large_bodies_are_refused(here: Installation, bob: Account) -> None:
    """By their declared length, and where there is none while they come in."""
    content = b'{"email": "x@y", "password": "' + SECRET.encode() + b"x" * 2 * MIB + b'"}'

    async def chunks() -> Any:
        for at in range(0, len(content), 65536):
            yield content[at : at + 65536]

    for method, path in BODIES:
        assert refusal(await send(here, method, path, content, bob)) == (413, "validation_failed")
    answer = await here.client.post(f"{AUTH}/signup", content=chunks())
    assert refusal(answer) == (413, "validation_failed")
    assert SECRET not in answer.text


async def test_empty_body_is_an_empty_object(here: Installation, bob: Account) -> None:
    expected = {
        "/signup": (422, "anonymous_provider_disabled"),
        "/token?grant_type=password": (400, "validation_failed"),
        "/token?grant_type=refresh_token": (400, "validation_failed"),
    }
    for content in (b"", b"  \n", b"{}"):
        for path, wanted in expected.items():
            assert refusal(await send(here, "POST", path, content, bob)) == wanted
        assert (await send(here, "PUT", "/user", content, bob)).status_code == 200


FIELDS = {
    "/signup": ("email", "password", "phone", "data"),
    "/token?grant_type=password": ("email", "password", "phone"),
    "/token?grant_type=refresh_token": ("refresh_token",),
    "/token?grant_type=pkce": ("auth_code", "code_verifier"),
    "/user": ("email", "password", "phone", "data"),
}
TYPES: list[Any] = [5, -0.5, True, False, [SECRET], {"x": SECRET}, [], 10**30]
EXEMPT = (("data", {"x": SECRET}),)  # which is right


@pytest.mark.parametrize("path", FIELDS)
async def test_values_of_other_types_are_refused(here: Installation, bob: Account, path: str) -> None:
    """Each field beside right ones."""
    right = {"email": "eve@example.org", "password": SECRET, "refresh_token": "x", "auth_code": "x"}
    signed = await here.sign_in(bob)
    method, headers = ("PUT", signed.bearer) if path == "/user" else ("POST", {})
    for field in FIELDS[path]:
        for value in TYPES:
            if (field, value) in EXEMPT:
                continue
            body = right | {field: value}
            answer = await here.client.request(method, AUTH + path, json=body, headers=headers)
            assert refusal(answer) == (400, "validation_failed"), (field, value, answer.text)
            assert SECRET not in answer.text


async def test_password_stands_in_no_answer_and_no_log(
    here: Installation, bob: Account, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever else is wrong."""
    caplog.set_level(0)
    signed = await here.sign_in(bob)
    bodies: list[dict[str, Any]] = [
        {"email": "eve@example.org", "data": {"username": "a b"}},
        {"email": "eve@example.org", "data": {"username": "bob"}},
        {"email": "eve@example.org", "phone": "1"},
        {"email": BOB},
        {"email": "no address"},
        {"email": 5},
        {"data": "x"},
    ]
    for body in bodies:
        given = body | {"password": SECRET}
        for method, path, headers in (
            ("POST", "/signup", {}),
            ("POST", "/token?grant_type=password", {}),
            ("POST", "/token?grant_type=nothing", {}),
            ("PUT", "/user", signed.bearer),
        ):
            answer = await here.client.request(method, AUTH + path, json=given, headers=headers)
            assert answer.status_code < 500
            assert SECRET not in answer.text
            assert SECRET not in str(answer.headers)
    assert SECRET not in caplog.text


async def test_query_strings_of_any_kind_are_no_fault(here: Installation, bob: Account) -> None:
    signed = await here.sign_in(bob)
    for query in ("grant_type=%00", "grant_type=%ff", "grant_type=" + "x" * 5000, "grant_type=a&grant_type=b", "&&=&"):
        answer = await here.client.post(f"{AUTH}/token?{query}", json={})
        assert refusal(answer) == (400, "invalid_credentials")
        answer = await here.client.post(f"{AUTH}/logout?scope=%00{query}", headers=signed.bearer)
        assert refusal(answer) == (400, "validation_failed")


async def test_answers_are_never_kept(here: Installation) -> None:
    made = await add(here.database, "eve")
    signed = await here.sign_in(made)
    for answer in (
        await here.sign_up(email="mia@example.org"),
        await here.enter("mia@example.org"),
        await here.refresh(signed.refresh_token),
        await here.client.get(f"{AUTH}/user", headers=signed.bearer),
    ):
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert answer.headers["x-supabase-api-version"] == "2024-01-01"
