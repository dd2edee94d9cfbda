"""Counters of rates in the database, for limits that several processes share and a restart must not forget: sign-in,
sign-up, recovery.

Each hit is a unit of work of its own. To count inside another one would wait for a second connection, on SQLite for
ever, and be undone with it: count before it begins.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

from sqlalchemy import BigInteger, Double, Index, Integer, Table, bindparam, case, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from app.data.base import Base, text
from app.data.database import Database
from app.data.expired import remove_first
from app.data.rates import SlidingStorage, Window
from app.data.rules import SYSTEM
from app.data.session import AppSession

OFTEN = 100  # hits between two searches for expired rows
CROWD = 1000  # rows that one search removes at most: more than came since the last, little enough for a writer's turn


class RateCounter(Base):
    """What a key spent in one period and in the one before it. `number` counts periods, and `expires` seconds, from
    1970.
    """

    __tablename__ = "rate_counters"
    __table_args__ = (Index(None, "expires"),)

    key: Mapped[str] = mapped_column(text(), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    spent: Mapped[int] = mapped_column(Integer)
    spent_before: Mapped[int] = mapped_column(Integer)
    expires: Mapped[int] = mapped_column(BigInteger)


COUNTERS = cast(Table, RateCounter.__table__)


class DatabaseStorage(SlidingStorage):
    """Time is that of the unit of work, so of this process, read when it is the hit's turn. Raises what
    `database.transact` raises.
    """

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._hits = 0

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        if amount > limit:
            return False
        self._hits += 1
        sweeps = self._hits % OFTEN == 1

        async def hit(session: AppSession) -> bool:
            now = session.unit.now.timestamp()
            number = int(now // expiry)
            values = {"key": key, "n": number, "rest": expiry * (number + 1) - now}
            values |= {"cost": amount, "most": limit, "seconds": expiry}
            passed = (await session.execute(spending(self._database.name), values)).first() is not None
            if sweeps:
                await session.execute(EXPIRED, {"now": int(now)})
            return passed

        return await self._database.transact(SYSTEM, hit)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        async with self._database.reading(SYSTEM) as session:
            now = session.unit.now.timestamp()
            row = (await session.execute(STORED, {"key": key})).first()
        number = int(now // expiry)
        stored = Window(number, 0, 0, expiry) if row is None else Window(*row, expiry)
        return stored.at(number).described(now)

    async def clear(self, key: str) -> None:
        async def remove(session: AppSession) -> None:
            await session.execute(CLEARED, {"key": key})

        await self._database.transact(SYSTEM, remove)


# ---- statements -----------------------------------------------------------------------------------------------------


@lru_cache
def spending(dialect: str) -> Any:
    """Counts the cost and returns a row, or does neither where it does not fit: `Window.at` and `Window.admits` as one
    statement.
    """
    t = COUNTERS.c
    n, seconds = bindparam("n", type_=BigInteger()), bindparam("seconds", type_=BigInteger())
    cost, most = bindparam("cost", type_=Integer()), bindparam("most", type_=Integer())
    ahead = t.number == n + 1  # its writer had read the clock after us
    number = case((ahead, t.number), else_=n)
    rest = case((ahead, seconds), else_=bindparam("rest", type_=Double()))
    spent = case((or_(t.number == n, ahead), t.spent), else_=0)
    before = case((or_(t.number == n, ahead), t.spent_before), (t.number == n - 1, t.spent), else_=0)
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(COUNTERS)
    return (
        insert.values(key=bindparam("key"), number=n, spent=cost, spent_before=0, expires=(n + 2) * seconds)
        .on_conflict_do_update(
            index_elements=[t.key],
            set_={"number": number, "spent": spent + cost, "spent_before": before, "expires": (number + 2) * seconds},
            where=before * rest < (most - cost - spent + 1) * seconds,
        )
        .returning(t.key)
    )


STORED = select(COUNTERS.c.number, COUNTERS.c.spent, COUNTERS.c.spent_before).where(COUNTERS.c.key == bindparam("key"))
CLEARED = delete(COUNTERS).where(COUNTERS.c.key == bindparam("key"))
EXPIRED = remove_first(COUNTERS, COUNTERS.c.expires <= bindparam("now"), COUNTERS.c.expires, CROWD)
