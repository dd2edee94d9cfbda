"""The admin API: users made, listed, changed, banned and deleted by the secret key."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import select
from supabase_auth.types import Session, User, UserList

from app.accounts import people
from app.accounts.keys import Keys, fingerprint
from app.accounts.passwords import hash_password
from app.accounts.people import Account
from app.accounts.vault import hash_of
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import OneTimeToken, Post, Revision
from app.models import User as UserRow
from app.query.removal import restore
from app.resources import CATALOG
from tests.accounts.wire.asking import AUTH, PASSWORD, Clients, add_person, bearer, person, refusal_of, sign_in
from tests.conftest import EPOCH, Clock
from tests.factories import make_post, make_transfer, make_user

USERS = f"{AUTH}/admin/users"
NOBODY = "00000000-0000-4000-8000-000000000000"  # of no user
Secret = dict[str, str]
CALLS = [
    ("GET", USERS),
    ("POST", USERS),
    ("GET", f"{USERS}/{NOBODY}"),
    ("PUT", f"{USERS}/{NOBODY}"),
    ("DELETE", f"{USERS}/{NOBODY}"),
    ("POST", f"{AUTH}/admin/generate_link"),
]


async def create(client: httpx2.AsyncClient, secret: Secret, **attributes: Any) -> User:
    response = await client.post(USERS, json=attributes, headers=secret)
    assert response.status_code == 200, response.text
    return User.model_validate_json(response.content)


async def change(client: httpx2.AsyncClient, secret: Secret, user: Account, **attributes: Any) -> User:
    response = await client.put(f"{USERS}/{user.uid}", json=attributes, headers=secret)
    assert response.status_code == 200, response.text
    return User.model_validate_json(response.content)


async def account(database: Database, user: User) -> Account:
    found = await person(database, UUID(user.id))
    assert found is not None
    return found


# ---- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_only_the_secret_key_may(
    client: httpx2.AsyncClient, keys: Keys, database: Database, method: str, path: str
) -> None:
    root = await add_person(database, "root", role="admin")
    session = (await sign_in(client, root.email)).json()
    for headers in ({}, {"apikey": keys.publishable}, bearer(session), bearer(session) | {"apikey": keys.publishable}):
        assert refusal_of(await client.request(method, path, headers=headers)) == (403, "not_admin")


@pytest.mark.parametrize("header", ["apikey", "authorization"])
async def test_secret_key_may_come_in_either_header(client: httpx2.AsyncClient, secret: Secret, header: str) -> None:
    assert (await client.get(USERS, headers={header: secret[header]})).status_code == 200


# ---- created ---------------------------------------------------------------------------------------------------------


async def test_created_user_signs_in(client: httpx2.AsyncClient, secret: Secret, database: Database) -> None:
    metadata = {"username": "bob", "full_name": "Bob", "city": "Ulm"}
    user = await create(
        client,
        secret,
        email="Bob@Example.org",
        password=PASSWORD,
        email_confirm=True,
        user_metadata=metadata,
        app_metadata={"plan": "pro", "user_id": 99, "provider": "x", "providers": ["x"]},
    )
    assert (user.email, user.user_metadata, user.email_confirmed_at) == ("bob@example.org", metadata, EPOCH)
    made = await account(database, user)
    assert user.app_metadata == {"provider": "email", "providers": ["email"], "plan": "pro", "user_id": made.id}
    assert (made.username, made.role, made.app_metadata) == ("bob", "member", {"plan": "pro"})
    opened = Session.model_validate_json((await sign_in(client, "bob@example.org")).content)
    assert opened.user.id == user.id


async def test_username_is_made_from_the_address(
    client: httpx2.AsyncClient, secret: Secret, ada: Account, database: Database
) -> None:
    user = await create(client, secret, email="Ada@example.net")
    assert (await account(database, user)).username.startswith("ada-")


async def test_data_may_name_the_user_too(client: httpx2.AsyncClient, secret: Secret, database: Database) -> None:
    user = await create(client, secret, email="eve@example.org", data={"username": "Evelyn"})
    assert (await account(database, user)).username == "evelyn"


async def test_address_is_confirmed_only_if_that_is_said(clients: Clients, secret: Secret, database: Database) -> None:
    async with clients(confirm_email=True) as client:
        user = await create(client, secret, email="eve@example.org", password=PASSWORD)
        assert user.email_confirmed_at is None
        assert refusal_of(await sign_in(client, user.email)) == (400, "email_not_confirmed")
        await change(client, secret, await account(database, user), email_confirm=True)
        assert (await sign_in(client, user.email)).status_code == 200


async def test_given_id_is_kept(client: httpx2.AsyncClient, secret: Secret) -> None:
    uid = str(uuid4())
    assert (await create(client, secret, email="eve@example.org", id=uid)).id == uid
    again = await client.post(USERS, json={"email": "eva@example.org", "id": uid}, headers=secret)
    assert refusal_of(again) == (409, "conflict")


@pytest.mark.parametrize(("given", "kept"), [("author", "author"), ("admin", "admin"), ("authenticated", "member")])
async def test_role_is_ours_where_it_is_one_of_ours(
    client: httpx2.AsyncClient, secret: Secret, database: Database, given: str, kept: str
) -> None:
    user = await create(client, secret, email="eve@example.org", role=given)
    assert (user.role, (await account(database, user)).role) == ("authenticated", kept)


async def test_user_without_a_role_gets_that_of_sign_up(clients: Clients, secret: Secret, database: Database) -> None:
    async with clients(sign_up_role="author") as client:
        user = await create(client, secret, email="eve@example.org")
    assert (await account(database, user)).role == "author"


async def test_hash_brought_along_lets_its_password_in(client: httpx2.AsyncClient, secret: Secret) -> None:
    hashed = (await hash_password(PASSWORD)).hashed
    await create(client, secret, email="eve@example.org", password_hash=hashed, email_confirm=True)
    assert (await sign_in(client, "eve@example.org")).status_code == 200


@pytest.mark.parametrize(
    ("attributes", "refusal"),
    [
        ({}, (400, "validation_failed")),
        ({"email": "no address"}, (400, "validation_failed")),
        ({"email": "ada@example.org"}, (422, "email_exists")),
        ({"user_metadata": {"username": "ada"}}, (422, "validation_failed")),
        ({"user_metadata": {"username": "?"}}, (400, "validation_failed")),
        ({"user_metadata": []}, (400, "validation_failed")),
        ({"app_metadata": "x"}, (400, "validation_failed")),
        ({"app_metadata": {"x": "y" * 5000}}, (400, "validation_failed")),
        ({"password": "short"}, (422, "weak_password")),
        ({"password": 7}, (400, "validation_failed")),
        ({"password": PASSWORD, "password_hash": "x"}, (400, "validation_failed")),
        ({"password_hash": "$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5fM5m0d6cJ9h6b7E8r1cG1rQbFvZy"}, (400, "validation_failed")),
        ({"role": "service_role"}, (400, "validation_failed")),
        ({"id": "7"}, (400, "validation_failed")),
        ({"email_confirm": "yes"}, (400, "validation_failed")),
        ({"phone": "+491234"}, (400, "phone_provider_disabled")),
        *[
            ({"ban_duration": duration}, (400, "validation_failed"))
            for duration in ("24", "1d", "-1h", "1h ", "h", "1.2.3h", "9999999h", "1" * 20 + "h", "null")
        ],
    ],
)
async def test_bad_attributes_are_refused(
    client: httpx2.AsyncClient, secret: Secret, ada: Account, attributes: dict[str, Any], refusal: tuple[int, str]
) -> None:
    body = attributes and {"email": "eve@example.org", **attributes}
    assert refusal_of(await client.post(USERS, json=body, headers=secret)) == refusal
    assert len((await client.get(USERS, headers=secret)).json()["users"]) == 1


async def test_one_address_created_ten_times_at_once_is_one_user(client: httpx2.AsyncClient, secret: Secret) -> None:
    body = {"email": "eve@example.org"}
    answers = await asyncio.gather(*(client.post(USERS, json=body, headers=secret) for _ in range(10)))
    assert sorted(one.status_code for one in answers) == [200] + [422] * 9
    assert {refusal_of(one) for one in answers if one.status_code != 200} == {(422, "email_exists")}


# ---- listed and shown ------------------------------------------------------------------------------------------------


async def test_users_come_in_pages(client: httpx2.AsyncClient, secret: Secret, database: Database) -> None:
    made = [await add_person(database, f"user{number}") for number in range(5)]
    first = await client.get(USERS, params={"page": "1", "per_page": "2"}, headers=secret)
    assert [user.id for user in UserList.model_validate_json(first.content).users] == [str(one.uid) for one in made[:2]]
    assert first.json()["aud"] == "authenticated"
    assert first.headers["x-total-count"] == "5"
    next_, last = '</admin/users?page=2&per_page=2>; rel="next"', '</admin/users?page=3&per_page=2>; rel="last"'
    assert first.headers["link"] == f"{next_}, {last}"
    end = await client.get(USERS, params={"page": "3", "per_page": "2"}, headers=secret)
    assert [user["email"] for user in end.json()["users"]] == [made[4].email]
    assert end.headers["link"] == last
    beyond = await client.get(USERS, params={"page": "1000000000", "per_page": "1000"}, headers=secret)
    assert beyond.json()["users"] == []


async def test_clients_that_name_no_page_get_the_first_fifty(client: httpx2.AsyncClient, secret: Secret) -> None:
    response = await client.get(f"{USERS}?page=&per_page=", headers=secret)
    assert response.json() == {"users": [], "aud": "authenticated"}
    assert response.headers["link"] == '</admin/users?page=1&per_page=50>; rel="last"'


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "page=1e3", "per_page=1001", f"page={'9' * 30}"])
async def test_bad_page_is_refused(client: httpx2.AsyncClient, secret: Secret, query: str) -> None:
    assert refusal_of(await client.get(f"{USERS}?{query}", headers=secret)) == (400, "validation_failed")


async def test_user_is_shown_by_uid(client: httpx2.AsyncClient, secret: Secret, ada: Account) -> None:
    response = await client.get(f"{USERS}/{ada.uid}", headers=secret)
    assert User.model_validate_json(response.content).email == ada.email


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("uid", ["1", "not-a-uuid", "00000000-0000-4000-8000-000000000000"])
async def test_unknown_user_is_not_found(client: httpx2.AsyncClient, secret: Secret, method: str, uid: str) -> None:
    assert refusal_of(await client.request(method, f"{USERS}/{uid}", headers=secret)) == (404, "user_not_found")


# ---- changed ---------------------------------------------------------------------------------------------------------


async def test_metadata_is_merged_and_null_takes_a_field_away(
    client: httpx2.AsyncClient, secret: Secret, ada: Account
) -> None:
    await change(client, secret, ada, user_metadata={"a": 1, "b": 2}, app_metadata={"plan": "pro"})
    user = await change(client, secret, ada, user_metadata={"a": None, "c": 3})
    assert user.user_metadata == {"b": 2, "c": 3}
    assert user.app_metadata["plan"] == "pro"


async def test_metadata_sent_back_as_read_changes_nothing(
    client: httpx2.AsyncClient, secret: Secret, ada: Account, database: Database
) -> None:
    before = await change(client, secret, ada, user_metadata={"username": "ada2"}, app_metadata={"plan": "pro"})
    known = await account(database, before)
    async with database.writing(SYSTEM) as session:
        await people.change(session, ada.id, {"username": "countess"})
    await change(client, secret, ada, user_metadata=before.user_metadata, app_metadata=before.app_metadata)
    after = await account(database, before)
    assert known.username == "ada2"
    assert (after.username, after.version) == ("countess", known.version + 1)


async def test_new_password_ends_all_sessions(client: httpx2.AsyncClient, secret: Secret, ada: Account) -> None:
    session = (await sign_in(client, ada.email)).json()
    assert (await client.get("/users?select=email", headers=bearer(session))).status_code == 200
    await change(client, secret, ada, password="another long one")
    assert refusal_of(await client.get(f"{AUTH}/user", headers=bearer(session))) == (403, "session_not_found")
    assert (await client.get("/users?select=email", headers=bearer(session))).status_code == 401
    assert (await sign_in(client, ada.email, "another long one")).status_code == 200


async def test_new_address_ends_all_sessions(client: httpx2.AsyncClient, secret: Secret, ada: Account) -> None:
    session = (await sign_in(client, ada.email)).json()
    user = await change(client, secret, ada, email="lovelace@example.org")
    assert user.email == "lovelace@example.org"
    assert refusal_of(await client.get(f"{AUTH}/user", headers=bearer(session))) == (403, "session_not_found")
    assert (await sign_in(client, "lovelace@example.org")).status_code == 200


async def test_same_address_ends_no_session(client: httpx2.AsyncClient, secret: Secret, ada: Account) -> None:
    session = (await sign_in(client, ada.email)).json()
    await change(client, secret, ada, email="ADA@example.org", user_metadata={"x": 1})
    assert (await client.get(f"{AUTH}/user", headers=bearer(session))).status_code == 200


async def test_taken_address_is_refused(
    client: httpx2.AsyncClient, secret: Secret, ada: Account, database: Database
) -> None:
    await add_person(database, "bob")
    response = await client.put(f"{USERS}/{ada.uid}", json={"email": "bob@example.org"}, headers=secret)
    assert refusal_of(response) == (422, "email_exists")


async def test_ban_is_felt_everywhere_at_once_and_ends(
    client: httpx2.AsyncClient, secret: Secret, ada: Account, clock: Clock
) -> None:
    session = (await sign_in(client, ada.email)).json()
    assert (await client.get("/posts", headers=bearer(session))).status_code == 200
    user = await change(client, secret, ada, ban_duration="1h30m")
    assert user.banned_until == "2026-01-01T13:30:00.000000Z"
    assert (await client.get("/posts", headers=bearer(session))).status_code == 401
    assert refusal_of(await client.get(f"{AUTH}/user", headers=bearer(session))) == (403, "user_banned")
    assert refusal_of(await sign_in(client, ada.email)) == (400, "user_banned")
    refresh = {"refresh_token": session["refresh_token"]}
    refreshed = await client.post(f"{AUTH}/token?grant_type=refresh_token", json=refresh)
    assert refusal_of(refreshed) == (400, "user_banned")
    clock.advance(5400)
    assert (await sign_in(client, ada.email)).status_code == 200


async def test_ban_is_lifted_by_none(client: httpx2.AsyncClient, secret: Secret, ada: Account) -> None:
    await change(client, secret, ada, ban_duration="876000h")
    user = await change(client, secret, ada, ban_duration="none")
    assert user.banned_until is None
    assert (await sign_in(client, ada.email)).status_code == 200


@pytest.mark.parametrize(
    ("duration", "delta"),
    [
        ("24h", timedelta(hours=24)),
        ("1h30m15s", timedelta(hours=1, minutes=30, seconds=15)),
        ("1.5h", timedelta(minutes=90)),
        ("300ms", timedelta(milliseconds=300)),
        ("5m3us", timedelta(minutes=5, microseconds=3)),
        ("876000h", timedelta(hours=876_000)),
    ],
)
async def test_ban_takes_the_durations_of_go(
    client: httpx2.AsyncClient, secret: Secret, ada: Account, database: Database, duration: str, delta: timedelta
) -> None:
    banned = await account(database, await change(client, secret, ada, ban_duration=duration))
    assert banned.banned_until == EPOCH + delta


async def test_anonymous_user_with_an_address_is_anonymous_no_more(
    clients: Clients, secret: Secret, database: Database
) -> None:
    async with clients(anonymous=True) as client:
        opened = (await client.post(f"{AUTH}/signup", json={"data": {}})).json()
        assert opened["user"]["is_anonymous"] is True
        uid = UUID(opened["user"]["id"])
        found = await person(database, uid)
        assert found is not None
        user = await change(client, secret, found, email="eve@example.org")
    assert (user.is_anonymous, user.app_metadata["providers"]) == (False, ["email"])


async def test_revisions_name_the_key(
    client: httpx2.AsyncClient, secret: Secret, keys: Keys, database: Database
) -> None:
    user = await create(client, secret, email="eve@example.org", role="author")
    eve = await account(database, user)
    await change(client, secret, eve, role="admin")
    await client.delete(f"{USERS}/{user.id}", headers=secret)
    async with database.reading(SYSTEM) as session:
        table = Revision.__table__
        rows = (await session.execute(select(table).order_by(table.c.id))).all()
    expected = fingerprint(hash_of(keys.secret))
    assert [(row.operation, row.actor_id, row.key_id) for row in rows] == [
        (operation, None, expected) for operation in ("insert", "update", "purge")
    ]


# ---- deleted ---------------------------------------------------------------------------------------------------------


async def test_deleted_user_is_gone_for_good(client: httpx2.AsyncClient, secret: Secret, database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        user = await make_user(session, role="author")
        await make_post(session, user)
    response = await client.request("DELETE", f"{USERS}/{user.uid}", json={"should_soft_delete": False}, headers=secret)
    assert (response.status_code, response.json()) == (200, {})
    assert refusal_of(await client.get(f"{USERS}/{user.uid}", headers=secret)) == (404, "user_not_found")
    async with database.reading(SYSTEM) as session:
        assert (await session.execute(select(Post.__table__.c.id))).all() == []


async def test_soft_deleted_user_can_be_restored(
    client: httpx2.AsyncClient, secret: Secret, ada: Account, database: Database
) -> None:
    session = (await sign_in(client, ada.email)).json()
    response = await client.request("DELETE", f"{USERS}/{ada.uid}", json={"should_soft_delete": True}, headers=secret)
    assert (response.status_code, response.json()) == (200, {})
    assert refusal_of(await sign_in(client, ada.email)) == (400, "invalid_credentials")
    assert (await client.get("/posts", headers=bearer(session))).status_code == 401
    async with database.writing(SYSTEM) as writing:
        await restore(writing, CATALOG.of(UserRow), [ada.id])
    assert (await sign_in(client, ada.email)).status_code == 200


async def test_links_of_a_deleted_user_are_forgotten(
    client: httpx2.AsyncClient, secret: Secret, ada: Account, database: Database
) -> None:
    await client.post(f"{AUTH}/admin/generate_link", json={"type": "recovery", "email": ada.email}, headers=secret)
    await client.request("DELETE", f"{USERS}/{ada.uid}", json={"should_soft_delete": True}, headers=secret)
    async with database.reading(SYSTEM) as session:
        assert (await session.execute(select(OneTimeToken.__table__))).all() == []


@pytest.mark.parametrize("soft", [True, False])
async def test_user_with_a_balance_stays(
    client: httpx2.AsyncClient, secret: Secret, database: Database, soft: bool
) -> None:
    async with database.writing(SYSTEM) as session:
        user = await make_user(session, balance=5)
    body = {"should_soft_delete": soft}
    response = await client.request("DELETE", f"{USERS}/{user.uid}", json=body, headers=secret)
    assert refusal_of(response) == (409, "conflict")
    assert (await client.get(f"{USERS}/{user.uid}", headers=secret)).status_code == 200


async def test_user_with_transfers_is_made_nameless(
    client: httpx2.AsyncClient, secret: Secret, database: Database
) -> None:
    async with database.writing(SYSTEM) as session:
        user, other = await make_user(session, email="eve@example.org"), await make_user(session)
        await make_transfer(session, user, other, 5)
    response = await client.delete(f"{USERS}/{user.uid}", headers=secret)
    assert response.status_code == 200
    assert refusal_of(await client.get(f"{USERS}/{user.uid}", headers=secret)) == (404, "user_not_found")
    assert (await create(client, secret, email="eve@example.org")).id != str(user.uid)
