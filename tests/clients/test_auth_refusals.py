"""The Python client: what the account API does not do, or not on this site. Each refusal has the class and the code by
which an application tells it apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
from supabase import AsyncClient
from supabase_auth.types import CreateOAuthClientParams, UpdateOAuthClientParams

from tests.clients.accounts import Person, newcomer, refused, sign_in, sign_up
from tests.clients.conftest import Connect, Sites

PHONE = "+15550100"


class Refused(NamedTuple):
    """`why` is for who reads: the specification's column."""

    call: Callable[[AsyncClient], Awaitable[Any]]
    code: str
    status: int
    why: str


ID = str(uuid4())
CLIENT = CreateOAuthClientParams(client_name="app", redirect_uris=["https://app.example.org"])
FACTOR: dict[str, str] = {"factor_id": ID, "challenge_id": ID, "code": "123456"}
NO_FACTOR, NO_OAUTH = ("mfa_totp_enroll_not_enabled", 422, "later: a second factor"), ("feature_disabled", 404, "never")

METHODS: dict[str, Refused] = {
    "sign_in_with_id_token": Refused(
        lambda client: client.auth.sign_in_with_id_token({"provider": "google", "token": "x"}),
        *("provider_disabled", 400, "later: other providers"),
    ),
    "sign_in_with_sso": Refused(
        lambda client: client.auth.sign_in_with_sso({"domain": "example.org"}),
        *("saml_provider_disabled", 404, "never"),
    ),
    "link_identity": Refused(
        lambda client: client.auth.link_identity({"provider": "github"}),
        *("manual_linking_disabled", 404, "never"),
    ),
    "unlink_identity": Refused(lambda client: unlink(client), "manual_linking_disabled", 404, "never"),
    "reauthenticate": Refused(
        lambda client: client.auth.reauthenticate(),
        *("email_provider_disabled", 400, "later: codes to confirm a change"),
    ),
    "admin.invite_user_by_email": Refused(
        lambda client: client.auth.admin.invite_user_by_email(newcomer().email),
        *("email_provider_disabled", 400, "later: generate_link makes the link to send"),
    ),
    "mfa.enroll": Refused(lambda client: client.auth.mfa.enroll({"factor_type": "totp"}), *NO_FACTOR),
    "mfa.challenge": Refused(lambda client: client.auth.mfa.challenge({"factor_id": ID}), *NO_FACTOR),
    "mfa.verify": Refused(
        lambda client: client.auth.mfa.verify({"factor_id": ID, "challenge_id": ID, "code": "123456"}), *NO_FACTOR
    ),
    "mfa.challenge_and_verify": Refused(
        lambda client: client.auth.mfa.challenge_and_verify({"factor_id": ID, "code": "123456"}), *NO_FACTOR
    ),
    "mfa.unenroll": Refused(lambda client: client.auth.mfa.unenroll({"factor_id": ID}), *NO_FACTOR),
    "admin.mfa.list_factors": Refused(lambda client: client.auth.admin.mfa.list_factors({"user_id": ID}), *NO_FACTOR),
    "admin.mfa.delete_factor": Refused(
        lambda client: client.auth.admin.mfa.delete_factor({"user_id": ID, "id": ID}), *NO_FACTOR
    ),
    "admin.oauth.list_clients": Refused(lambda client: client.auth.admin.oauth.list_clients(), *NO_OAUTH),
    "admin.oauth.create_client": Refused(lambda client: client.auth.admin.oauth.create_client(CLIENT), *NO_OAUTH),
    "admin.oauth.get_client": Refused(lambda client: client.auth.admin.oauth.get_client(ID), *NO_OAUTH),
    "admin.oauth.update_client": Refused(
        lambda client: client.auth.admin.oauth.update_client(ID, UpdateOAuthClientParams()), *NO_OAUTH
    ),
    "admin.oauth.delete_client": Refused(lambda client: client.auth.admin.oauth.delete_client(ID), *NO_OAUTH),
    "admin.oauth.regenerate_client_secret": Refused(
        lambda client: client.auth.admin.oauth.regenerate_client_secret(ID), *NO_OAUTH
    ),
}


async def unlink(client: AsyncClient) -> None:
    identities = (await client.auth.get_user_identities()).identities
    await client.auth.unlink_identity(identities[0])


PHONES: dict[str, Callable[[AsyncClient], Awaitable[Any]]] = {
    "sign_up": lambda client: client.auth.sign_up({"phone": PHONE, "password": "correct horse"}),
    "sign_in_with_password": lambda client: client.auth.sign_in_with_password({"phone": PHONE, "password": "x"}),
    "sign_in_with_otp": lambda client: client.auth.sign_in_with_otp({"phone": PHONE}),
    "verify_otp": lambda client: client.auth.verify_otp({"phone": PHONE, "token": "123456", "type": "sms"}),
    "resend": lambda client: client.auth.resend({"type": "sms", "phone": PHONE}),
    "update_user": lambda client: client.auth.update_user({"phone": PHONE}),
}
STRICT: dict[str, tuple[Callable[[AsyncClient], Awaitable[Any]], str, int]] = {
    "sign_up": (lambda client: sign_up(client, newcomer()), "signup_disabled", 422),
    "sign_in_anonymously": (lambda client: client.auth.sign_in_anonymously(), "anonymous_provider_disabled", 422),
    "reset_password": (
        lambda client: client.auth.reset_password_for_email(newcomer().email),
        *("email_provider_disabled", 400),
    ),
    "sign_in_with_otp": (
        lambda client: client.auth.sign_in_with_otp({"email": newcomer().email}),
        *("email_provider_disabled", 400),
    ),
    "resend": (
        lambda client: client.auth.resend({"type": "signup", "email": newcomer().email}),
        *("email_provider_disabled", 400),
    ),
}


@pytest.fixture(scope="module")
async def member(connect: Connect) -> AsyncClient:
    """Signed in on the open site, with everything that could be allowed."""
    client = await connect()
    await sign_up(client, newcomer())
    return client


@pytest.fixture(scope="module")
async def stranger(auth_served: Sites, connect: Connect) -> AsyncClient:
    """On the site that lets nobody in."""
    return await connect(auth_served.strict)


@pytest.mark.parametrize("name", METHODS)
async def test_a_method_is_refused(member: AsyncClient, service: AsyncClient, name: str) -> None:
    call, code, status, _ = METHODS[name]
    await refused(call(service if name.startswith("admin.") else member), code, status)


@pytest.mark.parametrize("name", PHONES)
async def test_phone_numbers_are_refused(member: AsyncClient, name: str) -> None:
    await refused(PHONES[name](member), "phone_provider_disabled")


@pytest.mark.parametrize("name", STRICT)
async def test_a_strict_site_refuses(stranger: AsyncClient, name: str) -> None:
    call, code, status = STRICT[name]
    error = await refused(call(stranger), code, status)
    if code == "email_provider_disabled":
        assert error.message == "This server sends no e-mail; ask an administrator for a recovery link"


async def test_another_provider_is_refused_where_the_browser_is_led(
    http: httpx.AsyncClient, member: AsyncClient
) -> None:
    """The client asks for nothing; it makes an address to open."""
    link = await member.auth.sign_in_with_oauth({"provider": "github"})
    answer = await http.get(link.url)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "oauth_provider_not_supported")


async def test_nobody_has_a_second_factor(member: AsyncClient) -> None:
    factors = await member.auth.mfa.list_factors()
    assert (factors.all, factors.totp, factors.phone) == ([], [], [])


async def test_an_account_is_not_tried_without_end(auth_served: Sites, connect: Connect) -> None:
    client, service = (
        await connect(auth_served.strict),
        await connect(auth_served.strict, key=auth_served.strict.secret),
    )
    ada, bob = newcomer(), newcomer()
    for person in (ada, bob):
        await service.auth.admin.create_user(
            {"email": person.email, "password": person.password, "email_confirm": True}
        )
    for _ in range(5):
        await refused(sign_in(client, Person(ada.email, "wrong horse")), "invalid_credentials")
    await refused(sign_in(client, Person(ada.email, "wrong horse")), "over_request_rate_limit", 429)
    await refused(sign_in(client, ada), "over_request_rate_limit", 429)
    await sign_in(client, bob)
