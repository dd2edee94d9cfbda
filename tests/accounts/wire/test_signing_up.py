"""POST /signup: who becomes a user, and with what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.accounts.people import Account
from tests.accounts.conftest import (
    AUTH,
    PASSWORD,
    Installation,
    Installed,
    entered,
    refusal,
    set_user,
    users,
)
from tests.conftest import EPOCH

pytestmark = pytest.mark.usefixtures("quick")

BOB, EVE = "bob@example.org", "eve@example.org"
NOW = "2026-01-01T12:00:00.000000Z"


# ---- sign-up --------------------------------------------------------------------------------------------------------


async def test_sign_up_makes_a_user_and_a_session(here: Installation) -> None:
    found = entered(await here.sign_up(email=" EVE@example.org", data={"username": "Eve", "full_name": "Eve  E."}))
    assert (found["token_type"], found["expires_in"], found["expires_at"]) == (
        "bearer",
        3600,
        int(EPOCH.timestamp()) + 3600,
    )
    (row,) = await users(here.database, "id,uid,username,full_name,email,role,is_active,created_by,version")
    assert found["user"] == {
        "id": row["uid"],
        "aud": "authenticated",
        "role": "authenticated",
        "email": EVE,
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"], "user_id": row["id"]},
        "user_metadata": {"username": "Eve", "full_name": "Eve  E."},
        "identities": found["user"]["identities"],
        "created_at": NOW,
        "updated_at": NOW,
        "is_anonymous": False,
        "email_confirmed_at": NOW,
        "confirmed_at": NOW,
        "last_sign_in_at": NOW,
    }
    assert found["user"]["identities"] == [
        {
            "identity_id": row["uid"],
            "id": row["uid"],
            "user_id": row["uid"],
            "identity_data": {"sub": row["uid"], "email": EVE, "email_verified": True, "phone_verified": False},
            "provider": "email",
            "email": EVE,
            "created_at": NOW,
            "updated_at": NOW,
            "last_sign_in_at": NOW,
        }
    ]
    expected = {"username": "eve", "full_name": "Eve E.", "email": EVE, "role": "member", "is_active": True}
    assert {name: row[name] for name in expected} == expected
    assert (row["created_by"], row["version"]) == (None, 1)
    headers = {"authorization": f"Bearer {found['access_token']}"}
    assert (await here.client.get(f"{AUTH}/user", headers=headers)).json() == found["user"]


async def test_username_is_the_one_asked_for_or_made_from_the_address(here: Installation) -> None:
    cases: list[tuple[str, Any, str]] = [
        ("ada.lovelace@example.org", {}, "ada-lovelace"),
        ("eve@example.org", None, "eve"),
        ("bob@example.org", {"username": " Countess_7 "}, "countess_7"),
        ("mia@example.org", {"username": None}, "mia"),
        ("mallory@example.org", {"username": 7}, "mallory"),
        ("oscar@example.org", {"username": ["x"], "full_name": 5}, "oscar"),
    ]
    for email, data, _ in cases:
        entered(await here.sign_up(email=email, data=data))
    found = await users(here.database, "username,full_name")
    assert found == [{"username": username, "full_name": None} for _, _, username in cases]


async def test_username_that_is_taken_is_refused_where_it_was_asked_for(here: Installation, bob: Account) -> None:
    answer = await here.sign_up(email=EVE, data={"username": "BOB"})
    assert refusal(answer) == (422, "validation_failed")
    assert answer.json()["msg"] == "Username already taken"
    found = entered(await here.sign_up(email="bob@elsewhere.example"))
    (_, row) = await users(here.database, "username,uid")
    assert row["username"].startswith("bob-")
    assert row["uid"] == found["user"]["id"]


@pytest.mark.parametrize("email", [BOB, "BOB@example.org", " Bob@Example.ORG "])
async def test_address_that_is_known_is_refused(here: Installation, bob: Account, email: str) -> None:
    """Before its username is looked at."""
    for data in ({}, {"username": "bob"}):
        answer = await here.sign_up(email=email, data=data)
        assert refusal(answer) == (422, "user_already_exists")
        assert answer.json()["msg"] == "User already registered"


async def test_of_those_who_sign_up_at_once_with_one_address_one_gets_it(here: Installation) -> None:
    answers = await asyncio.gather(*(here.sign_up(email=EVE) for _ in range(6)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [422] * 5
    assert {refusal(answer)[1] for answer in answers if answer.status_code == 422} == {"user_already_exists"}


async def test_address_of_somebody_who_is_gone_is_free(here: Installation, bob: Account) -> None:
    await set_user(here.database, bob.id, deleted_at=EPOCH)
    assert entered(await here.sign_up(email=BOB))["user"]["id"] != str(bob.uid)


NOT_TAKEN: list[tuple[Any, tuple[int, str], list[str] | None]] = [
    ("short77", (422, "weak_password"), ["length"]),
    ("", (422, "weak_password"), ["length"]),
    (None, (422, "weak_password"), ["length"]),
    ("password1", (422, "weak_password"), ["characters"]),
    ("PassWord1", (422, "weak_password"), ["characters"]),
    ("\uff50assword1", (422, "weak_password"), ["characters"]),
    ("x" * 73, (400, "validation_failed"), None),
    ("é" * 37, (400, "validation_failed"), None),
    ("\u0301" * 500_000, (400, "validation_failed"), None),
    (12345678, (400, "validation_failed"), None),
    (["correct horse"], (400, "validation_failed"), None),
]


async def test_passwords_that_are_not_taken(here: Installation) -> None:
    """The object weak_password is there exactly where the code is: a client reads it without asking."""
    for password, expected, reasons in NOT_TAKEN:
        answer = await here.sign_up(email=EVE, password=password)
        assert refusal(answer) == expected, str(password)[:20]
        assert answer.json().get("weak_password", {}).get("reasons") == reasons
        assert str(password) not in answer.text or not password
    assert await users(here.database, "id") == []


NO_ADDRESSES: list[Any] = [
    "eve",
    "@example.org",
    "eve@",
    "a b@example.org",
    "a@b@c",
    5,
    ["x"],
    "x" * 250 + "@x.org",
    "\u0301" * 500_000 + "@x",
]


async def test_addresses_that_are_none(here: Installation) -> None:
    for email in NO_ADDRESSES:
        answer = await here.sign_up(email=email)
        assert refusal(answer) == (400, "validation_failed"), str(email)[:20]


async def test_password_without_an_address_is_refused(here: Installation) -> None:
    assert refusal(await here.sign_up()) == (400, "validation_failed")
    assert refusal(await here.sign_up(email="")) == (400, "validation_failed")
    assert refusal(await here.sign_up(phone="+4912345")) == (400, "phone_provider_disabled")


NO_DATA: list[Any] = [
    {"username": "e"},
    {"username": "a b"},
    {"username": ""},
    {"full_name": "x" * 101},
    {"essay": "x" * 5000},
    {"essay": "é" * 1000},
    "text",
    [1],
    5,
]


async def test_data_that_does_not_fit_is_refused(here: Installation) -> None:
    for data in NO_DATA:
        answer = await here.sign_up(email=EVE, data=data)
        assert refusal(answer) == (400, "validation_failed"), str(data)[:20]
    assert await users(here.database, "id") == []


async def test_most_data_that_is_taken_still_fits_into_a_token(here: Installation) -> None:
    """In any alphabet: a token is written in ASCII."""
    for n, data in enumerate(({"x": "x" * 4000}, {"x": "ж" * 680}, {"x": "🐎" * 340}, {"\U0001f40e" * 150: "é" * 330})):
        found = entered(await here.sign_up(email=f"eve{n}@example.org", data=data))
        headers = {"authorization": f"Bearer {found['access_token']}"}
        answer = await here.client.get(f"{AUTH}/user", headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["user_metadata"] == data


async def test_numbers_of_any_size_stay_what_they_are(here: Installation) -> None:
    data = {"big": 10**39, "small": -0.5, "yes": True, "deep": {"a": [1, {"b": None}]}}
    assert entered(await here.sign_up(email=EVE, data=data))["user"]["user_metadata"] == data


MALLORY = {
    "id": "00000000-0000-8000-8000-000000000001",
    "role": "admin",
    "aud": "admin",
    "balance": 100,
    "is_active": False,
    "is_anonymous": True,
    "is_super_admin": True,
    "email_confirm": True,
    "email_confirmed_at": "2020-01-01T00:00:00Z",
    "banned_until": "2030-01-01T00:00:00Z",
    "app_metadata": {"role": "admin", "user_id": 1},
    "user_metadata": {"x": 1},
    "password_hash": "$argon2id$",
    "hashed_password": "$argon2id$",
}


@pytest.mark.parametrize("confirm", [False, True])
async def test_what_a_user_may_not_say_of_themselves_is_not_taken(installed: Installed, confirm: bool) -> None:
    """Neither beside the password nor inside data."""
    async with installed(confirm_email=confirm) as here:
        answer = await here.sign_up(**MALLORY | {"email": EVE, "data": MALLORY})
        assert answer.status_code == 200
        shown = answer.json() if confirm else answer.json()["user"]
        assert shown["app_metadata"].keys() == {"provider", "providers", "user_id"}
        assert shown["is_anonymous"] is False
        (row,) = await users(here.database, "uid,role,is_active,balance")
        assert {name: row[name] for name in ("role", "is_active", "balance")} == {
            "role": "member",
            "is_active": True,
            "balance": 0,
        }
        assert row["uid"] != MALLORY["id"]
        assert (await here.enter(EVE)).status_code == (400 if confirm else 200)


async def test_role_of_a_new_user_is_the_settings(installed: Installed) -> None:
    async with installed(sign_up_role="author", anonymous=True) as here:
        entered(await here.sign_up(email=EVE))
        entered(await here.client.post(f"{AUTH}/signup", json={}))
        assert [row["role"] for row in await users(here.database, "role,id")] == ["author", "author"]


@pytest.mark.parametrize("confirm", [False, True])
async def test_closed_sign_up_says_nothing_of_addresses(installed: Installed, bob: Account, confirm: bool) -> None:
    async with installed(sign_up="closed", confirm_email=confirm) as here:
        for email, password in ((EVE, PASSWORD), (BOB, PASSWORD), (EVE, "short")):
            answer = await here.sign_up(email=email, password=password)
            assert refusal(answer) == (422, "signup_disabled")
        assert len(await users(here.database, "id")) == 1


async def test_unknown_fields_of_clients_are_passed_over(here: Installation) -> None:
    """As both clients send them."""
    js: dict[str, Any] = {"gotrue_meta_security": {}, "code_challenge": None, "code_challenge_method": None}
    python = {"gotrue_meta_security": {"captcha_token": None}, "code_challenge": "x" * 43, "channel": "sms"}
    for email, more in ((EVE, js), (BOB, python | {"code_challenge_method": "s256"})):
        entered(await here.sign_up(email=email, data={}, **more))


# ---- anonymous ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confirm", [False, True])
async def test_anonymous_user_has_a_session_and_no_address(installed: Installed, confirm: bool) -> None:
    """Nor one to confirm."""
    async with installed(anonymous=True, confirm_email=confirm) as here:
        found = entered(await here.client.post(f"{AUTH}/signup", json={"data": {"x": 1}, "gotrue_meta_security": {}}))
        shown = found["user"]
        assert (shown["is_anonymous"], shown["email"], shown["identities"]) == (True, "", [])
        assert shown["user_metadata"] == {"x": 1}
        headers = {"authorization": f"Bearer {found['access_token']}"}
        assert (await here.client.get(f"{AUTH}/user", headers=headers)).json() == shown
        again = (await here.refresh(found["refresh_token"])).json()
        assert again["user"] == shown
        (row,) = await users(here.database, "username,email,role")
        assert row["username"].startswith("user-")
        assert (row["email"], row["role"]) == (None, "member")


async def test_anonymous_users_are_refused_unless_they_are_asked_for(here: Installation) -> None:
    bodies: list[dict[str, Any]] = [{}, {"data": {}}, {"email": "", "password": ""}, {"email": None}]
    for body in bodies:
        answer = await here.client.post(f"{AUTH}/signup", json=body)
        assert refusal(answer) == (422, "anonymous_provider_disabled")


async def test_closed_sign_up_is_closed_to_anonymous_users_too(installed: Installed) -> None:
    """With an address and a password they would be users like the others."""
    async with installed(anonymous=True, sign_up="closed") as here:
        assert refusal(await here.client.post(f"{AUTH}/signup", json={})) == (422, "signup_disabled")
