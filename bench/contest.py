"""Loads over HTTP, measured side by side: all servers of a load run, and take turns round by round, so that each meets
the same noise. A server that is idle costs nothing.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import subprocess
import sys
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import audit
from bench.agreement import disagreements
from bench.client import Measured, Order
from bench.dialects import requests_of
from bench.figures import Round, Row
from bench.loads import Load
from bench.processes import Cores, Failed
from bench.servers import Server, start
from bench.store import Backend, Data, Store, query_file
from bench.tools import TOOLS, Turn
from bench.variants import Variant

READERS = "readers"  # the copy from which all servers read
SLACK = 90  # seconds beyond what is measured
REFUSED = "409"  # the answer where funds are short


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often. `workers` above 1 are as many processes of each server, on all cores. `at_once` starts
    each server once, for all loads, on one copy of its own; else each load that writes begins on a fresh one.
    """

    rounds: int
    seconds: float
    warmup: float
    workers: int = 1
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who takes part in a load, or why it cannot. `query` asks the database that it writes."""

    variant: Variant
    query: audit.Query
    server: Server | None = None
    failed: str = ""

    @property
    def name(self) -> str:
        return self.variant.name


@dataclass(slots=True)
class Match:
    """An entrant under a load. `done` are successes, `before` the rows that there were; `wrong` says why it ended."""

    load: Load
    entrant: Entrant
    row: Row
    done: int = 0
    before: audit.Counts = field(default_factory=dict)
    wrong: str = ""


class Contest:
    """On one database."""

    def __init__(self, store: Store, backend: Backend, plan: Plan, cores: Cores) -> None:
        self.store = store
        self.backend = backend
        self.plan = plan
        self.cores = cores

    def run(self, loads: Iterable[Load], variants: Sequence[Variant]) -> Generator[Row]:
        """The rows of each load when it is done: first those that only read, all from the same servers."""
        reading, writing = partition(loads)
        if self.plan.at_once:
            yield from self._group(reading + writing, variants, Data.BLOG)
            return
        yield from self._group(reading, variants, Data.BLOG, READERS)
        for load in writing:
            yield from self._group([load], variants, Data(load.data))

    def _group(
        self, loads: Sequence[Load], variants: Iterable[Variant], source: Data, shared: str = ""
    ) -> Generator[Row]:
        """Loads that the same servers take. `shared` names the one copy of all; else each has its own."""
        able = [v for v in variants if any(can(v, self.backend, load) for load in loads)]
        with contextlib.ExitStack() as stack:
            url = self._copy(stack, source, shared) if shared and able else ""
            purpose = shared or "-".join(load.name for load in loads)
            entrants = [self._enter(stack, variant, source, url, purpose) for variant in able]
            for _, some in itertools.groupby(loads, lambda load: load.beside or load.name):
                matches = [
                    Match(load, entrant, Row(self.backend, self._title(load), entrant.name))
                    for load in some
                    for entrant in entrants
                    if can(entrant.variant, self.backend, load)
                ]
                self._measure(matches)
                yield from (match.row for match in matches)

    # ---- who takes part ----

    def _enter(self, stack: contextlib.ExitStack, variant: Variant, source: Data, url: str, purpose: str) -> Entrant:
        folder = self.store.scratch / f"{self.backend}-{purpose}-{variant.name}"
        query = self._query(source, variant, folder)
        try:
            if variant.dialect != "pocketbase":
                url = url or self._copy(stack, source, variant.name)
            server = None if variant.name in TOOLS else self._start(stack, variant, url, folder)
        except (Failed, OSError) as exc:
            return Entrant(variant, query, failed=str(exc))
        return Entrant(variant, query, server)

    def _query(self, source: Data, variant: Variant, folder: Path) -> audit.Query:
        if variant.dialect == "pocketbase":
            return functools.partial(query_file, folder / "data" / "data.db")
        return functools.partial(self.store.query, self.backend, self.store.name(source, variant.name))

    def _copy(self, stack: contextlib.ExitStack, source: Data, name: str) -> str:
        stack.callback(self.store.drop, self.backend, source, name)
        return self.store.copy(self.backend, source, name)

    def _start(self, stack: contextlib.ExitStack, variant: Variant, url: str, folder: Path) -> Server:
        cores = self.cores.server if self.plan.workers == 1 else self.cores.all
        server = start(variant, url, self.store, folder, cores, count=self.plan.workers)
        stack.callback(server.stop)
        return server

    # ---- taking turns ----

    def _measure(self, matches: Sequence[Match]) -> None:
        """Who fails is not asked again."""
        for load, some in itertools.groupby(matches, lambda match: match.load):
            among = {match.entrant.name: match for match in some}
            servers = [match.entrant.server for match in among.values() if match.entrant.server]
            for name, reason in disagreements(load.name, servers, self.store.sizes).items():
                among[name].wrong = reason
        for match in matches:
            match.wrong = match.wrong or match.entrant.failed
            if match.load.writes and not match.wrong:
                match.before = audit.counts(match.entrant.query, match.entrant.name)
        for number in range(self.plan.rounds):
            for match in matches:
                if not match.wrong:
                    self._play(match, number)
        for match in matches:
            if match.load.writes and not match.wrong:
                name, load = match.entrant.name, match.load.name
                match.wrong = audit.complaint(match.entrant.query, match.before, load, name, match.done)
            if match.wrong:
                match.row.rounds.append(Round.failed(match.wrong))

    def _title(self, load: Load) -> str:
        return load.name if self.plan.workers == 1 else f"{load.name}-{self.plan.workers}-workers"

    def _play(self, match: Match, number: int) -> None:
        try:
            if match.entrant.server is None:
                measured, done = self._use_tool(match, number)
            else:
                answered = ask(self._order(match.load, match.entrant.server, number))
                measured = Round.of(answered)
                done = sum(count for status, count in answered.answers.items() if status != REFUSED)
        except Failed as exc:
            match.wrong = str(exc)
            return
        match.row.rounds.append(measured)
        match.done += done

    def _use_tool(self, match: Match, number: int) -> tuple[Round, int]:
        source = Data.BLOG if self.plan.at_once else Data(match.load.data)
        database = self.store.name(source, match.entrant.name)
        turn = Turn(self.store, self.cores, self.backend, database, match.load.name, self.plan.seconds, number)
        return TOOLS[match.entrant.name](turn)

    def _order(self, load: Load, server: Server, number: int) -> Order:
        return Order(
            dialect=server.variant.dialect,
            load=load.name,
            sizes=self.store.sizes,
            seed=number + 1,
            ports=server.ports,
            connections=load.connections,
            seconds=self.plan.seconds,
            warmup=self.plan.warmup,
            headers=server.headers if load.trusted else {},
            servers=server.pids,
            databases=[self.store.cluster.pid] if self.backend is Backend.POSTGRESQL else [],
        )


def partition(loads: Iterable[Load]) -> tuple[list[Load], list[Load]]:
    """Those that only read, and those that write."""
    found: tuple[list[Load], list[Load]] = [], []
    for load in loads:
        found[load.writes].append(load)
    return found


def can(variant: Variant, backend: Backend, load: Load) -> bool:
    if backend not in variant.backends or (variant.loads is not None and load.name not in variant.loads):
        return False
    return variant.name in TOOLS or requests_of(variant.dialect, load.name) is not None


def ask(order: Order) -> Measured:
    """In a process of its own, on the core of this one. Raises Failed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.client"],
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        check=False,
        timeout=order.seconds + order.warmup + SLACK,
    )
    if done.returncode != 0:
        raise Failed(done.stderr.strip()[-1000:])
    return Measured(**json.loads(done.stdout))
