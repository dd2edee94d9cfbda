"""How long a server takes from its start to its first page of posts, and how much memory it holds after a while of
such pages.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from time import perf_counter

from bench.client import Order
from bench.contest import Plan, ask, can
from bench.dialects import requests_of
from bench.figures import Round, Row
from bench.loads import LOADS
from bench.processes import Cores, Failed, cpu_seconds, memory_mib
from bench.servers import start
from bench.store import Backend, Data, Store
from bench.variants import Variant

START, MEMORY = "start", "memory"
FIRST, PAGES = "list-same", "list-random"  # loads: what is asked first, and what afterwards
COPY = "starters"


class Starting:
    """On one database."""

    def __init__(self, store: Store, backend: Backend, plan: Plan, cores: Cores) -> None:
        self.store = store
        self.backend = backend
        self.plan = plan
        self.cores = cores

    def run(self, loads: Collection[str], variants: Sequence[Variant]) -> list[Row]:
        """The rows of both loads, of those that are wanted."""
        able = [v for v in variants if can(v, self.backend, LOADS[FIRST]) and can(v, self.backend, LOADS[PAGES])]
        url = self.store.copy(self.backend, Data.BLOG, COPY)
        rows = {(load, v.name): Row(self.backend, load, v.name) for load in (START, MEMORY) for v in able}
        for _ in range(self.plan.rounds):
            for variant in able:
                try:
                    started, filled = self._round(variant, url, MEMORY in loads)
                except Failed as exc:
                    started = filled = Round.failed(str(exc))
                rows[START, variant.name].rounds.append(started)
                rows[MEMORY, variant.name].rounds.append(filled)
        self.store.drop(self.backend, Data.BLOG, COPY)
        return [row for row in rows.values() if row.load in loads]

    def _round(self, variant: Variant, url: str, fill: bool) -> tuple[Round, Round]:
        """Raises Failed."""
        folder = self.store.scratch / f"{self.backend}-{COPY}-{variant.name}"
        first = requests_of(variant.dialect, FIRST)
        assert first is not None
        began = perf_counter()
        server = start(variant, url, self.store, folder, self.cores.server, path=first(()).path)
        seconds = perf_counter() - began
        try:
            (cpu,) = cpu_seconds(server.pids)
            started = Round(1 / seconds, seconds * 1000, seconds * 1000, cpu * 1e6)
            if not fill:
                return started, started
            order = Order(
                dialect=variant.dialect,
                load=PAGES,
                sizes=self.store.sizes,
                seed=1,
                ports=server.ports,
                connections=LOADS[PAGES].connections,
                seconds=self.plan.seconds,
                warmup=self.plan.warmup,
                servers=server.pids,
            )
            answered = Round.of(ask(order))
            return started, replace(answered, memory_mib=memory_mib(server.pids))
        finally:
            server.stop()
