"""Very many sign-ins at once: the service goes on answering others, hashes no more than two passwords at a time, and
sends away whom it cannot take. The limits hold for attempts that come at the same moment, and only what the server
knows by itself counts.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from argon2 import PasswordHasher

from app.accounts import passwords
from app.data.database import Database
from app.settings import RateLimits, Settings
from tests.accounts.conftest import Installation, add, opened
from tests.conftest import Statements
from tests.security.callers import PASSWORD

STORM, ACCOUNTS = 200, 20
NO_LIMITS = dict.fromkeys(RateLimits.__slots__, 0)
WRONG, LIMITED = 400, 429


class Counting(PasswordHasher):
    """The hasher of the service, which says how often it worked, in which threads, and how many times at once."""

    def __init__(self) -> None:
        super().__init__(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self.times = self.running = self.most = 0
        self.threads = set[int]()
        self._lock = threading.Lock()

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:
        with self._lock:
            self.times += 1
            self.running += 1
            self.most = max(self.most, self.running)
            self.threads.add(threading.get_ident())
        try:
            return super().verify(hash, password)
        finally:
            with self._lock:
                self.running -= 1


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> Counting:
    found = Counting()
    monkeypatch.setattr(passwords, "_HASHER", found)
    return found


Come = Callable[..., AbstractAsyncContextManager[Installation]]


@pytest.fixture
def come(settings: Settings, database: Database) -> Come:
    """`come(token=3)`: a service on an open address with these rates and no others, asked from another machine."""

    @asynccontextmanager
    async def make(address: str = "203.0.113.5", store: str = "memory", **rates: Any) -> AsyncGenerator[Installation]:
        proxies = rates.pop("proxies", ())
        accounts = replace(settings.accounts, rates=RateLimits(**NO_LIMITS | rates), mailer="none")
        more = {"host": "0.0.0.0", "rate_store": store, "trusted_proxies": proxies}
        async with opened(replace(settings, accounts=accounts, **more), database, address=address) as here:
            yield here

    return make


async def reading(client: httpx2.AsyncClient, over: asyncio.Event) -> list[int]:
    statuses = []
    while not over.is_set():
        statuses.append((await client.get("/posts?select=id")).status_code)
    return statuses


async def at_once(here: Installation, attempts: list[tuple[str, str]], **more: Any) -> list[httpx2.Response]:
    return list(await asyncio.gather(*(here.enter(email, password, **more) for email, password in attempts)))


def statuses(answers: list[httpx2.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


# ---- without limits -------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_service_goes_on_through_a_storm_of_sign_ins(
    come: Come, database: Database, hashed: str, hasher: Counting
) -> None:
    """Takes as long as two threads need for some 80 hashes. Whom it cannot take it sends away at once."""
    for number in range(ACCOUNTS):
        await add(database, f"user{number}", hashed)
    known = [f"user{number % ACCOUNTS}@example.org" for number in range(STORM)]
    attempts = [(email, PASSWORD if number % 2 else "wrong password") for number, email in enumerate(known)]
    attempts[::4] = [(f"nobody{number}@example.org", PASSWORD) for number in range(len(attempts[::4]))]
    async with come() as here:
        await here.client.get("/posts?select=id")
        over = asyncio.Event()
        reader = asyncio.create_task(reading(here.client, over))
        answers = await at_once(here, attempts)
        over.set()
        reads = await reader
    print(f"{statuses(answers)}, {hasher.times} hashes, {len(reads)} reads were answered")
    assert statuses(answers).keys() == {200, WRONG, LIMITED}
    sent_away = [answer for answer in answers if answer.status_code == LIMITED]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in sent_away)
    assert {answer.json()["code"] for answer in sent_away} == {"over_request_rate_limit"}
    assert hasher.times >= passwords.WAITING
    assert hasher.most == passwords.HASHES_AT_ONCE
    assert threading.get_ident() not in hasher.threads, "on the loop nobody else would be served"
    assert set(reads) == {200}
    assert len(reads) > 5
    assert database.in_use == 0


async def test_unknown_account_and_wrong_password_cost_the_same(
    come: Come, database: Database, hashed: str, hasher: Counting, statements: Statements
) -> None:
    await add(database, "ada", hashed)
    async with come() as here:
        await here.enter("ada@example.org", "wrong password")
        found = []
        for email in ("ada@example.org", "nobody@example.org"):
            statements.clear()
            before = hasher.times
            answer = await here.enter(email, "wrong password")
            found.append((statements.texts.copy(), hasher.times - before, answer.status_code, answer.content))
    assert found[0] == found[1]
    assert found[0][1:3] == (1, WRONG)


# ---- with limits ----------------------------------------------------------------------------------------------------

STORES = pytest.mark.parametrize("store", ["memory", "database"])


@STORES
async def test_attempts_on_one_account_do_not_pass_together(
    come: Come, database: Database, hashed: str, hasher: Counting, store: str
) -> None:
    await add(database, "ada", hashed)
    async with come(store=store, sign_in_account=5) as here:
        answers = await at_once(here, [("ada@example.org", f"wrong password {n}") for n in range(20)])
    assert statuses(answers) == {WRONG: 5, LIMITED: 15}
    assert hasher.times == 5


@STORES
async def test_sign_ins_of_one_address_do_not_pass_together(come: Come, hasher: Counting, store: str) -> None:
    async with come(store=store, token=6) as here:
        answers = await at_once(here, [(f"user{n}@example.org", PASSWORD) for n in range(20)])
    assert statuses(answers) == {WRONG: 6, LIMITED: 14}
    assert hasher.times == 6


@STORES
async def test_attempts_from_everywhere_do_not_pass_together(
    come: Come, database: Database, hashed: str, hasher: Counting, store: str
) -> None:
    await add(database, "ada", hashed)
    async with come("10.0.0.1", store, proxies=("10.0.0.1",), sign_in_everywhere=7) as here:
        headers = [{"x-forwarded-for": f"198.51.100.{n}"} for n in range(20)]
        answers = await asyncio.gather(*(here.enter("ada@example.org", "wrong one", headers=h) for h in headers))
    assert statuses(list(answers)) == {WRONG: 7, LIMITED: 13}
    assert hasher.times == 7


@STORES
async def test_wrong_passwords_of_one_address_do_not_pass_together(come: Come, hasher: Counting, store: str) -> None:
    async with come(store=store, sign_in_address=4) as here:
        answers = await at_once(here, [(f"user{n}@example.org", "wrong password") for n in range(20)])
    assert statuses(answers) == {WRONG: 4, LIMITED: 16}
    assert hasher.times == 4


# ---- whose attempt it is --------------------------------------------------------------------------------------------

ADDRESSES = ("x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip", "client-ip", "via")


async def test_nothing_that_a_caller_sends_makes_another_address(
    come: Come, database: Database, hashed: str, hasher: Counting
) -> None:
    await add(database, "ada", hashed)
    async with come(sign_in_account=3) as here:
        found = []
        for number in range(12):
            address = f"198.51.100.{number}"
            body: dict[str, Any] = {"email": "ada@example.org", "password": "wrong password", "address": address}
            body |= {"gotrue_meta_security": {"captcha_token": address}, "username": address, "key": address}
            headers = {name: f"for={address}" if name == "forwarded" else address for name in ADDRESSES}
            path = f"/auth/v1/token?grant_type=password&ip={address}"
            found.append((await here.client.post(path, json=body, headers=headers)).status_code)
    assert found == [WRONG] * 3 + [LIMITED] * 9
    assert hasher.times == 3


async def test_only_the_last_address_of_a_trusted_proxy_counts(
    come: Come, database: Database, hashed: str, hasher: Counting
) -> None:
    """What stands before it came from the caller."""
    await add(database, "ada", hashed)
    async with come("10.0.0.1", proxies=("10.0.0.1",), sign_in_account=2) as here:
        found = []
        for number in range(4):
            headers = {"x-forwarded-for": f"192.0.2.{number}, 198.51.100.7"}
            found.append((await here.enter("ada@example.org", "wrong password", headers=headers)).status_code)
        other = await here.enter("ada@example.org", "wrong password", headers={"x-forwarded-for": "198.51.100.8"})
    assert found == [WRONG, WRONG, LIMITED, LIMITED]
    assert other.status_code == WRONG
