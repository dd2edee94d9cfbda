"""Transfers within units of work and at once: what a fault undoes, what the database holds together."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from app.actions import transfer
from app.data import failpoints
from app.data.failpoints import Point
from app.data.rules import SERVICE, SYSTEM
from app.data.session import AppSession
from app.errors import BroadsheetError, Conflict, Unavailable
from app.models import Revision, Tag, User
from app.query.removal import remove
from app.resources import CATALOG
from tests.actions.conftest import USERS, Bank, sent
from tests.conftest import Clock, Statements
from tests.factories import make_tag, make_user
from tests.http.failing import someone_waits

UNKNOWN = 999_999_999


# ---- the caller's unit of work --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("to", "amount"), [(UNKNOWN, 1), ("bob", 101), ("bob", 0)])
async def test_after_a_refusal_the_unit_of_work_goes_on(bank: Bank, to: Any, amount: int) -> None:
    async with bank.database.writing(SYSTEM) as session:
        await make_tag(session, "before")
        with pytest.raises(BroadsheetError):
            await transfer(session, from_user_id=bank.ada, to_user_id=getattr(bank, str(to), to), amount=amount)
        await make_tag(session, "after")
        await transfer(session, from_user_id=bank.ada, to_user_id=bank.bob, amount=5)
    async with bank.database.reading(SYSTEM) as session:
        assert set(await session.scalars(select(Tag.name))) == {"before", "after"}
    assert await bank.balances() == [95, 25, 1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_transfer_that_was_half_written_is_undone_as_a_whole(bank: Bank) -> None:
    """The sender's balance is written before the receiver's is found changed: who catches that must not keep it."""
    interfere = f"BEGIN UPDATE users SET balance = 3 WHERE id = {bank.bob}; END"
    trigger = f"CREATE TRIGGER interfere AFTER UPDATE OF balance ON users WHEN NEW.id = {bank.ada} {interfere}"
    async with bank.database.writer.begin() as connection:
        await connection.execute(text(trigger))
    async with bank.database.writing(SYSTEM) as session:
        with pytest.raises(Unavailable) as caught:
            await transfer(session, from_user_id=bank.ada, to_user_id=bank.bob, amount=5)
        assert caught.value.code == "40001"
        await make_tag(session, "after")
    async with bank.database.writer.begin() as connection:
        await connection.execute(text("DROP TRIGGER interfere"))
    assert (await bank.balances(), await bank.moved()) == ([100, 20, 1], [])


async def test_a_unit_of_work_that_fails_later_moves_nothing(bank: Bank) -> None:
    async def work(session: AppSession) -> None:
        await transfer(session, to_user_id=bank.bob, amount=5)
        raise Conflict("no")

    with pytest.raises(Conflict):
        await bank.do(bank.as_ada, work)
    assert (await bank.balances(), await bank.moved()) == ([100, 20, 1], [])


async def test_entities_of_the_session_have_the_new_balances(bank: Bank) -> None:
    async with bank.database.writing(SYSTEM) as session:
        ada, bob = await session.get_one(User, bank.ada), await session.get_one(User, bank.bob)
        await transfer(session, from_user_id=bank.ada, to_user_id=bank.bob, amount=5)
        assert (ada.balance, bob.balance) == (95, 25)
        assert not session.dirty
        bob.full_name = "Bob"
        await session.flush()
        assert (bob.version, bob.balance) == (2, 25)
        with pytest.raises(Conflict):
            await transfer(session, from_user_id=bank.ada, to_user_id=bank.bob, amount=96)
        assert (ada.balance, bob.full_name) == (95, "Bob")


async def test_a_member_sees_no_new_balance_of_the_receiver(bank: Bank) -> None:
    async with bank.database.writing(bank.as_ada) as session:
        ada, bob = await session.get_one(User, bank.ada), await session.get_one(User, bank.bob)
        await transfer(session, to_user_id=bank.bob, amount=5)
        assert ada.balance == 95
        assert bob.balance is None


async def test_several_transfers_in_one_unit_of_work_add_up(bank: Bank) -> None:
    async def work(session: AppSession) -> None:
        for sender, receiver in ((bank.ada, bank.bob), (bank.bob, bank.root), (bank.root, bank.ada)):
            await transfer(session, from_user_id=sender, to_user_id=receiver, amount=10)

    await bank.do(SYSTEM, work)
    assert await bank.balances() == [100, 20, 1]


# ---- what a transfer leaves alone -----------------------------------------------------------------------------------


async def test_versions_stamps_and_revisions_of_users_stay(bank: Bank, clock: Clock) -> None:
    async def state() -> Any:
        async with bank.database.reading(SYSTEM) as session:
            stamps = select(User.id, User.version, User.updated_at, User.updated_by).order_by(User.id)
            return (await session.execute(stamps)).all(), set(await session.scalars(select(Revision.id)))

    before = await state()
    clock.advance(60)
    await sent(bank, bank.as_ada, bank.bob, 5)
    assert await state() == before


async def test_a_balance_below_0_is_refused_by_the_database_too(bank: Bank) -> None:
    async with bank.database.writer.begin() as connection:
        with pytest.raises(IntegrityError, match="users_balance_check"):
            await connection.execute(update(USERS).where(USERS.c.id == bank.ada).values(balance=-1))


async def test_a_transfer_takes_one_statement_and_on_sqlite_three_in_one_hop(
    bank: Bank, statements: Statements
) -> None:
    async with bank.database.writing(bank.as_ada) as session:
        statements.clear()
        await transfer(session, to_user_id=bank.bob, amount=5)
        verbs = [statement.split()[0] for statement in statements.texts]
        at_once = bank.database.name == "postgresql"
        assert verbs == (["WITH"] if at_once else ["SAVEPOINT", "SELECT", "UPDATE", "INSERT", "RELEASE"])


# ---- at once --------------------------------------------------------------------------------------------------------


async def test_sixteen_at_once_among_nearly_empty_accounts_lose_and_make_nothing(bank: Bank) -> None:
    for id, balance in ((bank.ada, 6), (bank.bob, 5), (bank.root, 4)):
        await bank.set_user(id, balance=balance)
    accounts, chance, outcomes = (bank.ada, bank.bob, bank.root), random.Random(5), Counter[str]()

    async def client(draws: random.Random) -> None:
        for _ in range(6):
            sender, receiver = draws.sample(accounts, 2)
            try:
                await sent(bank, SERVICE, receiver, draws.randint(1, 7), from_user_id=sender)
                outcomes["done"] += 1
            except BroadsheetError as exc:
                outcomes[exc.code] += 1

    await asyncio.gather(*(client(random.Random(chance.random())) for _ in range(16)))
    moved, balances = await bank.moved(), await bank.balances()
    assert outcomes.keys() == {"done", "BRD605"}
    assert outcomes["done"] == len(moved)
    assert sum(outcomes.values()) == 96
    opening = dict(zip(accounts, (6, 5, 4), strict=True))
    for sender, receiver, amount in moved:
        assert sender is not None
        opening[sender] -= amount
        opening[receiver] += amount
        assert opening[sender] >= 0, "in the order of their ids no balance was ever below 0"
    assert balances == list(opening.values())


async def test_two_who_send_to_each_other_do_not_stop_each_other(bank: Bank) -> None:
    """Both rows are locked in ascending id, whoever sends."""

    async def client(sender: int, receiver: int) -> None:
        for _ in range(10):
            await sent(bank, SERVICE, receiver, 1, from_user_id=sender)

    pairs = [(bank.ada, bank.bob), (bank.bob, bank.ada)] * 4
    retries = bank.database.counters.retries
    await asyncio.gather(*(client(*pair) for pair in pairs))
    assert await bank.balances() == [100, 20, 1]
    assert bank.database.counters.retries == retries


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_balance_that_grows_while_it_is_waited_for_is_enough(bank: Bank) -> None:
    """When the statement began there was too little, and the debit's condition found no row to wait for: it is sent
    once more, with the accounts locked.
    """
    retries = bank.database.counters.retries
    await bank.set_user(bank.ada, balance=1)
    async with bank.database.writer.connect() as connection:
        await connection.execute(update(USERS).where(USERS.c.id == bank.ada).values(balance=100))
        task = asyncio.create_task(sent(bank, bank.as_ada, bank.bob, 5))
        await someone_waits((await connection.get_raw_connection()).driver_connection)
        await connection.commit()
        await task
    assert bank.database.counters.retries == retries
    assert await bank.balances() == [95, 25, 1]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_connection_that_ends_before_the_commit_is_replaced(bank: Bank) -> None:
    """Nothing was kept, so the unit of work is run again."""
    runs = 0

    async def work(session: AppSession) -> int:
        nonlocal runs
        runs += 1
        pid = await session.scalar(text("SELECT pg_backend_pid()"))

        async def end() -> None:
            if runs == 1:
                async with bank.database.writer.connect() as other:
                    await other.execute(text(f"SELECT pg_terminate_backend({pid})"))

        with failpoints.armed({Point.LOCKED: end}):
            made = await transfer(session, to_user_id=bank.bob, amount=5)
        await session.scalar(text("SELECT 1"))
        return made

    await bank.do(bank.as_ada, work)
    assert runs == 2
    assert await bank.balances() == [95, 25, 1]
    assert len(await bank.moved()) == 1


async def test_a_cancelled_transfer_moves_nothing(bank: Bank) -> None:
    reached, never = asyncio.Event(), asyncio.Event()

    async def stop() -> None:
        reached.set()
        await never.wait()

    with failpoints.armed({Point.LOCKED: stop}):
        task = asyncio.create_task(sent(bank, bank.as_ada, bank.bob, 5))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await bank.balances(), await bank.moved()) == ([100, 20, 1], [])
    await sent(bank, bank.as_ada, bank.bob, 5)
    assert await bank.balances() == [95, 25, 1]


async def test_a_user_who_is_removed_at_once_keeps_nothing_from_others(bank: Bank) -> None:
    """Either the transfer is first, and the removal is refused, or the receiver is gone."""
    async with bank.database.writing(SYSTEM) as session:
        guest = (await make_user(session)).id

    async def go(session: AppSession) -> None:
        await remove(session, CATALOG.of(User), [guest])

    done = await asyncio.gather(sent(bank, bank.as_ada, guest, 5), bank.do(SYSTEM, go), return_exceptions=True)
    codes = [getattr(outcome, "code", "done") for outcome in done]
    assert codes in (["done", "BRD409"], ["BRD604", "done"])
    assert await bank.balances() == ([95, 20, 1] if codes[0] == "done" else [100, 20, 1])
