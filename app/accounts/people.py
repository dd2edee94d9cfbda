"""Users as the account API sees them: with what REST never shows. Read and written in units of the system, whose actor
is the user.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, delete, func, select, update

from app.accounts.standing import is_barred
from app.data.base import dumps
from app.data.rules import Principal, Role, Values
from app.data.session import AppSession
from app.models import Credentials, User
from app.query import removal, writer

METADATA = ("user_metadata", "app_metadata")

USERS: Any = User.__table__
CREDENTIALS: Any = Credentials.__table__


@dataclass(frozen=True, slots=True)
class Account:
    """One present user. `hashed_password` is None for who has none."""

    id: int
    uid: UUID
    email: str | None
    username: str
    role: str
    is_active: bool
    is_anonymous: bool
    user_metadata: dict[str, Any]
    app_metadata: dict[str, Any]
    email_confirmed_at: datetime | None
    last_sign_in_at: datetime | None
    banned_until: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int
    hashed_password: str | None = field(default=None, repr=False)
    changed_at: datetime | None = None  # when that password was set

    def is_banned(self, now: datetime) -> bool:
        return is_barred(self.is_active, self.banned_until, now)


def acting(account_id: int | None, session_uid: UUID | None = None) -> Principal:
    """The system, with this user as the actor in stamps and revisions."""
    return Principal(Role.SYSTEM, account_id, session=session_uid)


async def by_uid(session: AppSession, uid: UUID) -> Account | None:
    return await _one(session, USERS.c.uid == uid)


async def by_id(session: AppSession, user_id: int) -> Account | None:
    return await _one(session, USERS.c.id == user_id)


async def lock(session: AppSession, user_id: int) -> None:
    """First of all, in a unit of work that also takes the user's sessions, tokens or password: others take them after
    the user. A statement of its own: what is joined to a row that was waited for is older than the wait.
    """
    await session.execute(select(USERS.c.id).where(USERS.c.id == user_id).with_for_update())


async def by_email(session: AppSession, address: str) -> Account | None:
    """`address` in its one form (`clean_email`)."""
    return await _one(session, USERS.c.email == address)


async def by_name(session: AppSession, name: str) -> Account | None:
    """By address or username, each in its one form; no username holds an @."""
    return await _one(session, (USERS.c.email if "@" in name else USERS.c.username) == name)


async def page(session: AppSession, *, limit: int, offset: int) -> tuple[list[Account], int]:
    """Users by id, and how many there are."""
    present = USERS.c.deleted_at.is_(None)
    total = await session.scalar(select(func.count()).select_from(USERS).where(present))
    rows = await session.execute(_accounts().where(present).order_by(USERS.c.id).limit(limit).offset(offset))
    return [_account(row) for row in rows], total or 0


async def add(session: AppSession, values: Values) -> Account:
    """A new user, by the rule of users. Raises BadValue, Conflict."""
    (row,) = await writer.insert(session, session.catalog.of(User), [_stored(values)])
    return await _required(session, row["id"])


async def change(session: AppSession, user_id: int, values: Values) -> Account:
    """Raises BadValue, Conflict, NotFound."""
    if values:
        await writer.update(session, session.catalog.of(User), [user_id], _stored(values))
    return await _required(session, user_id)


async def remove(session: AppSession, user_id: int, *, for_good: bool) -> None:
    """Soft, or `for_good`: then a user with transfers is anonymised. Raises Conflict while there is a balance."""
    resource = session.catalog.of(User)
    await (removal.purge if for_good else removal.remove)(session, resource, [user_id])


async def note_sign_in(session: AppSession, user_id: int) -> None:
    """No change of the row in the sense of versions and revisions."""
    values = {"last_sign_in_at": session.unit.now}
    await session.execute(update(USERS).where(USERS.c.id == user_id).values(values))


async def renew_hash(session: AppSession, user_id: int, old: str, new: str) -> None:
    """The same password with today's parameters; unless it was changed meanwhile."""
    same = (CREDENTIALS.c.user_id == user_id, CREDENTIALS.c.hashed_password == old)
    await session.execute(update(CREDENTIALS).where(*same).values(hashed_password=new))


async def drop_password(session: AppSession, user_id: int) -> None:
    """The user signs in by other means, or sets a new one."""
    await session.execute(delete(CREDENTIALS).where(CREDENTIALS.c.user_id == user_id))


async def _required(session: AppSession, user_id: int) -> Account:
    found = await by_id(session, user_id)
    assert found is not None, "it was just written"
    return found


async def _one(session: AppSession, known: ColumnElement[bool]) -> Account | None:
    row = (await session.execute(_accounts().where(known, USERS.c.deleted_at.is_(None)))).one_or_none()
    return None if row is None else _account(row)


def _accounts() -> Select[Any]:
    columns = [USERS.c[name] for name in Account.__slots__ if name in USERS.c]
    joined = USERS.outerjoin(CREDENTIALS, CREDENTIALS.c.user_id == USERS.c.id)
    return select(*columns, CREDENTIALS.c.hashed_password, CREDENTIALS.c.changed_at).select_from(joined)


def _account(row: Any) -> Account:
    values = dict(row._mapping)
    values |= {"role": values["role"].value, "is_anonymous": bool(values["is_anonymous"])}
    values |= {name: msgspec.json.decode(values[name] or "{}") for name in METADATA}
    return Account(**values)


def _stored(values: Values) -> Values:
    """Metadata as text, none as NULL."""
    texts = {name: dumps(values[name]) if values[name] else None for name in METADATA if name in values}
    return {**values, **texts}
