"""`broadsheet doctor --ledger`: balances recomputed from the transfers; what it finds, and that it changes nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from app.actions import grant, transfer
from app.cli.checkup.finding import Level
from app.cli.checkup.ledger import NAMED, Account, Ledger, ledger, read_ledger
from app.cli.doctor import findings_of
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import User
from app.query.removal import purge, remove
from app.resources import CATALOG
from app.settings import Settings
from tests.actions.conftest import TRANSFERS, Bank
from tests.cli.test_program import execute
from tests.conftest import Statements
from tests.factories import make_user
from tests.query.rows import a_transfer, a_user, fill

MOST = 2**53 - 1


@pytest.fixture
async def moved(bank: Bank) -> Bank:
    """Ada has 95, Bob 25, the admin 1."""
    async with bank.database.writing(SYSTEM) as session:
        await transfer(session, from_user_id=bank.ada, to_user_id=bank.bob, amount=5)
    return bank


async def test_books_that_add_up_are_well(moved: Bank, statements: Statements) -> None:
    statements.clear()
    found = ledger(await read_ledger(moved.database))
    assert statements.count == 1
    expected = "4 users, 4 transfers, 121 granted: every balance is the sum of its transfers"
    assert (found.level, found.name, found.sentence) == (Level.OK, "ledger", expected)


async def test_empty_books_add_up(database: Database) -> None:
    facts = await read_ledger(database)
    assert facts == Ledger(0, 0, 0, 0, 0, ())
    assert ledger(facts).level is Level.OK


async def test_removed_users_are_in_the_books(moved: Bank) -> None:
    async with moved.database.writing(SYSTEM) as session:
        await transfer(session, from_user_id=moved.bob, to_user_id=moved.ada, amount=25)
        await remove(session, CATALOG.of(User), [moved.bob])
    facts = await read_ledger(moved.database)
    assert (facts.users, facts.wrong, facts.granted, facts.balances) == (4, 0, 121, 121)
    async with moved.database.writing(SYSTEM) as session:
        await purge(session, CATALOG.of(User), [moved.bob])
    assert (await read_ledger(moved.database)).wrong == 0
    await moved.set_user(moved.bob, balance=3)
    assert (await read_ledger(moved.database)).wrong == 1


async def test_a_falsified_balance_is_found(moved: Bank) -> None:
    await moved.set_user(moved.ada, balance=96)
    facts = await read_ledger(moved.database)
    assert facts == Ledger(4, 4, 121, 122, 1, (Account(moved.ada, "ada", 96, 95),))
    found = ledger(facts)
    assert found.level is Level.REFUSE
    assert f"user {moved.ada} (ada) has 96, transfers say 95" in found.found
    assert "121 granted, 122 in all balances, 1 of which are not" in found.found


async def test_two_balances_that_were_falsified_together_are_found(moved: Bank) -> None:
    """Their sum is still that of the grants."""
    await moved.set_user(moved.ada, balance=94)
    await moved.set_user(moved.bob, balance=26)
    facts = await read_ledger(moved.database)
    assert (facts.granted, facts.balances, facts.wrong) == (121, 121, 2)
    assert facts.first == (Account(moved.ada, "ada", 94, 95), Account(moved.bob, "bob", 26, 25))
    assert ledger(facts).level is Level.REFUSE


async def test_a_removed_transfer_is_found(moved: Bank) -> None:
    async with moved.database.writer.begin() as connection:
        await connection.execute(delete(TRANSFERS).where(TRANSFERS.c.amount == 5))
    facts = await read_ledger(moved.database)
    assert facts.first == (Account(moved.ada, "ada", 95, 100), Account(moved.bob, "bob", 25, 20))
    assert facts.transfers == 3


async def test_a_removed_grant_is_found(moved: Bank) -> None:
    async with moved.database.writer.begin() as connection:
        await connection.execute(delete(TRANSFERS).where(TRANSFERS.c.amount == 1))
    facts = await read_ledger(moved.database)
    assert (facts.first, facts.granted) == ((Account(moved.root, "root", 1, 0),), 120)


async def test_a_falsified_amount_is_found(moved: Bank) -> None:
    async with moved.database.writer.begin() as connection:
        await connection.execute(TRANSFERS.update().where(TRANSFERS.c.amount == 5).values(amount=2**62))
    facts = await read_ledger(moved.database)
    assert [account.booked for account in facts.first] == [100 - 2**62, 20 + 2**62]


async def test_the_first_few_are_named_and_all_are_counted(bank: Bank) -> None:
    async with bank.database.writing(SYSTEM) as session:
        wrong = [(await make_user(session, balance=number)).id for number in range(1, 9)]
    facts = await read_ledger(bank.database)
    assert (facts.wrong, [account.user_id for account in facts.first]) == (8, wrong[:NAMED])


async def test_sums_beyond_64_bits_stay_exact(bank: Bank) -> None:
    """Of what came in, of what went out, and of all balances."""
    async with bank.database.writing(SYSTEM) as session:
        await grant(session, to_user_id=bank.root, amount=MOST - 1)
    rich = range(10**6, 10**6 + 1100)
    await fill(bank.database, {User: [a_user(id, balance=MOST) for id in rich]})
    pairs = [(bank.root, bank.bob), (bank.bob, bank.root)] * 1100
    rows = [a_transfer(10**6 + n, *pair) | {"amount": MOST} for n, pair in enumerate(pairs)]
    rows += [a_transfer(2 * 10**6 + id, None, id) | {"amount": MOST} for id in rich]
    async with bank.database.writer.begin() as connection:
        await connection.execute(insert(TRANSFERS), rows)
    facts = await read_ledger(bank.database)
    assert (facts.wrong, facts.granted) == (0, 120 + 1101 * MOST)
    assert facts.balances == facts.granted > 2**63


# ---- the command ----------------------------------------------------------------------------------------------------


async def test_only_who_asks_for_the_books_gets_them(spare_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=spare_url)
    plain = [finding.name for finding in await findings_of(settings, books=False)]
    assert "ledger" not in plain
    with_books = await findings_of(settings, books=True)
    assert [finding.name for finding in with_books] == [*plain, "ledger"]
    assert with_books[-1].level is Level.OK


def test_books_that_cannot_be_read_are_a_finding(empty_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=empty_url)
    found = asyncio.run(findings_of(settings, books=True))[-1]
    assert found.level is Level.REFUSE
    if empty_url.startswith("sqlite"):
        assert (found.name, [*tmp_path.iterdir()]) == ("database", [])  # no file is made in order to look at it
    else:
        assert found.name == "ledger"
        assert found.found.startswith("cannot be read: ")


async def test_doctor_says_what_is_wrong_with_the_books(spare_url: str, tmp_path: Path) -> None:
    async with Database(spare_url, CATALOG) as database, database.writing(SYSTEM) as session:
        ada = await make_user(session, username="ada", balance=7)
    done = execute(tmp_path, "doctor", "--ledger", "--json", BROADSHEET_DATABASE_URL=spare_url)
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)[-1]
    assert (found["level"], found["name"]) == ("refuse", "ledger")
    assert f"user {ada.id} (ada) has 7, transfers say 0" in found["found"]
