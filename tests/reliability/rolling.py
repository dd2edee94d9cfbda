"""T21, the rolling stop: two servers behind a balancer are replaced one by one while clients read and write; on SQLite
one process follows the other on the same file. No request is lost, each server ends by itself, in time and with nothing
left, and all that was acknowledged is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.keys import load_keys
from app.cli.serve import GRACE
from app.data import engines
from tests.reliability.balancer import Balancer, balancing
from tests.reliability.instances import DRAIN, READINESS, WAIT, Instance, instances
from tests.reliability.migrators import asking, is_free
from tests.reliability.trial import Conditions, Figures, Trial
from tests.reliability.visitors import Book, visiting

ROUNDS = {"short": 1, "long": 10, "broken": 5}
REST = 0.5  # seconds of undisturbed service before a server is stopped
SOON = 10.0  # seconds in which a server that serves is found ready
TOLD = 5  # failed requests that are shown


async def work(conditions: Conditions) -> Figures:
    figures = Figures()
    rounds = ROUNDS["broken" if conditions.without else "long" if conditions.long else "short"]
    number = 1 if conditions.backend == "sqlite" else 2
    secret = load_keys(conditions.folder).secret
    async with instances(conditions.folder, conditions.url, number, conditions.without) as servers:
        async with balancing([server.port for server in servers]) as balancer:
            stops = Stops(balancer, figures)
            await stops.until_ready()
            async with visiting(balancer.port, secret, conditions.seed) as book:
                for server in servers * rounds:
                    if conditions.without and book.failed:
                        break
                    await asyncio.sleep(REST)  # while the clients go on
                    await stops.replace(server)
        await asyncio.gather(*map(stops.end, servers))
    await check(conditions, book, figures)
    figures.counts |= {**stops.figures, **book.figures}
    return figures


@contextmanager
def elsewhere() -> Generator[None]:
    """The servers are processes of their own: `instances` takes the guard away there."""
    yield


ROLLING = Trial("T21", "rolling stop", work, {READINESS: elsewhere, WAIT: elsewhere})


@dataclass(slots=True)
class Stops:
    """The supervisor, and what it finds wrong with a server that ends."""

    balancer: Balancer
    found: Figures
    stops: int = 0
    worst: float = 0.0

    @property
    def figures(self) -> dict[str, int | float | str]:
        return {"stops": self.stops, "worst stop s": self.worst}

    async def until_ready(self) -> None:
        async with asyncio.timeout(SOON):
            for backend in self.balancer.backends:
                await backend.up.wait()

    async def replace(self, server: Instance) -> None:
        await self.end(server)
        await server.start()
        await self.until_ready()

    async def end(self, server: Instance) -> None:
        code, seconds, said = await server.stop()
        self.stops += 1
        self.worst = max(self.worst, seconds)
        self.found.expect(code == 0, f"a server ended with {code}")
        self.found.expect(seconds < DRAIN + GRACE, f"a server took {seconds:.1f} s to stop")
        self.found.expect(not said, f"a server complained: {' '.join(said)}")
        self.found.expect(not server.left(), "a server has left processes")
        if server.url.startswith("sqlite"):
            self.found.expect(is_checkpointed(server.url), "the write-ahead log is not in the file")


def is_checkpointed(url: str) -> bool:
    log = Path(f"{engines.parse(url).database}-wal")
    return not log.exists() or log.stat().st_size == 0


async def check(conditions: Conditions, book: Book, figures: Figures) -> None:
    figures.violations += [f"lost: {text}" for text in book.failed[:TOLD]]
    figures.expect(len(book.failed) <= TOLD, f"{len(book.failed)} requests were lost")
    present = await asking(conditions.url, tags)
    gone = conditions.backend == "sqlite" or await asking(conditions.url, is_free)
    figures.expect(gone, "connections of servers that have ended are still there")
    missing = sorted(set(book.kept) - present)
    figures.expect(not missing, f"{len(missing)} acknowledged tags are not there, first {missing[:1]}")
    figures.counts["lost"] = len(missing)
    # a batch makes three tags or none
    parts = [name for name in present if name.startswith("p")]
    figures.expect(len(parts) % 3 == 0, "a part of a batch is there without the rest")


async def tags(connection: AsyncConnection) -> set[str]:
    return set((await connection.execute(text("SELECT name FROM tags"))).scalars())
