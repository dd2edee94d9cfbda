"""How often something may be done: rates, and what a caller has left of one. Refuses with TooMany (429).

    rates = Rates(MemoryStorage())
    left = await rates.spend(Rate("sign-in", 30, 300), address_key(host))

Windows slide, by the strategy of `limits`: what was spent in the last period weighs by the part of it that still
counts. So the border of two periods lets one hit more through at once, where fixed windows let twice the amount, and
two numbers a key are enough, where a log has every hit. What is refused is not counted.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple, NoReturn

from limits import RateLimitItemPerSecond
from limits.aio.storage import SlidingWindowCounterSupport, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from app.errors import BroadsheetError

KEYS = 100_000  # counted in memory at a time: 32 MB
LONGEST = 64  # characters of a key that is kept as it is: shorter than a hash, so that none can pass for one
ADDRESSES = 4096  # of which the key is remembered: making one costs 3 us
ELSEWHERE = "elsewhere"  # the one key of all peers that have no address


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` in `seconds`; an amount of 0 is no limit. Rates of different names count apart."""

    name: str
    amount: int
    seconds: int


class Left(NamedTuple):
    """What may still be spent; a limit of 0 is none. `reset` is the seconds until the period ends, or where nothing is
    left, until something is.
    """

    limit: int
    remaining: int
    reset: int


UNLIMITED = Left(0, 0, 0)


class TooMany(BroadsheetError):
    """The limit is reached. `retry_after` is when the same would pass, `left` what the caller has now."""

    status = 429
    code = "BRD429"

    def __init__(self, rate: Rate, left: Left, wait: int) -> None:
        super().__init__(
            "too many requests in a short time",
            details=f"at most {rate.amount} in {rate.seconds} seconds",
            hint=f"Try again in {wait} s.",
            retry_after=wait,
        )
        self.left = left


class Rates:
    """Counts in a storage. A key may hold what a caller writes at will (the address of an account) only where another
    rate counts the same by what the server knows by itself: a new key each time is a new limit each time.
    """

    def __init__(self, storage: SlidingStorage) -> None:
        self._storage = storage
        self._strategy = SlidingWindowCounterRateLimiter(storage)

    async def spend(self, rate: Rate, key: str, cost: int = 1) -> Left:
        """Raises TooMany, and then counts nothing."""
        if not rate.amount:
            return UNLIMITED
        item, key = item_of(rate), storable(key)
        passed = await self._strategy.hit(item, key, cost=cost)
        state = await self._state(rate, key)
        if not passed:
            raise state.refusal(cost)
        return state.left

    async def check(self, rate: Rate, key: str) -> Left:
        """What is left, without counting. Raises TooMany where that is nothing."""
        if not rate.amount:
            return UNLIMITED
        state = await self._state(rate, storable(key))
        if not state.left.remaining:
            raise state.refusal(1)
        return state.left

    async def forgive(self, rate: Rate, key: str) -> None:
        """As if nothing had been spent."""
        if rate.amount:
            await self._strategy.clear(item_of(rate), storable(key))

    async def _state(self, rate: Rate, key: str) -> State:
        return State(rate, *await self._storage.get_sliding_window(item_of(rate).key_for(key), rate.seconds))


class State(NamedTuple):
    """A sliding window at one moment, as `limits` describes it: what was spent in the last period and the seconds for
    which that counts, what in this one and the seconds for which that will.
    """

    rate: Rate
    before: int
    fades: float
    spent: int
    lasts: float

    @property
    def left(self) -> Left:
        amount, seconds = self.rate.amount, self.rate.seconds
        remaining = max(0, amount - self.spent - int(self.before * self.fades / seconds))
        return Left(amount, remaining, math.ceil(self.lasts - seconds) if remaining else self.wait(1))

    def wait(self, cost: int) -> int:
        """Whole seconds after which so much fits, if nothing else is spent meanwhile. What never fits: a period."""
        amount, seconds = self.rate.amount, self.rate.seconds
        room = amount - cost - self.spent
        if cost > amount:
            return seconds
        if room < 0:  # what this period spent must fade, in the next one
            return int(self.lasts - seconds * (amount - cost + 1) / self.spent) + 1
        return max(0, int(self.fades - seconds * (room + 1) / max(self.before, 1))) + 1

    def refusal(self, cost: int) -> TooMany:
        return TooMany(self.rate, self.left, self.wait(cost))


@lru_cache(maxsize=256)
def item_of(rate: Rate) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(rate.amount, rate.seconds, rate.name)


# ---- keys -----------------------------------------------------------------------------------------------------------


def storable(key: str) -> str:
    """Long keys, and those with characters that a database may refuse, as their hash."""
    if len(key) <= LONGEST and key.isprintable():
        return key
    return f"sha256:{sha256(key.encode(errors='surrogatepass')).hexdigest()}"


def address_key(address: str | None) -> str:
    """IPv6 by its /64, which is the least that one customer has; peers without an address (a Unix socket) share one."""
    return ELSEWHERE if address is None or len(address) > LONGEST else _address_key(address)


@lru_cache(maxsize=ADDRESSES)
def _address_key(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return ELSEWHERE
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), 64), strict=False))


# ---- storages -------------------------------------------------------------------------------------------------------


class Window(NamedTuple):
    """What a key spent in the period `number`, counted from the clock's zero, and in the one before it."""

    number: int
    spent: int
    before: int
    seconds: int  # of a period

    def at(self, number: int) -> Window:
        """The same in another period. One that is just ahead stays: who wrote it had read the clock after us."""
        if self.number in (number, number + 1):
            return self
        return Window(number, 0, self.spent if self.number == number - 1 else 0, self.seconds)

    def rest(self, now: float) -> float:
        """Seconds until the period ends."""
        return min(self.seconds, (self.number + 1) * self.seconds - now)

    def admits(self, cost: int, most: int, now: float) -> bool:
        return self.before * self.rest(now) < (most - cost - self.spent + 1) * self.seconds

    def described(self, now: float) -> tuple[int, float, int, float]:
        """The last four of a State."""
        rest = self.rest(now)
        return self.before, rest if self.before else 0.0, self.spent, rest + self.seconds


class SlidingStorage(Storage, SlidingWindowCounterSupport):
    """A storage of `limits` that keeps sliding windows and nothing else."""

    STORAGE_SCHEME = None

    @property
    def base_exceptions(self) -> type[Exception]:
        return BroadsheetError

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        await self.clear(key)

    async def refuse(self, *args: Any, **options: Any) -> NoReturn:
        raise NotImplementedError("this storage keeps sliding windows alone")

    incr = get = get_expiry = check = reset = refuse


class MemoryStorage(SlidingStorage):
    """For one process. At `most` keys those are forgotten that were quiet for longest, expired ones before that.

    The library's own starts a search through all keys with every hit: 5,500 us at 50,000 keys, where this takes 1.
    """

    def __init__(self, most: int = KEYS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._windows: OrderedDict[str, Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = self._clock()
        window = self._window(key, expiry, now)
        if not window.admits(amount, limit, now):
            return False
        self._windows[key] = Window(window.number, window.spent + amount, window.before, expiry)
        self._windows.move_to_end(key)
        self._forget(now)
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = self._clock()
        return self._window(key, expiry, now).described(now)

    async def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _window(self, key: str, seconds: int, now: float) -> Window:
        number = int(now // seconds)
        found = self._windows.get(key)
        return Window(number, 0, 0, seconds) if found is None else found.at(number)

    def _forget(self, now: float) -> None:
        """Two at most: one more than a hit can add, so that the expired leave, and no hit pays for a crowd."""
        for _ in range(2):
            first = next(iter(self._windows.values()))
            if len(self._windows) <= self._most and (first.number + 2) * first.seconds > now:
                return
            self._windows.popitem(last=False)
