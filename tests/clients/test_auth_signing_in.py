"""The Python client: signing up and in, and what a user changes of oneself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from supabase import AsyncClient, acreate_client
from supabase_auth import AsyncGoTrueClient
from supabase_auth.errors import AuthSessionMissingError
from supabase_auth.types import AuthChangeEvent, Session

from tests.clients.accounts import Person, newcomer, refused, sign_in, sign_up, too_weak
from tests.clients.asking import data
from tests.clients.conftest import Connect, Sites

# cheap parameters, as an import may bring them along
HASH_OF_SHORT = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$gIuIhVE+Mf0/T2derDIz3Q"


@pytest.fixture
async def client(connect: Connect) -> AsyncClient:
    return await connect()


# ---- sign-up --------------------------------------------------------------------------------------------------------


async def test_a_client_without_options_signs_up_and_in(auth_served: Sites) -> None:
    """Its own HTTP client, PKCE, the timer that refreshes: what `acreate_client` does by itself."""
    client = await acreate_client(auth_served.open.url, auth_served.open.publishable)
    async with client.auth:
        ada = newcomer()
        signed_up = await sign_up(client, ada)
        await client.auth.sign_out()
        assert await client.auth.get_session() is None
        signed_in = await sign_in(client, ada)
        assert signed_in.user.id == signed_up.user.id
        await client.auth.sign_out({"scope": "local"})


async def test_the_client_for_accounts_alone_sends_the_key_and_no_bearer(
    auth_served: Sites, http: httpx.AsyncClient
) -> None:
    site, ada = auth_served.open, newcomer()
    headers = {"apikey": site.publishable}
    auth = AsyncGoTrueClient(url=f"{site.url}/auth/v1", headers=headers, http_client=http, auto_refresh_token=False)
    made = await auth.sign_up({"email": ada.email, "password": ada.password})
    found = await auth.get_user()
    assert found is not None
    assert found.user == made.user


async def test_sign_up_makes_a_user_with_a_session(client: AsyncClient, service: AsyncClient) -> None:
    ada = newcomer()
    session = await sign_up(client, ada, username=f"ada-{ada.email.partition('@')[0]}", full_name="Ada", colour="red")
    user = session.user
    assert (user.email, user.role, user.aud, user.is_anonymous) == (ada.email, "authenticated", "authenticated", False)
    assert user.user_metadata["colour"] == "red"
    assert user.app_metadata["providers"] == ["email"]
    assert user.email_confirmed_at is not None
    assert session.expires_in == 3600
    columns = service.table("users").select("uid, email, role, full_name")
    assert await data(columns.eq("id", user.app_metadata["user_id"])) == [
        {"uid": user.id, "email": ada.email, "role": "member", "full_name": "Ada"}
    ]


async def test_a_username_is_made_from_the_address(client: AsyncClient) -> None:
    first = await sign_up(client, Person("grace.hopper@example.org", "correct horse"))
    second = await sign_up(client, Person("grace.hopper@example.com", "correct horse"))
    names = [await username_of(client, session) for session in (first, second)]
    assert names[0] == "grace-hopper"
    assert names[1].startswith("grace-hopper-")


async def username_of(client: AsyncClient, session: Session) -> str:
    query = client.table("users").select("username").eq("id", session.user.app_metadata["user_id"])
    name: str = (await data(query.single()))["username"]
    return name


async def test_sign_up_with_a_known_address_is_refused(client: AsyncClient) -> None:
    ada = newcomer()
    await sign_up(client, ada)
    error = await refused(sign_up(client, ada), "user_already_exists", 422)
    assert error.message == "User already registered"


async def test_sign_up_with_a_taken_username_is_refused(client: AsyncClient) -> None:
    error = await refused(sign_up(client, newcomer(), username="ada"), "validation_failed", 422)
    assert error.message == "Username already taken"


@pytest.mark.parametrize("address", ["ada", "ada@", "@example.org", "a b@example.org", "a@" + "b" * 300])
async def test_sign_up_needs_an_address(client: AsyncClient, address: str) -> None:
    await refused(sign_up(client, Person(address, "correct horse")), "validation_failed")


async def test_sign_up_needs_a_good_password(client: AsyncClient) -> None:
    await too_weak(sign_up(client, Person("weak@example.org", "short")), "length")
    await too_weak(sign_up(client, Person("weak@example.org", "password1")), "characters")
    await refused(sign_in(client, Person("weak@example.org", "password1")), "invalid_credentials")


async def test_metadata_may_not_be_large(client: AsyncClient) -> None:
    await refused(sign_up(client, newcomer(), essay="x" * 5000), "validation_failed")


# ---- sign-in --------------------------------------------------------------------------------------------------------


async def test_a_wrong_password_and_an_unknown_address_look_alike(client: AsyncClient) -> None:
    ada = newcomer()
    await sign_up(client, ada)
    wrong = await refused(sign_in(client, Person(ada.email, "wrong horse")), "invalid_credentials")
    unknown = await refused(sign_in(client, newcomer()), "invalid_credentials")
    assert wrong.to_dict() == unknown.to_dict()
    assert wrong.message == "Invalid login credentials"


async def test_sign_in_does_not_look_at_the_case_of_the_address(client: AsyncClient) -> None:
    ada = newcomer()
    await sign_up(client, ada)
    assert (await sign_in(client, Person(f" {ada.email.upper()}", ada.password))).user.email == ada.email


async def test_the_session_tells_who_is_signed_in(client: AsyncClient) -> None:
    session = await sign_up(client, newcomer())
    assert await client.auth.get_session() == session
    found = await client.auth.get_user()
    assert found is not None
    assert found.user == session.user
    by_token = await client.auth.get_user(session.access_token)
    assert by_token == found
    identities = (await client.auth.get_user_identities()).identities
    assert [(each.provider, each.user_id) for each in identities] == [("email", session.user.id)]


async def test_nobody_is_signed_in_at_first(client: AsyncClient) -> None:
    assert await client.auth.get_session() is None
    assert await client.auth.get_user() is None
    assert await client.auth.get_claims() is None
    for call in (client.auth.refresh_session(), client.auth.update_user({"data": {}}), client.auth.reauthenticate()):
        with pytest.raises(AuthSessionMissingError):
            await call


async def test_a_password_that_today_is_too_weak_signs_in_with_a_warning(
    auth_served: Sites, http: httpx.AsyncClient, service: AsyncClient, client: AsyncClient
) -> None:
    """The Python client does not look at the warning."""
    ada = Person(newcomer().email, "short")
    await service.auth.admin.create_user({"email": ada.email, "password_hash": HASH_OF_SHORT})
    assert (await sign_in(client, ada)).user.email == ada.email
    body = {"email": ada.email, "password": ada.password}
    answer = await http.post(f"{auth_served.open.url}/auth/v1/token?grant_type=password", json=body)
    assert answer.json()["weak_password"]["reasons"] == ["length"]
    assert answer.json()["weak_password"]["message"]


async def test_metadata_comes_back_as_it_was_sent(client: AsyncClient) -> None:
    given = {
        "names": ["Ärger", "😀", None],
        "nested": {"a": {"b": [1, 2.5, True]}},
        "big": 2**53,
        "empty": "",
        "no": {},
    }
    session = await sign_up(client, newcomer(), **given)
    assert session.user.user_metadata == given
    claims = await client.auth.get_claims()
    assert claims is not None
    shown: dict[str, Any] = dict(claims["claims"])
    assert shown["user_metadata"] == given


# ---- changes --------------------------------------------------------------------------------------------------------


async def test_data_is_merged_into_the_metadata(client: AsyncClient) -> None:
    await sign_up(client, newcomer(), colour="red", size=1)
    answer = await client.auth.update_user({"data": {"colour": None, "nick": "zz"}})
    assert answer.user.user_metadata == {"size": 1, "nick": "zz"}
    session = await client.auth.get_session()
    assert session is not None
    assert session.user == answer.user


async def test_a_new_password_ends_the_other_sessions(client: AsyncClient, connect: Connect) -> None:
    ada, elsewhere = newcomer(), await connect()
    await sign_up(client, ada)
    await sign_in(elsewhere, ada)
    await client.auth.update_user({"password": "battery staple"})
    assert await client.auth.get_user() is not None
    await refused(elsewhere.auth.get_user(), "session_not_found", 403)
    await refused(elsewhere.auth.refresh_session(), "refresh_token_not_found")
    await refused(sign_in(elsewhere, ada), "invalid_credentials")
    await sign_in(elsewhere, Person(ada.email, "battery staple"))


async def test_a_password_that_is_no_change_or_too_weak_is_refused(client: AsyncClient) -> None:
    ada = newcomer()
    await sign_up(client, ada)
    await refused(client.auth.update_user({"password": ada.password}), "same_password", 422)
    await too_weak(client.auth.update_user({"password": "short"}), "length")
    await sign_in(client, ada)


async def test_a_new_address_counts_at_once_without_confirmation(client: AsyncClient, connect: Connect) -> None:
    ada, elsewhere, address = newcomer(), await connect(), newcomer().email
    await sign_up(client, ada)
    await sign_in(elsewhere, ada)
    answer = await client.auth.update_user({"email": address})
    assert (answer.user.email, answer.user.new_email) == (address, None)
    await refused(elsewhere.auth.get_user(), "session_not_found", 403)
    await refused(sign_in(elsewhere, ada), "invalid_credentials")
    await sign_in(elsewhere, Person(address, ada.password))


async def test_the_address_of_another_user_is_refused(client: AsyncClient) -> None:
    bob = newcomer()
    await sign_up(client, bob)
    await sign_up(client, newcomer())
    await refused(client.auth.update_user({"email": bob.email}), "email_exists", 422)


# ---- events ---------------------------------------------------------------------------------------------------------


async def test_events_come_in_order(client: AsyncClient) -> None:
    events: list[AuthChangeEvent] = []
    users: list[str | None] = []

    def note(event: AuthChangeEvent, session: Session | None) -> None:
        events.append(event)
        users.append(session.user.id if session else None)

    subscription = client.auth.on_auth_state_change(note)
    ada = newcomer()
    user_id = (await sign_up(client, ada)).user.id
    await sign_in(client, ada)
    await client.auth.refresh_session()
    await client.auth.update_user({"data": {"nick": "zz"}})
    await client.auth.sign_out()
    assert events == ["SIGNED_IN", "SIGNED_IN", "TOKEN_REFRESHED", "USER_UPDATED", "SIGNED_OUT"]
    assert users == [user_id] * 4 + [None]
    subscription.unsubscribe()
    await sign_in(client, ada)
    assert len(events) == 5


# ---- anonymous users ------------------------------------------------------------------------------------------------


async def test_an_anonymous_user_becomes_one_with_an_address(client: AsyncClient) -> None:
    answer = await client.auth.sign_in_anonymously({"options": {"data": {"colour": "red"}}})
    assert answer.session is not None
    assert answer.user is not None
    assert (answer.user.is_anonymous, answer.user.email, answer.user.identities) == (True, "", [])
    assert answer.user.user_metadata == {"colour": "red"}
    ada = newcomer()
    changed = await client.auth.update_user({"email": ada.email, "password": ada.password})
    assert (changed.user.id, changed.user.is_anonymous, changed.user.email) == (answer.user.id, False, ada.email)
    again = await sign_in(client, ada)
    assert again.user.id == answer.user.id
    claims = await client.auth.get_claims()
    assert claims is not None
    shown: dict[str, Any] = dict(claims["claims"])
    assert shown["is_anonymous"] is False


# ---- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["sb_publishable_wrong", "sb_secret_wrong", "wrong", "a.b.c"])
async def test_a_wrong_key_opens_nothing(connect: Connect, key: str) -> None:
    client = await connect(key=key)
    await refused(sign_up(client, newcomer()), "no_authorization", 401)
    await refused(sign_in(client, newcomer()), "no_authorization", 401)


async def test_a_call_for_a_session_needs_a_bearer(auth_served: Sites, http: httpx.AsyncClient) -> None:
    headers = {"apikey": auth_served.open.publishable, "x-supabase-api-version": "2024-01-01"}
    answer = await http.get(f"{auth_served.open.url}/auth/v1/user", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "no_authorization")


async def test_a_key_is_no_session(client: AsyncClient, auth_served: Sites) -> None:
    for token in (auth_served.open.publishable, auth_served.open.secret):
        await refused(client.auth.get_user(token), "bad_jwt", 403)
    await refused(client.auth.get_user("not.a.token"), "bad_jwt", 403)


async def test_keys_of_an_old_project_open_what_the_new_ones_do(auth_served: Sites, connect: Connect) -> None:
    site, ada = auth_served.open, newcomer()
    client, service = await connect(key=site.anon), await connect(key=site.service_role)
    session = await sign_up(client, ada)
    assert (await service.auth.admin.get_user_by_id(session.user.id)).user == session.user
    assert await data(service.table("users").select("email").eq("email", ada.email)) == [{"email": ada.email}]
    assert await data(client.table("users").select("email").eq("email", ada.email)) == [{"email": ada.email}]
    await refused(client.auth.admin.list_users(), "not_admin", 403)
    await client.auth.sign_out()
    assert await data(client.table("users").select("email").eq("email", ada.email)) == []
    await refused(client.auth.get_user(site.anon), "bad_jwt", 403)


async def test_a_site_that_requires_a_key_gets_it_from_the_client(auth_served: Sites, connect: Connect) -> None:
    client = await connect(auth_served.strict)
    assert len(await data(client.table("posts").select("id").lte("id", 6))) == 4
    await refused(sign_in(client, newcomer()), "invalid_credentials")
