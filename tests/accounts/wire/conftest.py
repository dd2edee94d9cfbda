"""The account API in process: clients of differently set services, and what they left behind."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from app.accounts.keys import Keys, load_keys
from app.accounts.people import Account
from app.data.database import Database
from app.http.app import create_app
from app.settings import Settings
from tests.accounts.wire.asking import Clients, Mails, add_person
from tests.http.conftest import client_of


@pytest.fixture
def mails(caplog: pytest.LogCaptureFixture) -> Mails:
    caplog.set_level(logging.INFO, "broadsheet.mail")
    return Mails(caplog)


@pytest.fixture
def keys(settings: Settings) -> Keys:
    return load_keys(settings.data_dir)


@pytest.fixture
def secret(keys: Keys) -> dict[str, str]:
    return {"apikey": keys.secret, "authorization": f"Bearer {keys.secret}"}


@pytest.fixture
def clients(settings: Settings, database: Database) -> Clients:
    """`clients(confirm_email=True)`: settings of accounts by their names, others as `more`."""

    @asynccontextmanager
    async def clients(more: dict[str, Any] | None = None, **changes: Any) -> AsyncGenerator[httpx2.AsyncClient]:
        changed = replace(settings, accounts=replace(settings.accounts, **changes), **(more or {}))
        async with client_of(create_app(changed, database=database)) as client:
            yield client

    return clients


@pytest.fixture
async def client(clients: Clients) -> AsyncGenerator[httpx2.AsyncClient]:
    async with clients() as client:
        yield client


@pytest.fixture
async def ada(database: Database) -> Account:
    return await add_person(database, "ada")
