"""Counts and times of requests, and what happened to database connections, in Prometheus' text form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from app.data.database import Database

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """One registry for each application, so that two of them in a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        labels = ("route", "method", "status")
        self.requests = Counter("broadsheet_requests", "Answered requests.", labels, registry=self.registry)
        self.seconds = Histogram(
            "broadsheet_request_seconds",
            "Time from request to the end of its answer.",
            labels[:2],
            registry=self.registry,
            buckets=SECONDS,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def watch(self, database: Database) -> None:
        """Show the counters of this database too."""
        self.registry.register(_Connections(database))

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """`route` is a template, never a path: the number of series is bounded."""
        method = method if method in METHODS else "other"
        key = (route, method, status)
        found = self._children.get(key)
        if found is None:  # finding a child by its labels takes ten times as long
            children = self.requests.labels(route, method, str(status)), self.seconds.labels(route, method)
            found = self._children[key] = children
        found[0].inc()
        found[1].observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Connections(Collector):
    """Reads the counters of a database when it is asked."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def collect(self) -> Iterator[Metric]:
        counters = self.database.counters
        yield self._retries()
        for field in dataclasses.fields(counters):
            if field.name == "repeated":
                continue
            text = f"Database connections: {field.name}."
            yield CounterMetricFamily(f"broadsheet_database_{field.name}", text, value=getattr(counters, field.name))

    def _retries(self) -> Metric:
        text = "Units of work and reads that were repeated, by the error that asked for it."
        found = CounterMetricFamily("broadsheet_database_retries", text, labels=["code"])
        for code, number in sorted(self.database.counters.repeated.items()):
            found.add_metric([code], number)
        return found
