"""The Python client: users made, listed, changed, banned and deleted with the secret key, and links to hand out."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest
from supabase import AsyncClient
from supabase_auth.types import User

from tests.clients.accounts import Person, newcomer, refused, sign_in, sign_up, too_weak
from tests.clients.asking import data
from tests.clients.conftest import Connect, Sites
from tests.clients.serve_accounts import WELCOME


@pytest.fixture
async def client(connect: Connect) -> AsyncClient:
    return await connect()


async def create(service: AsyncClient, person: Person, **more: Any) -> User:
    given: Any = {"email": person.email, "password": person.password, **more}
    return (await service.auth.admin.create_user(given)).user


# ---- users ----------------------------------------------------------------------------------------------------------


async def test_an_admin_makes_a_user(service: AsyncClient, client: AsyncClient) -> None:
    ada, id_ = newcomer(), str(uuid4())
    metadata = {"user_metadata": {"colour": "red", "full_name": "Ada"}, "app_metadata": {"plan": "pro"}}
    made = await create(service, ada, id=id_, email_confirm=True, role="author", **metadata)
    assert (made.id, made.email, made.user_metadata["colour"]) == (id_, ada.email, "red")
    assert made.app_metadata["plan"] == "pro"
    assert made.email_confirmed_at is not None
    assert (await service.auth.admin.get_user_by_id(id_)).user == made
    row = await data(service.table("users").select("role, full_name").eq("uid", id_).single())
    assert row == {"role": "author", "full_name": "Ada"}
    assert (await sign_in(client, ada)).user.id == id_


async def test_a_user_without_a_password_cannot_sign_in_by_one(service: AsyncClient, client: AsyncClient) -> None:
    ada = newcomer()
    made = (await service.auth.admin.create_user({"email": ada.email})).user
    assert made.email_confirmed_at is None
    await refused(sign_in(client, ada), "invalid_credentials")


async def test_users_that_cannot_be_made_are_refused(service: AsyncClient) -> None:
    ada = newcomer()
    made = await create(service, ada)
    await refused(create(service, ada), "email_exists", 422)
    await refused(create(service, newcomer(), user_metadata={"username": "ada"}), "validation_failed", 422)
    await refused(create(service, newcomer(), id=made.id), "conflict", 409)
    await refused(create(service, newcomer(), id="7"), "validation_failed")
    await refused(create(service, newcomer(), role="emperor"), "validation_failed")
    await refused(create(service, newcomer(), password_hash="$2b$12$x"), "validation_failed")
    await refused(service.auth.admin.create_user({"password": "correct horse"}), "validation_failed")
    await too_weak(create(service, Person(newcomer().email, "short")), "length")


async def test_users_are_listed_by_pages(service: AsyncClient) -> None:
    for _ in range(3):
        await create(service, newcomer())
    everybody = [user.id for user in await service.auth.admin.list_users(per_page=1000)]
    assert len(everybody) >= 6  # three were there before
    pages = [await service.auth.admin.list_users(page=number, per_page=2) for number in (1, 2, 3)]
    assert [user.id for page in pages for user in page] == everybody[:6]
    assert await service.auth.admin.list_users(page=500, per_page=1000) == []
    assert [user.id for user in await service.auth.admin.list_users()] == everybody[:50]
    await refused(service.auth.admin.list_users(page=0), "validation_failed")
    await refused(service.auth.admin.list_users(per_page=-1), "validation_failed")


async def test_an_admin_changes_a_user(service: AsyncClient, client: AsyncClient) -> None:
    ada = newcomer()
    made, address = await create(service, ada, user_metadata={"size": 1}), newcomer().email
    await sign_in(client, ada)
    changed = await service.auth.admin.update_user_by_id(
        made.id, {"email": address, "user_metadata": {"colour": "red"}, "app_metadata": {"plan": "pro"}}
    )
    assert (changed.user.email, changed.user.user_metadata) == (address, {"size": 1, "colour": "red"})
    assert changed.user.app_metadata["plan"] == "pro"
    assert changed.user.app_metadata["user_id"] == made.app_metadata["user_id"]
    await refused(client.auth.get_user(), "session_not_found", 403)
    session = await sign_in(client, Person(address, ada.password))
    await service.auth.admin.update_user_by_id(made.id, {"password": "battery staple"})
    await refused(client.auth.get_user(session.access_token), "session_not_found", 403)
    await sign_in(client, Person(address, "battery staple"))


async def test_a_ban_keeps_a_user_out_until_it_is_lifted(service: AsyncClient, client: AsyncClient) -> None:
    ada = newcomer()
    made = await create(service, ada)
    await sign_in(client, ada)
    banned = await service.auth.admin.update_user_by_id(made.id, {"ban_duration": "24h"})
    assert banned.user.banned_until is not None
    await refused(client.auth.get_user(), "user_banned", 403)
    await refused(client.auth.refresh_session(), "user_banned")
    await refused(sign_in(client, ada), "user_banned")
    lifted = await service.auth.admin.update_user_by_id(made.id, {"ban_duration": "none"})
    assert lifted.user.banned_until is None
    assert await client.auth.get_user() is not None
    await client.auth.refresh_session()
    await refused(service.auth.admin.update_user_by_id(made.id, {"ban_duration": "for ever"}), "validation_failed")


async def test_a_ban_ends_by_itself(auth_served: Sites, service: AsyncClient, client: AsyncClient) -> None:
    ada = newcomer()
    made = await create(service, ada)
    await service.auth.admin.update_user_by_id(made.id, {"ban_duration": "1h30m"})
    await refused(sign_in(client, ada), "user_banned")
    with auth_served.at(5401):
        await sign_in(client, ada)


@pytest.mark.parametrize("soft", [False, True])
async def test_a_deleted_user_is_gone(service: AsyncClient, client: AsyncClient, soft: bool) -> None:
    ada = newcomer()
    session = await sign_up(client, ada)
    await service.auth.admin.delete_user(session.user.id, should_soft_delete=soft)
    await refused(service.auth.admin.get_user_by_id(session.user.id), "user_not_found", 404)
    await refused(service.auth.admin.delete_user(session.user.id), "user_not_found", 404)
    await refused(client.auth.get_user(), "user_not_found", 403)
    await refused(sign_in(client, ada), "invalid_credentials")
    await sign_up(client, ada)


async def test_unknown_users_are_not_found(service: AsyncClient) -> None:
    nobody = str(uuid4())
    await refused(service.auth.admin.get_user_by_id(nobody), "user_not_found", 404)
    await refused(service.auth.admin.update_user_by_id(nobody, {"user_metadata": {}}), "user_not_found", 404)
    await refused(service.auth.admin.delete_user(nobody), "user_not_found", 404)
    for call in (service.auth.admin.get_user_by_id("1"), service.auth.admin.delete_user("1")):
        with pytest.raises(ValueError, match="not a valid uuid"):
            await call


async def test_an_admin_ends_sessions_by_their_token(service: AsyncClient, client: AsyncClient) -> None:
    session = await sign_up(client, newcomer())
    await service.auth.admin.sign_out(session.access_token, "local")
    await refused(client.auth.get_user(), "session_not_found", 403)
    await refused(service.auth.admin.sign_out(session.access_token), "session_not_found", 403)


# ---- who may --------------------------------------------------------------------------------------------------------


async def test_the_publishable_key_is_no_admin(client: AsyncClient) -> None:
    nobody, admin = str(uuid4()), client.auth.admin
    for call in (
        admin.create_user({"email": newcomer().email}),
        admin.list_users(),
        admin.get_user_by_id(nobody),
        admin.update_user_by_id(nobody, {"ban_duration": "none"}),
        admin.delete_user(nobody),
        admin.generate_link({"type": "magiclink", "email": newcomer().email}),
    ):
        await refused(call, "not_admin", 403)


async def test_a_user_is_no_admin_of_accounts_whatever_the_role(service: AsyncClient, client: AsyncClient) -> None:
    ada = newcomer()
    await create(service, ada, role="admin")
    await sign_in(client, ada)
    await refused(client.auth.admin.list_users(), "not_admin", 403)


async def test_the_secret_key_stays_with_the_admin_calls_after_a_sign_in(auth_served: Sites, connect: Connect) -> None:
    """The client's own calls carry the user's token then."""
    service, ada = await connect(key=auth_served.open.secret), newcomer()
    await create(service, ada)
    await sign_in(service, ada)
    assert await service.auth.admin.list_users(per_page=1)


# ---- links ----------------------------------------------------------------------------------------------------------


async def test_a_recovery_link_needs_no_mail(
    auth_served: Sites, http: httpx.AsyncClient, connect: Connect, client: AsyncClient
) -> None:
    """On the site that sends none."""
    service, ada = await connect(auth_served.strict, key=auth_served.strict.secret), newcomer()
    made = await create(service, ada, email_confirm=True)
    link = await service.auth.admin.generate_link(
        {"type": "recovery", "email": ada.email, "options": {"redirect_to": f"{auth_served.strict.url}/set"}}
    )
    assert link.user.id == made.id
    assert (link.properties.verification_type, link.properties.redirect_to) == (
        "recovery",
        f"{auth_served.strict.url}/set",
    )
    assert parse_qs(urlsplit(link.properties.action_link).query)["token"] == [link.properties.hashed_token]
    user = await connect(auth_served.strict)
    answer = await user.auth.verify_otp({"type": "recovery", "token_hash": link.properties.hashed_token})
    assert answer.session is not None
    await user.auth.update_user({"password": "battery staple"})
    await sign_in(user, Person(ada.email, "battery staple"))
    gone = (await http.get(link.properties.action_link)).headers["location"]
    assert gone.startswith(f"{auth_served.strict.url}/set#error=access_denied&error_code=otp_expired&")


async def test_a_sign_up_link_makes_the_user(service: AsyncClient, client: AsyncClient) -> None:
    ada = newcomer()
    options: Any = {"data": {"colour": "red"}, "redirect_to": WELCOME}
    link = await service.auth.admin.generate_link(
        {"type": "signup", "email": ada.email, "password": ada.password, "options": options}
    )
    assert (link.user.email, link.user.user_metadata["colour"]) == (ada.email, "red")
    assert link.user.email_confirmed_at is None
    assert link.properties.redirect_to == WELCOME
    digits = link.properties.email_otp
    answer = await client.auth.verify_otp({"type": "signup", "email": ada.email, "token": digits})
    assert answer.user is not None
    assert answer.user.email_confirmed_at is not None
    await sign_in(client, ada)


async def test_a_magic_link_signs_in(service: AsyncClient, http: httpx.AsyncClient, connect: Connect) -> None:
    ada, client = newcomer(), await connect(flow_type="implicit")
    link = await service.auth.admin.generate_link(
        {"type": "magiclink", "email": ada.email, "options": {"redirect_to": WELCOME}}
    )
    answer = await http.get(link.properties.action_link)
    assert answer.status_code == 303
    await client.auth.initialize_from_url(answer.headers["location"])
    session = await client.auth.get_session()
    assert session is not None
    assert session.user.id == link.user.id


async def test_an_invitation_is_a_link_to_hand_out(service: AsyncClient, client: AsyncClient) -> None:
    ada = newcomer()
    link = await service.auth.admin.generate_link({"type": "invite", "email": ada.email})
    token = link.properties.hashed_token
    answer = await client.auth.verify_otp({"type": "invite", "token_hash": token})
    assert answer.user is not None
    assert answer.user.id == link.user.id


async def test_a_link_changes_the_address_and_ends_the_sessions(
    service: AsyncClient, connect: Connect, client: AsyncClient
) -> None:
    ada, address, elsewhere = newcomer(), newcomer().email, await connect()
    await sign_up(elsewhere, ada)
    link = await service.auth.admin.generate_link(
        {"type": "email_change_new", "email": ada.email, "new_email": address}
    )
    assert link.properties.verification_type == "email_change_new"
    token = link.properties.hashed_token
    answer = await client.auth.verify_otp({"type": "email_change", "token_hash": token})
    assert answer.user is not None
    assert answer.user.email == address
    await refused(elsewhere.auth.get_user(), "session_not_found", 403)


async def test_links_that_cannot_be_made_are_refused(service: AsyncClient, client: AsyncClient) -> None:
    ada = newcomer()
    await sign_up(client, ada)
    make = service.auth.admin.generate_link
    await refused(make({"type": "recovery", "email": newcomer().email}), "user_not_found", 404)
    await refused(make({"type": "signup", "email": ada.email, "password": ada.password}), "email_exists", 422)
    await refused(make({"type": "invite", "email": ada.email}), "email_exists", 422)
    await refused(make({"type": "signup", "email": newcomer().email, "password": ""}), "validation_failed")
    nonsense: Any = {"type": "nonsense", "email": ada.email}
    await refused(make(nonsense), "validation_failed")
    await too_weak(make({"type": "signup", "email": newcomer().email, "password": "short"}), "length")
