"""Passwords: what is accepted, how it is hashed, and that no text of one gets out."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy.orm import joinedload

from app.accounts import passwords
from app.accounts.passwords import clean_password, hash_password, verify
from app.data.database import Database
from app.data.rules import SERVICE, SYSTEM, user
from app.errors import BadValue, Forbidden
from app.models import User
from app.query import writer
from app.repositories import Users

GOOD = "correct horse battery"


@pytest.mark.parametrize("text", ["a1b2c3d5", "é" * 4, "x" * 72, "🐎🐎", "  spaces  "])
def test_accepted(text: str) -> None:
    assert clean_password(text)


@pytest.mark.parametrize(
    "text", ["", "short77", "x" * 73, "é" * 37, "letmein1", "PASSWORD1", "12345678", "\ud800" + "x" * 9, None, 12345678]
)
def test_refused_without_repeating_it(text: object) -> None:
    with pytest.raises(BadValue) as caught:
        clean_password(text)
    error = caught.value
    assert error.code == "22023"
    assert error.hint
    if isinstance(text, str) and text:
        assert text not in f"{error.message} {error.details} {error.hint}"
    assert error.__cause__ is None


def test_one_form_of_a_password() -> None:
    """What looks the same and is typed in another way is the same: NFKC."""
    assert clean_password("Å" * 8) == clean_password("A\u030a" * 8)


async def test_hash_and_verify() -> None:
    first, second = await hash_password(GOOD), await hash_password(GOOD)
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert await verify(GOOD, first)
    assert await verify("ﬁve wooden ships", await hash_password("five wooden ships"))
    assert not await verify(GOOD + "!", first)
    assert not await verify(GOOD, "no hash")
    assert not await verify("\ud800", first)


async def test_at_most_two_hashes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three would take 57 MiB and a third core."""
    running, most = [0], [0]
    lock = threading.Lock()
    hashed = passwords._HASHER.hash

    def watched(text: str) -> str:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            return hashed(text)
        finally:
            with lock:
                running[0] -= 1

    class Watched:
        hash = staticmethod(watched)

    monkeypatch.setattr(passwords, "_HASHER", Watched)
    await asyncio.gather(*(hash_password(GOOD) for _ in range(6)))
    assert most[0] == 2


async def test_a_new_user_gets_credentials(database: Database) -> None:
    async with database.writing(SERVICE) as session:
        resource = session.catalog.of(User)
        (row,) = await writer.insert(session, resource, [{"username": "ada", "password": GOOD}])
    assert "password" not in row
    async with database.reading(SYSTEM) as session:
        ada = await Users(session).require(row["id"], options=[joinedload(User.credentials)])
        assert ada.credentials is not None
        assert ada.credentials.changed_at == database.clock()
        assert await verify(GOOD, ada.credentials.hashed_password)
        assert GOOD not in repr(ada.credentials)


async def test_who_may_not_send_a_password(database: Database) -> None:
    async with database.writing(user(1, "author")) as session:
        with pytest.raises(Forbidden):
            await writer.insert(session, session.catalog.of(User), [{"username": "eve", "password": GOOD}])
    async with database.writing(SERVICE) as session:
        with pytest.raises(BadValue) as caught:
            await writer.insert(session, session.catalog.of(User), [{"username": "eve", "password": 12345678}])
        assert caught.value.code == "22023"
