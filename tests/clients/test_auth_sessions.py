"""The Python client: sessions and their ends, tokens that run out, refreshes at once, and rows by session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from postgrest import APIError
from supabase import AsyncClient
from supabase_auth import AsyncMemoryStorage
from supabase_auth.helpers import decode_jwt
from supabase_auth.types import Session

from tests.clients.accounts import newcomer, note_events, refused, session_id, sign_in, sign_up
from tests.clients.asking import data
from tests.clients.conftest import Connect, Sites

LONG_AGO = -3700  # seconds: an access token of then has run out, for clients and for the server


@pytest.fixture
async def client(connect: Connect) -> AsyncClient:
    return await connect()


# ---- ends -----------------------------------------------------------------------------------------------------------


async def test_signing_out_locally_leaves_the_other_session(client: AsyncClient, connect: Connect) -> None:
    ada, elsewhere = newcomer(), await connect()
    here = await sign_up(client, ada)
    await sign_in(elsewhere, ada)
    await client.auth.sign_out({"scope": "local"})
    assert await client.auth.get_session() is None
    await refused(client.auth.get_user(here.access_token), "session_not_found", 403)
    await refused(client.auth.refresh_session(here.refresh_token), "refresh_token_not_found")
    assert await elsewhere.auth.get_user() is not None
    await elsewhere.auth.refresh_session()


async def test_signing_out_others_leaves_this_session(client: AsyncClient, connect: Connect) -> None:
    ada, elsewhere = newcomer(), await connect()
    await sign_up(client, ada)
    await sign_in(elsewhere, ada)
    await client.auth.sign_out({"scope": "others"})
    assert await client.auth.get_user() is not None
    await refused(elsewhere.auth.get_user(), "session_not_found", 403)
    await refused(elsewhere.auth.refresh_session(), "refresh_token_not_found")


async def test_signing_out_ends_all_sessions_of_this_user_alone(client: AsyncClient, connect: Connect) -> None:
    ada, elsewhere, bob = newcomer(), await connect(), await connect()
    await sign_up(client, ada)
    await sign_in(elsewhere, ada)
    await sign_up(bob, newcomer())
    await client.auth.sign_out()
    assert await client.auth.get_session() is None
    await refused(elsewhere.auth.get_user(), "session_not_found", 403)
    assert await bob.auth.get_user() is not None


async def test_signing_out_of_a_dead_session_is_no_error(client: AsyncClient, connect: Connect) -> None:
    ada, elsewhere = newcomer(), await connect()
    await sign_up(client, ada)
    await sign_in(elsewhere, ada)
    await elsewhere.auth.sign_out()
    events = note_events(client)
    await client.auth.sign_out()
    assert events == ["SIGNED_OUT"]


# ---- another's tokens -----------------------------------------------------------------------------------------------


async def test_a_session_is_carried_to_another_client(client: AsyncClient, connect: Connect) -> None:
    carried, elsewhere = await sign_up(client, newcomer()), await connect()
    events = note_events(elsewhere)
    answer = await elsewhere.auth.set_session(carried.access_token, carried.refresh_token)
    assert answer.user == carried.user
    assert events == ["SIGNED_IN"]
    assert (await elsewhere.auth.refresh_session()).session is not None


async def test_a_session_is_found_in_the_storage(connect: Connect) -> None:
    storage = AsyncMemoryStorage()
    before, after = await connect(storage=storage), await connect(storage=storage)
    session = await sign_up(before, newcomer())
    events = note_events(after)
    await after.auth.initialize_from_storage()
    assert events == ["SIGNED_IN"]
    assert await after.auth.get_session() == session


async def test_a_session_that_has_run_out_is_refreshed_where_it_is_carried(
    auth_served: Sites, client: AsyncClient, connect: Connect
) -> None:
    with auth_served.at(LONG_AGO):
        carried = await sign_up(client, newcomer())
    elsewhere = await connect()
    events = note_events(elsewhere)
    answer = await elsewhere.auth.set_session(carried.access_token, carried.refresh_token)
    assert answer.session is not None
    assert answer.session.access_token != carried.access_token
    assert events == ["TOKEN_REFRESHED"]
    await refused(elsewhere.auth.get_user(carried.access_token), "bad_jwt", 403)
    assert await elsewhere.auth.get_user() is not None


async def test_tokens_of_nobody_are_refused(client: AsyncClient) -> None:
    session = await sign_up(client, newcomer())
    head, _, code = session.refresh_token.rpartition(".")
    for token in ("nonsense", session.access_token, f"{head}.{code[::-1]}", f"{session.refresh_token}x"):
        await refused(client.auth.refresh_session(token), "refresh_token_not_found")
    await client.auth.refresh_session(session.refresh_token)


# ---- refreshes ------------------------------------------------------------------------------------------------------


async def test_a_refresh_goes_on_with_the_session(client: AsyncClient) -> None:
    before = await sign_up(client, newcomer())
    after = (await client.auth.refresh_session()).session
    assert after is not None
    assert after.refresh_token != before.refresh_token
    assert session_id(after) == session_id(before)
    assert (after.user.id, after.expires_in) == (before.user.id, 3600)
    assert methods_of(after) == methods_of(before)


def methods_of(session: Session) -> list[Any]:
    return list(decode_jwt(session.access_token)["payload"]["amr"])


async def test_twenty_refreshes_at_once_give_one_family(client: AsyncClient, connect: Connect) -> None:
    first = await sign_up(client, newcomer())
    tabs = [await connect() for _ in range(20)]
    answers = await asyncio.gather(*(tab.auth.refresh_session(first.refresh_token) for tab in tabs))
    sessions = [answer.session for answer in answers if answer.session is not None]
    assert len(sessions) == 20
    assert {session_id(session) for session in sessions} == {session_id(first)}
    assert len({session.refresh_token for session in sessions} - {first.refresh_token}) == 1
    found = await asyncio.gather(*(tab.auth.get_user() for tab in tabs))
    assert {answer.user.id for answer in found if answer is not None} == {first.user.id}
    await asyncio.gather(*(tab.auth.refresh_session() for tab in tabs))


async def test_the_token_before_the_newest_may_come_late(
    auth_served: Sites, client: AsyncClient, connect: Connect
) -> None:
    first = await sign_up(client, newcomer())
    newest = (await client.auth.refresh_session()).session
    assert newest is not None
    with auth_served.at(3000):
        late = (await (await connect()).auth.refresh_session(first.refresh_token)).session
    assert late is not None
    assert late.refresh_token == newest.refresh_token


async def test_an_old_token_ends_the_session(auth_served: Sites, client: AsyncClient, connect: Connect) -> None:
    first, thief = await sign_up(client, newcomer()), await connect()
    await client.auth.refresh_session()
    await client.auth.refresh_session()
    assert (await thief.auth.refresh_session(first.refresh_token)).session is not None  # at once: another tab
    with auth_served.at(11):
        await refused(thief.auth.refresh_session(first.refresh_token), "refresh_token_already_used")
        await refused(client.auth.refresh_session(), "refresh_token_not_found")
        await refused(client.auth.get_user(), "session_not_found", 403)


async def test_a_session_that_rested_too_long_is_over(auth_served: Sites, client: AsyncClient) -> None:
    with auth_served.at(-31 * 86_400):
        session = await sign_up(client, newcomer())
    await refused(client.auth.refresh_session(session.refresh_token), "session_expired")


# ---- expiry ---------------------------------------------------------------------------------------------------------


async def test_a_session_that_has_run_out_is_refreshed_when_it_is_asked_for(
    auth_served: Sites, client: AsyncClient
) -> None:
    """The client sends the token that has run out as Bearer of the refresh."""
    with auth_served.at(LONG_AGO):
        before = await sign_up(client, newcomer())
    events = note_events(client)
    with pytest.raises(APIError) as caught:
        await client.table("posts").select("id").execute()
    assert (caught.value.code, caught.value.message) == ("PGRST303", "JWT expired")
    after = await client.auth.get_session()
    assert after is not None
    assert session_id(after) == session_id(before)
    assert events == ["TOKEN_REFRESHED"]
    assert len(await data(client.table("posts").select("id").eq("id", 1))) == 1
    assert await client.auth.get_session() == after


async def test_the_timer_refreshes_before_the_token_runs_out(auth_served: Sites, connect: Connect) -> None:
    """Takes a second or two: the client refreshes ten seconds before the end, and this token has some twelve left."""
    client = await connect(auto_refresh_token=True)
    refreshed = asyncio.get_running_loop().create_future()
    with auth_served.at(-3600 + 12):
        before = await sign_up(client, newcomer())
    subscription = client.auth.on_auth_state_change(lambda event, session: refreshed.set_result((event, session)))
    event, after = await asyncio.wait_for(refreshed, 10)
    subscription.unsubscribe()
    assert event == "TOKEN_REFRESHED"
    assert session_id(after) == session_id(before)
    assert len(await data(client.table("posts").select("id").eq("id", 1))) == 1
    await client.auth.sign_out({"scope": "local"})  # stops the timer
