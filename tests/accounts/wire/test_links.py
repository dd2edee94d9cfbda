"""Links of the account API: what they open, how often and how long, and whom they refuse."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import httpx2
import pytest
from sqlalchemy import select
from supabase_auth.types import Session

from app.accounts import people
from app.accounts.passwords import hash_password
from app.accounts.people import Account
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import OneTimeToken
from app.models import Session as SessionRow
from tests.accounts.wire.asking import (
    AUTH,
    EXPIRED,
    NOBODY,
    Clients,
    Mails,
    ask,
    bearer,
    count,
    fragment_of,
    refusal_of,
    sent,
    verify,
)
from tests.conftest import Clock

CHALLENGE = "c" * 43


async def test_recovery_link_opens_a_session_that_sets_a_new_password(
    client: httpx2.AsyncClient, ada: Account, mails: Mails
) -> None:
    mail = await sent(client, mails, "/recover", {"email": "ADA@example.org"})
    assert (mail.to, mail.subject) == ("ada@example.org", "Reset your password")
    opened = await verify(client, "recovery", mail)
    assert opened.status_code == 200
    assert Session.model_validate_json(opened.content).user.id == str(ada.uid)
    new = {"password": "another long one"}
    changed = await client.put(f"{AUTH}/user", json=new, headers=bearer(opened.json()))
    assert changed.status_code == 200
    signed_in = await ask(client, "/token?grant_type=password", {"email": "ada@example.org", **new})
    assert signed_in.status_code == 200


async def test_recovery_answers_alike_for_unknown_addresses(
    client: httpx2.AsyncClient, ada: Account, mails: Mails
) -> None:
    known = await ask(client, "/recover", {"email": ada.email})
    unknown = await ask(client, "/recover", NOBODY)
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content) == (200, b"{}")
    assert [mail.to for mail in mails.all] == [ada.email]


async def test_link_leads_to_the_page_with_a_session_in_its_fragment(
    client: httpx2.AsyncClient, ada: Account, mails: Mails
) -> None:
    goal = "http://localhost:3000/welcome?a=1"
    mail = await sent(client, mails, "/recover", {"email": ada.email}, params={"redirect_to": goal})
    followed = await client.get(mail.path)
    assert followed.headers["location"].startswith(f"{goal}#")
    assert followed.headers["cache-control"] == "no-store"
    shown = fragment_of(followed)
    assert (shown["type"], shown["token_type"], shown["expires_in"]) == ("recovery", "bearer", "3600")
    assert (await client.get(f"{AUTH}/user", headers=bearer(shown))).json()["id"] == str(ada.uid)
    refreshed = await ask(client, "/token?grant_type=refresh_token", {"refresh_token": shown["refresh_token"]})
    assert refreshed.status_code == 200


async def test_dead_link_leads_to_the_page_with_an_error(
    client: httpx2.AsyncClient, ada: Account, mails: Mails
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    await client.get(mail.path)
    shown = fragment_of(await client.get(mail.path))
    assert (shown["error"], shown["error_code"]) == ("access_denied", "otp_expired")
    assert shown["error_description"]


async def test_looking_at_a_link_takes_nothing(client: httpx2.AsyncClient, ada: Account, mails: Mails) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    assert (await client.head(mail.path)).status_code == 200
    assert "access_token" in fragment_of(await client.get(mail.path))


async def test_one_token_used_ten_times_at_once_opens_one_session(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    answers = await asyncio.gather(*(verify(client, "recovery", mail) for _ in range(10)))
    assert sorted(one.status_code for one in answers) == [200] + [403] * 9
    assert {refusal_of(one) for one in answers if one.status_code != 200} == {EXPIRED}
    assert await count(database, SessionRow) == 1


async def test_digits_used_ten_times_at_once_open_one_session(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    mail = await sent(client, mails, "/otp", {"email": ada.email})
    body = {"type": "email", "email": ada.email, "token": mail.code}
    answers = await asyncio.gather(*(ask(client, "/verify", body) for _ in range(10)))
    assert sorted(one.status_code for one in answers) == [200] + [403] * 9
    assert await count(database, SessionRow) == 1


async def test_new_link_replaces_the_older_one(client: httpx2.AsyncClient, ada: Account, mails: Mails) -> None:
    first = await sent(client, mails, "/recover", {"email": ada.email})
    second = await sent(client, mails, "/recover", {"email": ada.email})
    assert refusal_of(await verify(client, "recovery", first)) == EXPIRED
    assert (await verify(client, "recovery", second)).status_code == 200


async def test_link_of_another_kind_is_refused(client: httpx2.AsyncClient, ada: Account, mails: Mails) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    for type_ in ("signup", "email_change"):
        assert refusal_of(await verify(client, type_, mail)) == EXPIRED
    assert (await verify(client, "recovery", mail)).status_code == 200


async def test_password_set_after_a_link_was_made_ends_the_link(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database, clock: Clock
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    clock.advance(1)
    async with database.writing(SYSTEM) as session:
        await people.change(session, ada.id, {"password": await hash_password("another long one")})
    assert refusal_of(await verify(client, "recovery", mail)) == EXPIRED


async def test_link_counts_only_while_its_address_is_the_users(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    async with database.writing(SYSTEM) as session:
        await people.change(session, ada.id, {"email": "lovelace@example.org"})
    assert refusal_of(await verify(client, "recovery", mail)) == EXPIRED


async def test_banned_user_gets_no_session_from_a_link(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    async with database.writing(SYSTEM) as session:
        await people.change(session, ada.id, {"is_active": False})
    assert refusal_of(await verify(client, "recovery", mail)) == (400, "user_banned")
    assert fragment_of(await client.get(mail.path))["error_code"] == "user_banned"


async def test_deleted_user_gets_no_session_from_a_link(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    async with database.writing(SYSTEM) as session:
        await people.remove(session, ada.id, for_good=False)
    assert refusal_of(await verify(client, "recovery", mail)) == EXPIRED


async def test_link_lives_a_day_and_its_digits_an_hour(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, clock: Clock
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    clock.advance(3600)
    typed = {"type": "recovery", "email": ada.email, "token": mail.code}
    assert refusal_of(await ask(client, "/verify", typed)) == EXPIRED
    clock.advance(22 * 3600)
    assert (await verify(client, "recovery", mail)).status_code == 200
    late = await sent(client, mails, "/recover", {"email": ada.email})
    clock.advance(24 * 3600)
    assert refusal_of(await verify(client, "recovery", late)) == EXPIRED


async def test_database_holds_no_token_and_no_digits_in_clear(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, database: Database
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email})
    async with database.reading(SYSTEM) as session:
        (row,) = (await session.execute(select(OneTimeToken.__table__))).all()
    kept = " ".join(str(value) for value in row)
    assert mail.token not in kept
    assert hashlib.sha256(mail.code.encode()).hexdigest() != row.otp_hash


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/recover", "/otp", "/resend"])
async def test_without_a_mailer_mails_are_refused(clients: Clients, ada: Account, path: str) -> None:
    async with clients(mailer="none") as client:
        response = await ask(client, path, {"type": "signup", "email": ada.email})
    assert refusal_of(response) == (400, "email_provider_disabled")
    assert "administrator" in response.json()["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/recover", {}),
        ("/recover", {"email": "no address"}),
        ("/recover", {"email": 7}),
        ("/recover", {"email": "ada@example.org", "code_challenge": CHALLENGE}),
        ("/recover", {"email": "ada@example.org", "code_challenge_method": "s256"}),
        ("/recover", {"email": "ada@example.org", "code_challenge": "short", "code_challenge_method": "s256"}),
        ("/recover", {"email": "ada@example.org", "code_challenge": CHALLENGE, "code_challenge_method": "s512"}),
        ("/otp", {}),
        ("/otp", {"email": "ada@example.org", "create_user": "yes"}),
        ("/otp", {"email": "ada@example.org", "data": []}),
        ("/otp", {"email": "ada@example.org", "data": {"x": "y" * 5000}}),
        ("/resend", {"email": "ada@example.org"}),
        ("/resend", {"email": "ada@example.org", "type": "recovery"}),
        ("/resend", {"type": "signup"}),
        ("/verify", {}),
        ("/verify", {"type": "email"}),
        ("/verify", {"type": "nonsense", "token_hash": "x"}),
        ("/verify", {"type": ["email"], "token_hash": "x"}),
        ("/verify", {"type": "email", "token": "123456"}),
        ("/verify", {"type": "email", "email": "ada@example.org"}),
        ("/verify", {"type": "email", "email": "ada@example.org", "token": 123456}),
        ("/token?grant_type=pkce", {}),
        ("/token?grant_type=pkce", {"auth_code": "x"}),
        ("/token?grant_type=pkce", {"code_verifier": "x"}),
    ],
)
async def test_bad_body_is_refused(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, path: str, body: dict[str, Any]
) -> None:
    assert refusal_of(await ask(client, path, body)) == (400, "validation_failed")
    assert mails.all == []


@pytest.mark.parametrize("query", ["", "?type=recovery", "?token=x", "?token=x&type=nonsense"])
async def test_bad_link_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    assert refusal_of(await client.get(f"{AUTH}/verify{query}")) == (400, "validation_failed")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/otp", {"phone": "+491234"}),
        ("/resend", {"type": "sms", "phone": "+491234"}),
        ("/verify", {"type": "email", "phone": "+491234", "token": "123456"}),
    ],
)
async def test_phone_is_refused(client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> None:
    assert refusal_of(await ask(client, path, body)) == (400, "phone_provider_disabled")


@pytest.mark.parametrize("token", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "x" * 10_000])
async def test_digits_of_another_form_are_refused(client: httpx2.AsyncClient, ada: Account, token: str) -> None:
    response = await ask(client, "/verify", {"type": "email", "email": ada.email, "token": token or " "})
    assert refusal_of(response) == EXPIRED


async def test_an_address_gets_four_mails_an_hour_be_it_known_or_not(
    client: httpx2.AsyncClient, ada: Account, mails: Mails
) -> None:
    for address in (ada.email, NOBODY["email"]):
        answers = [await ask(client, "/recover", {"email": address}) for _ in range(5)]
        assert [one.status_code for one in answers] == [200] * 4 + [429]
        assert refusal_of(answers[-1]) == (429, "over_request_rate_limit")
    assert len(mails.all) == 4


@pytest.mark.parametrize(
    ("path", "refusal"),
    [("/verify", EXPIRED), ("/recover", (200, None)), ("/otp", (200, None)), ("/resend", (200, None))],
)
async def test_one_caller_may_ask_thirty_times_in_five_minutes(
    clients: Clients, path: str, refusal: tuple[int, str | None]
) -> None:
    """Of a service that is not for its own machine alone."""
    more = {"production": True, "public_url": "https://blog.example.org"}
    async with clients(more, mailer="console") as client:
        for number in range(31):
            body = {"type": "signup", "email": f"nobody{number}@example.org", "token_hash": f"x{number}"}
            response = await ask(client, path, body)
            code = response.json().get("code")
            assert (response.status_code, code) == (refusal if number < 30 else (429, "over_request_rate_limit"))


async def test_links_and_codes_need_no_key_where_one_is_required(
    clients: Clients, ada: Account, keys: Any, mails: Mails
) -> None:
    async with clients({"require_key": True}) as client:
        assert refusal_of(await ask(client, "/recover", {"email": ada.email})) == (401, "no_authorization")
        mail = await sent(client, mails, "/recover", {"email": ada.email}, headers={"apikey": keys.publishable})
        assert "access_token" in fragment_of(await client.get(mail.path))
