"""What is counted of requests, as Prometheus reads it."""

from __future__ import annotations

from app.http.metrics import SECONDS, Metrics


def lines(metrics: Metrics) -> dict[str, float]:
    """The samples by their names and labels."""
    found = (line.rpartition(" ") for line in metrics.text().decode().splitlines() if not line.startswith("#"))
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
