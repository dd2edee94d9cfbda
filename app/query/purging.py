"""Deletes for good what was soft-deleted long ago: which rows are due, and a batch of them as one unit of work.

    async for keys in due(database, resource, before): ...
    outcome = await purge_due(session, resource, keys, before)

A row is looked at again when it is locked. What was restored meanwhile stays, and so does a row as long as one of
those that would go with it is not due itself: a restored child keeps its parent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from app.data import audit
from app.data.catalog import Catalog, Resource
from app.data.database import Database
from app.data.rules import SYSTEM, Row, Values
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import Conflict
from app.query.extras import Key
from app.query.removal import purge
from app.query.statements import WriteStatements, statements_of

BATCH = 200  # rows: SQLite's one writer is taken for a tenth of a second


@dataclass(frozen=True, slots=True)
class Purged:
    """`retired` rows were anonymised, because others must keep pointing at them; `left` ones stay as they are."""

    deleted: int = 0
    retired: int = 0
    left: int = 0

    def __add__(self, other: Purged) -> Purged:
        return Purged(self.deleted + other.deleted, self.retired + other.retired, self.left + other.left)


def children_first(catalog: Catalog) -> list[Resource]:
    """The resources that are soft-deleted, each after those that a purge of it would take along."""
    ordered: dict[str, Resource] = {}
    visited: set[str] = set()

    def add(resource: Resource) -> None:
        if resource.name not in visited:
            visited.add(resource.name)
            for name in resource.rule.cascades:
                add(catalog.of(resource.relations[name].target))
            ordered[resource.name] = resource

    for resource in filter(audit.is_soft, catalog):
        add(resource)
    return list(ordered.values())


async def due(database: Database, resource: Resource, before: datetime) -> AsyncIterator[list[Key]]:
    """The keys of what was deleted before that moment, in batches. Rows that are anonymised already are passed over."""
    table, retire = resource.table, resource.rule.retire
    key = table.c[resource.key[0]]
    query = select(*(table.columns if retire else [key])).where(table.c.deleted_at < before).order_by(key).limit(BATCH)
    after: Any = None
    while True:
        async with database.reading(SYSTEM) as session:
            rows = (await session.execute(query if after is None else query.where(key > after))).mappings().all()
        if not rows:
            return
        after = rows[-1][key.name]
        found = map(dict, rows)
        if keys := [row[key.name] for row in found if retire is None or _would_change(row, retire(row))]:
            yield keys


async def purge_due(session: AppSession, resource: Resource, keys: Sequence[Key], before: datetime) -> Purged:
    """Deletes those of the rows that are still due."""
    statements = statements_of(session)
    (key,) = resource.key
    rows = await session.run(_locked(statements, resource, key, keys))
    ready = [
        row[key] for row in await session.run(_ready(statements, resource, rows, before)) if _may_go(resource, row)
    ]
    await purge(session, resource, ready)
    retired = len(await session.run(_locked(statements, resource, key, ready)))
    return Purged(len(ready) - retired, retired, len(rows) - len(ready))


def _would_change(row: Row, values: Values) -> bool:
    return any(row[name] != value for name, value in values.items())


def _may_go(resource: Resource, row: Row) -> bool:
    try:
        resource.rule.may_remove(row)
    except Conflict:
        return False
    return True


# ---- steps ----------------------------------------------------------------------------------------------------------


def _locked(statements: WriteStatements, resource: Resource, by: str, keys: Sequence[Key]) -> Steps[list[Values]]:
    rows = yield statements.locked_all(resource.table, by).statement((), None, list(keys))
    return [statements.reader(resource.table)(row) for row in rows]


def _ready(
    statements: WriteStatements, resource: Resource, rows: Sequence[Values], before: datetime
) -> Steps[list[Values]]:
    """The rows that are due, with all that would go with them."""
    ready = [row for row in rows if row["deleted_at"] is not None and row["deleted_at"] < before]
    for name in resource.rule.cascades if ready else ():
        relation = resource.relations[name]
        child = statements.catalog.of(relation.target)
        children = yield from _locked(statements, child, relation.remote, [row[relation.local] for row in ready])
        gone = yield from _ready(statements, child, children, before)
        keys = {row[child.key[0]] for row in gone}
        kept = {row[relation.remote] for row in children if row[child.key[0]] not in keys}
        ready = [row for row in ready if row[relation.local] not in kept]
    return ready
