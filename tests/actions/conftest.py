"""Four accounts, and what stands in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Table, select, update

from app.actions import grant, transfer
from app.data.database import Database
from app.data.rules import SYSTEM, Principal, user
from app.data.session import AppSession
from app.models import Transfer, User
from tests.conftest import Clock
from tests.factories import make_user

Do = Callable[[AppSession], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Bank:
    """Ids of a member with 100, a member with 20, an admin with 1, and a member who is not active, with nothing.

    What they have was granted by the first three transfers.
    """

    database: Database
    ada: int
    bob: int
    root: int
    idle: int

    @property
    def as_ada(self) -> Principal:
        return user(self.ada)

    @property
    def as_root(self) -> Principal:
        return user(self.root, "admin")

    async def do(self, who: Principal, work: Do) -> Any:
        """As one unit of work, which is kept."""
        return await self.database.transact(who, work)

    async def balances(self) -> list[int]:
        """Of Ada, Bob, the admin."""
        held = dict(await self._rows(select(USERS.c.id, USERS.c.balance)))
        return [held[id] for id in (self.ada, self.bob, self.root)]

    async def moved(self) -> list[tuple[int | None, int, int]]:
        """(from, to, amount) of all transfers but the first three."""
        query = select(TRANSFERS.c.from_user_id, TRANSFERS.c.to_user_id, TRANSFERS.c.amount).order_by(TRANSFERS.c.id)
        return [tuple(row) for row in await self._rows(query)][3:]

    async def set_user(self, id: int, **values: Any) -> None:
        """Past the rules."""
        async with self.database.writer.begin() as connection:
            await connection.execute(update(USERS).where(USERS.c.id == id).values(values))

    async def _rows(self, query: Any) -> list[Any]:
        async with self.database.writer.connect() as connection:
            return list((await connection.execute(query)).all())


async def sent(bank: Bank, who: Principal, to: int, amount: int, **more: Any) -> int:
    """The id of a transfer that was made."""

    async def work(session: AppSession) -> int:
        return await transfer(session, to_user_id=to, amount=amount, **more)

    made: int = await bank.do(who, work)
    return made


async def granted(bank: Bank, who: Principal, to: int, amount: int) -> int:
    async def work(session: AppSession) -> int:
        return await grant(session, to_user_id=to, amount=amount)

    made: int = await bank.do(who, work)
    return made


def table_of(model: type[Any]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


USERS, TRANSFERS = table_of(User), table_of(Transfer)


@pytest.fixture
async def bank(database: Database, clock: Clock) -> Bank:
    async with database.writing(SYSTEM) as session:
        ada, bob = await make_user(session, username="ada"), await make_user(session, username="bob")
        root = await make_user(session, username="root", role="admin")
        idle = await make_user(session, username="idle", is_active=False)
        for account, amount in ((ada, 100), (bob, 20), (root, 1)):
            await grant(session, to_user_id=account.id, amount=amount)
        return Bank(database, ada.id, bob.id, root.id, idle.id)
