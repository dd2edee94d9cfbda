"""T3, PostgreSQL killed and restarted under a service that goes on: what was acknowledged is there, what fails says 503
and when to ask again, and soon after the server is back nothing fails any more. A server that takes no writes for a
while is left as soon as another one does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from random import Random

from app.data import faults
from app.data.database import Database
from app.resources import CATALOG
from tests.reliability.books import Accounts, check_books, check_orders, open_accounts, read_books
from tests.reliability.clients import CUT, NOBODY, Desk, Mishap, crowd
from tests.reliability.cluster import DATABASE, Cluster
from tests.reliability.history import History, Verdict, check_order_of_time, check_sums, some
from tests.reliability.serving import CHANCES, RENEWAL, Service
from tests.reliability.trial import Conditions, Figures, Trial

ROUNDS = {"short": 1, "long": 10}  # of each fault
LOAD = 0.3, 0.9  # seconds of load before a fault
DOWN = 0.2, 1.0  # seconds between a kill and the start
HEALED = 2.0  # seconds after which nothing may fail any more
TERMINATED = 3  # connections that are ended under load
KEYLESS = 4  # clients without keys: they send again only what is said not to have been kept


Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Outage:
    """From the fault to the moment from which on the database would serve again. `excused` are the codes that clients
    may meet meanwhile, None all that say that the database is away.
    """

    kind: str
    began: float
    ended: float
    excused: frozenset[str] | None = None

    def covers(self, mishap: Mishap) -> bool:
        during = self.began <= mishap.ended and mishap.started <= self.ended + HEALED
        return during and (self.excused is None or mishap.code in self.excused)


async def work(conditions: Conditions) -> Figures:
    figures, history = Figures(), History()
    async with Cluster() as cluster, Service(conditions.folder, cluster.url, conditions.without) as service:
        await service.start()
        async with Database(cluster.url, CATALOG) as database:
            accounts = await open_accounts(database)
        story = Story(conditions, cluster, service, accounts, history)
        await story.run()
        figures.expect(await service.in_use() == 0, "connections are still checked out")
        figures.expect(await cluster.busy() == 0, "transactions are still open")
        books = await read_books(cluster.url)
    check_mishaps(story, figures)
    check_ends(history, figures)
    check_sums(history, accounts.opening, figures)
    check_order_of_time(history, accounts.opening, figures)
    check_books(books, accounts.opening, figures)
    check_orders(history, books, figures)
    count(story, figures)
    return figures


class Story:
    """What befalls the database, and what the clients meet."""

    def __init__(
        self, conditions: Conditions, cluster: Cluster, service: Service, accounts: Accounts, history: History
    ) -> None:
        self.random = Random(f"{conditions.seed} restarts")
        self.conditions = conditions
        self.rounds = ROUNDS["long" if conditions.long else "short"]
        self.cluster = cluster
        self.service = service
        self.accounts = accounts
        self.history = history
        self.outages: list[Outage] = []
        self.mishaps: list[Mishap] = []
        self.ended = 0

    async def run(self) -> None:
        if self.conditions.without is None:
            async with self.crowd("a"):
                for fault in self.plan():
                    await self.load()
                    await fault()
                    await asyncio.sleep(HEALED)
        await self.restart_idle()
        async with self.crowd("b"):
            for _ in range(self.rounds):
                await self.load()
                await self.terminate()
                await self.load()
                await self.demote()
                await asyncio.sleep(HEALED + LOAD[0])

    def plan(self) -> list[Fault]:
        found: list[Fault] = [self.kill, self.restart] * self.rounds
        self.random.shuffle(found)
        return found

    @contextlib.asynccontextmanager
    async def crowd(self, name: str) -> AsyncGenerator[None]:
        def desk(number: int) -> Desk:
            return self.service.desk(keyed=number >= KEYLESS)

        seed = self.conditions.seed
        async with crowd(desk, self.accounts, self.history, seed, name=name, persistent=True) as clients:
            yield
        self.mishaps += clients.mishaps

    async def load(self) -> None:
        await asyncio.sleep(self.random.uniform(*LOAD))  # how long clients are left in peace

    async def kill(self) -> None:
        began = time.monotonic()
        self.cluster.kill()
        await asyncio.sleep(self.random.uniform(*DOWN))  # how long the server is away
        await self.cluster.start()
        self.outages.append(Outage("kill", began, time.monotonic()))

    async def restart(self) -> None:
        began = time.monotonic()
        await self.cluster.restart()
        self.outages.append(Outage("restart", began, time.monotonic()))

    async def restart_idle(self) -> None:
        """Nobody asks meanwhile, so nobody is to notice."""
        began = time.monotonic()
        await self.cluster.restart()
        self.outages.append(Outage("idle restart", began, time.monotonic(), frozenset()))

    async def terminate(self) -> None:
        """What was under way is repeated, but for a COMMIT of somebody who gave no key."""
        began = time.monotonic()
        for _ in range(TERMINATED):
            self.ended += await self.cluster.terminate(1)
        self.outages.append(Outage("termination", began, time.monotonic(), frozenset({faults.UNKNOWN})))

    async def demote(self) -> None:
        """New connections take no writes, and keep to that when later ones do: as those to a server that is a standby
        now.
        """
        began = time.monotonic()
        await self.cluster.execute(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on")
        await self.cluster.terminate(100)
        await self.load()
        await self.cluster.execute(f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only")
        self.outages.append(Outage("demotion", began, time.monotonic()))


def check_mishaps(story: Story, figures: Figures) -> None:
    """What fails says so properly, and fails while the database is away, or very soon after."""
    some(figures, [mishap.fault for mishap in story.mishaps if mishap.fault])
    gone = Counter(mishap.code for mishap in story.mishaps if mishap.code in (CUT, NOBODY, TimeoutError.__name__))
    some(figures, [f"{number} times: {code}, and the service was not restarted" for code, number in gone.items()])
    strange = []
    for mishap in story.mishaps:
        if not any(outage.covers(mishap) for outage in story.outages):
            last = max((each for each in story.outages if each.began <= mishap.ended), key=lambda each: each.began)
            since = mishap.ended - last.ended
            strange.append(f"{mishap.code} {since:.2f} s after the {last.kind}")
    some(figures, strange)


def check_ends(history: History, figures: Figures) -> None:
    """Who has a key gets to know what became of an order."""
    ends = [each for each in history.sent if each.verdict in (Verdict.FAILED, Verdict.UNKNOWN)]
    some(figures, [f"order {each.order.note}: {each.code} in the end" for each in ends if each.client >= KEYLESS])


def count(story: Story, figures: Figures) -> None:
    history, kinds = story.history, Counter(outage.kind for outage in story.outages)
    codes = Counter(mishap.code for mishap in story.mishaps)
    away = [outage for outage in story.outages if outage.excused is None]
    healed = [
        max((mishap.ended - outage.ended for mishap in story.mishaps if outage.covers(mishap)), default=0.0)
        for outage in away
    ]
    figures.counts |= {f"{kind}s": number for kind, number in kinds.items()}
    figures.counts |= {
        "connections ended": story.ended,
        "orders": len(history.sent),
        "acknowledged": len(history.of(Verdict.KEPT)),
        "refused": len(history.of(Verdict.REFUSED)),
        "never known": len(history.of(Verdict.UNKNOWN)),
        "sent again": len([each for each in history.sent if each.answers]),
        "reads": len(history.seen),
        "healed after s, worst": max(0.0, *healed),
        "errors": sum(codes.values()),
    }
    figures.counts |= {f"of these {code}": number for code, number in sorted(codes.items())}


RESTARTS = Trial(
    "T3",
    "PostgreSQL killed and restarted",
    work,
    dict.fromkeys((CHANCES, RENEWAL), contextlib.nullcontext),  # removed in the process of the service
    backends=("postgresql",),
)
