"""The Python client: many calls at once, of which one may win. Whoever loses is told so, never by a 5xx."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError
from supabase_auth.types import AuthResponse

from tests.clients.accounts import Person, newcomer, sign_in, sign_up
from tests.clients.conftest import Connect, Sites
from tests.clients.serve_accounts import WELCOME

MANY = 10


async def outcomes(calls: Iterable[Awaitable[Any]]) -> Counter[str]:
    """How many were accepted ("ok"), and how many refused by which code."""
    return Counter(await asyncio.gather(*(outcome(call) for call in calls)))


async def outcome(call: Awaitable[Any]) -> str:
    try:
        await call
    except AuthApiError as error:
        return str(error.code)
    return "ok"


async def crowd(connect: Connect) -> list[AsyncClient]:
    return [await connect() for _ in range(MANY)]


async def test_one_of_many_gets_an_address(connect: Connect) -> None:
    ada = newcomer()
    found = await outcomes(sign_up(client, ada) for client in await crowd(connect))
    assert found == {"ok": 1, "user_already_exists": MANY - 1}


async def test_many_with_the_same_name_before_the_at_are_all_let_in(connect: Connect) -> None:
    people = [Person(f"crowd@{number}.example.org", "correct horse") for number in range(MANY)]
    clients = await crowd(connect)
    found = await outcomes(sign_up(client, person) for client, person in zip(clients, people, strict=True))
    assert found == {"ok": MANY}


async def test_one_of_many_gets_a_username(connect: Connect) -> None:
    clients = await crowd(connect)
    found = await outcomes(sign_up(client, newcomer(), username="highlander") for client in clients)
    assert found == {"ok": 1, "validation_failed": MANY - 1}


async def test_a_user_may_sign_in_from_many_places(connect: Connect) -> None:
    ada = newcomer()
    await sign_up(await connect(), ada)
    assert await outcomes(sign_in(client, ada) for client in await crowd(connect)) == {"ok": MANY}


async def test_one_of_many_gets_the_session_of_a_link(service: AsyncClient, connect: Connect) -> None:
    ada = newcomer()
    link = await service.auth.admin.generate_link({"type": "magiclink", "email": ada.email})

    def verify(client: AsyncClient) -> Awaitable[AuthResponse]:
        return client.auth.verify_otp({"type": "magiclink", "token_hash": link.properties.hashed_token})

    found = await outcomes(verify(client) for client in await crowd(connect))
    assert found == {"ok": 1, "otp_expired": MANY - 1}


async def test_one_of_many_types_the_digits(service: AsyncClient, connect: Connect) -> None:
    ada = newcomer()
    link = await service.auth.admin.generate_link({"type": "magiclink", "email": ada.email})

    def verify(client: AsyncClient) -> Awaitable[AuthResponse]:
        return client.auth.verify_otp({"type": "email", "email": ada.email, "token": link.properties.email_otp})

    found = await outcomes(verify(client) for client in await crowd(connect))
    assert found == {"ok": 1, "otp_expired": MANY - 1}


async def test_one_of_many_gets_the_session_of_a_code(
    auth_served: Sites, http: httpx.AsyncClient, connect: Connect
) -> None:
    ada, client = newcomer(), await connect()
    await client.auth.sign_in_with_otp({"email": ada.email, "options": {"email_redirect_to": WELCOME}})
    location = (await http.get(auth_served.mail(ada.email).link)).headers["location"]
    code = parse_qs(urlsplit(location).query)["code"][0]
    found = await outcomes(client.auth.exchange_code_for_session({"auth_code": code}) for _ in range(MANY))
    assert found["ok"] == 1
    assert found.keys() <= {"ok", "flow_state_not_found", "validation_failed"}  # the last without the verifier


async def test_who_refreshes_while_the_session_ends_is_refused_or_not(connect: Connect) -> None:
    client = await connect()
    session = await sign_up(client, newcomer())
    tabs = await crowd(connect)
    calls: list[Awaitable[Any]] = [tab.auth.refresh_session(session.refresh_token) for tab in tabs]
    found = await outcomes([*calls, client.auth.admin.sign_out(session.access_token)])
    assert found.keys() <= {"ok", "refresh_token_not_found", "session_not_found"}
    assert await outcome(client.auth.refresh_session(session.refresh_token)) == "refresh_token_not_found"


async def test_changes_of_one_user_at_once_are_all_kept(connect: Connect) -> None:
    client = await connect()
    session = await sign_up(client, newcomer())
    found = await outcomes(client.auth.update_user({"data": {f"n{number}": number}}) for number in range(MANY))
    assert found == {"ok": MANY}
    answer = await client.auth.get_user(session.access_token)
    assert answer is not None
    assert answer.user.user_metadata == {f"n{number}": number for number in range(MANY)}
