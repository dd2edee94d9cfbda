"""Rates: what passes, what is refused and until when, alike in memory and in both databases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.data.base import Base
from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rate_storage import COUNTERS, DatabaseStorage
from app.data.rates import Left, MemoryStorage, Rate, Rates, TooMany, address_key
from tests.conftest import Clock, Server, fresh_database

TEN = Rate("ten", 10, 60)


@dataclass(frozen=True, slots=True)
class Counted:
    """Rates in one of the storages, and how many keys it holds."""

    rates: Rates
    keys: Callable[[], Awaitable[int]]


@asynccontextmanager
async def opened(url: str, catalog: Catalog, clock: Clock, seen: list[str] | None = None) -> AsyncGenerator[Database]:
    observe = None if seen is None else seen.append
    async with Database(url, catalog, clock=clock, observe=observe) as database:
        async with database.writer.begin() as connection:
            await connection.run_sync(lambda sync: Base.metadata.create_all(sync, tables=[COUNTERS]))
        yield database


async def rows(database: Database) -> int:
    async with database.writer.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(COUNTERS))).scalar_one()


def in_memory(clock: Clock, **options: int) -> MemoryStorage:
    return MemoryStorage(clock=lambda: clock().timestamp(), **options)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def counted(
    request: pytest.FixtureRequest, server: Server, tmp_path: Path, catalog: Catalog, clock: Clock
) -> AsyncGenerator[Counted]:
    """The clock stands at the beginning of a period."""
    if request.param == "memory":
        storage = in_memory(clock)
        yield Counted(Rates(storage), lambda: asyncio.sleep(0, len(storage)))
        return
    with closing(fresh_database(request.param, server, tmp_path)) as urls:
        async with opened(next(urls), catalog, clock) as database:
            yield Counted(Rates(DatabaseStorage(database)), lambda: rows(database))
        next(urls, None)


@pytest.fixture
def rates(counted: Counted) -> Rates:
    return counted.rates


async def passing(rates: Rates, rate: Rate, tries: int, key: str = "ada") -> int:
    """How many of so many hits pass."""
    passed = 0
    for _ in range(tries):
        try:
            await rates.spend(rate, key)
        except TooMany:
            continue
        passed += 1
    return passed


async def refusal_of(hit: Awaitable[Left]) -> TooMany:
    with pytest.raises(TooMany) as refusal:
        await hit
    return refusal.value


# ---- spending -------------------------------------------------------------------------------------------------------


async def test_an_amount_passes_and_the_next_hit_is_refused(rates: Rates) -> None:
    rate = Rate("three", 3, 60)
    assert [await rates.spend(rate, "ada") for _ in range(3)] == [Left(3, 2, 60), Left(3, 1, 60), Left(3, 0, 61)]
    refusal = await refusal_of(rates.spend(rate, "ada"))
    assert (refusal.status, refusal.code, refusal.retry_after) == (429, "BRD429", 61)
    assert refusal.left == Left(3, 0, 61)
    assert refusal.details == "at most 3 in 60 seconds"


async def test_keys_and_rates_count_apart(rates: Rates) -> None:
    assert await passing(rates, TEN, 11) == 10
    assert await passing(rates, TEN, 11, "bob") == 10
    assert await passing(rates, Rate("other", 10, 60), 11) == 10


async def test_retry_after_is_the_first_second_in_which_the_same_passes(rates: Rates, clock: Clock) -> None:
    for before in (0, 25, 50):  # seconds into the period
        key = f"at {before}"
        clock.advance(before)
        assert await passing(rates, TEN, 10, key) == 10
        wait = (await refusal_of(rates.spend(TEN, key))).retry_after or 0
        clock.advance(wait - 1)
        assert await passing(rates, TEN, 1, key) == 0
        clock.advance(1)
        assert await passing(rates, TEN, 2, key) == 1
        clock.advance(-before - wait)


async def test_the_border_of_two_periods_lets_no_second_amount_through(rates: Rates, clock: Clock) -> None:
    clock.advance(59)
    assert await passing(rates, TEN, 10) == 10
    clock.advance(2)
    assert await passing(rates, TEN, 10) == 1


async def test_what_was_spent_fades_evenly(rates: Rates, clock: Clock) -> None:
    assert await passing(rates, TEN, 10) == 10
    clock.advance(90)
    assert await passing(rates, TEN, 10) == 5
    clock.advance(60)
    assert await passing(rates, TEN, 10) == 8  # the five of the last period weigh two and a half
    clock.advance(180)
    assert await passing(rates, TEN, 11) == 10


async def test_a_refused_hit_is_not_counted(rates: Rates, clock: Clock) -> None:
    assert await passing(rates, TEN, 40) == 10
    clock.advance(119)
    assert await passing(rates, TEN, 40) == 10


async def test_a_hit_may_cost_more_than_one(rates: Rates) -> None:
    assert (await rates.spend(TEN, "ada", 8)).remaining == 2
    refusal = await refusal_of(rates.spend(TEN, "ada", 3))
    assert (refusal.left.remaining, refusal.retry_after) == (2, 61)
    assert (await rates.spend(TEN, "ada", 2)).remaining == 0


async def test_what_costs_more_than_the_amount_is_refused_and_not_counted(rates: Rates) -> None:
    assert (await refusal_of(rates.spend(TEN, "ada", 11))).retry_after == 60
    assert await passing(rates, TEN, 11) == 10


async def test_no_limit_lets_everything_pass_and_keeps_nothing(counted: Counted) -> None:
    free = Rate("free", 0, 60)
    assert await passing(counted.rates, free, 100) == 100
    assert await counted.rates.spend(free, "ada") == await counted.rates.check(free, "ada") == Left(0, 0, 0)
    await counted.rates.forgive(free, "ada")
    assert await counted.keys() == 0


# ---- checking, forgiving --------------------------------------------------------------------------------------------


async def test_a_check_counts_nothing_and_refuses_when_nothing_is_left(rates: Rates) -> None:
    assert [await rates.check(TEN, "ada") for _ in range(20)] == [Left(10, 10, 60)] * 20
    await rates.spend(TEN, "ada", 9)
    assert await rates.check(TEN, "ada") == Left(10, 1, 60)
    await rates.spend(TEN, "ada")
    assert (await refusal_of(rates.check(TEN, "ada"))).retry_after == 61


async def test_what_is_forgiven_may_be_spent_again(counted: Counted, clock: Clock) -> None:
    await passing(counted.rates, TEN, 10)
    clock.advance(60)  # the last period is forgiven too
    await counted.rates.forgive(TEN, "ada")
    assert await counted.keys() == 0
    assert await passing(counted.rates, TEN, 11) == 10
    await counted.rates.forgive(TEN, "nobody")


# ---- at the same time, in other times -------------------------------------------------------------------------------


async def test_of_fifty_at_once_exactly_ten_pass(rates: Rates) -> None:
    found = await asyncio.gather(*(rates.spend(TEN, "ada") for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(left, Left) for left in found) == 10
    assert sum(isinstance(left, TooMany) for left in found) == 40


async def test_two_processes_share_a_limit(spare_url: str, catalog: Catalog, clock: Clock) -> None:
    async with opened(spare_url, catalog, clock) as one, opened(spare_url, catalog, clock) as two:
        both = [Rates(DatabaseStorage(database)) for database in (one, two)]
        hits = (rates.spend(TEN, "ada") for rates in both for _ in range(25))
        found = await asyncio.gather(*hits, return_exceptions=True)
    assert sum(isinstance(left, Left) for left in found) == 10
    assert sum(isinstance(left, TooMany) for left in found) == 40


async def test_a_hit_that_read_the_clock_before_the_last_one_counts_with_it(rates: Rates, clock: Clock) -> None:
    clock.advance(60)
    assert await passing(rates, TEN, 9) == 9
    clock.advance(-1)
    assert await passing(rates, TEN, 5) == 1
    clock.advance(91)
    assert await passing(rates, TEN, 4) == 4
    clock.advance(-31)
    assert await passing(rates, TEN, 1) == 0  # the last period weighs whole, as at the beginning of this one


async def test_a_clock_that_is_set_back_locks_nobody_out(rates: Rates, clock: Clock) -> None:
    clock.advance(3600)
    assert await passing(rates, TEN, 11) == 10
    clock.advance(-3600)
    assert await passing(rates, TEN, 11) == 10


async def test_memory_and_database_agree(spare_url: str, catalog: Catalog, clock: Clock) -> None:
    """Over hits of all costs, at all moments of a period."""
    chance = random.Random(20260101)
    async with opened(spare_url, catalog, clock) as database:
        both = [Rates(in_memory(clock)), Rates(DatabaseStorage(database))]
        for _ in range(400):
            clock.advance(chance.choice([0, 0, 0.1, 1, 7, 30, 60, 61.5, -1, -45]))
            cost = chance.choice([1, 1, 2, 5, 10])
            found = await asyncio.gather(*(rates.spend(TEN, "ada", cost) for rates in both), return_exceptions=True)
            shown = [(e.left, e.retry_after) if isinstance(e, TooMany) else e for e in found]
            assert shown[0] == shown[1]
            assert not any(isinstance(e, BaseException) for e in shown)


# ---- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["x" * 64, "x" * 65, "a\x00b", "\ud800", "é", "a/b", ""], ids=ascii)
async def test_any_text_is_a_key(rates: Rates, key: str) -> None:
    assert await passing(rates, TEN, 11, key) == 10
    assert await passing(rates, TEN, 1, key + "y") == 1


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "elsewhere"),
        ("/run/broadsheet.sock", "elsewhere"),
        ("203.0.113.9, 10.0.0.1", "elsewhere"),
        ("9" * 10_000, "elsewhere"),
        ("", "elsewhere"),
        (None, "elsewhere"),
    ],
)
def test_an_address_is_counted_by_what_one_customer_has(address: str | None, key: str) -> None:
    assert address_key(address) == key


# ---- what is kept ---------------------------------------------------------------------------------------------------


async def test_memory_holds_no_more_keys_than_it_may(clock: Clock) -> None:
    """Of many addresses those are forgotten that were quiet for longest."""
    storage = in_memory(clock, most=1000)
    rates = Rates(storage)
    for number in range(5000):
        await rates.spend(TEN, f"stranger {number}")
        if number % 500 == 0:
            await rates.spend(TEN, "ada")
    assert len(storage) == 1000
    assert await passing(rates, TEN, 1) == 0


async def test_expired_keys_leave_memory_as_others_come(clock: Clock) -> None:
    storage = in_memory(clock)
    rates = Rates(storage)
    for number in range(100):
        await rates.spend(TEN, f"stranger {number}")
    clock.advance(120)
    for number in range(100):
        await rates.spend(TEN, f"newcomer {number}")
    assert len(storage) == 100


async def test_expired_rows_leave_the_database(spare_url: str, catalog: Catalog, clock: Clock) -> None:
    """With the first hit of a process, and then with every hundredth."""
    async with opened(spare_url, catalog, clock) as database:
        rates = Rates(DatabaseStorage(database))
        for number in range(5):
            await rates.spend(TEN, f"stranger {number}")
        clock.advance(119)
        await Rates(DatabaseStorage(database)).spend(TEN, "ada")
        assert await rows(database) == 6
        clock.advance(1)
        for _ in range(95):
            await rates.spend(Rate("many", 1000, 60), "ada")
        assert await rows(database) == 7
        await rates.spend(TEN, "bob")
        assert await rows(database) == 3


async def test_a_hit_is_one_statement_and_a_look_at_what_is_left(
    spare_url: str, catalog: Catalog, clock: Clock
) -> None:
    seen: list[str] = []
    async with opened(spare_url, catalog, clock, seen) as database:
        rates = Rates(DatabaseStorage(database))
        await rates.spend(TEN, "ada")  # looks for expired rows, too
        seen.clear()
        await rates.spend(TEN, "ada")
        assert [text.partition(" ")[0] for text in seen if text != "SELECT 1"] == ["INSERT", "SELECT"]
        seen.clear()
        await rates.check(TEN, "ada")
        assert [text.partition(" ")[0] for text in seen] == ["SELECT"]


async def test_fixed_windows_are_refused(clock: Clock) -> None:
    with pytest.raises(NotImplementedError):
        await in_memory(clock).incr("ada", 60)
