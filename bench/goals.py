"""What Broadsheet has to reach, as ratios within one run, and what it did. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Ratio, Row, find, ratio

POSTGRESQL, SQLITE = "postgresql", "sqlite"
RATE, TIME, CPU, MEMORY = "requests_per_second", "p50_ms", "server_cpu_us", "memory_mib"


@dataclass(frozen=True, slots=True)
class Side:
    load: str
    variant: str = "broadsheet"


@dataclass(frozen=True, slots=True)
class Goal:
    """`ours` by `theirs`, of `measure`. `at_most` says that less is better."""

    name: str
    ours: Side
    theirs: Side
    required: float
    aim: float | None = None
    measure: str = RATE
    database: str = POSTGRESQL
    at_most: bool = False

    def reached(self, rows: Sequence[Row]) -> Ratio | None:
        """None where it was not measured."""
        ours, theirs = (find(rows, self.database, side.load, side.variant) for side in (self.ours, self.theirs))
        return ratio(ours, theirs, self.measure)

    def is_met(self, found: Ratio) -> bool:
        return found.median <= self.required if self.at_most else found.median >= self.required


def _faster(name: str, load: str, than: str, required: float, aim: float | None, database: str = POSTGRESQL) -> Goal:
    return Goal(name, Side(load), Side(load, than), required, aim, database=database)


FASTAPI, FIVE = "fastapi-async", "pgbench-five"

GOALS = (
    _faster("nested list, same page", "list-same", FASTAPI, 8, 11),
    _faster("nested list, random pages", "list-random", FASTAPI, 7, 10),
    # turned round: theirs by ours, because less of it is better
    Goal(
        "nested list, server CPU of it by ours",
        Side("list-same", "json-in-database"),
        Side("list-same"),
        0.6,
        0.85,
        CPU,
    ),
    _faster("one post by random id", "one", FASTAPI, 10, 20),
    _faster("create a post with three tags and its revision", "create", FASTAPI, 4, 8),
    _faster("transfers between random accounts", "transfer", FIVE, 0.6, 2),
    _faster("transfers of one hot account", "transfer-hot", FIVE, 1, 4),
    _faster("transfers between near-empty accounts", "transfer-low", FIVE, 0.6, 2),
    _faster("sign-in", "sign-in", "argon2", 0.9, None),
    _faster("import with tags and revisions", "import", "asyncpg-copy", 0.5, 0.8),
    Goal(
        "time of the keyset page at 9/10 of the rows",
        Side("page-deep-keyset"),
        Side("page-first"),
        1.2,
        1.05,
        TIME,
        at_most=True,
    ),
    _faster("SQLite: list, same page", "list-same", FASTAPI, 8, 12, SQLITE),
    _faster("SQLite: list, random pages", "list-random", FASTAPI, 8, 12, SQLITE),
    _faster("SQLite: one post", "one", FASTAPI, 8, 15, SQLITE),
    _faster("SQLite: create", "create", FASTAPI, 6, 15, SQLITE),
    _faster("SQLite: list, random pages", "list-random", "pocketbase", 3, 6, SQLITE),
    _faster("SQLite: one post", "one", "pocketbase", 0.8, 1.5, SQLITE),
    Goal("time to the first answer", Side("start"), Side("start", FASTAPI), 1, 0.7, TIME, at_most=True),
    Goal("memory after load", Side("memory"), Side("memory", FASTAPI), 1, 0.8, MEMORY, at_most=True),
)
