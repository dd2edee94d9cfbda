"""Short ways to ask the account API, the mails that it sent, and people to ask for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from sqlalchemy import func, select
from supabase_auth.types import AuthOtpResponse

from app.accounts import people
from app.accounts.passwords import hash_password
from app.accounts.people import Account
from app.data.database import Database
from app.data.rules import SYSTEM

AUTH = "/auth/v1"
PASSWORD = "correct horse battery"
Clients = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]


EXPIRED = (403, "otp_expired")
NOBODY = {"email": "nobody@example.org"}


@dataclass(frozen=True, slots=True)
class Sent:
    """A mail as the log has it."""

    to: str
    subject: str
    link: str
    code: str

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.link).query)["token"][0]

    @property
    def path(self) -> str:
        """The link without the site."""
        parts = urlsplit(self.link)
        return f"{parts.path}?{parts.query}"


class Mails:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def all(self) -> list[Sent]:
        records: list[Any] = [one for one in self._caplog.records if one.name == "broadsheet.mail"]
        return [Sent(one.to, one.subject, one.link, one.code) for one in records]

    @property
    def last(self) -> Sent:
        return self.all[-1]


async def ask(client: httpx2.AsyncClient, path: str, body: dict[str, Any], **more: Any) -> httpx2.Response:
    return await client.post(f"{AUTH}{path}", json=body, **more)


async def sent(client: httpx2.AsyncClient, mails: Mails, path: str, body: dict[str, Any], **more: Any) -> Sent:
    """The mail that this call sends."""
    before = len(mails.all)
    response = await ask(client, path, body, **more)
    assert response.status_code == 200, response.text
    AuthOtpResponse.model_validate_json(response.content)
    assert len(mails.all) == before + 1
    return mails.last


async def verify(client: httpx2.AsyncClient, type_: str, mail: Sent) -> httpx2.Response:
    return await ask(client, "/verify", {"type": type_, "token_hash": mail.token})


async def sign_in(client: httpx2.AsyncClient, email: str | None, password: str = PASSWORD) -> httpx2.Response:
    return await ask(client, "/token?grant_type=password", {"email": email, "password": password})


async def count(database: Database, model: Any) -> int:
    async with database.reading(SYSTEM) as session:
        return await session.scalar(select(func.count()).select_from(model.__table__)) or 0


async def add_person(database: Database, name: str, **values: Any) -> Account:
    """Somebody with an address that counts as confirmed, and a password, unless `values` say otherwise."""
    given = {"username": name, "email": f"{name}@example.org", "password": await hash_password(PASSWORD)} | values
    async with database.writing(SYSTEM) as session:
        return await people.add(session, given)


async def person(database: Database, uid: Any) -> Account | None:
    async with database.reading(SYSTEM) as session:
        return await people.by_uid(session, uid)


def fragment_of(response: httpx2.Response) -> dict[str, str]:
    """The fields after # in the address that a redirect leads to."""
    assert response.status_code == 303, response.text
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["location"]).fragment).items()}


def bearer(session: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {session['access_token']}"}


def refusal_of(response: httpx2.Response) -> tuple[int, str]:
    """Status and code; every refusal says them in the form of both API versions."""
    body = response.json()
    assert (body["code"], body["message"]) == (body["error_code"], body["msg"])
    assert response.headers["x-sb-error-code"] == body["code"]
    return response.status_code, body["code"]
