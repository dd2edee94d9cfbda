"""Keys and users for tests of keys, and the events that stand."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from app.accounts.api_keys import create
from app.accounts.service import Accounts
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.models import ApiKey, Event, KeyKind, User
from tests.factories import make_user

KEYS: Any = ApiKey.__table__
EVENTS: Any = Event.__table__
USERS: Any = User.__table__


async def made(database: Database, name: str = "app", kind: KeyKind = KeyKind.SECRET, **options: Any) -> str:
    async with database.writing(SYSTEM) as session:
        return await create(session, name, kind, **options)


async def confirm(session: AppSession) -> None:
    """As before a write by HTTP."""
    if (steps := Accounts.confirm(session, session.unit.who)) is not None:
        await session.run(steps)


async def events(database: Database) -> list[Any]:
    async with database.reading(SYSTEM) as session:
        return list((await session.execute(select(EVENTS).order_by(EVENTS.c.id))).all())


async def new_user(database: Database, role: str = "author") -> int:
    async with database.writing(SYSTEM) as session:
        return (await make_user(session, role=role)).id


async def set_user(database: Database, user_id: int, **values: Any) -> None:
    async with database.writing(SYSTEM) as session:
        await session.execute(update(USERS).where(USERS.c.id == user_id).values(values))
