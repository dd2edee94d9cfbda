"""Balances and statements: who reads whose, page by page, in one statement that finds its rows by an index."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert

from app.actions import Entry, Statement, balance_of, grant, statement, transfer
from app.actions.credits import MOST
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.data.session import AppSession
from app.errors import BadValue, Forbidden, NotFound
from app.models import User
from app.query.fetch import fetch
from app.query.removal import remove
from app.resources import CATALOG
from app.settings import Settings
from tests.actions.conftest import TRANSFERS, Bank
from tests.conftest import EPOCH, Clock, Statements
from tests.factories import make_user
from tests.http.asking import SURFACES, client_as
from tests.query.rows import a_transfer


async def read(database: Database, who: Principal, *args: Any, **more: Any) -> Statement:
    async with database.reading(who) as session:
        return await statement(session, *args, **more)


async def balance(database: Database, who: Principal, *args: Any) -> int:
    async with database.reading(who) as session:
        return await balance_of(session, *args)


@pytest.fixture
async def moved(bank: Bank, clock: Clock) -> Bank:
    """Ada sends 30 to Bob, gets 5 from the admin's grant and 10 back; Bob sends 1 to the admin."""

    async def work(session: AppSession) -> None:
        await transfer(session, from_user_id=bank.ada, to_user_id=bank.bob, amount=30, note="Rent")
        await grant(session, to_user_id=bank.ada, amount=5)
        await transfer(session, from_user_id=bank.bob, to_user_id=bank.ada, amount=10)
        await transfer(session, from_user_id=bank.bob, to_user_id=bank.root, amount=1)

    clock.advance(60)
    await bank.do(SYSTEM, work)
    return bank


# ---- what is told ---------------------------------------------------------------------------------------------------


async def test_a_statement_counts_back_from_the_balance(moved: Bank) -> None:
    found = await read(moved.database, moved.as_ada)
    first, *others = found.entries
    at = EPOCH + timedelta(seconds=60)
    assert first == Entry(first.id, at, 10, 85, moved.bob, None)
    rest = [(entry.amount, entry.balance, entry.counterparty_id, entry.note) for entry in others]
    assert rest == [(5, 75, None, None), (-30, 70, moved.bob, "Rent"), (100, 100, None, None)]
    assert (found.user_id, found.balance, found.next) == (moved.ada, 85, None)


async def test_pages_follow_each_other(moved: Bank) -> None:
    whole = await read(moved.database, moved.as_ada)
    for limit in (1, 2, 3, 4):
        found: list[Entry] = []
        page = await read(moved.database, moved.as_ada, limit=limit)
        while True:
            assert page.balance == 85
            found += page.entries
            if page.next is None:
                break
            assert (len(page.entries), page.next) == (limit, page.entries[-1].id)
            page = await read(moved.database, moved.as_ada, before=page.next, limit=limit)
        assert found == whole.entries


async def test_before_may_be_any_number(moved: Bank) -> None:
    whole = await read(moved.database, moved.as_ada)
    for before in (2**63 - 1, whole.entries[0].id + 1):
        assert await read(moved.database, moved.as_ada, before=before) == whole
    for before in (whole.entries[-1].id, 0, -1, -(2**63)):
        assert await read(moved.database, moved.as_ada, before=before) == Statement(moved.ada, 85, [], None)


async def test_an_account_without_transfers_has_an_empty_statement(bank: Bank) -> None:
    assert await read(bank.database, SERVICE, bank.idle) == Statement(bank.idle, 0, [], None)


@pytest.mark.parametrize("limit", [0, -1, 1001, 2**40])
async def test_a_page_has_1_to_1000_entries(bank: Bank, limit: int) -> None:
    with pytest.raises(BadValue) as caught:
        await read(bank.database, bank.as_ada, limit=limit)
    assert caught.value.code == "22023"
    assert len((await read(bank.database, bank.as_ada, limit=1000)).entries) == 1


async def test_sums_of_large_amounts_stay_exact(bank: Bank) -> None:
    """What came in, and what went out, is more than 64 bits hold; what is there never is."""
    async with bank.database.writing(SYSTEM) as session:
        first = 1 + await grant(session, to_user_id=bank.root, amount=MOST - 1)
    pairs = [(bank.root, bank.idle), (bank.idle, bank.root)] * 1100
    rows = [a_transfer(first + n, *pair) | {"amount": MOST} for n, pair in enumerate(pairs)]
    async with bank.database.writer.begin() as connection:
        await connection.execute(insert(TRANSFERS), rows)
    found = await read(bank.database, SERVICE, bank.root, before=first + 1)
    assert [(entry.amount, entry.balance) for entry in found.entries] == [(-MOST, 0), (MOST - 1, MOST), (1, 1)]
    assert found.balance == MOST


# ---- who reads whose ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", ["own", "admin", "service", "system"])
async def test_the_owner_and_the_admins_view_read_an_account(moved: Bank, caller: str) -> None:
    who = {"own": moved.as_ada, "admin": moved.as_root, "service": SERVICE, "system": SYSTEM}[caller]
    assert await balance(moved.database, who, moved.ada) == 85
    assert (await read(moved.database, who, moved.ada)).balance == 85


@pytest.mark.parametrize("role", ["member", "author"])
async def test_nobody_else_does(bank: Bank, statements: Statements, role: str) -> None:
    statements.clear()
    for who in (user(bank.bob, role), ANONYMOUS):
        for ask in (balance, read):
            with pytest.raises(Forbidden) as caught:
                await ask(bank.database, who, bank.ada)
            assert caught.value.code == "42501"
    assert statements.count == 0  # whether there is such an account is not asked


@pytest.mark.parametrize("who", [SERVICE, SYSTEM], ids=["service", "system"])
async def test_a_caller_without_an_account_must_name_one(bank: Bank, who: Principal) -> None:
    for ask in (balance, read):
        with pytest.raises(BadValue) as caught:
            await ask(bank.database, who)
        assert (caught.value.code, caught.value.hint) == ("22004", "Name the account in user_id.")


async def test_an_account_that_is_not_there_is_404(bank: Bank) -> None:
    async with bank.database.writing(SYSTEM) as session:
        gone = (await make_user(session)).id
    async with bank.database.writing(SYSTEM) as session:
        await remove(session, CATALOG.of(User), [gone])
    for id in (gone, 999_999_999):
        for ask in (balance, read):
            with pytest.raises(NotFound) as caught:
                await ask(bank.database, SERVICE, id)
            assert (caught.value.code, caught.value.message) == ("BRD404", f"no row of users has the id {id}")


async def test_scopes_of_a_session_must_have_what_a_statement_reads(bank: Bank) -> None:
    narrowed = replace(bank.as_ada, scopes=frozenset({"users:read"}))
    assert await balance(bank.database, narrowed) == 100
    with pytest.raises(Forbidden, match="transfers:read"):
        await read(bank.database, narrowed)


# ---- over HTTP ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def client(bank: Bank, settings: Settings, who: Principal) -> AsyncGenerator[httpx2.AsyncClient]:
    async with client_as(who, settings, bank.database) as found:
        yield found


@SURFACES
async def test_a_statement_over_http(moved: Bank, settings: Settings, prefix: str) -> None:
    async with client(moved, settings, moved.as_ada) as ada:
        assert (await ada.get(f"{prefix}/rpc/balance_of")).text == "85"
        assert (await ada.post(f"{prefix}/rpc/balance_of", json={"user_id": moved.ada})).text == "85"
        page = (await ada.post(f"{prefix}/rpc/statement", json={"limit": 3})).json()
        last = (await ada.get(f"{prefix}/rpc/statement?before={page['next']}")).json()
    rent = page["entries"][2]
    expected = {"amount": -30, "balance": 70, "counterparty_id": moved.bob, "note": "Rent"}
    assert rent == {"id": page["next"], "at": "2026-01-01T12:01:00Z", **expected}
    assert [entry["balance"] for entry in last["entries"]] == [100]
    assert (last["balance"], last["next"]) == (85, None)


@SURFACES
async def test_refusals_over_http(bank: Bank, settings: Settings, prefix: str) -> None:
    async with client(bank, settings, user(bank.bob)) as bob, client(bank, settings, SERVICE) as service:
        for name in ("balance_of", "statement"):
            path = f"{prefix}/rpc/{name}"
            answers = [
                await bob.get(f"{path}?user_id={bank.ada}"),
                await service.get(path),
                await service.post(path, json={}),
                await service.get(f"{path}?user_id=999999999"),
                await service.get(f"{path}?user_id=9223372036854775808"),
            ]
            codes = [(answer.status_code, answer.json()["code"]) for answer in answers]
            plain = 400 if prefix else 422
            assert codes == [(403, "42501"), (400, "22004"), (plain, "22004"), (404, "BRD404"), (400, "22003")]
        answer = await service.post(f"{prefix}/rpc/statement", json={"user_id": bank.ada, "limit": 0})
        assert (answer.status_code, answer.json()["code"]) == (plain, "22023")
    async with client(bank, settings, ANONYMOUS) as visitor:
        assert (await visitor.get(f"{prefix}/rpc/statement")).status_code == 401


# ---- what an admin reads of others ----------------------------------------------------------------------------------


async def events(bank: Bank) -> list[dict[str, Any]]:
    async with bank.database.reading(SYSTEM) as session:
        found = await fetch(session, "events?select=kind,actor_id,subject,details&order=id")
    rows: list[dict[str, Any]] = httpx2.Response(200, content=found).json()
    return rows


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "batch"])
async def test_an_admins_look_at_anothers_statement_leaves_an_event(
    moved: Bank, settings: Settings, method: str
) -> None:
    """As GET /transfers does: of the transfers to which the admin is no party."""
    query = f"/rpc/statement?user_id={moved.bob}"
    async with client(moved, settings, moved.as_root) as root:
        match method:
            case "POST":
                answer = await root.post("/rpc/statement", json={"user_id": moved.bob})
            case "batch":
                answer = await root.post("/batch", json=[{"path": query}, {"path": "/rpc/balance_of"}])
            case _:
                answer = await root.request(method, query)
    assert answer.status_code == 200
    whole = await read(moved.database, SERVICE, moved.bob)
    foreign = [entry.id for entry in whole.entries if entry.counterparty_id != moved.root]
    assert len(foreign) == len(whole.entries) - 1
    details = {"transfers": {"rows": len(foreign), "ids": foreign}}
    expected = {"kind": "foreign_rows_read", "actor_id": moved.root, "subject": "transfers", "details": details}
    assert await events(moved) == [expected]


async def test_only_the_entries_of_the_page_are_recorded(moved: Bank, settings: Settings) -> None:
    async with client(moved, settings, moved.as_root) as root:
        page = (await root.post("/rpc/statement", json={"user_id": moved.ada, "limit": 2})).json()
    (event_,) = await events(moved)
    assert event_["details"] == {"transfers": {"rows": 2, "ids": [entry["id"] for entry in page["entries"]]}}


async def test_other_looks_leave_none(moved: Bank, settings: Settings) -> None:
    """At one's own account, at a balance, at an empty account; by the secret key, which keeps its own record."""
    async with client(moved, settings, moved.as_root) as root:
        for query in ("statement", f"statement?user_id={moved.root}", f"balance_of?user_id={moved.ada}"):
            assert (await root.get(f"/rpc/{query}")).status_code == 200
        assert (await root.get(f"/rpc/statement?user_id={moved.idle}")).status_code == 200
    async with client(moved, settings, SERVICE) as service:
        assert (await service.get(f"/rpc/statement?user_id={moved.ada}")).status_code == 200
    assert await events(moved) == []


# ---- one statement, by an index -------------------------------------------------------------------------------------


async def test_a_statement_and_a_balance_take_one_statement_each(moved: Bank, statements: Statements) -> None:
    statements.clear()
    await read(moved.database, moved.as_ada)
    await read(moved.database, SERVICE, moved.ada, before=10**9)
    await balance(moved.database, moved.as_ada)
    assert statements.count == 3


async def test_balance_and_entries_are_of_one_moment(bank: Bank) -> None:
    """While credits move: the last page ends with the account's first balance."""
    done = asyncio.Event()

    async def move(seed: int) -> None:
        draws = random.Random(seed)
        for _ in range(20):
            pair = draws.sample((bank.ada, bank.bob), 2)

            async def work(session: AppSession, pair: list[int] = pair) -> None:
                await transfer(session, from_user_id=pair[0], to_user_id=pair[1], amount=1)

            await bank.do(SYSTEM, work)

    async def look() -> int:
        looks = 0
        while not done.is_set():
            found = await read(bank.database, bank.as_ada, limit=1000)
            assert found.balance == sum(entry.amount for entry in found.entries)
            assert found.entries[-1].balance == 100
            looks += 1
        return looks

    looking = asyncio.create_task(look())
    try:
        await asyncio.gather(*(move(seed) for seed in range(4)))
    finally:
        done.set()
    assert await looking > 3
