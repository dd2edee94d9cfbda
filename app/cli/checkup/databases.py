"""Checks of what a database says of itself: what the role may do there, what its connections refuse, when it gives
up.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

from app.cli.checkup.finding import Finding, fine, grave, refusal, warning
from app.data import engines
from app.data.posture import FileFacts, ServerFacts
from app.settings import Settings

READ_ONLY = "25006"
FARTHEST = timedelta(minutes=5)  # between two clocks
ROLES = "docs/security.md shows how to give the service a role of its own"

# The first releases of SQLite without the WAL-reset bug (sqlite.org/wal.html#walresetbug), by their line.
MENDED = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}
MENDED_SINCE = (3, 51, 3)


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


def server(facts: ServerFacts, settings: Settings) -> Finding:
    if facts.schema is None:
        found = f"PostgreSQL {facts.version}, where {facts.role} may use no schema"
        return refusal("database", found, "run docs/grants.sql as the owner of the tables")
    return fine("database", f"PostgreSQL {facts.version}, UTF8, schema {facts.schema}")


def role(facts: ServerFacts, settings: Settings) -> Finding:
    if powers := list(_powers(facts)):
        return grave(settings, "role", f"{facts.role} {', '.join(powers)}", ROLES)
    return fine("role", f"{facts.role} reads and writes rows, and no more")


def _powers(facts: ServerFacts) -> list[str]:
    powers = {
        "is a superuser": facts.superuser,
        "passes row security by": facts.bypasses_rules,
        f"owns {_some(facts.owned)}": facts.owned,
        f"may create in {' and '.join(facts.creates)}": facts.creates,
        f"may change {_some(facts.rewritable)}": facts.rewritable,
    }
    return [text for text, given in powers.items() if given]


def grants(facts: ServerFacts, settings: Settings) -> Finding:
    if facts.closed:
        found = f"{facts.role} may not use {_some(facts.closed)} as it must"
        return refusal("grants", found, "run docs/grants.sql as the owner of the tables")
    return fine("grants", f"{facts.role} may use every table that is there")


def server_readers(facts: ServerFacts, settings: Settings) -> Finding:
    return _readers(facts.writing, "a pooler keeps our settings from the server: set BROADSHEET_POOLER=transaction")


def clock(facts: ServerFacts, settings: Settings) -> Finding:
    seconds = facts.ahead.total_seconds()
    if abs(facts.ahead) <= FARTHEST:
        return fine("clock", f"the server's is within {abs(seconds):.0f} s of ours")
    where = "ahead of" if seconds > 0 else "behind"
    found = f"the server's is {abs(seconds):.0f} s {where} ours"
    return refusal("clock", found, "set both by NTP: tokens and scheduled posts go by ours")


def time_zone(facts: ServerFacts, settings: Settings) -> Finding:
    if facts.time_zone == "UTC":
        return fine("time-zone", "UTC")
    return refusal("time-zone", facts.time_zone, f"run: ALTER ROLE {facts.role} SET timezone = 'UTC'")


def connections(facts: ServerFacts, settings: Settings) -> Finding:
    needed = 2 * settings.pool_size + 1
    found = f"up to {needed} are opened, for readers, writers and a migration"
    if settings.pooler:
        return fine("connections", f"{found}, of the pooler")
    if needed <= facts.room:
        return fine("connections", f"{found}; {facts.role} may open {facts.room}")
    advice = "lower BROADSHEET_POOL_SIZE, or raise max_connections or the role's CONNECTION LIMIT"
    return warning("connections", f"{found}, but {facts.role} may open {facts.room}", advice)


def pooler(facts: ServerFacts, settings: Settings) -> Finding:
    if not facts.pooled or settings.pooler:
        return fine("pooler", settings.pooler or "none")
    found = "a pooler answers, and may give each transaction another connection"
    return warning("pooler", found, "set BROADSHEET_POOLER=transaction, or lead the database URL to the server itself")


SERVER_CHECKS: tuple[Callable[[ServerFacts, Settings], Finding], ...] = (
    server,
    role,
    grants,
    server_readers,
    clock,
    time_zone,
    connections,
    pooler,
)


# ---- SQLite ---------------------------------------------------------------------------------------------------------


def library(facts: FileFacts) -> Finding:
    version = ".".join(map(str, facts.version))
    if facts.version >= MENDED_SINCE or facts.version >= MENDED.get(facts.version[:2], MENDED_SINCE):
        return fine("database", f"SQLite {version}")
    found = f"SQLite {version} has the WAL-reset bug, which can damage a file that several programs write to"
    return warning("database", found, "use 3.51.3 or newer, and let one process alone write to the file")


def connection(facts: FileFacts) -> Finding:
    found = f"journal_mode {facts.journal_mode}, foreign_keys {facts.foreign_keys:d}, synchronous {facts.synchronous}"
    if facts.journal_mode == "wal" and facts.foreign_keys and facts.synchronous >= 2:
        return fine("connection", found)
    return refusal("connection", found, "it must be wal, 1 and 2: move the file to a disk that can share memory")


def file_readers(facts: FileFacts) -> Finding:
    return _readers(facts.writing, "they must have query_only=on")


def damage(facts: FileFacts) -> Finding | None:
    if facts.damage is None:
        return None
    if not facts.damage:
        return fine("quick-check", "the file is whole")
    return refusal("quick-check", f"the file is damaged: {facts.damage[0]}", "put it back from a copy")


FILE_CHECKS: tuple[Callable[[FileFacts], Finding | None], ...] = (library, connection, file_readers, damage)


# ---- both -----------------------------------------------------------------------------------------------------------


def ladder(facts: ServerFacts | FileFacts, settings: Settings, grace: float) -> Finding:
    """Each gives up before the next does, so that its own error is what the caller learns. Seconds."""
    if isinstance(facts, FileFacts):
        rungs = {"lock": float(engines.BUSY), "statement": settings.limits.statement_service}
    else:
        rungs = {
            "lock": facts.lock_timeout,
            "statement": facts.statement_timeout,
            "driver": float(engines.COMMAND),
        }
    rungs["stop"] = grace
    found = ", ".join(f"{name} {seconds:g} s" if seconds else f"{name} without end" for name, seconds in rungs.items())
    if all(rungs.values()) and all(lower < upper for lower, upper in pairwise(rungs.values())):
        return fine("time-outs", found)
    return warning("time-outs", found, "each must be shorter than the next")


def schema(revision: str | None, newest: str, *, changes: bool, migrates: bool) -> Finding:
    """`changes`: the schema can be migrated from here. `migrates`: that is about to happen."""
    at = f"at revision {revision}" if revision else "without tables"
    if revision == newest:
        return fine("schema", at)
    if revision is not None and revision > newest:
        return refusal("schema", f"{at}, and this program knows {newest}", "install the program that made it")
    if not changes:
        advice = "set BROADSHEET_MIGRATE_URL to the owner's, or run: broadsheet migrate, with that"
        return refusal("schema", f"{at}, {newest} is needed, and this role may not change it", advice)
    if migrates:
        return fine("schema", f"{at}, on its way to {newest}")
    return refusal("schema", f"{at}, and {newest} is needed", "run: broadsheet migrate (serve does it by itself)")


def _readers(code: str | None, advice: str) -> Finding:
    if code == READ_ONLY:
        return fine("readers", "cannot write")
    found = "reading connections can write" if code is None else f"reading connections answer a write with {code}"
    return refusal("readers", found, advice)


def _some(names: list[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
