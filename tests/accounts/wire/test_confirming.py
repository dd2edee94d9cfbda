"""Confirmation of addresses: of who signs up, and of who wants another one."""

from __future__ import annotations

from typing import Any

import httpx2
from sqlalchemy import select
from supabase_auth.types import Session

from app.accounts import people
from app.accounts.people import Account
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import Revision
from tests.accounts.wire.asking import (
    AUTH,
    EXPIRED,
    NOBODY,
    PASSWORD,
    Clients,
    Mails,
    Sent,
    add_person,
    ask,
    bearer,
    fragment_of,
    person,
    refusal_of,
    sent,
    sign_in,
    verify,
)


async def pending(client: httpx2.AsyncClient, mails: Mails) -> Sent:
    """Bob registers, and his mail."""
    before = len(mails.all)
    body = {"email": "bob@example.org", "password": PASSWORD, "data": {}}
    assert (await ask(client, "/signup", body)).status_code == 200
    assert len(mails.all) == before + 1
    return mails.last


async def test_link_of_sign_up_confirms_the_address(clients: Clients, mails: Mails, database: Database) -> None:
    async with clients(confirm_email=True) as client:
        mail = await pending(client, mails)
        password = {"email": "bob@example.org", "password": PASSWORD}
        early = await ask(client, "/token?grant_type=password", password)
        assert refusal_of(early) == (400, "email_not_confirmed")
        user = Session.model_validate_json((await verify(client, "signup", mail)).content).user
        assert user.email_confirmed_at is not None
        assert (await ask(client, "/token?grant_type=password", password)).status_code == 200
    async with database.reading(SYSTEM) as session:
        table = Revision.__table__
        rows = (await session.execute(select(table).where(table.c.operation == "update"))).all()
        bob = await people.by_email(session, "bob@example.org")
    assert bob is not None
    assert [(row.actor_id, list(row.changes)) for row in rows] == [(bob.id, ["email_confirmed_at"])]


async def test_password_of_who_never_proved_the_address_goes_when_somebody_else_does(
    clients: Clients, mails: Mails
) -> None:
    async with clients(confirm_email=True) as client:
        await pending(client, mails)
        mail = await sent(client, mails, "/otp", {"email": "bob@example.org"})
        assert (await verify(client, "email", mail)).status_code == 200
        password = {"email": "bob@example.org", "password": PASSWORD}
        refused = await ask(client, "/token?grant_type=password", password)
        assert refusal_of(refused) == (400, "invalid_credentials")


async def test_mail_of_sign_up_is_sent_again_while_it_is_awaited(clients: Clients, mails: Mails) -> None:
    async with clients(confirm_email=True) as client:
        await pending(client, mails)
        again = await sent(client, mails, "/resend", {"type": "signup", "email": "bob@example.org"})
        assert again.subject == "Confirm your e-mail address"
        assert (await verify(client, "signup", again)).status_code == 200
        done = await ask(client, "/resend", {"type": "signup", "email": "bob@example.org"})
        unknown = await ask(client, "/resend", {"type": "signup", **NOBODY})
    assert (done.status_code, done.json()) == (unknown.status_code, unknown.json()) == (200, {})
    assert mails.last == again


# ---- change of address -----------------------------------------------------------------------------------------------


async def asked_change(client: httpx2.AsyncClient, ada: Account, mails: Mails, new: str) -> tuple[dict[str, Any], Sent]:
    """Ada's session, and the mail to the address that she wants."""
    signed_in = await ask(client, "/token?grant_type=password", {"email": ada.email, "password": PASSWORD})
    before = len(mails.all)
    changed = await client.put(f"{AUTH}/user", json={"email": new}, headers=bearer(signed_in.json()))
    assert changed.status_code == 200, changed.text
    assert changed.json()["email"] == ada.email
    assert len(mails.all) == before + 1
    return signed_in.json(), mails.last


async def test_new_address_counts_when_its_link_is_followed(
    clients: Clients, ada: Account, mails: Mails, database: Database
) -> None:
    async with clients(confirm_email=True) as client:
        session, mail = await asked_change(client, ada, mails, "lovelace@example.org")
        assert mail.to == "lovelace@example.org"
        opened = await verify(client, "email_change", mail)
        assert Session.model_validate_json(opened.content).user.email == "lovelace@example.org"
        ended = await client.get(f"{AUTH}/user", headers=bearer(session))
        assert refusal_of(ended) == (403, "session_not_found")
        assert (await client.get(f"{AUTH}/user", headers=bearer(opened.json()))).status_code == 200
    found = await person(database, ada.uid)
    assert found is not None
    assert found.email == "lovelace@example.org"


async def test_new_address_may_be_confirmed_by_digits(clients: Clients, ada: Account, mails: Mails) -> None:
    async with clients(confirm_email=True) as client:
        _, mail = await asked_change(client, ada, mails, "lovelace@example.org")
        typed = {"type": "email_change", "email": "lovelace@example.org", "token": mail.code}
        opened = await ask(client, "/verify", typed)
    assert Session.model_validate_json(opened.content).user.email == "lovelace@example.org"


async def test_address_taken_meanwhile_is_refused(
    clients: Clients, ada: Account, mails: Mails, database: Database
) -> None:
    async with clients(confirm_email=True) as client:
        _, mail = await asked_change(client, ada, mails, "lovelace@example.org")
        await add_person(database, "lovelace")
        assert refusal_of(await verify(client, "email_change", mail)) == (422, "email_exists")
        assert fragment_of(await client.get(mail.path))["error_code"] == "email_exists"
    found = await person(database, ada.uid)
    assert found is not None
    assert found.email == ada.email


async def test_mail_to_a_new_address_is_sent_again_while_it_is_awaited(
    clients: Clients, ada: Account, mails: Mails
) -> None:
    async with clients(confirm_email=True) as client:
        await asked_change(client, ada, mails, "lovelace@example.org")
        again = await sent(client, mails, "/resend", {"type": "email_change", "email": ada.email})
        assert again.to == "lovelace@example.org"
        assert (await verify(client, "email_change", again)).status_code == 200


async def test_change_that_is_awaited_is_over_when_an_admin_gives_another_address(
    clients: Clients, ada: Account, mails: Mails, secret: dict[str, str]
) -> None:
    """Else whoever asked for it could come back as this user."""
    async with clients(confirm_email=True) as client:
        _, mail = await asked_change(client, ada, mails, "thief@example.org")
        moved = await client.put(f"{AUTH}/admin/users/{ada.uid}", json={"email": "safe@example.org"}, headers=secret)
        assert moved.status_code == 200
        assert refusal_of(await verify(client, "email_change", mail)) == EXPIRED


async def test_change_that_cannot_be_mailed_changes_nothing(clients: Clients, ada: Account, mails: Mails) -> None:
    async with clients(confirm_email=True) as client:
        session, _ = await asked_change(client, ada, mails, "new@example.org")
        for _ in range(10):
            body = {"email": "new@example.org", "password": "another good one"}
            answer = await client.put(f"{AUTH}/user", json=body, headers=bearer(session))
            if answer.status_code == 429:
                break
            body = {"password": PASSWORD}
            assert (await client.put(f"{AUTH}/user", json=body, headers=bearer(session))).status_code == 200
        assert refusal_of(answer) == (429, "over_request_rate_limit")
        assert (await sign_in(client, ada.email)).status_code == 200
