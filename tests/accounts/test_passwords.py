"""Passwords: what is accepted, how it is hashed, and that no text of one gets out."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import unicodedata
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerificationError
from argon2.low_level import Type, verify_secret
from sqlalchemy.orm import joinedload

from app.accounts import passwords
from app.accounts.passwords import (
    DUMMY,
    HASHES_AT_ONCE,
    MOST_NEW,
    MOST_TRIED,
    WAITING,
    Busy,
    NewPassword,
    WeakPassword,
    accept_hash,
    clean_password,
    hash_password,
    needs_rehash,
    rehashed,
    verify,
)
from app.data.database import Database
from app.data.rules import SERVICE, SYSTEM, user
from app.errors import BadValue, Forbidden
from app.models import User
from app.query import writer
from app.repositories import Users
from tests.accounts.hashing import held, until, waiting

GOOD = "correct horse battery"
ACUTE = "\u0301"  # a mark: whoever puts them in order takes the square of their number


@pytest.fixture
def quick() -> None:
    """Here passwords are hashed as in earnest."""


# ---- accepted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a1b2c3d5", "é" * 4, "x" * 72, "🐎🐎", "  spaces  ", ("e" + ACUTE) * 36])
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


@pytest.mark.parametrize(("text", "reason"), [("short77", "length"), ("", "length"), ("password1", "characters")])
def test_weak_ones_say_why(text: str, reason: str) -> None:
    with pytest.raises(WeakPassword) as caught:
        clean_password(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize("text", ["x" * 73, "é" * 37, "x" * 10**6, ACUTE * 10**6])
def test_too_long_is_not_weak(text: str) -> None:
    """Nor is it looked at as a whole: a million marks in their one form would take minutes."""
    with pytest.raises(BadValue, match="a password has 8 to 72 bytes") as caught:
        clean_password(text)
    assert not isinstance(caught.value, WeakPassword)


def test_shortest_can_be_set() -> None:
    assert clean_password("sixsix", 6)
    with pytest.raises(WeakPassword, match="12 to 72 bytes, not 11"):
        clean_password("elevenbytes", 12)


def test_one_form_of_a_password() -> None:
    """What looks the same and is typed in another way is the same: NFKC."""
    assert clean_password("Å" * 8) == clean_password("A\u030a" * 8)


def test_what_is_too_long_to_be_looked_at_is_too_long_for_a_password() -> None:
    """The longest texts whose one form has 72 bytes: letters that are written as four characters."""
    longest = max(("\u1fb7", "\u1f86", "\u0390", "\u01d6"), key=lambda letter: len(nfd(letter)) / len(letter.encode()))
    text = nfd(longest) * (72 // len(longest.encode()))
    assert len(clean_password(text).encode()) <= 72
    assert len(text) < MOST_NEW


def nfd(letter: str) -> str:
    return unicodedata.normalize("NFD", letter)


# ---- hashed ---------------------------------------------------------------------------------------------------------


async def test_hash_and_verify() -> None:
    first, second = (await hash_password(GOOD)).hashed, (await hash_password(GOOD)).hashed
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert await verify(GOOD, first)
    assert await verify("ﬁve wooden ships", (await hash_password("five wooden ships")).hashed)
    assert not await verify(GOOD + "!", first)
    assert not await verify(GOOD, "no hash")
    assert not await verify("\ud800", first)


async def test_nobodys_password_is_checked_and_never_right(hashed: str) -> None:
    assert not await verify(GOOD, None)
    for text in ("", "dummy", "broadsheet", GOOD):
        assert not await verify(text, None)
    assert await verify(GOOD, hashed)


def test_check_of_nobodys_password_is_a_whole_one() -> None:
    """With the same parameters, and refused for its bytes alone, not for its form."""
    ours, dummy = extract_parameters(passwords._HASHER.hash(GOOD)), extract_parameters(DUMMY)
    assert dummy == ours
    with pytest.raises(VerificationError) as caught:
        verify_secret(DUMMY.encode(), b"x", Type.ID)
    assert "does not match" in str(caught.value)


@pytest.mark.parametrize("text", [GOOD + "x" * MOST_TRIED, "x" * 10**6, ACUTE * 900_000])
async def test_long_text_is_no_password_and_takes_no_longer(hashed: str, text: str) -> None:
    """It takes minutes where it is looked at as a whole."""
    assert not await verify(text, hashed)


async def test_text_is_not_cut_to_what_is_looked_at() -> None:
    """Of a hash that was made elsewhere, where passwords are longer."""
    text = "x" * MOST_TRIED
    brought = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(text)
    assert await verify(text, brought)
    assert not await verify(text + "x", brought)


async def test_new_password_does_not_show_its_hash(hashed: str) -> None:
    assert hashed not in repr(NewPassword(hashed))


async def test_hash_with_other_parameters_is_renewed(hashed: str) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(GOOD)
    assert needs_rehash(old)
    new = await rehashed(GOOD)
    assert not needs_rehash(new)
    assert not needs_rehash(hashed)
    assert await verify(GOOD, new)


# ---- hashes that are brought along ----------------------------------------------------------------------------------


def test_hashes_of_argon2id_are_taken_as_they_are(hashed: str) -> None:
    for text in (hashed, PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(GOOD)):
        assert accept_hash(text) == NewPassword(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        None,
        5,
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "$argon2i$v=19$m=1024,t=1,p=1$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
        "$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
        "$argon2id$v=19$m=1024,t=1000,p=1$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
        "$argon2id$v=19$m=1024,t=1,p=100$c29tZXNhbHQ$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A",
        "$argon2id$v=19$m=1024,t=1,p=1$" + "c29tZXNhbHQ" * 30 + "$x",
    ],
    ids=["empty", "text", "none", "number", "bcrypt", "argon2i", "1 GiB", "1000 passes", "100 lanes", "long"],
)
def test_other_hashes_are_refused(text: object) -> None:
    with pytest.raises(BadValue) as caught:
        accept_hash(text)
    assert caught.value.code == "22023"
    if isinstance(text, str) and len(text) > 1:
        assert text not in f"{caught.value.message} {caught.value.hint}"


# ---- two at a time --------------------------------------------------------------------------------------------------


async def test_at_most_two_hashes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three would take 57 MiB and a third core."""
    with held(monkeypatch) as hasher:
        hashing = asyncio.gather(*(hash_password(GOOD) for _ in range(6)))
        await until(lambda: hasher.running == HASHES_AT_ONCE)
        await until(lambda: waiting() == 6 - HASHES_AT_ONCE)
        hasher.may_go.set()
        await hashing
        assert hasher.most == HASHES_AT_ONCE <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process which cores it may use")
def test_on_one_core_one_at_a_time() -> None:
    pin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    ask = "from app.accounts import passwords; print(passwords.HASHES_AT_ONCE)"
    command = [sys.executable, "-c", f"{pin}; {ask}"]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "1\n"


async def test_loop_goes_on_while_passwords_are_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    with held(monkeypatch) as hasher:
        hashing = asyncio.ensure_future(hash_password(GOOD))
        await until(lambda: hasher.running == 1)
        assert not hashing.done()
        hasher.may_go.set()
        assert (await hashing).hashed == "$argon2id$"


async def test_who_comes_when_too_many_wait_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with held(monkeypatch) as hasher:
        calls: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(verify(GOOD, None)) for _ in range(HASHES_AT_ONCE + WAITING)
        ]
        await until(lambda: waiting() == WAITING)
        for work in (lambda: hash_password(GOOD), lambda: verify(GOOD, None), lambda: rehashed(GOOD)):
            with pytest.raises(Busy) as caught:
                await asyncio.wait_for(work(), 5)
            assert (caught.value.status, caught.value.retry_after) == (429, 1)
        hasher.may_go.set()
        assert await asyncio.gather(*calls) == [False] * len(calls)
    assert await verify(GOOD, None) is False


# ---- as a field of users --------------------------------------------------------------------------------------------


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


async def test_who_may_not_set_a_password(database: Database) -> None:
    """Of a user who is there; registering takes one that accounts have accepted."""
    async with database.writing(SYSTEM) as session:
        (row,) = await writer.insert(session, session.catalog.of(User), [{"username": "eve"}])
    async with database.writing(user(row["id"], "author")) as session:
        resource = session.catalog.of(User)
        with pytest.raises(Forbidden):
            await writer.update(session, resource, [row["id"]], {"password": GOOD})
        with pytest.raises(BadValue, match="a new user needs a password"):
            await writer.insert(session, resource, [{"username": "mallory", "password": GOOD}])
    async with database.writing(SERVICE) as session:
        with pytest.raises(BadValue) as caught:
            await writer.insert(session, session.catalog.of(User), [{"username": "mallory", "password": 12345678}])
        assert caught.value.code == "22023"
