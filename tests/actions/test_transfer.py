"""Transfers and grants, called from Python: who may, what is refused, and what stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from app.actions import transfer
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.errors import BadValue, BroadsheetError, Conflict, Forbidden
from app.models import Transfer, User
from app.query.removal import remove
from app.resources import CATALOG
from tests.actions.conftest import Bank, granted, sent
from tests.conftest import Clock, Statements
from tests.factories import make_user

MOST = 2**53 - 1
UNKNOWN = 999_999_999


async def refused(bank: Bank, who: Principal, to: int, amount: int, **more: Any) -> BroadsheetError:
    """The refusal of a transfer that leaves nothing behind."""
    before = await bank.balances(), await bank.moved()
    with pytest.raises(BroadsheetError) as caught:
        await sent(bank, who, to, amount, **more)
    assert (await bank.balances(), await bank.moved()) == before
    return caught.value


# ---- what is done ---------------------------------------------------------------------------------------------------


async def test_transfer_moves_credits_from_the_own_account(bank: Bank, clock: Clock) -> None:
    clock.advance(60)
    made = await sent(bank, bank.as_ada, bank.bob, 30, note="Thanks")
    assert await bank.balances() == [70, 50, 1]
    async with bank.database.reading(SYSTEM) as session:
        row = await session.get_one(Transfer, made)
        assert (row.from_user_id, row.to_user_id, row.amount, row.note) == (bank.ada, bank.bob, 30, "Thanks")
        assert (row.created_at, row.created_by) == (clock.now, bank.ada)


async def test_grant_makes_credits_of_nothing(bank: Bank) -> None:
    made = await granted(bank, bank.as_root, bank.bob, 7)
    assert await bank.balances() == [100, 27, 1]
    assert await bank.moved() == [(None, bank.bob, 7)]
    async with bank.database.reading(SYSTEM) as session:
        assert (await session.get_one(Transfer, made)).created_by == bank.root


async def test_everything_can_be_sent(bank: Bank) -> None:
    await sent(bank, bank.as_ada, bank.bob, 100)
    assert await bank.balances() == [0, 120, 1]


@pytest.mark.parametrize("caller", ["admin", "service", "system"])
async def test_who_has_the_admins_view_may_name_the_sender(bank: Bank, caller: str) -> None:
    who = {"admin": bank.as_root, "service": SERVICE, "system": SYSTEM}[caller]
    await sent(bank, who, bank.bob, 30, from_user_id=bank.ada)
    assert await bank.moved() == [(bank.ada, bank.bob, 30)]


async def test_an_admin_who_names_nobody_sends_from_the_own_account(bank: Bank) -> None:
    await sent(bank, bank.as_root, bank.ada, 1)
    assert await bank.balances() == [101, 20, 0]


async def test_naming_oneself_is_allowed(bank: Bank) -> None:
    await sent(bank, bank.as_ada, bank.bob, 1, from_user_id=bank.ada)
    assert await bank.balances() == [99, 21, 1]


# ---- who may not ----------------------------------------------------------------------------------------------------


async def test_anothers_account_is_not_ones_own(bank: Bank, statements: Statements) -> None:
    statements.clear()
    with pytest.raises(Forbidden) as caught:
        await sent(bank, bank.as_ada, bank.ada, 1, from_user_id=bank.bob)
    assert caught.value.code == "42501"
    assert statements.count == 0  # whether there is such an account is not asked


@pytest.mark.parametrize("who", [SERVICE, SYSTEM], ids=["service", "system"])
async def test_a_caller_without_an_account_must_name_the_sender(bank: Bank, who: Principal) -> None:
    found = await refused(bank, who, bank.bob, 1)
    assert (type(found), found.code, found.status, found.plain_status) == (BadValue, "22004", 400, 422)
    assert found.hint == "Name the account in from_user_id."


async def test_a_visitor_has_no_account(bank: Bank) -> None:
    for more in ({}, {"from_user_id": bank.ada}):
        assert (await refused(bank, ANONYMOUS, bank.bob, 1, **more)).code == "42501"


@pytest.mark.parametrize("role", ["member", "author"])
async def test_grants_are_for_the_admins_view(bank: Bank, role: str) -> None:
    for who in (user(bank.ada, role), ANONYMOUS):
        with pytest.raises(Forbidden) as caught:
            await granted(bank, who, bank.ada, 1)
        assert caught.value.code == "42501"
    assert await bank.balances() == [100, 20, 1]


async def test_scopes_of_a_session_must_have_transfers(bank: Bank) -> None:
    narrowed = replace(bank.as_ada, scopes=frozenset({"users:write", "*:read"}))
    found = await refused(bank, narrowed, bank.bob, 1)
    assert (found.code, found.message) == ("42501", "this key lacks the scope transfers:write")
    await sent(bank, replace(bank.as_ada, scopes=frozenset({"transfers:write"})), bank.bob, 1)
    assert await bank.balances() == [99, 21, 1]


async def test_a_session_that_only_reads_moves_nothing(bank: Bank) -> None:
    async with bank.database.reading(bank.as_ada) as session:
        with pytest.raises(BroadsheetError) as caught:
            await transfer(session, to_user_id=bank.bob, amount=1)
        assert (caught.value.code, caught.value.status) == ("25006", 405)
        assert await session.scalar(select(User.username).where(User.id == bank.bob)) == "bob"


# ---- what is refused ------------------------------------------------------------------------------------------------


async def test_sender_and_receiver_are_two(bank: Bank) -> None:
    found = await refused(bank, bank.as_ada, bank.ada, 1)
    assert (type(found), found.code, found.status, found.plain_status) == (BadValue, "BRD601", 400, 422)


@pytest.mark.parametrize("amount", [0, -1, -MOST, -(2**63), -(2**80)])
async def test_an_amount_is_above_0(bank: Bank, amount: int) -> None:
    found = await refused(bank, bank.as_ada, bank.bob, amount)
    assert (type(found), found.code, found.plain_status) == (BadValue, "BRD602", 422)


@pytest.mark.parametrize("amount", [MOST + 1, 2**63 - 1, 2**63, 2**80])
async def test_an_amount_is_a_number_that_json_keeps(bank: Bank, amount: int) -> None:
    found = await refused(bank, bank.as_ada, bank.bob, amount)
    assert (type(found), found.code, found.plain_status) == (BadValue, "BRD603", 422)


async def test_all_that_is_wrong_is_told_at_once(bank: Bank) -> None:
    found = await refused(bank, bank.as_ada, bank.ada, 0)
    assert found.code == "BRD601"
    assert found.details == "credits cannot go from an account to itself; the amount 0 is not above 0"


async def test_a_balance_stays_below_2_to_the_53(bank: Bank) -> None:
    await granted(bank, SERVICE, bank.bob, MOST - 20)
    found = await refused(bank, bank.as_ada, bank.bob, 1)
    assert (type(found), found.code, found.plain_status) == (BadValue, "BRD603", 422)
    with pytest.raises(BadValue, match="would be above"):
        await granted(bank, SERVICE, bank.bob, MOST)
    await sent(bank, user(bank.bob), bank.ada, MOST - 100)
    assert await bank.balances() == [MOST, 100, 1]


async def test_a_balance_that_is_too_large_already_may_only_shrink(bank: Bank) -> None:
    await bank.set_user(bank.bob, balance=2**63 - 1)
    assert (await refused(bank, bank.as_ada, bank.bob, 1)).code == "BRD603"
    await sent(bank, user(bank.bob), bank.ada, 5)
    assert await bank.balances() == [105, 2**63 - 6, 1]


async def test_unknown_deleted_and_inactive_receivers_are_told_alike(bank: Bank) -> None:
    async with bank.database.writing(SYSTEM) as session:
        gone = (await make_user(session)).id
    async with bank.database.writing(SYSTEM) as session:
        await remove(session, CATALOG.of(User), [gone])
    texts = set()
    for to in (UNKNOWN, 0, -1, gone, bank.idle):
        found = await refused(bank, bank.as_ada, to, 1)
        assert (type(found), found.code, found.status) == (Conflict, "BRD604", 409)
        texts.add((found.message.replace(f" {to}", " N"), found.details, found.hint))
    assert texts == {("there is no active user with the id N", None, None)}


async def test_a_sender_who_is_not_active_any_more_sends_nothing(bank: Bank) -> None:
    await bank.set_user(bank.ada, is_active=False)
    found = await refused(bank, bank.as_ada, bank.bob, 1)
    assert (found.code, found.message) == ("BRD604", f"there is no active user with the id {bank.ada}")
    assert (await refused(bank, SERVICE, bank.bob, 1, from_user_id=UNKNOWN)).code == "BRD604"


async def test_grants_are_refused_like_transfers(bank: Bank) -> None:
    for to, amount, code in (
        (UNKNOWN, 1, "BRD604"),
        (bank.idle, 1, "BRD604"),
        (bank.bob, 0, "BRD602"),
        (bank.bob, MOST + 1, "BRD603"),
    ):
        with pytest.raises(BroadsheetError) as caught:
            await granted(bank, SERVICE, to, amount)
        assert caught.value.code == code
    assert await bank.balances() == [100, 20, 1]


async def test_more_than_the_balance_is_refused(bank: Bank) -> None:
    found = await refused(bank, bank.as_ada, bank.bob, 101)
    assert (type(found), found.code, found.status) == (Conflict, "BRD605", 409)
    assert "100" not in f"{found.message} {found.details} {found.hint}"  # a key for this function may not read it


async def test_who_cannot_pay_learns_nothing_of_the_receivers_balance(bank: Bank) -> None:
    """Else amounts that nobody has would find it by halving."""
    await granted(bank, SERVICE, bank.bob, MOST - 20)
    assert (await refused(bank, bank.as_ada, bank.bob, 101)).code == "BRD605"
    assert (await refused(bank, bank.as_ada, bank.bob, MOST)).code == "BRD605"


@pytest.mark.parametrize(("note", "code"), [("x" * 501, "22001"), ("a\x00b", "22021"), ("\ud800", "22P05")])
async def test_notes_are_texts_of_at_most_500_characters(bank: Bank, note: str, code: str) -> None:
    found = await refused(bank, bank.as_ada, bank.bob, 1, note=note)
    assert (type(found), found.code) == (BadValue, code)
    await sent(bank, bank.as_ada, bank.bob, 1, note="ä" * 500)


async def test_an_id_that_no_column_holds_is_refused(bank: Bank) -> None:
    assert (await refused(bank, bank.as_ada, 2**63, 1)).code == "22003"
