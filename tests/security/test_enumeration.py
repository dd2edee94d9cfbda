"""Where addresses are confirmed, an address that is known gets the answers of one that is not, but for the list of
identities, which is empty as the clients expect it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from app.accounts.people import Account
from app.data.database import Database
from app.settings import AccountSettings, Settings
from tests.accounts.conftest import AUTH, Installation, add, opened
from tests.conftest import Clock
from tests.security.callers import PASSWORD

KNOWN, UNKNOWN = "ada@example.org", "xyz@example.org"  # equally long
MADE = {"id", "identity_id", "user_id", "created_at", "updated_at"}  # of every user anew


@pytest.fixture
async def here(settings: Settings, database: Database) -> AsyncGenerator[Installation]:
    accounts = AccountSettings(mailer="console", confirm_email=True)
    async with opened(replace(settings, accounts=accounts), database) as found:
        yield found


@pytest.fixture
async def ada(database: Database, clock: Clock, hashed: str) -> Account:
    return await add(database, "ada", hashed)


def shape(value: Any) -> Any:
    """A body without what is each user's own, and without that list."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items() if name not in MADE | {"identities"}}
    return value.replace(KNOWN, UNKNOWN) if isinstance(value, str) else value


async def told(here: Installation, path: str, body: dict[str, Any]) -> list[Any]:
    """Status and shape of the answers, for an address that is known and for one that is not."""
    found = []
    for email in (KNOWN, UNKNOWN):
        answer = await here.client.post(path, json={**body, "email": email})
        found.append((answer.status_code, shape(answer.json())))
    return found


SIGN_UPS: dict[str, dict[str, Any]] = {
    "no names": {},
    "a free username": {"username": "somebody"},
    "a full name": {"full_name": "Some Body"},
}


@pytest.mark.parametrize("data", list(SIGN_UPS.values()), ids=list(SIGN_UPS))
async def test_a_sign_up_answers_alike(here: Installation, ada: Account, data: dict[str, Any]) -> None:
    known, unknown = await told(here, f"{AUTH}/signup", {"password": PASSWORD, "data": data})
    assert known == unknown


@pytest.mark.parametrize("path", ["recover", "otp", "resend"])
async def test_a_request_for_a_mail_answers_alike(here: Installation, ada: Account, path: str) -> None:
    known, unknown = await told(here, f"{AUTH}/{path}", {"type": "signup"})
    assert known == unknown


async def test_a_wrong_password_answers_alike(here: Installation, ada: Account) -> None:
    known, unknown = await told(here, f"{AUTH}/token?grant_type=password", {"password": "not the password"})
    assert known == unknown
