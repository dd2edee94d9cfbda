"""Rows known by a name in a unique column: found, or made where they are missing. Safe when others make the same at
once.
"""

from __future__ import annotations

from collections.abc import Collection

from app.data import audit
from app.data.base import Base
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import Unavailable
from app.query.driver import Binds
from app.query.extras import Key
from app.query.statements import ANY, statements_of


async def find_or_insert(session: AppSession, model: type[Base], column: str, names: Collection[str]) -> dict[str, Key]:
    """The keys of the rows with these names."""
    return await session.run(found_or_inserted(session, model, column, names))


def found_or_inserted(
    session: AppSession, model: type[Base], column: str, names: Collection[str]
) -> Steps[dict[str, Key]]:
    wanted = set(names)
    if not wanted:
        return {}
    resource, unit = session.catalog.of(model), session.unit
    statements = statements_of(session)
    find = statements.named(resource, unit.who.view, column).statement((), Binds.of(unit.who, unit.now), sorted(wanted))
    found: dict[str, Key] = dict((yield find))
    missing = sorted(wanted - found.keys())
    if not missing:
        return found
    if unit.who.view not in resource.rule.inserts:
        raise audit.denied(resource)
    rows = [audit.inserted(resource, {column: name}, unit) for name in missing]
    prepared = statements.insert(resource.table, tuple(rows[0]), ANY)
    yield from statements.each(prepared, [tuple(row.values()) for row in rows])
    found = dict((yield find))
    if wanted - found.keys():  # removed or renamed since it was in the way
        raise Unavailable("a row was removed at the same time", code="40001", retry_after=1)
    return found
