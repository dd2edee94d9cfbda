"""What visitors who have gone may have left behind: connections, backends, transactions, locks, tasks, threads,
descriptors, and complaints of those who had to collect it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from tests.reliability.leaving import Place
from tests.reliability.paths import Observer
from tests.reliability.trial import Figures

SETTLED = 3.0  # seconds after which nothing may be left
SLACK = 2  # tasks, threads and descriptors that may come and go by themselves
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
COMPLAINING = ("sqlalchemy.pool", "asyncio", "broadsheet.http")  # loggers that say what was left to the collector


class Complaints(logging.Handler):
    """What loggers say of connections and tasks that nobody has closed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.name}: {record.getMessage()}")

    @contextmanager
    def heard(self) -> Generator[None]:
        loggers = [logging.getLogger(name) for name in COMPLAINING]
        for logger in loggers:
            logger.addHandler(self)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(self)


@dataclass(frozen=True, slots=True)
class Census:
    tasks: int
    threads: int
    descriptors: int


def census() -> Census:
    return Census(len(asyncio.all_tasks()), threading.active_count(), len(descriptors()))


def descriptors() -> list[str]:
    """What is open, but for database files: SQLite keeps their descriptors for the next connections, because closing
    one would drop the locks of all.
    """
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the list itself
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [target for target in found if not target.endswith(".db")]


def _whose(name: str) -> str:
    """Of tasks the most frequent ones."""
    if name != "tasks":
        return ""
    coroutines = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    return f": {dict(coroutines.most_common(4))}"


async def leftovers(place: Place, observer: Observer, before: Census) -> list[str]:
    """What is there that should not be."""
    database, found = place.database, []
    if database.in_use:
        found.append(f"{database.in_use} connections are out")
    now = census()
    for name in Census.__slots__:
        least, most = getattr(before, name), getattr(now, name)
        if most > least + SLACK:
            found.append(f"{most} {name}, and {least} before{_whose(name)}")
    if place.running.server.server_state.connections:
        found.append(f"{len(place.running.server.server_state.connections)} sockets are open")
    return found + await (locked(observer) if database.name == "sqlite" else _backends(place, observer))


async def _backends(place: Place, observer: Observer) -> list[str]:
    most, found = 2 * place.database.pool_size, []
    if (number := await observer.number(f"SELECT count(*) {OTHERS}")) > most:
        found.append(f"{number} backends for pools of {most}")
    for state in ("active", "idle in transaction", "idle in transaction (aborted)"):
        if number := await observer.number(f"SELECT count(*) {OTHERS} AND state = '{state}'"):
            found.append(f"{number} backends are {state}")
    return found


async def locked(observer: Observer) -> list[str]:
    """Whether a writer of another process would have to wait for SQLite's one lock."""
    async with observer.engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout=0")
        try:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        except DBAPIError as exc:
            return [f"the write lock is held: {exc}"]
        await connection.rollback()
    return []


async def settle(place: Place, observer: Observer, before: Census, figures: Figures) -> float:
    """Waits until nothing is left, for as long as is allowed; the seconds that it took. Tracebacks go first: they hold
    cursors, and with them what SQLite has closed already.
    """
    began = time.monotonic()
    gc.collect()
    while found := await leftovers(place, observer, before):
        if time.monotonic() - began > SETTLED:
            figures.violations += found
            break
        await asyncio.sleep(0.02)
    return time.monotonic() - began
