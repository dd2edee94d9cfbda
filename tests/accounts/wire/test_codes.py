"""Codes of the account API: six digits that are typed, and the codes of PKCE."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from supabase_auth.types import Session

from app.accounts import people
from app.accounts.people import Account
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import Session as SessionRow
from app.models import User as UserRow
from tests.accounts.wire.asking import (
    EXPIRED,
    NOBODY,
    Clients,
    Mails,
    ask,
    count,
    fragment_of,
    refusal_of,
    sent,
    verify,
)
from tests.conftest import Clock

VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "s256"}


@pytest.mark.parametrize("type_", ["email", "magiclink", "signup"])
async def test_digits_sign_in(client: httpx2.AsyncClient, ada: Account, mails: Mails, type_: str) -> None:
    mail = await sent(client, mails, "/otp", {"email": ada.email})
    spaced = f" {mail.code[:3]} {mail.code[3:]}"
    opened = await ask(client, "/verify", {"type": type_, "email": "Ada@Example.org", "token": spaced})
    session = Session.model_validate_json(opened.content)
    assert session.user.id == str(ada.uid)


async def test_who_comes_by_a_code_has_the_method_otp(client: httpx2.AsyncClient, ada: Account, mails: Mails) -> None:
    mail = await sent(client, mails, "/otp", {"email": ada.email})
    token = (await verify(client, "email", mail)).json()["access_token"]
    payload = token.split(".")[1]
    assert b'"method":"otp"' in base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))


async def test_five_wrong_guesses_end_the_digits_but_not_the_link(
    client: httpx2.AsyncClient, ada: Account, mails: Mails
) -> None:
    mail = await sent(client, mails, "/otp", {"email": ada.email})
    wrong = f"{(int(mail.code) + 1) % 10**6:06}"
    typed = {"type": "email", "email": ada.email}
    for _ in range(5):
        assert refusal_of(await ask(client, "/verify", {**typed, "token": wrong})) == EXPIRED
    assert refusal_of(await ask(client, "/verify", {**typed, "token": mail.code})) == EXPIRED
    assert (await verify(client, "email", mail)).status_code == 200


async def test_four_wrong_guesses_leave_the_digits(client: httpx2.AsyncClient, ada: Account, mails: Mails) -> None:
    mail = await sent(client, mails, "/otp", {"email": ada.email})
    typed = {"type": "email", "email": ada.email}
    for _ in range(4):
        await ask(client, "/verify", {**typed, "token": f"{(int(mail.code) + 1) % 10**6:06}"})
    assert (await ask(client, "/verify", {**typed, "token": mail.code})).status_code == 200


async def test_digits_are_those_of_one_address(client: httpx2.AsyncClient, ada: Account, mails: Mails) -> None:
    mail = await sent(client, mails, "/otp", {"email": ada.email})
    typed = {"type": "email", "email": "bob@example.org", "token": mail.code}
    assert refusal_of(await ask(client, "/verify", typed)) == EXPIRED


async def test_unknown_address_becomes_a_user_without_a_password(
    client: httpx2.AsyncClient, mails: Mails, database: Database
) -> None:
    mail = await sent(client, mails, "/otp", {"email": "eve@example.org", "data": {"username": "eve", "city": "Ulm"}})
    async with database.reading(SYSTEM) as session:
        eve = await people.by_email(session, "eve@example.org")
    assert eve is not None
    assert (eve.username, eve.role, eve.hashed_password, eve.email_confirmed_at) == ("eve", "member", None, None)
    opened = Session.model_validate_json((await verify(client, "email", mail)).content)
    assert opened.user.user_metadata == {"username": "eve", "city": "Ulm"}
    assert opened.user.email_confirmed_at is not None


async def test_taken_username_does_not_tell_that_an_address_is_unknown(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    await sent(client, mails, "/otp", {"email": "eve@example.org", "data": {"username": ada.username}})
    async with database.reading(SYSTEM) as session:
        eve = await people.by_email(session, "eve@example.org")
    assert eve is not None
    assert eve.username.startswith("ada-")


async def test_unknown_address_is_told_only_where_sign_up_tells_a_known_one(
    client: httpx2.AsyncClient, clients: Clients, mails: Mails, database: Database
) -> None:
    body = {**NOBODY, "create_user": False}
    assert refusal_of(await ask(client, "/otp", body)) == (422, "otp_disabled")
    for changes in ({"confirm_email": True}, {"sign_up": "closed"}):
        async with clients(**changes) as silent:
            response = await ask(silent, "/otp", body)
            assert (response.status_code, response.json()) == (200, {})
    assert await count(database, UserRow) == 0
    assert mails.all == []


async def test_closed_sign_up_makes_no_user_of_an_unknown_address(
    clients: Clients, mails: Mails, database: Database
) -> None:
    async with clients(sign_up="closed") as client:
        response = await ask(client, "/otp", NOBODY)
    assert (response.status_code, response.json()) == (200, {})
    assert await count(database, UserRow) == 0
    assert mails.all == []


# ---- PKCE ------------------------------------------------------------------------------------------------------------


async def code_of(client: httpx2.AsyncClient, ada: Account, mails: Mails, challenge: dict[str, str]) -> str:
    """The code to which the link in a mail leads."""
    goal = "http://localhost:3000/cb?a=1"
    mail = await sent(client, mails, "/recover", {"email": ada.email, **challenge}, params={"redirect_to": goal})
    assert mail.token.startswith("pkce_")
    followed = await client.get(mail.path)
    assert followed.status_code == 303
    location = urlsplit(followed.headers["location"])
    assert (location.netloc, location.path, location.fragment) == ("localhost:3000", "/cb", "")
    fields = parse_qs(location.query)
    assert fields["a"] == ["1"]
    return fields["code"][0]


async def exchange(client: httpx2.AsyncClient, code: str, verifier: str = VERIFIER) -> httpx2.Response:
    return await ask(client, "/token?grant_type=pkce", {"auth_code": code, "code_verifier": verifier})


@pytest.mark.parametrize("challenge", [PKCE, {"code_challenge": VERIFIER, "code_challenge_method": "plain"}])
async def test_code_is_exchanged_for_a_session(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, challenge: dict[str, str]
) -> None:
    code = await code_of(client, ada, mails, challenge)
    opened = await exchange(client, code)
    assert Session.model_validate_json(opened.content).user.id == str(ada.uid)
    assert refusal_of(await exchange(client, code)) == (404, "flow_state_not_found")


async def test_wrong_verifier_is_refused_and_the_right_one_still_works(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    code = await code_of(client, ada, mails, PKCE)
    for wrong in ("w" * 64, CHALLENGE, "ü"):
        assert refusal_of(await exchange(client, code, wrong)) == (400, "bad_code_verifier")
    assert await count(database, SessionRow) == 0
    assert (await exchange(client, code)).status_code == 200


async def test_code_lives_five_minutes(client: httpx2.AsyncClient, ada: Account, mails: Mails, clock: Clock) -> None:
    code = await code_of(client, ada, mails, PKCE)
    clock.advance(300)
    assert refusal_of(await exchange(client, code)) == (422, "flow_state_expired")


async def test_code_exchanged_ten_times_at_once_opens_one_session(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    code = await code_of(client, ada, mails, PKCE)
    answers = await asyncio.gather(*(exchange(client, code) for _ in range(10)))
    assert sorted(one.status_code for one in answers) == [200] + [404] * 9
    assert await count(database, SessionRow) == 1


async def test_token_of_a_link_is_no_code_and_a_code_no_token(
    client: httpx2.AsyncClient, ada: Account, mails: Mails
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    assert refusal_of(await exchange(client, mail.token)) == (404, "flow_state_not_found")
    code = await code_of(client, ada, mails, PKCE)
    for type_ in ("recovery", "email"):
        response = await ask(client, "/verify", {"type": type_, "token_hash": code})
        assert refusal_of(response) == EXPIRED


async def test_banned_user_gets_no_code_and_no_session_for_one(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    code = await code_of(client, ada, mails, PKCE)
    mail = await sent(client, mails, "/recover", {"email": ada.email, **PKCE})
    async with database.writing(SYSTEM) as session:
        await people.change(session, ada.id, {"is_active": False})
    assert refusal_of(await exchange(client, code)) == (400, "user_banned")
    assert fragment_of(await client.get(mail.path))["error_code"] == "user_banned"


async def test_new_password_ends_codes_that_are_out(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, secret: dict[str, str]
) -> None:
    code = await code_of(client, ada, mails, PKCE)
    changed = await client.put(f"/auth/v1/admin/users/{ada.uid}", json={"password": "a new one, ada"}, headers=secret)
    assert changed.status_code == 200
    assert refusal_of(await exchange(client, code)) == (404, "flow_state_not_found")
