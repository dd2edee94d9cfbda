"""Every kind of answer of the account API, read by the models of the Python client, but strictly."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from supabase_auth.helpers import (
    decode_jwt,
    parse_auth_otp_response,
    parse_auth_response,
    parse_jwks,
    parse_link_response,
    parse_user_response,
)
from supabase_auth.types import GenerateLinkProperties, Session, User, UserList

from tests.clients.accounts import newcomer
from tests.clients.conftest import Sites
from tests.clients.wire import TIME, Wire, read


@pytest.fixture
def wire(auth_served: Sites, http: httpx.AsyncClient) -> Wire:
    return Wire(auth_served.open, http)


# ---- sessions and users ---------------------------------------------------------------------------------------------


async def test_a_session_with_its_user(wire: Wire) -> None:
    session, answer = await wire.sign_up(nick="zz")
    assert answer["token_type"] == "bearer"
    assert session.expires_in == 3600
    assert session.expires_at is not None
    user = answer["user"]
    assert set(user) == {
        *("id", "aud", "role", "email", "phone", "email_confirmed_at", "confirmed_at", "last_sign_in_at"),
        *("app_metadata", "user_metadata", "identities", "created_at", "updated_at", "is_anonymous"),
    }
    assert user["app_metadata"].keys() == {"provider", "providers", "user_id"}
    assert user["user_metadata"] == {"nick": "zz"}
    (identity,) = user["identities"]
    assert identity["identity_data"].items() >= {"sub": user["id"], "email": user["email"]}.items()


@pytest.mark.parametrize("grant_type", ["password", "refresh_token"])
async def test_every_grant_gives_a_session(wire: Wire, grant_type: str) -> None:
    person = newcomer()
    body: dict[str, Any] = {"email": person.email, "password": person.password}
    session = read(Session, await wire.send("POST", "/signup", body))
    if grant_type == "refresh_token":
        body = {"refresh_token": session.refresh_token}
    path = f"/token?grant_type={grant_type}"
    answer = await wire.send("POST", path, body, token="an.expired.token")  # not looked at here
    assert parse_auth_response(answer).session == read(Session, answer)
    assert read(Session, answer).user.id == session.user.id


async def test_a_user_is_bare(wire: Wire) -> None:
    session, _ = await wire.sign_up()
    shown = await wire.send("GET", "/user", token=session.access_token)
    assert read(User, shown) == session.user
    assert "user" not in shown.json()
    changed = await wire.send("PUT", "/user", {"data": {"nick": "zz"}}, token=session.access_token)
    assert read(User, changed).user_metadata == {"nick": "zz"}
    assert parse_user_response(changed).user == read(User, changed)


async def test_an_anonymous_user_has_empty_texts(wire: Wire) -> None:
    answer = await wire.send("POST", "/signup", {"data": {}})
    user = read(Session, answer).user
    assert (user.email, user.phone, user.is_anonymous, user.identities) == ("", "", True, [])


async def test_a_sign_up_that_awaits_its_mail_is_a_bare_user(auth_served: Sites, http: httpx.AsyncClient) -> None:
    wire, person = Wire(auth_served.confirming, http), newcomer()
    body = {"email": person.email, "password": person.password}
    made = await wire.send("POST", "/signup", body)
    assert parse_auth_response(made).session is None
    assert read(User, made).email_confirmed_at is None
    await wire.send(
        "POST", "/verify", {"type": "signup", "email": person.email, "token": auth_served.mail(person.email).code}
    )
    known = await wire.send("POST", "/signup", body)
    assert read(User, known).identities == []
    assert made.json().keys() - known.json().keys() == set()


async def test_signing_out_answers_nothing(wire: Wire) -> None:
    session, _ = await wire.sign_up()
    answer = await wire.send("POST", "/logout?scope=local", token=session.access_token)
    assert (answer.status_code, answer.content) == (204, b"")


# ---- tokens ---------------------------------------------------------------------------------------------------------


async def test_an_access_token_has_what_clients_and_servers_read(wire: Wire) -> None:
    session, answer = await wire.sign_up(nick="zz")
    token = decode_jwt(session.access_token)
    assert token["header"]["alg"] == "ES256"
    assert token["header"]["kid"]
    claims: dict[str, Any] = dict(token["payload"])
    assert claims.pop("session_id")
    assert claims.pop("amr") == [{"method": "password", "timestamp": claims["iat"]}]
    assert claims.pop("exp") - claims.pop("iat") == 3600
    assert claims == {
        "iss": f"{wire.site.url}/auth/v1",
        "sub": session.user.id,
        "aud": "authenticated",
        "email": session.user.email,
        "phone": "",
        "role": "authenticated",
        "aal": "aal1",
        "is_anonymous": False,
        "app_metadata": answer["user"]["app_metadata"],
        "user_metadata": {"nick": "zz"},
    }


async def test_the_public_keys_are_public(auth_served: Sites, http: httpx.AsyncClient) -> None:
    """Asked for without any key."""
    answer = await http.get(f"{auth_served.open.url}/auth/v1/.well-known/jwks.json")
    keys: list[dict[str, Any]] = [dict(key) for key in parse_jwks(answer)["keys"]]
    assert answer.headers["cache-control"] == "public, max-age=600"
    for key in keys:
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use", "key_ops"}
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
        assert key["key_ops"] == ["verify"]


# ---- mails, links, admins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/recover", "/otp", "/resend"])
async def test_what_sends_a_mail_answers_an_empty_object(wire: Wire, path: str) -> None:
    answer = await wire.send("POST", path, {"email": newcomer().email, "type": "signup"})
    assert (answer.status_code, answer.json()) == (200, {})
    parse_auth_otp_response(answer)


async def test_a_link_is_flattened_with_its_user(wire: Wire) -> None:
    answer = await wire.admin("POST", "/admin/generate_link", {"type": "magiclink", "email": newcomer().email})
    link = parse_link_response(answer)
    assert read(GenerateLinkProperties, answer) == link.properties
    assert read(User, answer).id == link.user.id
    assert re.fullmatch(r"\d{6}", link.properties.email_otp)
    prefix = f"{wire.site.url}/auth/v1/verify?token={link.properties.hashed_token}&type=magiclink&redirect_to="
    assert link.properties.action_link.startswith(prefix)


async def test_verifying_gives_a_session(wire: Wire) -> None:
    answer = await wire.admin("POST", "/admin/generate_link", {"type": "recovery", "email": "bob@example.org"})
    body = {"type": "recovery", "token_hash": parse_link_response(answer).properties.hashed_token}
    session = read(Session, await wire.send("POST", "/verify", body))
    assert session.user.email == "bob@example.org"


async def test_an_admin_reads_users(wire: Wire) -> None:
    session, _ = await wire.sign_up()
    path = f"/admin/users/{session.user.id}"
    assert read(User, await wire.admin("GET", path)) == session.user
    banned = await wire.admin("PUT", path, {"ban_duration": "24h"})
    until = read(User, banned).banned_until
    assert until is not None
    assert TIME.fullmatch(until)
    removed = await wire.admin("DELETE", path, {"should_soft_delete": False})
    assert (removed.status_code, removed.json()) == (200, {})


async def test_a_list_of_users_counts_and_links_its_pages(wire: Wire) -> None:
    await wire.sign_up()
    everybody = await wire.admin("GET", "/admin/users?page=&per_page=")
    assert everybody.json()["aud"] == "authenticated"
    total = int(everybody.headers["x-total-count"])
    assert total >= 4
    first = await wire.admin("GET", "/admin/users?page=1&per_page=2")
    assert [user.id for user in read(UserList, first).users] == [
        user.id for user in read(UserList, everybody).users[:2]
    ]
    last = -(-total // 2)
    assert first.headers["link"] == (
        f'</admin/users?page=2&per_page=2>; rel="next", </admin/users?page={last}&per_page=2>; rel="last"'
    )


async def test_the_api_says_what_it_can(wire: Wire) -> None:
    health = await wire.send("GET", "/health")
    assert health.json().keys() == {"version", "name", "description"}
    assert health.json()["name"] == "GoTrue"
    settings = (await wire.send("GET", "/settings")).json()
    assert settings["external"].items() >= {"email": True, "phone": False, "anonymous_users": True}.items()
    flags = ("disable_signup", "mailer_autoconfirm", "phone_autoconfirm", "saml_enabled", "sms_provider")
    assert [settings[name] for name in flags] == [False, True, False, False, ""]
