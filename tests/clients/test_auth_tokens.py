"""The Python client: what access tokens say, and the rows that they open."""

from __future__ import annotations

from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from postgrest import APIError
from supabase import AsyncClient
from supabase_auth.errors import AuthInvalidJwtError
from supabase_auth.helpers import decode_jwt
from supabase_auth.types import Session

from tests.clients.accounts import newcomer, refused, sign_in, sign_up
from tests.clients.asking import data
from tests.clients.conftest import Connect


@pytest.fixture
async def client(connect: Connect) -> AsyncClient:
    return await connect()


# ---- claims ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def asked() -> Any:
    """An HTTP client that remembers the paths that were asked for."""
    paths: list[str] = []

    async def note(request: httpx.Request) -> None:
        paths.append(request.url.path)

    async with httpx.AsyncClient(event_hooks={"request": [note]}) as http:
        yield http, paths


async def test_claims_are_verified_without_the_server(
    asked: tuple[httpx.AsyncClient, list[str]], connect: Connect
) -> None:
    http, paths = asked
    client = await connect(httpx_client=http)
    session = await sign_up(client, newcomer(), nick="zz")
    paths.clear()
    found, *more = [await client.auth.get_claims() for _ in range(3)]
    assert found is not None
    assert more == [found, found]
    assert paths == ["/auth/v1/.well-known/jwks.json"]
    claims: dict[str, Any] = dict(found["claims"])
    assert found["headers"]["alg"] == "ES256"
    assert (claims["sub"], claims["role"], claims["aud"]) == (session.user.id, "authenticated", "authenticated")
    assert (claims["aal"], claims["user_metadata"]) == ("aal1", {"nick": "zz"})
    assert claims["app_metadata"] == session.user.app_metadata
    level = await client.auth.mfa.get_authenticator_assurance_level()
    assert (level.current_level, level.next_level) == ("aal1", "aal1")
    assert [entry.method for entry in level.current_authentication_methods] == ["password"]


async def test_claims_of_a_forged_token_are_refused(client: AsyncClient) -> None:
    session = await sign_up(client, newcomer())
    head, payload, signature = session.access_token.split(".")
    forged = f"{head}.{payload}.{signature[::-1]}"
    with pytest.raises(AuthInvalidJwtError, match="Invalid JWT signature"):
        await client.auth.get_claims(forged)
    await refused(client.auth.get_user(forged), "bad_jwt", 403)


async def test_claims_of_an_unknown_key_are_refused(client: AsyncClient) -> None:
    session = await sign_up(client, newcomer())
    claims: dict[str, Any] = dict(decode_jwt(session.access_token)["payload"])
    forged = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "unknown"})
    with pytest.raises(AuthInvalidJwtError, match="No matching signing key"):
        await client.auth.get_claims(forged)
    await refused(client.auth.get_user(forged), "bad_jwt", 403)


# ---- rows -----------------------------------------------------------------------------------------------------------


async def test_an_author_writes_posts_and_sees_own_drafts(
    client: AsyncClient, connect: Connect, service: AsyncClient
) -> None:
    session, bob, visitor = await sign_up(client, newcomer()), await connect(), await connect()
    await make_author(service, session)
    await make_author(service, await sign_up(bob, newcomer()))
    made = await data(client.table("posts").insert({"title": "My draft"}))
    assert [(row["user_id"], row["status"]) for row in made] == [(session.user.app_metadata["user_id"], "draft")]
    own = {"id": made[0]["id"]}
    assert await data(client.table("posts").select("title").match(own)) == [{"title": "My draft"}]
    assert await data(bob.table("posts").select("title").match(own)) == []
    assert await data(visitor.table("posts").select("title").match(own)) == []
    assert await data(bob.table("posts").update({"title": "Mine"}).match(own)) == []
    assert await data(client.table("posts").update({"title": "Better"}).match(own).select("title")) == [
        {"title": "Better"}
    ]
    assert await data(client.table("posts").delete().match(own).select("title")) == [{"title": "Better"}]


async def make_author(service: AsyncClient, session: Session) -> None:
    await data(service.table("users").update({"role": "author"}).eq("id", session.user.app_metadata["user_id"]))


async def test_a_member_may_not_write_posts(client: AsyncClient) -> None:
    await sign_up(client, newcomer())
    with pytest.raises(APIError) as caught:
        await client.table("posts").insert({"title": "Mine"}).execute()
    assert caught.value.code == "42501"


async def test_a_member_sees_the_own_address_alone(client: AsyncClient) -> None:
    ada = newcomer()
    await sign_up(client, ada)
    seen = await data(client.table("users").select("email").not_.is_("email", "null"))
    assert seen == [{"email": ada.email}]
    await client.auth.sign_out()
    assert await data(client.table("users").select("email").not_.is_("email", "null")) == []


async def test_an_ended_session_may_not_write(client: AsyncClient, connect: Connect, service: AsyncClient) -> None:
    ada, elsewhere = newcomer(), await connect()
    await make_author(service, await sign_up(client, ada))
    await data(client.table("posts").insert({"title": "Before"}))
    await sign_in(elsewhere, ada)
    await elsewhere.auth.sign_out()
    with pytest.raises(APIError) as caught:
        await client.table("posts").insert({"title": "After"}).execute()
    assert caught.value.code == "PGRST301"
