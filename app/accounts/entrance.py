"""Coming in by password, in as few statements as it takes: beside the hash they are what a sign-in costs.

The hash is read without a lock and compared outside of any unit of work; `enter` then finds out under the user's lock
whether it was still the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Dialect, insert, select, update

from app.accounts import sessions
from app.accounts.people import METADATA, Account
from app.accounts.sessions import COLUMNS, SESSIONS, Opened
from app.accounts.vault import Vault
from app.data.database import Database
from app.data.rules import SYSTEM, Values
from app.data.session import AppSession
from app.data.steps import Steps
from app.models import Credentials, User
from app.query.driver import Prepared, prepare, slot, unbounded
from app.query.statements import statements_of
from app.settings import AccountSettings

USERS: Any = User.__table__
CREDENTIALS: Any = Credentials.__table__
SHOWN = tuple(name for name in Account.__slots__ if name in USERS.c)


class Found(NamedTuple):
    """Whose password is to be compared. `changed_at` is when it was set, as the driver gives it; `tidy` that none of
    the user's sessions is over.
    """

    id: int
    hashed_password: str | None
    changed_at: Any
    tidy: bool


async def find(database: Database, settings: AccountSettings, name: str) -> Found | None:
    """By address or username, each in its one form; no username holds an @."""
    by = _statements(database.dialect)
    prepared = by.email if "@" in name else by.username
    last = sessions.oldest(settings, database.clock())

    def steps() -> Steps[Found | None]:
        rows = yield prepared.statement((name, last))
        return Found(*rows[0]) if rows else None

    return await database.read(SYSTEM, steps)


async def enter(
    session: AppSession, vault: Vault, settings: AccountSettings, found: Found, permit: Callable[[Account], None]
) -> tuple[Account, Opened] | None:
    """The user as of now, and a new session. None where the user is gone or has set another password meanwhile: then
    the unit of work must be given up. `permit` raises for who may not come in.
    """
    read = statements_of(session).reader(USERS, SHOWN)
    dialect, now = session.dialect, session.unit.now
    by = _statements(dialect)
    row, opened = sessions.drawn(vault, found.id, "password", now)

    def steps() -> Steps[tuple[Account, Opened] | None]:
        users = yield by.entry.statement((now, found.id))
        if not users:
            return None
        if not found.tidy:
            yield from sessions.expiring(dialect, found.id, sessions.oldest(settings, now))
        # with the lock held: what the statement that waited for it saw of another row may be older
        ((changed_at,),) = yield by.session.statement(row)
        if changed_at != found.changed_at:
            return None
        account = _account(read(users[0]))
        permit(account)
        return account, opened

    return await session.run(steps())


def _account(values: Values) -> Account:
    values |= {"role": values["role"].value, "is_anonymous": bool(values["is_anonymous"])}
    values |= {name: msgspec.json.decode(values[name] or "{}") for name in METADATA}
    return Account(**values)


class _Statements(NamedTuple):
    """`entry` locks the user and notes the sign-in, which is no change in the sense of versions and revisions; returns
    the row. `session` adds one and returns when the user's password was set.
    """

    email: Prepared
    username: Prepared
    entry: Prepared
    session: Prepared


@lru_cache(maxsize=2)
def _statements(dialect: Dialect) -> _Statements:
    users, present = USERS.c, USERS.c.deleted_at.is_(None)
    password = CREDENTIALS.c.user_id == users.id
    over = select(SESSIONS.c.id).where(
        SESSIONS.c.user_id == users.id, SESSIONS.c.refreshed_at < slot(1, SESSIONS.c.refreshed_at.type)
    )
    found = select(users.id, CREDENTIALS.c.hashed_password, CREDENTIALS.c.changed_at, ~over.exists())
    found = found.select_from(USERS.outerjoin(CREDENTIALS, password)).where(present)
    named = [found.where(column == slot(0, unbounded(column.type))) for column in (users.email, users.username)]
    entry = update(USERS).values(last_sign_in_at=slot(0, users.last_sign_in_at.type))
    entry = entry.where(users.id == slot(1, users.id.type), present).returning(*(users[name] for name in SHOWN))
    session = insert(SESSIONS).values({name: slot(i, SESSIONS.c[name].type) for i, name in enumerate(COLUMNS)})
    own = CREDENTIALS.c.user_id == slot(COLUMNS.index("user_id"), CREDENTIALS.c.user_id.type)
    session = session.returning(select(CREDENTIALS.c.changed_at).where(own).scalar_subquery())
    return _Statements(*(prepare(statement, dialect, {}) for statement in (*named, entry, session)))
