"""Transfers that are asked for at the same time: made in one unit of work, each for its own caller."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from app.actions import transfers
from app.data import failpoints
from app.data.database import Database
from app.data.failpoints import Point
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.data.session import AppSession
from app.errors import BroadsheetError
from app.http import grouping
from app.settings import Settings
from tests.accounts.conftest import add, opened, set_user
from tests.actions.conftest import USERS, Bank, granted
from tests.conftest import Statements
from tests.http.asking import client_as
from tests.http.failing import someone_waits

UNKNOWN = 999_999_999


async def send(client: httpx2.AsyncClient, *bodies: dict[str, Any], **more: Any) -> list[httpx2.Response]:
    return list(await asyncio.gather(*[client.post("/rpc/transfer", json=body, **more) for body in bodies]))


def body(sender: int, receiver: int, amount: int = 1, **more: Any) -> dict[str, Any]:
    return {"from_user_id": sender, "to_user_id": receiver, "amount": amount} | more


def once(code: str) -> Callable[[], Awaitable[None]]:
    """A fault that comes the first time."""
    left = [BroadsheetError("on purpose", code=code, status=503)]

    async def fail() -> None:
        if left:
            raise left.pop()

    return fail


def outcome(answer: httpx2.Response) -> Any:
    return answer.status_code if answer.status_code < 400 else answer.json()["code"]


# ---- from Python ----------------------------------------------------------------------------------------------------


async def made(bank: Bank, *asked: tuple[Principal, dict[str, Any]]) -> list[Any]:
    """Ids become None, for they differ."""

    async def work(session: AppSession) -> list[Any]:
        return list(await session.run(transfers(session, asked)))

    results = await bank.do(SYSTEM, work)
    return [result.code if isinstance(result, BroadsheetError) else None for result in results]


async def test_they_count_as_one_after_the_other(bank: Bank) -> None:
    """Bob has too little for his before Ada's is there; the admin's last one takes what is left."""
    results = await made(
        bank,
        (user(bank.bob), {"to_user_id": bank.ada, "amount": 60}),
        (user(bank.ada), {"to_user_id": bank.bob, "amount": 50, "note": "Thanks"}),
        (user(bank.bob), {"to_user_id": bank.root, "amount": 60}),
        (SERVICE, {"from_user_id": bank.root, "to_user_id": bank.ada, "amount": 61}),
        (SERVICE, {"from_user_id": bank.root, "to_user_id": bank.ada, "amount": 1}),
    )
    assert results == ["BRD605", None, None, None, "BRD605"]
    assert await bank.moved() == [
        (bank.ada, bank.bob, 50),
        (bank.bob, bank.root, 60),
        (bank.root, bank.ada, 61),
    ]
    assert await bank.balances() == [111, 10, 0]


async def test_each_is_refused_for_its_own_sake(bank: Bank) -> None:
    results = await made(
        bank,
        (user(bank.ada), {"to_user_id": bank.ada, "amount": 1}),
        (user(bank.ada), {"to_user_id": bank.bob, "amount": 0}),
        (user(bank.ada), {"to_user_id": UNKNOWN, "amount": 1}),
        (user(bank.ada), {"to_user_id": bank.idle, "amount": 1}),
        (user(bank.ada), {"to_user_id": bank.bob, "amount": 1, "from_user_id": bank.root}),
        (ANONYMOUS, {"to_user_id": bank.bob, "amount": 1}),
        (SERVICE, {"to_user_id": bank.bob, "amount": 1}),
        (user(bank.ada), {"to_user_id": bank.bob, "amount": 1, "note": "x" * 501}),
        (user(bank.ada), {"to_user_id": bank.bob, "amount": 3}),
    )
    assert results == ["BRD601", "BRD602", "BRD604", "BRD604", "42501", "42501", "22004", "22001", None]
    assert await bank.balances() == [97, 23, 1]
    assert await bank.moved() == [(bank.ada, bank.bob, 3)]


async def test_balances_that_end_as_they_began_are_right(bank: Bank) -> None:
    pairs = [(bank.ada, bank.bob), (bank.bob, bank.ada)]
    assert await made(bank, *[(SERVICE, body(*pair, 7)) for pair in pairs]) == [None, None]
    assert await bank.balances() == [100, 20, 1]
    assert await bank.moved() == [(*pair, 7) for pair in pairs]


async def test_none_and_only_refusals_write_nothing(bank: Bank, statements: Statements) -> None:
    statements.clear()
    assert await made(bank) == []
    assert await made(bank, (user(bank.ada), {"to_user_id": bank.bob, "amount": 0})) == ["BRD602"]
    assert await made(bank, (user(bank.ada), {"to_user_id": bank.bob, "amount": 101})) == ["BRD605"]
    assert not [text for text in statements.texts if "INSERT" in text or "UPDATE users" in text]


async def test_any_number_takes_as_many_statements(bank: Bank, statements: Statements) -> None:
    counts = []
    for number in (1, 10):
        statements.clear()
        await made(bank, *[(SERVICE, body(bank.ada, bank.bob))] * number)
        counts.append(
            len([text for text in statements.texts if text.split()[0] in ("SELECT", "WITH", "UPDATE", "INSERT")])
        )
    assert counts == ([2, 2] if bank.database.name == "postgresql" else [3, 3])


# ---- over HTTP ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "?select=amount,note,sender(username),receiver(username)"])
@pytest.mark.parametrize("wish", ["return=representation", "return=minimal"])
async def test_answers_are_those_of_calls_that_come_alone(
    settings: Settings, bank: Bank, statements: Statements, path: str, wish: str
) -> None:
    async with client_as(SERVICE, settings, bank.database) as client:
        bodies = [body(bank.ada, bank.bob, 1 + n, note=f"no. {n}") for n in range(6)]
        bodies += [body(bank.ada, bank.bob, 1000), body(bank.ada, UNKNOWN), body(bank.ada, bank.ada)]
        told = [
            [await client.post(f"/rpc/transfer{path}", json=one, headers={"prefer": wish}) for one in bodies],
            list(
                await asyncio.gather(
                    *[client.post(f"/rpc/transfer{path}", json=one, headers={"prefer": wish}) for one in bodies]
                )
            ),
        ]
    plain = [
        [(a.status_code, {k: v for k, v in (a.json() if a.content else {}).items() if k != "id"}) for a in answers]
        for answers in told
    ]
    assert plain[0] == plain[1]
    kept = ("content-type", "content-range", "preference-applied", "proxy-status")
    assert [{name: a.headers.get(name) for name in kept} for a in told[0]] == [
        {name: a.headers.get(name) for name in kept} for a in told[1]
    ]
    assert await bank.balances() == [58, 62, 1]


async def test_callers_of_all_kinds_share_and_each_sees_its_own(
    settings: Settings, database: Database, bank: Bank, statements: Statements
) -> None:
    async with opened(settings, database) as here:
        people = [await add(database, f"user{number}") for number in range(6)]
        for one in people:
            await granted(bank, SERVICE, one.id, 10)
        callers = [(await here.sign_in(one)).bearer for one in people]
        asked = [{"to_user_id": people[number - 1].id, "amount": number + 1} for number in range(6)]

        async def call(number: int) -> httpx2.Response:
            return await here.client.post("/rpc/transfer", json=asked[number], headers=callers[number])

        await asyncio.gather(*map(call, range(6)))  # the callers are known from now on
        statements.clear()
        answers = await asyncio.gather(*map(call, range(6)))
    for number, answer in enumerate(answers):
        assert answer.status_code == 200
        row = answer.json()
        assert (row["from_user_id"], row["to_user_id"]) == (people[number].id, people[number - 1].id)
        assert row["amount"] == number + 1
    assert sum("INSERT INTO transfers" in text for text in statements.texts) == 1


async def test_who_may_act_no_more_is_refused_alone(settings: Settings, database: Database, bank: Bank) -> None:
    async with opened(settings, database) as here:
        people = [await add(database, f"user{number}") for number in range(4)]
        for one in people:
            await granted(bank, SERVICE, one.id, 10)
        callers = [(await here.sign_in(one)).bearer for one in people]
        asked = {"to_user_id": bank.bob, "amount": 1}

        async def call(who: dict[str, str]) -> httpx2.Response:
            return await here.client.post("/rpc/transfer", json=asked, headers=who)

        assert [answer.status_code for answer in await asyncio.gather(*map(call, callers))] == [200] * 4
        await set_user(database, people[1].id, is_active=False)
        await set_user(database, people[2].id, role="author")
        answers = await asyncio.gather(*map(call, callers))
    assert [answer.status_code for answer in answers] == [200, 401, 403, 200]
    assert [answers[1].json()["message"], answers[2].json()["message"]] == [
        "this user is banned",
        "your role was changed",
    ]
    assert (await bank.balances())[1] == 26


async def test_many_at_once_among_nearly_empty_accounts_lose_and_make_nothing(settings: Settings, bank: Bank) -> None:
    for id, balance in ((bank.ada, 6), (bank.bob, 5), (bank.root, 4)):
        await bank.set_user(id, balance=balance)
    accounts, chance, outcomes = (bank.ada, bank.bob, bank.root), random.Random(7), Counter[Any]()
    answered: list[dict[str, Any]] = []
    async with client_as(SERVICE, settings, bank.database) as client:

        async def teller(draws: random.Random) -> None:
            for _ in range(12):
                sender, receiver = draws.sample(accounts, 2)
                (answer,) = await send(client, body(sender, receiver, draws.randint(1, 7)))
                outcomes[outcome(answer)] += 1
                if answer.status_code == 200:
                    answered.append(answer.json())

        await asyncio.gather(*(teller(random.Random(chance.random())) for _ in range(24)))
    moved, opening = await bank.moved(), dict(zip(accounts, (6, 5, 4), strict=True))
    assert outcomes.keys() == {200, "BRD605"}
    assert sum(outcomes.values()) == 24 * 12
    told = sorted(answered, key=lambda row: row["id"])
    assert [(row["from_user_id"], row["to_user_id"], row["amount"]) for row in told] == moved
    for sender, receiver, amount in moved:
        assert sender is not None
        opening[sender] -= amount
        opening[receiver] += amount
        assert opening[sender] >= 0
    assert await bank.balances() == list(opening.values())
    assert bank.database.in_use == 0


async def test_a_call_with_a_key_is_made_once(settings: Settings, bank: Bank) -> None:
    async with client_as(SERVICE, settings, bank.database) as client:
        keyed = send(client, *[body(bank.ada, bank.bob, 10)] * 3, headers={"idempotency-key": "one"})
        answers, others = await asyncio.gather(keyed, send(client, *[body(bank.ada, bank.bob)] * 3))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.json()["id"] for answer in others}) == 3
    assert await bank.balances() == [87, 33, 1]


async def test_a_deadlock_of_all_is_made_good_one_by_one(settings: Settings, bank: Bank) -> None:
    async with client_as(SERVICE, settings, bank.database) as client:
        with failpoints.armed({Point.COMMITTING: once("40P01")}):
            answers = await send(client, *[body(bank.ada, bank.bob)] * 5)
    assert [answer.status_code for answer in answers] == [200] * 5
    assert await bank.balances() == [95, 25, 1]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_waits_for_a_lock_holds_up_nobody(settings: Settings, bank: Bank) -> None:
    """Somebody else holds bob's account, whose turn is before the admin's: first one who wants it comes alone, then one
    among others.
    """
    async with client_as(SERVICE, settings, bank.database) as client, bank.database.writer.connect() as connection:
        await connection.execute(update(USERS).where(USERS.c.id == bank.bob).values(balance=USERS.c.balance))
        stuck = [asyncio.create_task(client.post("/rpc/transfer", json=body(bank.root, bank.bob)))]
        await someone_waits((await connection.get_raw_connection()).driver_connection)
        (beside,) = await send(client, body(bank.ada, bank.root))
        assert (beside.status_code, stuck[0].done()) == (200, False), "it does not wait behind who is stuck"
        others = [asyncio.create_task(client.post("/rpc/transfer", json=body(bank.ada, bank.root))) for _ in range(5)]
        stuck.append(asyncio.create_task(client.post("/rpc/transfer", json=body(bank.root, bank.bob))))
        answers = await asyncio.gather(*others)
        assert [answer.status_code for answer in answers] == [200] * 5
        assert not stuck[1].done(), "each was done by itself when the lock was waited for too long"
        await connection.rollback()
        answers = await asyncio.gather(*stuck)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert await bank.balances() == [94, 22, 5]


async def test_after_a_failure_calls_are_made_alone_for_a_while(
    settings: Settings, bank: Bank, statements: Statements
) -> None:
    async with client_as(SERVICE, settings, bank.database) as client:

        async def inserts() -> int:
            statements.clear()
            await send(client, *[body(bank.ada, bank.bob)] * 3)
            return sum("INSERT INTO transfers" in text for text in statements.texts)

        found = [await inserts()]
        with failpoints.armed({Point.COMMITTING: once("40001")}):
            await inserts()
        found.append(await inserts())
        await asyncio.sleep(2 * grouping.REFUSED)
        found.append(await inserts())
    assert found == [1, 3, 1]
    assert await bank.balances() == [88, 32, 1]
