"""What was measured, as numbers: rounds, rows, medians, ratios with their spread, and `results.json`. Pure but for its
writing.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.client import Measured


@dataclass(frozen=True, slots=True)
class Round:
    """One variant under one load for some seconds. Costs are microseconds of CPU for each answer."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    server_cpu_us: float
    database_cpu_us: float = 0.0
    client_cpu_us: float = 0.0
    memory_mib: float = 0.0  # resident in the server
    errors: int = 0
    first_error: str = ""

    @classmethod
    def of(cls, measured: Measured) -> Round:
        each = 1e6 / max(measured.requests, 1)
        return cls(
            requests_per_second=measured.requests / measured.seconds,
            p50_ms=measured.p50_ms,
            p99_ms=measured.p99_ms,
            server_cpu_us=measured.server_cpu * each,
            database_cpu_us=measured.database_cpu * each,
            client_cpu_us=measured.client_cpu * each,
            errors=measured.errors,
            first_error=measured.first_error,
        )

    @classmethod
    def failed(cls, reason: str) -> Round:
        return cls(0.0, 0.0, 0.0, 0.0, errors=1, first_error=reason)


NUMBERS: tuple[str, ...] = (
    "requests_per_second",
    "p50_ms",
    "p99_ms",
    "server_cpu_us",
    "database_cpu_us",
    "client_cpu_us",
)
NUMBERS += ("memory_mib",)


@dataclass(slots=True)
class Row:
    """All rounds of one variant under one load."""

    database: str
    load: str
    variant: str
    rounds: list[Round] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(getattr(each, name) for each in self.rounds) if self.rounds else 0.0

    @property
    def errors(self) -> int:
        return sum(each.errors for each in self.rounds)

    @property
    def first_error(self) -> str:
        return next((each.first_error for each in self.rounds if each.first_error), "")

    def as_json(self) -> dict[str, Any]:
        named = {"database": self.database, "load": self.load, "variant": self.variant}
        medians = {name: round(self.median(name), 3) for name in NUMBERS}
        errors = {"errors": self.errors, "first_error": self.first_error}
        return {**named, **medians, **errors, "rounds": [asdict(each) for each in self.rounds]}


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of two rows, round by round: what was measured side by side met the same noise."""

    median: float
    least: float
    most: float


def ratio(ours: Row | None, theirs: Row | None, name: str = "requests_per_second") -> Ratio | None:
    """None where one of them was not measured, or failed."""
    if ours is None or theirs is None or ours.errors or theirs.errors:
        return None
    pairs = zip(ours.rounds, theirs.rounds, strict=False)
    return spread([getattr(one, name) / getattr(other, name) for one, other in pairs if getattr(other, name)])


def spread(values: Sequence[float]) -> Ratio | None:
    return Ratio(statistics.median(values), min(values), max(values)) if values else None


def find(rows: Iterable[Row], database: str, load: str, variant: str) -> Row | None:
    wanted = (database, load, variant)
    return next((row for row in rows if (row.database, row.load, row.variant) == wanted), None)


def write(path: Path, machine: dict[str, Any], rows: Iterable[Row]) -> None:
    content = {"machine": machine, "rows": [row.as_json() for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n")
