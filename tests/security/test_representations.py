"""What is printed of an object, in a log, a traceback or a debugger, shows none of the secrets that it holds."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import app
from app.accounts.keys import Keys
from app.accounts.mailer import Mail
from app.accounts.one_time import Made
from app.accounts.passwords import NewPassword
from app.accounts.people import Account
from app.accounts.sessions import Opened
from app.accounts.vault import Vault
from app.data import engines
from app.data.base import Base
from app.models import ApiKey, Credentials, OneTimeToken, Session, SigningKey, User
from app.settings import Settings

SECRET = "canary-of-a-secret"
URL = f"postgresql://ada:{SECRET}@localhost/blog"
AT = datetime(2026, 1, 1, tzinfo=UTC)
# Fields that hold a secret under these names, wherever they stand.
FIELDS = {
    *("password", "hashed_password", "hashed", "refresh_token", "access_token", "token_hash", "key_hash", "otp_hash"),
    *("secret", "jwt_secret", "private", "private_key", "hashed_token", "otp", "link", "database_url", "migrate_url"),
}
HASHES_OF_HIGH_ENTROPY = {("KeyHashes", "secret")}  # SHA-256 of 131 random bits, kept to be compared


def shown_objects() -> Iterator[Any]:
    yield Settings(database_url=URL, migrate_url=URL, secret=SECRET, jwt_secret=SECRET)
    yield Keys(SECRET, SECRET)
    yield NewPassword(SECRET)
    yield Account(
        *(1, UUID(int=1), None, "ada", "member", True, False, {}, {}, None, None, None, AT, AT, 1),
        hashed_password=SECRET,
    )
    yield Opened(UUID(int=1), 1, "password", 0, SECRET)
    yield Made(SECRET, SECRET)
    yield Mail("ada@example.org", "Sign in", SECRET, SECRET)
    yield Vault(SECRET.encode())
    yield engines.parse(URL)
    yield Credentials(user_id=1, hashed_password=SECRET, changed_at=AT)
    yield Session(id=1, token_hash=SECRET)
    yield ApiKey(id=1, name="key", key_hash=SECRET)
    yield OneTimeToken(id=1, token_hash=SECRET, otp_hash=SECRET, challenge=SECRET)
    yield SigningKey(kid="1", private_key=SECRET)
    yield User(id=1, email=SECRET, user_metadata=SECRET, app_metadata=SECRET)


@pytest.mark.parametrize("shown", list(shown_objects()), ids=lambda shown: type(shown).__name__)
def test_no_secret_is_shown(shown: Any) -> None:
    for text in (repr(shown), str(shown), f"{shown}", repr([shown])):
        assert SECRET not in text


def dataclasses_of(package: Any) -> set[type[Any]]:
    found = set()
    for module in pkgutil.walk_packages([str(Path(package.__file__).parent)], f"{package.__name__}."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {m for m in members if isinstance(m, type) and dataclasses.is_dataclass(m)}
    return {one for one in found if one.__module__.startswith(package.__name__)}


def test_no_dataclass_shows_a_field_that_holds_a_secret() -> None:
    shown = {
        (one.__name__, field.name)
        for one in dataclasses_of(app)
        for field in dataclasses.fields(one)
        if field.name in FIELDS and field.repr
    }
    assert shown == HASHES_OF_HIGH_ENTROPY


def test_no_model_shows_a_column_that_holds_a_secret() -> None:
    """A model's own repr names keys alone."""
    for mapper in Base.registry.mappers:
        names = [column.key for column in mapper.column_attrs if column.key in FIELDS]
        shown = repr(mapper.class_(**dict.fromkeys(names, SECRET)))
        assert SECRET not in shown
