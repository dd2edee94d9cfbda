"""Events: what happened that is no change of a row, written by the service alone and read by admins.

    await record(session, Kind.role_changed, subject="user 7", details={"role": ["member", "author"]})

Nobody's rule lets events be written, so they are inserted beneath the rules. `details` never holds a secret: callers
give names, ids and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Any

from sqlalchemy import Table, insert

from app import logs
from app.data.database import Database
from app.data.rules import Principal
from app.data.session import AppSession
from app.models import Event
from app.query.reader import Noted

NAMED = 20  # keys of rows that an event names
LONGEST_ADDRESS = 45  # characters of an IPv6 address at most; a proxy may have sent anything


class Kind(StrEnum):
    sign_in_failures = auto()
    role_changed = auto()
    key_created = auto()
    key_rotated = auto()
    key_revoked = auto()
    revoked_key_used = auto()
    refresh_token_reused = auto()
    foreign_rows_read = auto()
    signing_key_rotated = auto()


async def record(
    session: AppSession,
    kind: Kind,
    *,
    subject: str | None = None,
    details: Mapping[str, Any] | None = None,
    key_id: str | None = None,
) -> None:
    """Writes an event in the session's unit of work: it stays if that does. The actor is the unit's caller, and so is
    the key unless given.
    """
    unit, address = session.unit, logs.address.get()
    row = {
        "at": unit.now,
        "kind": kind.value,
        "actor_id": unit.who.user_id,
        "key_id": unit.who.key_id if key_id is None else key_id,
        "address": None if address is None else address[:LONGEST_ADDRESS],
        "request_id": unit.request_id,
        "subject": subject,
        "details": details,
    }
    table = Event.__table__
    assert isinstance(table, Table)
    await session.execute(insert(table).values(row))


async def record_alone(
    database: Database, who: Principal, kind: Kind, *, subject: str | None = None, key_id: str | None = None
) -> None:
    """Writes an event in a unit of work of its own, for what has none or is undone. Not to be called inside another,
    which on SQLite would wait for itself.
    """

    async def work(session: AppSession) -> None:
        await record(session, kind, subject=subject, key_id=key_id)

    await database.transact(who, work, request_id=logs.request_id.get())


async def record_foreign_rows(session: AppSession, noted: Mapping[str, Noted]) -> None:
    """What a person with the admin's view has read of others, by table, as one event."""
    names = sorted(noted)
    details = {name: {"rows": noted[name].rows, "ids": [*noted[name].keys][:NAMED]} for name in names}
    await record(session, Kind.foreign_rows_read, subject=", ".join(names), details=details)
