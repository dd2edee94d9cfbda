"""Sessions: how refresh tokens follow each other, and what the use of an old or forged one does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from app.accounts import sessions
from app.accounts.people import Account, acting
from app.accounts.sessions import Opened, Refused
from app.accounts.vault import Vault
from app.data.base import Base
from app.data.database import Database
from app.data.rules import SYSTEM
from app.settings import AccountSettings
from tests.accounts.conftest import (
    PASSWORD,
    SESSIONS,
    Installation,
    Installed,
    events_of,
    refusal,
    sessions_of,
)
from tests.conftest import Clock

pytestmark = pytest.mark.usefixtures("quick")

NOT_FOUND, REUSED = "refresh_token_not_found", "refresh_token_already_used"
VAULT = Vault(b"the secret of this installation!")


async def begin(database: Database, account: Account) -> str:
    async with database.writing(SYSTEM) as session:
        return (await sessions.begin(session, VAULT, account.id, "password")).refresh_token


async def refresh(database: Database, token: object, vault: Vault = VAULT, **changes: Any) -> str:
    """The next token, or the code of the refusal."""
    async with database.writing(SYSTEM) as session:
        found = await sessions.refresh(session, vault, AccountSettings(**changes), token)
    return found.refresh_token if isinstance(found, Opened) else found.code


def parts(token: str) -> tuple[str, int, str]:
    uid, counter, code = token.split(".")
    return uid, int(counter), code


# ---- rotation -------------------------------------------------------------------------------------------------------


async def test_each_refresh_gives_the_next_token_of_the_same_session(database: Database, ada: Account) -> None:
    tokens = [await begin(database, ada)]
    for _ in range(3):
        tokens.append(await refresh(database, tokens[-1]))
    assert len({parts(token)[2] for token in tokens}) == 4
    assert {parts(token)[0] for token in tokens} == {parts(tokens[0])[0]}
    assert [parts(token)[1] for token in tokens] == [0, 1, 2, 3]
    assert len(await sessions_of(database, ada)) == 1


async def test_session_keeps_how_and_when_its_user_came_in(here: Installation, ada: Account, clock: Clock) -> None:
    """The claim `amr` is that of the sign-in."""
    signed = await here.sign_in(ada, "recovery")
    clock.advance(1000)
    async with here.database.writing(SYSTEM) as session:
        vault, settings = here.authenticate.vault, here.settings.accounts
        found = await sessions.refresh(session, vault, settings, signed.refresh_token)
    assert isinstance(found, Opened)
    assert (found.method, found.since, found.user_id) == ("recovery", int(clock.now.timestamp()) - 1000, ada.id)


@pytest.mark.parametrize("wait", [0, 11, 86_400 * 29])
async def test_token_before_the_newest_gives_the_newest_at_any_time(
    database: Database, ada: Account, clock: Clock, wait: int
) -> None:
    """Its answer was lost."""
    first = await begin(database, ada)
    second = await refresh(database, first)
    clock.advance(wait)
    assert await refresh(database, first) == second
    assert await refresh(database, first) == second
    assert parts(await refresh(database, second))[1] == 2


async def test_older_token_gives_the_newest_within_the_reuse_interval(
    database: Database, ada: Account, clock: Clock
) -> None:
    """Tabs that refresh at once."""
    first = await begin(database, ada)
    third = await refresh(database, await refresh(database, first))
    clock.advance(9.999)
    assert await refresh(database, first) == third
    assert len(await sessions_of(database, ada)) == 1


async def test_older_token_after_the_reuse_interval_ends_the_session_and_is_an_event(
    database: Database, ada: Account, clock: Clock
) -> None:
    first = await begin(database, ada)
    third = await refresh(database, await refresh(database, first))
    clock.advance(10)
    assert await refresh(database, first) == REUSED
    assert await sessions_of(database, ada) == set()
    assert [await refresh(database, token) for token in (first, third)] == [NOT_FOUND, NOT_FOUND]
    (event,) = await events_of(database, "refresh_token_reused")
    assert event.subject == f"user {ada.id}"
    assert parts(first)[2] not in str(event)


async def test_clock_that_was_set_back_lets_no_older_token_pass(database: Database, ada: Account, clock: Clock) -> None:
    first = await begin(database, ada)
    await refresh(database, await refresh(database, first))
    clock.advance(-3600)
    assert await refresh(database, first) == REUSED


async def test_without_a_reuse_interval_two_steps_back_end_the_session(database: Database, ada: Account) -> None:
    first = await begin(database, ada)
    await refresh(database, await refresh(database, first, reuse_seconds=0), reuse_seconds=0)
    assert await refresh(database, first, reuse_seconds=0) == REUSED


async def test_reuse_of_one_sessions_token_leaves_the_others(database: Database, ada: Account, clock: Clock) -> None:
    first, other = await begin(database, ada), await begin(database, ada)
    await refresh(database, await refresh(database, first))
    clock.advance(10)
    assert await refresh(database, first) == REUSED
    assert parts(await refresh(database, other))[1] == 1


async def test_token_that_is_far_behind_is_unknown(database: Database, ada: Account, clock: Clock) -> None:
    """It would cost a step for each token since."""
    token = await begin(database, ada)
    newest = token
    for _ in range(2):
        newest = await refresh(database, newest)
    async with database.writing(SYSTEM) as session:
        await session.execute(SESSIONS.update().values(counter=sessions.OLDEST + 1))
    assert await refresh(database, token) == NOT_FOUND
    assert len(await sessions_of(database, ada)) == 1


# ---- forged ---------------------------------------------------------------------------------------------------------


def forged(token: str, other: str) -> dict[str, Any]:
    """`other` is of another session."""
    uid, counter, code = parts(token)
    changed = ("B" if code[0] == "A" else "A") + code[1:]
    return {
        "another code": f"{uid}.{counter}.{changed}",
        "a code of another session": f"{uid}.{counter}.{parts(other)[2]}",
        "the uid of another session": f"{parts(other)[0]}.{counter}.{code}",
        "the counter ahead": f"{uid}.{counter + 1}.{code}",
        "the counter far ahead": f"{uid}.999999999.{code}",
        "a counter before it": f"{uid}.{counter - 1}.{code}",
        "a counter below zero": f"{uid}.-1.{code}",
        "a long counter": f"{uid}.{'9' * 30}.{code}",
        "a counter in other digits": f"{uid}.\u0661.{code}",
        "a short code": f"{uid}.{counter}.{code[:-1]}",
        "a long code": f"{uid}.{counter}.{code}A",
        "no code": f"{uid}.{counter}.",
        "no uid": f".{counter}.{code}",
        "another uid": f"{'A' * 22}.{counter}.{code}",
        "a line end": f"{token}\n",
        "nothing": "",
        "text": "x",
        "a hundred kilobytes": "x" * 100_000,
        "a number": 5,
        "a list": [token],
    }


async def test_forged_token_is_unknown_and_leaves_the_session(database: Database, ada: Account) -> None:
    token = await refresh(database, await begin(database, ada))
    other = await begin(database, ada)
    cases = forged(token, other)
    found = {name: await refresh(database, case) for name, case in cases.items()}
    print(f"refresh tokens: {len(found)} cases, accepted wrongly {sum(code != NOT_FOUND for code in found.values())}")
    assert found == dict.fromkeys(cases, NOT_FOUND)
    assert parts(await refresh(database, token))[1] == 2, "nobody was signed out by guessing"
    assert parts(await refresh(database, other))[1] == 1


async def test_token_of_another_secret_is_unknown(database: Database, ada: Account) -> None:
    """Whoever changes the secret of an installation signs everybody out; a restart with the same one nobody."""
    first = await begin(database, ada)
    second = await refresh(database, first, Vault(b"the secret of this installation!"))
    assert parts(second)[1] == 1
    other = Vault(b"the secret of another, not this!")
    assert [await refresh(database, token, other) for token in (first, second)] == [NOT_FOUND, NOT_FOUND]
    assert parts(await refresh(database, second))[1] == 2


async def test_restart_with_the_secret_in_its_file_signs_nobody_out(
    installed: Installed, ada: Account, tmp_path: Path
) -> None:
    async with installed() as here:
        token = (await here.sign_in(ada)).refresh_token
    async with installed() as here:
        answer = await here.refresh(token)
        assert answer.status_code == 200
        token = answer.json()["refresh_token"]
    (tmp_path / "secret.key").unlink()
    async with installed() as here:
        assert refusal(await here.refresh(token)) == (400, NOT_FOUND)


# ---- at once --------------------------------------------------------------------------------------------------------


async def test_many_who_refresh_at_once_get_one_token(here: Installation, ada: Account) -> None:
    """One family, one step."""
    signed = await here.sign_in(ada)
    answers = await asyncio.gather(*(here.refresh(signed.refresh_token) for _ in range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    tokens = {answer.json()["refresh_token"] for answer in answers}
    assert len(tokens) == 1
    assert parts(tokens.pop())[1] == 1
    assert await sessions_of(here.database, ada) == {signed.uid}


async def test_refresh_that_waited_gives_what_is_newest_then(database: Database, ada: Account) -> None:
    """It looks when it is its turn: what it had seen before would set the session back."""
    first = await begin(database, ada)
    async with database.writing(SYSTEM) as session:
        second = await sessions.refresh(session, VAULT, AccountSettings(), first)  # holds the session from here on
        waiting = asyncio.ensure_future(refresh(database, first))
        await until_it_waits(database)
        assert isinstance(second, Opened)
        third = await sessions.refresh(session, VAULT, AccountSettings(), second.refresh_token)
        assert isinstance(third, Opened)
        token = third.refresh_token
        assert not waiting.done()
    assert await waiting == token
    assert parts(await refresh(database, token))[1] == 3


async def until_it_waits(database: Database) -> None:
    """On SQLite whoever writes waits for a turn, and has asked the database nothing so far."""
    if database.name == "sqlite":
        return
    locked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(5), database.writer.connect() as connection:
        while not await connection.scalar(text(locked)):
            await connection.rollback()


# ---- what is kept ---------------------------------------------------------------------------------------------------


async def dump(database: Database) -> str:
    """Everything that the database holds, as text."""
    found = []
    async with database.writer.connect() as connection:
        for table in Base.metadata.sorted_tables:
            found += [str(row) for row in await connection.execute(text(f'SELECT * FROM "{table.name}"'))]
    return "\n".join(found)


async def test_database_holds_no_token_and_no_password(here: Installation) -> None:
    """Nor any part of one that could be made into it: whoever reads a copy of the database enters nowhere."""
    made = (await here.sign_up(email="eve@example.org")).json()
    token = made["refresh_token"]
    secrets = [parts(token)[2], made["access_token"].split(".")[2], PASSWORD]
    for _ in range(3):
        token = (await here.refresh(token)).json()["refresh_token"]
        secrets.append(parts(token)[2])
    await here.refresh("x" * 22 + ".0." + "y" * 43)
    held = await dump(here.database)
    assert "eve@example.org" in held
    assert [secret for secret in secrets if secret in held] == []


async def test_hash_of_a_token_needs_the_secret(database: Database, ada: Account) -> None:
    token = await begin(database, ada)
    async with database.reading(SYSTEM) as session:
        kept = await session.scalar(select(SESSIONS.c.token_hash))
    assert kept == VAULT.code("refresh token", token).hex()
    assert kept != Vault(b"the secret of another, not this!").code("refresh token", token).hex()


async def test_refusal_is_kept_although_it_is_none_of_the_database(database: Database, ada: Account) -> None:
    """The unit of work that ends a session is committed: it returns a refusal and raises none."""
    async with database.writing(acting(ada.id)) as session:
        found = await sessions.refresh(session, VAULT, AccountSettings(), f"{'A' * 22}.0.{'A' * 43}")
    assert found == Refused(NOT_FOUND, "Invalid Refresh Token: Refresh Token Not Found")


async def test_ending_a_session_that_is_not_there_does_nothing(database: Database, ada: Account) -> None:
    await begin(database, ada)
    async with database.writing(SYSTEM) as session:
        await sessions.end(session, uuid4())
    assert len(await sessions_of(database, ada)) == 1
