"""Links that the admin API makes to be handed out, without any mail."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from supabase_auth.types import GenerateLinkProperties, Session, User

from app.accounts import people
from app.accounts.people import Account
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import OneTimeToken
from tests.accounts.wire.asking import (
    AUTH,
    PASSWORD,
    Clients,
    add_person,
    bearer,
    count,
    fragment_of,
    refusal_of,
    sign_in,
)
from tests.conftest import EPOCH

LINK = f"{AUTH}/admin/generate_link"
Secret = dict[str, str]


async def generate(client: httpx2.AsyncClient, secret: Secret, **body: Any) -> GenerateLinkProperties:
    response = await client.post(LINK, json=body, headers=secret)
    assert response.status_code == 200, response.text
    User.model_validate_json(response.content)
    return GenerateLinkProperties.model_validate_json(response.content)


async def verified(client: httpx2.AsyncClient, **body: Any) -> Session:
    response = await client.post(f"{AUTH}/verify", json=body)
    assert response.status_code == 200, response.text
    return Session.model_validate_json(response.content)


@pytest.mark.parametrize("mailer", ["none", "console"])
async def test_recovery_link_needs_no_mailer(clients: Clients, secret: Secret, ada: Account, mailer: str) -> None:
    async with clients(mailer=mailer) as client:
        link = await generate(client, secret, type="recovery", email=ada.email)
        assert link.verification_type == "recovery"
        shown = fragment_of(await client.get(link.action_link))
        new = {"password": "another long one"}
        assert (await client.put(f"{AUTH}/user", json=new, headers=bearer(shown))).status_code == 200
        assert (await sign_in(client, ada.email, new["password"])).status_code == 200


async def test_parts_of_a_link_do_what_the_link_does(client: httpx2.AsyncClient, secret: Secret, ada: Account) -> None:
    by_hash = await generate(client, secret, type="magiclink", email=ada.email)
    assert (await verified(client, type="magiclink", token_hash=by_hash.hashed_token)).user.id == str(ada.uid)
    by_digits = await generate(client, secret, type="magiclink", email=ada.email)
    opened = await verified(client, type="email", email=ada.email, token=by_digits.email_otp)
    assert opened.user.id == str(ada.uid)


async def test_of_ten_links_made_at_once_the_user_keeps_one(
    client: httpx2.AsyncClient, secret: Secret, ada: Account, database: Database
) -> None:
    body = {"type": "recovery", "email": ada.email}
    answers = await asyncio.gather(*(client.post(LINK, json=body, headers=secret) for _ in range(10)))
    assert {one.status_code for one in answers} == {200}
    assert await count(database, OneTimeToken) == 1


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        ({"type": "signup", "password": PASSWORD}, "signup"),
        ({"type": "invite"}, "invite"),
        ({"type": "magiclink"}, "magiclink"),
    ],
)
async def test_link_makes_the_user_where_there_is_none(
    clients: Clients, secret: Secret, database: Database, body: dict[str, Any], type_: str
) -> None:
    async with clients(sign_up="closed", mailer="none") as client:
        link = await generate(client, secret, email="eve@example.org", data={"username": "eve"}, **body)
        async with database.reading(SYSTEM) as session:
            eve = await people.by_email(session, "eve@example.org")
        assert eve is not None
        assert (eve.username, eve.email_confirmed_at) == ("eve", None)
        opened = await verified(client, type=type_, token_hash=link.hashed_token)
        assert (opened.user.id, opened.user.email_confirmed_at) == (str(eve.uid), EPOCH)
        if "password" in body:
            assert (await sign_in(client, "eve@example.org")).status_code == 200


async def test_password_of_a_sign_up_link_replaces_that_of_who_registered_unproven(
    clients: Clients, secret: Secret
) -> None:
    body = {"email": "eve@example.org", "password": "not the password of eve"}
    async with clients(confirm_email=True) as client:
        assert (await client.post(f"{AUTH}/signup", json=body)).status_code == 200
        link = await generate(client, secret, type="signup", email="eve@example.org", password=PASSWORD)
        await verified(client, type="signup", token_hash=link.hashed_token)
        assert (await sign_in(client, "eve@example.org", body["password"])).status_code == 400
        assert (await sign_in(client, "eve@example.org")).status_code == 200


@pytest.mark.parametrize("type_", ["email_change_current", "email_change_new"])
async def test_link_to_change_the_address(client: httpx2.AsyncClient, secret: Secret, ada: Account, type_: str) -> None:
    link = await generate(client, secret, type=type_, email=ada.email, new_email="Lovelace@example.org")
    assert link.verification_type == type_
    opened = await verified(client, type="email_change", token_hash=link.hashed_token)
    assert (opened.user.id, opened.user.email) == (str(ada.uid), "lovelace@example.org")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, (400, "validation_failed")),
        ({"type": "sms", "email": "ada@example.org"}, (400, "validation_failed")),
        ({"type": ["recovery"], "email": "ada@example.org"}, (400, "validation_failed")),
        ({"type": "recovery"}, (400, "validation_failed")),
        ({"type": "signup", "email": "eve@example.org"}, (400, "validation_failed")),
        ({"type": "signup", "email": "eve@example.org", "password": "short"}, (422, "weak_password")),
        ({"type": "email_change_new", "email": "ada@example.org"}, (400, "validation_failed")),
        ({"type": "recovery", "email": "eve@example.org"}, (404, "user_not_found")),
        (
            {"type": "email_change_new", "email": "eve@example.org", "new_email": "a@example.org"},
            (404, "user_not_found"),
        ),
        (
            {"type": "email_change_new", "email": "ada@example.org", "new_email": "bob@example.org"},
            (422, "email_exists"),
        ),
        ({"type": "signup", "email": "ada@example.org", "password": PASSWORD}, (422, "email_exists")),
        ({"type": "invite", "email": "ada@example.org"}, (422, "email_exists")),
        ({"type": "invite", "email": "eve@example.org", "data": {"username": "ada"}}, (422, "validation_failed")),
    ],
)
async def test_bad_link_is_refused(
    client: httpx2.AsyncClient,
    secret: Secret,
    ada: Account,
    database: Database,
    body: dict[str, Any],
    refusal: tuple[int, str],
) -> None:
    await add_person(database, "bob")
    assert refusal_of(await client.post(LINK, json=body, headers=secret)) == refusal


@pytest.mark.parametrize("by", ["redirect_to", "redirectTo", "query"])
async def test_link_leads_where_it_may(client: httpx2.AsyncClient, secret: Secret, ada: Account, by: str) -> None:
    body: dict[str, Any] = {"type": "recovery", "email": ada.email}
    for goal, led_to in (
        ("http://localhost:3000/cb", "http://localhost:3000/cb"),
        ("https://evil.example", "http://127.0.0.1:8000"),
    ):
        given, query = (body, {"redirect_to": goal}) if by == "query" else (body | {by: goal}, {})
        response = await client.post(LINK, json=given, params=query, headers=secret)
        link = GenerateLinkProperties.model_validate_json(response.content)
        assert link.redirect_to == led_to
        followed = await client.get(link.action_link)
        assert followed.headers["location"].startswith(f"{led_to}#")
