"""T5: crowds that leave in the middle, by closing their sockets and by cancelling tasks in every way there is. Three
seconds later nothing is left of them: no connection, backend, transaction, lock, task, thread or descriptor, and the
books are right.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sqlalchemy import insert

from app.accounts.keys import load_keys
from app.accounts.passwords import hash_password
from app.data import database as databases
from app.data import engines, failpoints, lanes, line, running, transactions
from app.data.database import Database
from app.data.failpoints import Point
from app.data.rules import SYSTEM
from app.data.running import Job
from app.http.app import create_app
from app.models import Credentials
from app.resources import CATALOG
from app.settings import AccountSettings, RateLimits, Settings
from tests.factories import make_post, make_user
from tests.http.serving import serving as on_a_socket
from tests.reliability.books import check_books, open_accounts, read_books
from tests.reliability.guards import replaced
from tests.reliability.history import some
from tests.reliability.inside import serving
from tests.reliability.leaving import (
    ACTS,
    ALL_ACTS,
    KINDS,
    PASSWORD,
    SLOW_ACTS,
    Place,
    Tally,
    crowd,
    move,
    throng,
    visit,
)
from tests.reliability.leftovers import OTHERS, SETTLED, Census, Complaints, census, locked, settle
from tests.reliability.paths import Observer
from tests.reliability.trial import Conditions, Figures, Trial

BACKLOG = 20  # seconds in which the service is through with the requests of those who have left
POSTS = 200
CUT = 100  # transfers
LONG = 60  # seconds
NO_LIMITS = dict.fromkeys(RateLimits.__slots__, 0)


# ---- the place ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(conditions: Conditions) -> AsyncGenerator[Place]:
    accounts = AccountSettings(rates=RateLimits(**NO_LIMITS))
    settings = Settings(data_dir=conditions.folder, accounts=accounts)
    secret = load_keys(settings.data_dir).secret
    async with Database(conditions.url, CATALOG) as database:
        bank, posts = await open_accounts(database), await _fill(database)
        async with serving(create_app(settings, database=database)) as service:

            async def application(scope: Any, receive: Any, send: Any) -> None:
                await service.app({**scope, "state": dict(service.state)}, receive, send)

            async with on_a_socket(application) as running:
                yield Place(database, running, secret, bank, posts)


async def _fill(database: Database) -> tuple[int, ...]:
    hashed = (await hash_password(PASSWORD)).hashed
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, username="ada", email="ada@example.org", role="author")
        row = {"user_id": ada.id, "hashed_password": hashed, "changed_at": session.unit.now}
        await session.execute(insert(Credentials.__table__).values(row))  # type: ignore[arg-type]  # a Table
        posts = [await make_post(session, ada, tags=("storm",), content="x" * 2000) for _ in range(POSTS)]
        return tuple(post.id for post in posts)


async def warm(place: Place, random: Random) -> None:
    """Every connection that there may be is open, and every kind of request was answered once."""
    database = place.database
    held = [await database.lanes.lease() for _ in range(database.lanes.size)]
    writers = database.pool_size if database.name == "postgresql" else 1
    met = asyncio.Barrier(writers)

    async def write() -> None:
        async with database.writing(SYSTEM) as session:
            await session.connection()
            await met.wait()

    await asyncio.gather(*(write() for _ in range(writers)))
    for lane in held:
        database.lanes.give(lane)
    for kind in KINDS:
        await visit(place, random, kind, f"warm {kind}", Tally(), stays=5)


# ---- the trials -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Storm:
    """Crowds and throngs on one place, with what is measured of them."""

    place: Place
    observer: Observer
    random: Random
    figures: Figures
    before: Census
    tally: Tally = field(default_factory=Tally)
    peak: int = 0
    worst: float = 0.0
    backlog: float = 0.0
    rounds: int = 0

    async def round(self, *, sockets: bool, each: int) -> None:
        self.rounds += 1
        over = asyncio.Event()
        watching = asyncio.create_task(self._watch(over))
        acts = ALL_ACTS if sockets else SLOW_ACTS
        await throng(self.place, self.random, self.tally, f"throng {self.rounds} ", acts=acts, each=each)
        slowest = self.tally.slowest
        self.figures.expect(slowest < SETTLED, f"somebody who was cancelled came to an end after {slowest:.1f} s")
        if sockets:
            await crowd(self.place, self.random, self.tally, f"crowd {self.rounds} ")
            await self._finish_requests()
        over.set()
        await watching
        self.worst = max(self.worst, await settle(self.place, self.observer, self.before, self.figures))

    async def cut_short(self, units: int) -> None:
        """Transfers that are cancelled several times in their last steps: whoever comes next finds no lock. Of a file:
        a server is told, and takes a moment.
        """
        held = 0
        for number in range(units):
            blows: list[asyncio.Task[None]] = []
            point = self.random.choice((Point.LOCKED, Point.COMMITTING))
            with failpoints.armed({point: self._blows(blows)}):
                task = asyncio.create_task(move(self.place, self.random, f"cut short {number}"))
                await asyncio.wait({task})
            held += bool(await locked(self.observer))
            await asyncio.gather(*blows)
        self.figures.expect(not held, f"{held} of {units} that were cancelled in their last steps left a lock")

    def _blows(self, blows: list[asyncio.Task[None]]) -> Callable[[], Awaitable[None]]:
        async def strike() -> None:
            task = asyncio.current_task()
            assert task is not None
            blows.append(asyncio.create_task(rain(task)))

        async def rain(task: asyncio.Task[Any]) -> None:
            for _ in range(4):
                await asyncio.sleep(self.random.uniform(0, 0.0006))
                task.cancel()

        return strike

    async def _finish_requests(self) -> None:
        """Those who asked have gone; what they asked for is done all the same, or given up for lack of a connection."""
        began, tasks = time.monotonic(), self.place.running.server.server_state.tasks
        while tasks and time.monotonic() - began < BACKLOG:  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.02)
        self.backlog = max(self.backlog, time.monotonic() - began)
        self.figures.expect(not tasks, f"{len(tasks)} requests go on {BACKLOG} s after everybody has left")

    async def _watch(self, over: asyncio.Event) -> None:
        """Counts backends; of a file nothing."""
        while not over.is_set() and self.place.database.name == "postgresql":
            self.peak = max(self.peak, await self.observer.number(f"SELECT count(*) {OTHERS}"))
            await asyncio.sleep(0.02)

    async def close(self, url: str) -> None:
        """Whether the service goes on, and the books."""
        after = Tally()
        await visit(self.place, self.random, "list", "", after, stays=5)
        self.figures.expect(after.ends == {"200": 1}, f"the service answers {dict(after.ends)} afterwards")
        books = await read_books(url)
        check_books(books, self.place.accounts.opening, self.figures)
        kept = {note: len(books.transfers.get(note, ())) for note in self.tally.acknowledged}
        some(
            self.figures,
            [f"transfer {note} was acknowledged and is there {n} times" for note, n in kept.items() if n != 1],
        )
        doubled = [note for note, rows in books.transfers.items() if note and len(rows) > 1]
        some(self.figures, [f"transfer {note} was done twice" for note in doubled])
        self.figures.counts["lost"] = sum(n == 0 for n in kept.values())


async def _storm(conditions: Conditions, *, sockets: bool) -> Figures:
    figures, complaints, random = Figures(), Complaints(), Random(conditions.seed)
    ends = time.monotonic() + (LONG if conditions.long and conditions.without is None else 0)
    with complaints.heard():
        async with opened(conditions) as place:
            observer = Observer(conditions.url)
            await observer.number("SELECT 1")
            await warm(place, random)
            gc.collect()
            storm = Storm(place, observer, random, figures, census())
            if conditions.backend == "sqlite":
                await storm.cut_short(CUT)
            each = 2 if conditions.without == "interrupt" else ACTS  # one after the other, at five seconds each
            least = 5 if conditions.without else 1  # rounds: not every one shows what is missing
            while (storm.rounds < least or time.monotonic() < ends) and not figures.violations:
                await storm.round(sockets=sockets, each=each)
            await storm.close(conditions.url)
            await observer.engine.dispose()
            retries = place.database.counters.repeated.total()
            pools = 2 * place.database.pool_size
        gc.collect()
    some(figures, complaints.texts)
    counts = figures.counts
    counts |= {"rounds": storm.rounds, "visitors": storm.tally.ends.total(), "left": storm.tally.ends["left"]}
    counts |= {way: storm.tally.ends[way] for way in ("cancel", "double cancel", "fail_after", "timeout")}
    counts |= {"acknowledged": len(storm.tally.acknowledged), "repeats": retries}
    if conditions.backend == "postgresql":
        counts |= {"most backends": storm.peak, "pools": pools}
    if sockets:
        counts["most time for the requests of those who left, s"] = storm.backlog
    counts["worst time from a cancellation to its end, s"] = storm.tally.slowest
    counts["worst time until nothing was left, s"] = storm.worst
    figures.counts = {"lost": counts.pop("lost"), **counts}
    return figures


async def work(conditions: Conditions) -> Figures:
    return await _storm(conditions, sockets=True)


async def work_inside(conditions: Conditions) -> Figures:
    return await _storm(conditions, sockets=False)


@contextmanager
def without_shields() -> Generator[None]:
    """Whatever must be brought to its end is cancelled with its caller."""

    async def unshielded(work: Any) -> Any:
        return await work

    with (
        replaced(databases, "finish", unshielded),
        replaced(lanes, "finish", unshielded),
        replaced(line, "finish", unshielded),
        replaced(transactions, "finish", unshielded),
        replaced(engines, "finish", unshielded),
        replaced(running, "finish", unshielded),
    ):
        yield


@contextmanager
def without_check_interval() -> Generator[None]:
    """The server does not look after its clients while it works for them."""
    fewer = {k: v for k, v in engines.POSTGRESQL_SETTINGS.items() if k != "client_connection_check_interval"}
    with replaced(engines, "POSTGRESQL_SETTINGS", fewer):
        yield


@contextmanager
def without_interrupt() -> Generator[None]:
    """A statement of SQLite goes on to its end."""

    async def wait(job: Job[Any], patience: float = 0) -> None:
        job.stopped = True
        while not job.done:  # noqa: ASYNC110  # as the original
            await asyncio.sleep(0.002)

    async def halt(driver: Any) -> None:
        await running.on_thread(driver, lambda connection: connection.rollback())

    with (
        replaced(Job, "stop", wait),
        replaced(lanes, "halt", halt),
        replaced(engines, "halt", halt),
    ):
        yield


STORM = Trial("T5", "cancel storm", work)
ABANDONED = Trial(
    "T32",
    "abandoned queries",
    work_inside,
    {"client_connection_check_interval": without_check_interval},
    backends=("postgresql",),
)
INTERRUPTED = Trial(
    "T33",
    "interrupted statements",
    work_inside,
    {"interrupt": without_interrupt, "shields": without_shields},
    backends=("sqlite",),
)
