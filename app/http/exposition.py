"""Metrics as Prometheus reads them, by its own library. Imported when the first scraper asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from app.data.counters import PoolCounters
from app.http.metrics import SECONDS, Metrics

BOUNDS = (*map(floatToGoString, SECONDS), "+Inf")


def exposed(metrics: Metrics) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Everything(metrics))
    return generate_latest(registry)


class _Everything(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield self._requests()
        yield self._seconds()
        if self.metrics.database is not None:
            counters = self.metrics.database.counters
            yield _retries(counters)
            yield from _connections(counters)
        yield from self._caches()

    def _caches(self) -> Iterator[Metric]:
        now = GaugeMetricFamily("broadsheet_cache_entries", "What a cache holds now.", labels=["cache"])
        most = GaugeMetricFamily("broadsheet_cache_entries_max", "What it holds at most.", labels=["cache"])
        for name, (number, bound) in self.metrics.caches().items():
            now.add_metric([name], number)
            most.add_metric([name], bound)
        yield from (now, most)

    def _requests(self) -> Metric:
        labels = ["route", "method", "status"]
        found = CounterMetricFamily("broadsheet_requests", "Answered requests.", labels=labels)
        for (route, method, status), number in self.metrics.requests.items():
            found.add_metric([route, method, str(status)], number)
        return found

    def _seconds(self) -> Metric:
        text = "Time from request to the end of its answer."
        found = HistogramMetricFamily("broadsheet_request_seconds", text, labels=["route", "method"])
        for (route, method), times in self.metrics.times.items():
            buckets = zip(BOUNDS, accumulate(times.numbers), strict=True)
            found.add_metric([route, method], list(buckets), times.total)
        return found


def _retries(counters: PoolCounters) -> Metric:
    text = "Units of work and reads that were repeated, by the error that asked for it."
    found = CounterMetricFamily("broadsheet_database_retries", text, labels=["code"])
    for code, number in sorted(counters.repeated.items()):
        found.add_metric([code], number)
    return found


def _connections(counters: PoolCounters) -> Iterator[Metric]:
    for field in dataclasses.fields(counters):
        if field.name != "repeated":
            text = f"Database connections: {field.name}."
            yield CounterMetricFamily(f"broadsheet_database_{field.name}", text, value=getattr(counters, field.name))
