"""One installation in process, and the hash of the password that everybody in these tests has, made once for a run."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from app.accounts.passwords import hash_password
from app.data.database import Database
from app.settings import Settings
from tests.accounts.conftest import Installation
from tests.security.asking import installation
from tests.security.callers import PASSWORD


@pytest.fixture(scope="session")
async def hashed() -> str:
    return (await hash_password(PASSWORD)).hashed


@pytest.fixture
async def here(settings: Settings, database: Database) -> AsyncGenerator[Installation]:
    async with installation(settings, database) as found:
        yield found
