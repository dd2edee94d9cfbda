"""Every kind of refusal of the account API, as the Python client makes an error of it, in both versions of the API; and
what browsers need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError
from supabase_auth.types import Session

from tests.clients.accounts import newcomer
from tests.clients.conftest import Sites
from tests.clients.wire import Wire, read, read_errors


@pytest.fixture
def wire(auth_served: Sites, http: httpx.AsyncClient) -> Wire:
    return Wire(auth_served.open, http)


# ---- errors ---------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[str, str, Any, int, str]] = {
    "unknown path": ("GET", "/nothing", None, 404, "not_found"),
    "unknown path beneath": ("GET", "/user/nothing", None, 404, "not_found"),
    "wrong method": ("DELETE", "/user", None, 405, "validation_failed"),
    "no grant": ("POST", "/token", {}, 400, "invalid_credentials"),
    "unknown grant": ("POST", "/token?grant_type=magic", {}, 400, "invalid_credentials"),
    "no password": ("POST", "/token?grant_type=password", {"email": "a@example.org"}, 400, "validation_failed"),
    "an address that is a number": (
        "POST",
        "/signup",
        {"email": 5, "password": "correct horse"},
        400,
        "validation_failed",
    ),
    "a password that is a list": (
        "POST",
        "/signup",
        {"email": "a@example.org", "password": []},
        400,
        "validation_failed",
    ),
    "data that is a list": ("POST", "/signup", {"data": [1]}, 400, "validation_failed"),
    "a body that is a list": ("POST", "/signup", [1], 400, "bad_json"),
    "a token that is an object": (
        "POST",
        "/token?grant_type=refresh_token",
        {"refresh_token": {}},
        400,
        "validation_failed",
    ),
    "wrong credentials": (
        *("POST", "/token?grant_type=password", {"email": "a@example.org", "password": "x"}),
        *(400, "invalid_credentials"),
    ),
    "an unknown token": (
        "POST",
        "/token?grant_type=refresh_token",
        {"refresh_token": "x"},
        400,
        "refresh_token_not_found",
    ),
    "an unknown code": (
        *("POST", "/token?grant_type=pkce", {"auth_code": "x", "code_verifier": "y" * 43}),
        *(404, "flow_state_not_found"),
    ),
    "half a challenge": (
        "POST",
        "/recover",
        {"email": "a@example.org", "code_challenge": "x"},
        400,
        "validation_failed",
    ),
    "no kind of link": ("POST", "/verify", {"token_hash": "x"}, 400, "validation_failed"),
    "no kind of mail": ("POST", "/resend", {"email": "a@example.org"}, 400, "validation_failed"),
    "a key as session": ("GET", "/user", None, 403, "bad_jwt"),
    "a key as session to end": ("POST", "/logout", None, 403, "bad_jwt"),
    "no admin": ("GET", "/admin/users", None, 403, "not_admin"),
    "U+0000": ("POST", "/signup", {"email": "a@example.org", "password": "correct\0horse"}, 400, "validation_failed"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_refusal_is_read_by_clients_of_both_versions(wire: Wire, name: str) -> None:
    method, path, body, status, code = BAD[name]
    answer = await wire.send(method, path, body)
    for error in read_errors(answer):
        assert type(error) is AuthApiError, error
        assert (error.status, error.code) == (status, code), error.message
    assert answer.headers["x-sb-error-code"] == code


async def test_a_weak_password_has_its_reasons(wire: Wire) -> None:
    answer = await wire.send("POST", "/signup", {"email": newcomer().email, "password": "short"})
    for error in read_errors(answer):
        assert type(error) is AuthWeakPasswordError, error
        assert (error.status, error.reasons) == (422, ["length"])


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"email": NaN}', b"[" * 100], ids=str)
async def test_a_body_that_is_no_json_is_refused(wire: Wire, content: bytes) -> None:
    answer = await wire.send("POST", "/signup", content=content)
    for error in read_errors(answer):
        assert (error.status, error.code) == (400, "bad_json"), error.message


async def test_a_body_that_is_too_large_is_refused(wire: Wire) -> None:
    answer = await wire.send("POST", "/signup", {"data": {"x": "x" * 1_100_000}})
    for error in read_errors(answer):
        assert (type(error), error.status) == (AuthApiError, 413)


@pytest.mark.parametrize("path", ["/signup", "/token?grant_type=password", "/recover", "/otp", "/verify", "/resend"])
async def test_an_empty_body_is_an_empty_object(wire: Wire, path: str) -> None:
    """An anonymous sign-up needs no more; the others say what they need."""
    answer = await wire.send("POST", path, content=b"")
    if path == "/signup":
        assert read(Session, answer).user.is_anonymous
        return
    for error in read_errors(answer):
        assert (error.status, error.code) == (400, "validation_failed")


# ---- other parts of the original ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/storage/v1/bucket", "/functions/v1/hello"])
async def test_parts_that_are_not_there_say_so(auth_served: Sites, http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(f"{auth_served.open.url}{path}", headers={"apikey": auth_served.open.publishable})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/json")
    assert isinstance(answer.json(), Mapping)


async def test_a_browser_may_call_from_another_origin(wire: Wire) -> None:
    headers = "apikey,authorization,content-type,x-client-info,x-supabase-api-version"
    preflight = {
        "origin": "https://app.example.org",
        "access-control-request-method": "PUT",
        "access-control-request-headers": headers,
    }
    answer = await wire.http.options(f"{wire.site.url}/auth/v1/user", headers=preflight)
    assert answer.status_code == 200, answer.text
    assert "PUT" in answer.headers["access-control-allow-methods"]
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert "*" in allowed or allowed >= set(headers.split(","))
    shown = await wire.http.get(f"{wire.site.url}/auth/v1/settings", headers={"origin": "https://app.example.org"})
    exposed = {name.strip().lower() for name in shown.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"x-supabase-api-version", "x-total-count", "link", "x-sb-error-code"}


async def test_an_unknown_user_is_told_to_the_admin_alone(wire: Wire) -> None:
    for error in read_errors(await wire.admin("GET", f"/admin/users/{uuid4()}")):
        assert (error.status, error.code) == (404, "user_not_found")
