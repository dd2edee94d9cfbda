"""T2, kill -9 of the service: at random moments under load, and at each failpoint. What was acknowledged is there, and
what nobody knows of is done exactly once by sending it again under its key.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from app.data.database import Database
from app.data.failpoints import Point
from app.resources import CATALOG
from tests.reliability.books import check_books, check_orders, open_accounts, read_books
from tests.reliability.clients import CUT, Desk, HttpDesk, crowd
from tests.reliability.history import History, Verdict, check_order_of_time, check_sums, some
from tests.reliability.serving import DIED, REPLAY, Service
from tests.reliability.trial import Conditions, Figures, Trial

ROUNDS = {"short": 3, "long": 50}  # kills at random moments
LOAD = 0.3, 0.9  # seconds of load before such a kill
DEEP = 20, 120  # how often a failpoint is passed before it kills, about
SETTLED = 4.0  # seconds until orders are settled that waited: 2 that a lock may be left, as many on a busy machine
AGAIN = 30  # answered orders that are sent again in the end


@dataclass(frozen=True, slots=True)
class Life:
    """When the service died, when it served again, and how many seconds its start took."""

    died: float
    served: float
    seconds: float


async def work(conditions: Conditions) -> Figures:
    figures, history, lives = Figures(), History(), list[Life]()
    random = Random(f"{conditions.seed} kills")
    async with Database(conditions.url, CATALOG) as database:
        accounts = await open_accounts(database)
    points = plan(conditions, random)
    async with Service(conditions.folder, conditions.url, conditions.without) as service:

        def desk(number: int) -> Desk:
            return service.desk(keyed=True)

        await service.start(points[0], random.randint(*DEEP))
        async with crowd(desk, accounts, history, conditions.seed, persistent=True) as clients:
            for point, following in pairwise([*points, None]):
                await death(service, point, random, figures)
                died = time.monotonic()
                seconds = await service.start(following, random.randint(*DEEP))
                lives.append(Life(died, time.monotonic(), seconds))
            await asyncio.sleep(LOAD[1])  # the last one serves in peace
        if conditions.without is None:
            await check_replays(service.desk(keyed=True), history, random, figures)
    books = await read_books(conditions.url)
    some(figures, clients.faults)
    check_sums(history, accounts.opening, figures)
    check_order_of_time(history, accounts.opening, figures)
    check_books(books, accounts.opening, figures)
    check_orders(history, books, figures)
    check_ends(lives, history, figures)
    count(points, lives, history, figures)
    return figures


def plan(conditions: Conditions, random: Random) -> list[Point | None]:
    """Where the service dies, in order; None is anywhere. Without keys the place after a commit will do, where what was
    committed may be a refusal.
    """
    if conditions.without:
        return [Point.COMMITTED] * 3
    found: list[Point | None] = [*Point, *[None] * ROUNDS["long" if conditions.long else "short"]]
    random.shuffle(found)
    return found


async def death(service: Service, point: Point | None, random: Random, figures: Figures) -> None:
    if point is None:
        await asyncio.sleep(random.uniform(*LOAD))  # how long it serves
        await service.kill()
        return
    code = await service.ended()
    figures.expect(code == DIED, f"the service that was to die {point.value} ended with {code}:\n{service.log()}")


async def check_replays(desk: HttpDesk, history: History, random: Random, figures: Figures) -> None:
    """Orders sent once more, after all the deaths, are answered what they were answered."""
    settled = [each for each in history.sent if each.verdict in (Verdict.KEPT, Verdict.REFUSED)]
    anew = []
    for sent in random.sample(settled, min(AGAIN, len(settled))):
        reply = await desk.transfer(sent.order)
        if not reply.replayed or (reply.verdict, reply.code, reply.row) != (sent.verdict, sent.code, sent.row):
            anew.append(f"order {sent.order.note} was answered {sent.verdict} {sent.row}, then {reply}")
    desk.close()
    some(figures, anew)


def check_ends(lives: list[Life], history: History, figures: Figures) -> None:
    """Nothing that a dead service held stops the next one: an order that waited for it is settled soon."""
    longest = 0.0
    for life, following in zip(lives, [*lives[1:], None], strict=True):
        end = following.died if following else math.inf
        waited = [each for each in history.sent if each.started < life.served < each.ended]
        longest = max(longest, *(min(each.ended, end) - life.served for each in waited), 0.0)
    figures.expect(longest < SETTLED, f"an order waited {longest:.1f} s after a start")
    figures.counts["settled after s, worst"] = longest


def count(points: list[Point | None], lives: list[Life], history: History, figures: Figures) -> None:
    """An order is in doubt when a connection was cut under it; it is resolved when it was answered all the same."""
    doubtful = [each for each in history.sent if CUT in (*each.answers, each.code)]
    settled = [each for each in doubtful if each.verdict in (Verdict.KEPT, Verdict.REFUSED)]
    open_ends = len(history.of(Verdict.UNKNOWN)) + len(history.of(Verdict.FAILED))
    figures.expect(not open_ends, f"of {open_ends} orders nobody knows what became of them")
    starts = [life.seconds for life in lives]
    figures.counts |= {
        "kills": len(points),
        "at failpoints": len([point for point in points if point is not None]),
        "orders": len(history.sent),
        "acknowledged": len(history.of(Verdict.KEPT)),
        "refused": len(history.of(Verdict.REFUSED)),
        "in doubt": len(doubtful),
        "resolved": len(settled),
        "of these done already": len([each for each in settled if each.replayed]),
        "reads": len(history.seen),
        "first 200 after s, median": statistics.median(starts),
        "first 200 after s, worst": max(starts),
    }


KILLING = Trial("T2", "kill -9 of the service", work, {REPLAY: contextlib.nullcontext})  # its process has none
