"""Sign-up where an address must be confirmed: a bare user, and no word of those who are known."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from supabase_auth.types import User

from app.accounts.people import Account
from app.data.database import Database
from tests.accounts.conftest import (
    Installed,
    entered,
    refusal,
    row_of,
    set_user,
    users,
)
from tests.conftest import EPOCH

pytestmark = pytest.mark.usefixtures("quick")

BOB, EVE = "bob@example.org", "eve@example.org"
WRONG = (400, "invalid_credentials")


def mails(caplog: pytest.LogCaptureFixture) -> list[str]:
    records: list[Any] = [record for record in caplog.records if record.name == "broadsheet.mail"]
    return [record.to for record in records]


async def test_pending_sign_up_is_a_bare_user_without_a_session(
    installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "broadsheet.mail")
    async with installed(confirm_email=True) as here:
        answer = await here.sign_up(email=EVE, data={"username": "eve"})
        assert answer.status_code == 200
        found = User.model_validate_json(answer.content)
        assert found.email == EVE
        assert (found.email_confirmed_at, found.last_sign_in_at) == (None, None)
        assert "access_token" not in answer.text
        assert mails(caplog) == [EVE]
        assert refusal(await here.enter(EVE)) == (400, "email_not_confirmed")


@pytest.mark.parametrize("state", ["confirmed", "pending", "banned"])
async def test_known_address_looks_like_a_new_one(
    installed: Installed, database: Database, bob: Account, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    """But for the empty list of identities, by which applications know. Nothing of the known user is shown."""
    caplog.set_level(logging.INFO, "broadsheet.mail")
    values: dict[str, Any] = {
        "pending": {"email_confirmed_at": None},
        "banned": {"banned_until": EPOCH + timedelta(days=9)},
    }
    await set_user(database, bob.id, **values.get(state, {"last_sign_in_at": EPOCH}))
    async with installed(confirm_email=True) as here:
        new = (await here.sign_up(email=EVE, data={"x": 1})).json()
        answer = await here.sign_up(email="BOB@example.org", data={"x": 1})
        assert answer.status_code == 200
        known = answer.json()
        User.model_validate_json(answer.content)
        assert list(known) == list(new)
        assert shape(known | {"identities": 0}) == shape(new | {"identities": 0})
        assert known["identities"] == []
        assert len(new["identities"]) == 1
        assert known["id"] not in (str(bob.uid), new["id"])
        assert known["app_metadata"]["user_id"] != bob.id
        same = ("aud", "role", "phone", "user_metadata", "created_at", "updated_at", "is_anonymous")
        assert {name: known[name] for name in same} == {name: new[name] for name in same}
        assert mails(caplog) == [EVE] + [BOB] * (state == "pending")
        assert (await here.sign_up(email=BOB)).json()["id"] != known["id"]
    assert (await row_of(here.database, bob)).version == 1


def shape(value: Any) -> Any:
    """The names and kinds of everything."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else type(value)


async def test_password_of_a_known_address_stays_what_it_was(installed: Installed, bob: Account) -> None:
    async with installed(confirm_email=True) as here:
        assert (await here.sign_up(email=BOB, password="another long one")).status_code == 200
        assert refusal(await here.enter(BOB, "another long one")) == WRONG
        entered(await here.enter(BOB))


async def test_that_an_address_is_not_confirmed_is_told_to_its_owner_alone(installed: Installed) -> None:
    async with installed(confirm_email=True) as here:
        await here.sign_up(email=EVE)
        assert refusal(await here.enter(EVE, "a wrong password")) == WRONG
        assert refusal(await here.enter(EVE)) == (400, "email_not_confirmed")
        assert (await users(here.database, "id,version"))[0]["version"] == 1


async def test_without_a_mailer_nobody_is_made_who_could_not_confirm(installed: Installed) -> None:
    async with installed(confirm_email=True, mailer="none") as here:
        assert refusal(await here.sign_up(email=EVE)) == (400, "email_provider_disabled")
        assert await users(here.database, "id") == []


async def test_challenge_that_is_none_leaves_no_user(installed: Installed) -> None:
    async with installed(confirm_email=True) as here:
        answer = await here.sign_up(email=EVE, code_challenge="short", code_challenge_method="s256")
        assert refusal(answer) == (400, "validation_failed")
        assert await users(here.database, "id") == []


async def test_mails_are_counted_alike_for_known_and_new_addresses(installed: Installed, bob: Account) -> None:
    async with installed(confirm_email=True, rates={"mail_account": 2}) as here:
        for email in (BOB, EVE):
            statuses = [(await here.sign_up(email=email)).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]
