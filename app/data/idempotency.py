"""Keys under which callers send a request again, and what it was answered the first time.

    held = await claim(session, key, until)         # None: ours, go on; the key stays if this unit of work does
    await keep(session, key, Kept(...))

The key is claimed in the unit of work that does what was asked, so it stands if and only if that was done. Whoever
claims it meanwhile waits for the end of that unit. Neither the keys nor the requests are stored, only digests of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Index, Integer, LargeBinary, Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped, mapped_column

from app.data import faults
from app.data.base import Base, Json, UtcTime, string
from app.data.expired import remove_first
from app.data.session import AppSession
from app.errors import Conflict

CROWD = 1000  # expired keys that are removed at once


class IdempotencyKey(Base):
    """One key of one caller at one place. Without a `status` its request is still at work, which nobody else sees; a
    `body` that was too large is NULL.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "expires_at"),)

    id: Mapped[str] = mapped_column(string(64), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(string(64))
    status: Mapped[int | None] = mapped_column(Integer)
    headers: Mapped[Any] = mapped_column(Json, nullable=True)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)


KEYS = cast(Table, IdempotencyKey.__table__)


@dataclass(frozen=True, slots=True)
class Key:
    """`id` stands for the caller, the place and the key, `fingerprint` for all else that was asked: 64 hex digits."""

    id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer. `body` None: it was too large to keep."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | None


async def claim(session: AppSession, key: Key, until: datetime) -> Kept | None:
    """What the request with this key was answered, or None where this is the first one. Raises Conflict (BRD422)
    where another request had the key, BRD409 where it is still at work after the lock time-out.
    """
    bind = session.dialect.name
    values = {"id": key.id, "fingerprint": key.fingerprint, "until": until, "now": session.unit.now}
    try:
        claimed = (await session.execute(_claiming(bind), values)).first()
    except DBAPIError as exc:
        error = faults.translate(exc, session.catalog)
        if error is None or error.code != "55P03" or bind == "sqlite":
            raise
        raise at_work() from exc
    if claimed is not None:
        return None
    row = (await session.execute(FOUND, {"id": key.id})).one()
    if row.fingerprint != key.fingerprint:
        hint = "Send a new key with every new request."
        raise Conflict("this Idempotency-Key came with another request before", code="BRD422", status=422, hint=hint)
    return Kept(row.status, [(name, value) for name, value in row.headers], row.body)


async def keep(session: AppSession, key: Key, kept: Kept) -> None:
    """Writes the answer beside the key that this unit of work has claimed."""
    values = {"key": key.id, "status": kept.status, "headers": kept.headers, "body": kept.body}
    await session.execute(ANSWERED, values)


async def purge_expired(session: AppSession, most: int = CROWD) -> int:
    """Removes expired keys, the oldest first; how many. Those that are being claimed are passed over."""
    result = await session.execute(EXPIRED, {"now": session.unit.now, "most": most})
    return len(result.all())


def at_work() -> Conflict:
    hint = "Wait for its answer, or send it again later."
    return Conflict("a request with this Idempotency-Key is at work", code="BRD409", hint=hint, retry_after=1)


# ---- statements -----------------------------------------------------------------------------------------------------


@lru_cache
def _claiming(dialect: str) -> Any:
    """Inserts the key, or takes over one that has expired, and returns it; returns nothing where another's stands."""
    given = {"fingerprint": bindparam("fingerprint"), "expires_at": bindparam("until", type_=UtcTime())}
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(KEYS)
    return (
        insert.values(id=bindparam("id"), **given)
        .on_conflict_do_update(
            index_elements=[KEYS.c.id],
            set_={**given, "status": None, "headers": None, "body": None},
            where=KEYS.c.expires_at <= bindparam("now", type_=UtcTime()),
        )
        .returning(KEYS.c.id)
    )


FOUND = select(KEYS.c.fingerprint, KEYS.c.status, KEYS.c.headers, KEYS.c.body).where(KEYS.c.id == bindparam("id"))
ANSWERED = (
    update(KEYS)
    .where(KEYS.c.id == bindparam("key"))
    .values(status=bindparam("status"), headers=bindparam("headers"), body=bindparam("body"))
)
OVER = KEYS.c.expires_at <= bindparam("now", type_=UtcTime())
EXPIRED = remove_first(KEYS, OVER, KEYS.c.expires_at, bindparam("most", type_=Integer())).returning(KEYS.c.id)
