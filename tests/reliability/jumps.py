"""What a step of the service's clock does to all that goes by it: scheduled posts, pages on their way, tokens and
sessions, idempotency keys, rates, durations.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2

from app.data.rate_storage import DatabaseStorage
from app.data.rates import Rate, Rates, TooMany
from app.data.rules import SYSTEM
from app.http.app import create_app
from app.models import User
from tests.accounts.wire.asking import add_person, ask, bearer, sign_in
from tests.conftest import EPOCH
from tests.factories import make_post, make_user
from tests.http.conftest import client_of
from tests.reliability.guards import replaced
from tests.reliability.instants import Service
from tests.reliability.trial import Figures

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
WRONG = 400 * DAY  # a clock that was set to another year
LIFE = 3600  # seconds of an access token
LEEWAY = 30  # seconds that a token counts longer, and sooner
KEPT = 24 * HOUR  # life of an idempotency key
RATE = Rate("trial", 3, 300)
METRIC = re.compile(r"^broadsheet_request_seconds_sum\S* (\S+)$", re.MULTILINE)


async def check_schedule(service: Service, figures: Figures) -> None:
    """A post appears at its moment, by the service's clock, and is gone again before it."""
    service.clock.now = EPOCH
    author = await _author(service, "scheduler")
    async with service.database.writing(SYSTEM) as session:
        row = (await make_post(session, author, published_at=EPOCH + timedelta(hours=1))).id
    for seconds, visible in ((0, 0), (HOUR - 0.000001, 0), (HOUR, 1), (WRONG, 1), (-HOUR, 0), (HOUR, 1)):
        service.clock.now = EPOCH + timedelta(seconds=seconds)
        shown = (await service.client.get(f"/posts?id=eq.{row}")).json()
        figures.expect(len(shown) == visible, f"a scheduled post is shown {len(shown)} times at {seconds:+} s")


async def check_pages(service: Service, chance: random.Random, figures: Figures) -> None:
    """Who follows the pages sees each post once that was public all the time, and none twice."""
    service.clock.now = EPOCH
    author = await _author(service, "pager")
    owner, always = author.id, set()
    async with service.database.writing(SYSTEM) as session:
        for _ in range(60):
            age = timedelta(minutes=chance.randint(0, 180))
            post = await make_post(session, author, published_at=EPOCH - age)
            if age >= timedelta(hours=1):
                always.add(post.id)
    for order in ("published_at.desc,id.desc", "published_at,id"):
        service.clock.now = EPOCH
        path: str | None = f"/posts?user_id=eq.{owner}&select=id&order={order}&limit=7"
        seen: list[int] = []
        for seconds in steps_around():
            if path is None:
                break
            service.clock.now = EPOCH + timedelta(seconds=seconds)
            response = await service.client.get(path)
            seen += [row["id"] for row in response.json()]
            path = response.links.get("next", {}).get("url")
        figures.expect(path is None, "the pages do not end")
        figures.expect(len(seen) == len(set(seen)), f"a page shows a post again, ordered by {order}")
        figures.expect(always <= set(seen), f"pages leave posts out, ordered by {order}")


def steps_around() -> Iterator[float]:
    """An hour back, 400 days on, and back again, for as long as somebody asks; never more than an hour back."""
    for _ in range(20):
        yield from (0, -HOUR, WRONG, -MINUTE)


async def check_tokens(service: Service, figures: Figures) -> None:
    """A token counts from its issue to its end, by the clock as it is now, and a clock that is set right lets in."""
    service.clock.now = EPOCH
    door = Door(service, (await add_person(service.database, "clockwise")).email, figures)
    first = await door.enter()
    for seconds in (0, LIFE + LEEWAY - 1, LIFE + LEEWAY, WRONG, -LEEWAY, -LEEWAY - 1, -HOUR):
        door.at(seconds)
        await door.try_token(first, -LEEWAY <= seconds < LIFE + LEEWAY, f"{seconds:+} s from its issue")
    early = await door.enter()  # an hour back
    await door.try_token(early, True, "at its issue, an hour back")
    await door.refresh(first, 200)
    door.at(0)
    await door.try_token(early, True, "an hour after its issue, when the clock is right again")
    door.at(WRONG)
    await door.refresh(early, 400)
    wrong = await door.enter()
    door.at(0)
    await door.try_token(wrong, False, "400 days before its issue")
    await door.try_token(await door.refresh(wrong, 200), True, "at its issue, for a session of the future")


@dataclass(frozen=True, slots=True)
class Door:
    service: Service
    email: str | None
    figures: Figures

    def at(self, seconds: float) -> None:
        self.service.clock.now = EPOCH + timedelta(seconds=seconds)

    async def enter(self) -> dict[str, Any]:
        return await self._entered(await sign_in(self.service.client, self.email), 200)

    async def refresh(self, session: dict[str, Any], expected: int) -> dict[str, Any]:
        token = {"refresh_token": session["refresh_token"]}
        return await self._entered(await ask(self.service.client, "/token?grant_type=refresh_token", token), expected)

    async def _entered(self, response: httpx2.Response, expected: int) -> dict[str, Any]:
        status, now = response.status_code, self.service.clock.now
        self.figures.expect(status == expected, f"sessions: {status}, not {expected}, at {now}")
        found: dict[str, Any] = response.json()
        end = int(now.timestamp()) + LIFE
        self.figures.expect(
            status != 200 or found["expires_at"] == end, f"a token of {now} does not end {LIFE} s later"
        )
        return found

    async def try_token(self, session: dict[str, Any], counts: bool, when: str) -> None:
        """At a process that has not seen it: one that has read it goes by its end alone."""
        async with client_of(create_app(self.service.settings, database=self.service.database)) as stranger:
            status = (await stranger.get("/users?limit=1", headers=bearer(session))).status_code
        self.figures.expect(status == (200 if counts else 401), f"a token is answered {status} {when}")


async def check_keys(service: Service, figures: Figures) -> None:
    """A key has one effect until its day is over, by the clock that it was made with; then it may be used again."""
    clock = service.clock
    author = (await _author(service, "keyed")).id
    for name, made in (("right", 0.0), ("of the future", WRONG)):
        headers = {**service.secret, "Idempotency-Key": name.replace(" ", "-")}
        title = f"By a key {name}"
        for seconds, effects in ((0, 1), (-HOUR, 1), (-made, 1), (KEPT - 0.001, 1), (KEPT, 2), (KEPT - HOUR, 2)):
            clock.now = EPOCH + timedelta(seconds=made + seconds)
            row = {"title": title, "user_id": author}
            status = (await service.client.post("/posts", json=row, headers=headers)).status_code
            path = f"/posts?select=id&title=eq.{title}"
            found = len((await service.client.get(path, headers=service.secret)).json())
            said = f"a key {name} was answered {status} and has {found} effects at {seconds:+} s"
            figures.expect((status, found) == (201, effects), said)


async def check_rates(service: Service, chance: random.Random, steps: int, figures: Figures) -> None:
    """Whatever the clock did, nobody waits longer than two periods, or is told to. While the clock goes on evenly no
    more pass than may.
    """
    clock = service.clock
    clock.now = EPOCH
    rates = Rates(DatabaseStorage(service.database))
    refused = 0
    for _ in range(steps):
        try:
            await rates.spend(RATE, "somebody")
        except TooMany as exc:
            refused += 1
            wait = exc.retry_after or 0
            figures.expect(0 < wait <= 2 * RATE.seconds, f"a rate asks to wait {wait} s")
            clock.advance(2 * RATE.seconds + 0.001)  # in its very first instant a period weighs the one before it whole
            figures.expect(await _passes(rates), "who waited two periods is refused again")
        clock.advance(chance.choice((0, 0, 0, 0, 1, -HOUR, WRONG, -WRONG, -RATE.seconds, RATE.seconds)))
    figures.counts |= {"steps of the clock": steps, "refused by a rate": refused}
    clock.now = EPOCH + timedelta(days=1000)
    passed = [await _passes(rates) for _ in range(RATE.amount + 2)]
    figures.expect(passed.count(True) == RATE.amount, f"{passed.count(True)} pass where {RATE.amount} may")


async def _passes(rates: Rates) -> bool:
    try:
        await rates.spend(RATE, "somebody")
    except TooMany:
        return False
    return True


async def _author(service: Service, name: str) -> User:
    async with service.database.writing(SYSTEM) as session:
        return await make_user(session, username=name, email=None)


# ---- durations ------------------------------------------------------------------------------------------------------


class Lines(logging.Handler):
    """The times that the log of requests tells."""

    def __init__(self) -> None:
        super().__init__()
        self.milliseconds: list[float] = []

    def emit(self, record: Any) -> None:
        self.milliseconds += [record.ms, *record.stages.values()]


@contextmanager
def measured(chance: random.Random, figures: Figures) -> Generator[None]:
    """While the block runs the system's own time jumps, with each look at it."""
    real, lines, access = time.time, Lines(), logging.getLogger("broadsheet.access")
    level = access.level
    access.addHandler(lines)
    access.setLevel(logging.INFO)
    try:
        with replaced(time, "time", lambda: real() + chance.uniform(-HOUR, HOUR)):
            yield
    finally:
        access.removeHandler(lines)
        access.setLevel(level)
    figures.counts |= {"durations": len(lines.milliseconds), "longest request ms": max(lines.milliseconds)}
    wrong = [one for one in lines.milliseconds if not 0 <= one < HOUR * 1000]
    figures.expect(not wrong, f"durations in the log: {wrong[:5]}")


async def check_metrics(service: Service, figures: Figures) -> None:
    text = (await service.client.get("/metrics")).text
    values = [float(value) for value in METRIC.findall(text)]
    figures.expect(bool(values), "there are no durations in the metrics")
    figures.expect(all(0 <= value < HOUR for value in values), "a duration in the metrics is not one")
