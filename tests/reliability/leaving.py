"""Visitors who leave in the middle: of the service, by closing their sockets without a word, and of the database in
this process, by every way to cancel a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio
from sqlalchemy import text

from app.actions import transfer
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.data.steps import Statement, Steps
from app.errors import BroadsheetError
from app.repositories import Posts
from app.resources import CATALOG
from tests.http.serving import Running
from tests.reliability.books import Accounts

CLIENTS, AT_ONCE = 500, 50  # of a crowd, and how many of them are there at a time
LEAVES = 0.05  # seconds after which everybody has gone
PATIENT, PATIENCE = 21, 30  # every 21st waits, for so many seconds
WORKERS, ACTS = 16, 12  # of a throng, and what each begins
STOPS = (0.003, 0.02)  # seconds, one of which is the most until an act is cancelled
PASSWORD = "correct horse battery"
KINDS = ("list", "transfer", "page", "sign-in", "batch")
# Some five seconds each, if nobody stops them.
SLOW = {
    "sqlite": "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 2e7) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(6)",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A service on a socket, on a database with a bank, posts, and one who can sign in."""

    database: Database
    running: Running
    secret: str
    accounts: Accounts
    posts: tuple[int, ...]


@dataclass(slots=True)
class Tally:
    """What became of whom, the notes of transfers that were acknowledged, and the most seconds between a cancellation
    and its end.
    """

    ends: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)
    slowest: float = 0.0


# ---- crowds on sockets ----------------------------------------------------------------------------------------------


def _request(method: str, path: str, body: Any, secret: str) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\napikey: {secret}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def _order(place: Place, random: Random, note: str) -> dict[str, Any]:
    sender, receiver = random.sample(place.accounts.rich, 2)
    return {"from_user_id": sender, "to_user_id": receiver, "amount": random.randint(1, 20), "note": note}


def _asked(place: Place, random: Random, kind: str, note: str) -> bytes:
    secret = place.secret
    match kind:
        case "list":
            return _request("GET", "/posts?select=*,author(username),tags(name)&limit=20", None, secret)
        case "transfer":
            return _request("POST", "/rpc/transfer", _order(place, random, note), secret)
        case "page":
            return _request("GET", "/rest/v1/posts?select=*&limit=1000", None, secret)
        case "sign-in":
            body = {"email": "ada@example.org", "password": PASSWORD}
            return _request("POST", "/auth/v1/token?grant_type=password", body, secret)
        case _:
            post = {"method": "PATCH", "path": f"/posts/{random.choice(place.posts)}", "body": {"content": note}}
            moved = {"method": "POST", "path": "/rpc/transfer", "body": _order(place, random, note)}
            return _request("POST", "/batch", [post, moved], secret)


async def visit(place: Place, random: Random, kind: str, note: str, tally: Tally, *, stays: float) -> None:
    """Asks, and leaves without a word after so many seconds, answered or not."""
    asked = _asked(place, random, kind, note)
    async with place.running.client(asked, receives=2**20) as client:
        status = ""
        with contextlib.suppress(TimeoutError, EOFError, ConnectionError):
            async with asyncio.timeout(stays):
                answer = await client.answer()
                status = str(answer.status)
    tally.ends[status or "left"] += 1
    if status == "200" and kind in ("transfer", "batch"):
        tally.acknowledged.append(note)


async def crowd(place: Place, random: Random, tally: Tally, prefix: str) -> None:
    """Between those who leave a few order a transfer and wait for the answer."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with room:
            if number % PATIENT == 0:
                await visit(place, random, "transfer", f"{prefix}{number}", tally, stays=PATIENCE)
            else:
                kind, stays = random.choice(KINDS), random.uniform(0, LEAVES)
                await visit(place, random, kind, f"{prefix}{number}", tally, stays=stays)

    await asyncio.gather(*(one(number) for number in range(CLIENTS * PATIENT // (PATIENT - 1))))


# ---- cancellation in this process -----------------------------------------------------------------------------------

Act = Callable[[Place, Random, str], Awaitable[Any]]


def slow(database: Database) -> Steps[Any]:
    return (yield Statement(SLOW[database.name], ()))


def one_of(number: int) -> Steps[Any]:
    return (yield Statement(f"SELECT title FROM posts WHERE id = {number}", ()))


async def read_slowly(place: Place, random: Random, note: str) -> None:
    await place.database.read(SYSTEM, lambda: slow(place.database))


async def read_quickly(place: Place, random: Random, note: str) -> None:
    await place.database.read(SYSTEM, lambda: one_of(place.posts[0]))


async def look_slowly(place: Place, random: Random, note: str) -> None:
    async with place.database.reading(SYSTEM) as session:
        await session.execute(text(SLOW[place.database.name]))


async def page_through(place: Place, random: Random, note: str) -> None:
    async with place.database.reading(SYSTEM) as session:
        await Posts(session).recent(limit=100)


async def move(place: Place, random: Random, note: str) -> None:
    order = _order(place, random, note)
    await place.database.transact(SYSTEM, lambda session: transfer(session, **order))


async def move_and_linger(place: Place, random: Random, note: str) -> None:
    """Holds its locks until it is cancelled."""
    order = _order(place, random, note)

    async def work(session: AppSession) -> None:
        await transfer(session, **order)
        await session.execute(text(SLOW[place.database.name]))

    await place.database.transact(SYSTEM, work)


async def move_and_run(place: Place, random: Random, note: str) -> None:
    """The same below SQLAlchemy."""
    order = _order(place, random, note)

    async def work(session: AppSession) -> None:
        await transfer(session, **order)
        await session.run(slow(place.database))

    await place.database.transact(SYSTEM, work)


async def change_tags(place: Place, random: Random, note: str) -> None:
    number = random.choice(place.posts)

    async def work(session: AppSession) -> None:
        post = await Posts(session).require(number)
        await Posts(session).set_tags(post, [f"storm {random.randint(1, 9)}"])

    await place.database.transact(SYSTEM, work)


async def come_and_go(place: Place, random: Random, note: str) -> None:
    """Another program, as it were: it opens the database, reads, and closes it."""
    url = place.database.url.render_as_string(hide_password=False)
    async with Database(url, CATALOG, pool_size=2) as database, database.reading(SYSTEM) as session:
        await Posts(session).recent(limit=1)


SLOW_ACTS: tuple[Act, ...] = (read_slowly, look_slowly, move_and_linger, move_and_run)
ALL_ACTS: tuple[Act, ...] = (*SLOW_ACTS, read_quickly, page_through, move, move, change_tags, come_and_go)


async def cancel(task: asyncio.Task[Any], random: Random, after: float, times: int = 1) -> None:
    """So many times, each a moment after the one before."""
    await asyncio.wait({task}, timeout=after)
    for _ in range(times):
        task.cancel()
        await asyncio.wait({task}, timeout=random.uniform(0, 0.003))
    await asyncio.wait({task})


async def stopped(work: Coroutine[Any, Any, Any], random: Random, after: float) -> str:
    """Runs it and stops it in one of the ways there are; how it ended."""
    way = random.choice(("cancel", "double cancel", "fail_after", "timeout"))
    task: asyncio.Task[Any]
    match way:
        case "fail_after":
            task = asyncio.create_task(_failing_after(work, after))
            await asyncio.wait({task})
        case "timeout":
            task = asyncio.create_task(_timed(work, after))
            await asyncio.wait({task})
        case _:
            task = asyncio.create_task(work)
            await cancel(task, random, after, 3 if way == "double cancel" else 1)
    if task.cancelled() or isinstance(task.exception(), TimeoutError):
        return way
    error = task.exception()
    if error is None:
        return "done"
    return error.code if isinstance(error, BroadsheetError) else repr(error)


async def _failing_after(work: Coroutine[Any, Any, Any], seconds: float) -> None:
    with anyio.fail_after(seconds):
        await work


async def _timed(work: Coroutine[Any, Any, Any], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await work


async def throng(
    place: Place, random: Random, tally: Tally, prefix: str, *, acts: tuple[Act, ...] = ALL_ACTS, each: int = ACTS
) -> None:
    """WORKERS begin acts, so many each, one after the other."""

    async def worker(number: int) -> None:
        for turn in range(each):
            act, note, after = random.choice(acts), f"{prefix}{number}-{turn}", random.uniform(0, random.choice(STOPS))
            began = time.monotonic()
            end = await stopped(_coroutine(act, place, random, note), random, after)
            tally.slowest = max(tally.slowest, time.monotonic() - began - after)
            tally.ends[end] += 1
            if end == "done" and act is move:
                tally.acknowledged.append(note)

    await asyncio.gather(*(worker(number) for number in range(WORKERS)))


async def _coroutine(act: Act, place: Place, random: Random, note: str) -> None:
    await act(place, random, note)
