"""What is counted of requests and kept in caches, as Prometheus reads it."""

from __future__ import annotations

import httpx2

from app.http.metrics import SECONDS, Metrics
from app.settings import Settings


def lines(metrics: Metrics) -> dict[str, float]:
    return samples(metrics.text().decode())


def samples(text: str) -> dict[str, float]:
    """Values by their names and labels."""
    found = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in found}


def test_requests_are_counted_by_route_method_and_status() -> None:
    metrics = Metrics()
    for status in (200, 200, 404):
        metrics.count("/{resource}", "GET", status, 0.001)
    assert {name: value for name, value in lines(metrics).items() if "requests_total" in name} == {
        'broadsheet_requests_total{method="GET",route="/{resource}",status="200"}': 2,
        'broadsheet_requests_total{method="GET",route="/{resource}",status="404"}': 1,
    }


def test_methods_that_nobody_knows_are_one_series() -> None:
    metrics = Metrics()
    for method in ("BREW", "PROPFIND"):
        metrics.count("/", method, 405, 0.001)
    assert lines(metrics)['broadsheet_requests_total{method="other",route="/",status="405"}'] == 2


def test_times_fill_every_bucket_from_their_own_on() -> None:
    """A time that is equal to a bound is within it; the last bucket has all."""
    metrics = Metrics()
    for seconds in (0.0, 0.001, 0.002, 10.0, 11.0):
        metrics.count("/", "GET", 200, seconds)
    found = lines(metrics)
    prefix = 'broadsheet_request_seconds_bucket{le="%s",method="GET",route="/"}'
    at_most = {bound: found[prefix % bound] for bound in (*map(str, SECONDS), "+Inf")}
    assert list(at_most.values()) == [2, 3, *[3] * (len(SECONDS) - 3), 4, 5]
    assert found['broadsheet_request_seconds_count{method="GET",route="/"}'] == 5
    assert found['broadsheet_request_seconds_sum{method="GET",route="/"}'] == 21.003


def test_applications_do_not_share_their_counts() -> None:
    one, other = Metrics(), Metrics()
    one.count("/", "GET", 200, 0.001)
    assert lines(other) == {}


async def test_caches_show_how_full_they_are_and_may_be(client: httpx2.AsyncClient, settings: Settings) -> None:
    for number in range(3):
        await client.get(f"/posts?id=lt.{number}")
    found = samples((await client.get("/metrics")).text)
    assert found['broadsheet_cache_entries{cache="plans by shape"}'] == 1, "they differ in their values alone"
    assert found['broadsheet_cache_entries_max{cache="plans by shape"}'] == settings.limits.shapes
    assert found['broadsheet_cache_entries{cache="compiled"}'] == 1
