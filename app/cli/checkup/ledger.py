"""The check of the books: is every balance the sum of its transfers? One statement, so all figures are of one moment,
also while the service moves credits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, func, select, true, union_all

from app.cli.checkup.finding import Finding, fine, refusal
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import Transfer, User

NAMED = 5  # accounts that a finding names
PART = 2**32  # SQLite adds in 64 bits: sums are taken of the two halves of a number

USERS: Any = User.__table__  # of the tables: removed users have transfers too
TRANSFERS: Any = Transfer.__table__


@dataclass(frozen=True, slots=True)
class Account:
    """An account whose balance is not what its transfers come to."""

    user_id: int
    username: str
    balance: int
    booked: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """`wrong` accounts in all, the `first` of them by id. Minor units."""

    users: int
    transfers: int
    granted: int
    balances: int
    wrong: int
    first: tuple[Account, ...]


async def read_ledger(database: Database) -> Ledger:
    """Raises BroadsheetError, DBAPIError."""
    async with database.reading(SYSTEM) as session:
        rows = (await session.execute(_statement())).all()
    total = rows[0]
    first = [Account(r.id, r.username, r.balance, _whole(r.high, r.low)) for r in rows if r.id is not None]
    return Ledger(
        total.users,
        total.transfers,
        _whole(total.granted_high, total.granted_low),
        _whole(total.balances_high, total.balances_low),
        total.wrong or 0,
        tuple(first),
    )


def ledger(facts: Ledger) -> Finding:
    books = f"{facts.users} users, {facts.transfers} transfers, {facts.granted} granted"
    if not facts.wrong and facts.granted == facts.balances:
        return fine("ledger", f"{books}: every balance is the sum of its transfers")
    named = [f"user {a.user_id} ({a.username}) has {a.balance}, transfers say {a.booked}" for a in facts.first]
    found = f"{books}, {facts.balances} in all balances, {facts.wrong} of which are not the sum of their transfers"
    return refusal("ledger", ": ".join(filter(None, (found, ", ".join(named)))), "see docs/credits.md")


def _statement() -> Select[Any]:
    """The totals, once for each of the first wrong accounts, and once where there is none."""
    wrong = _wrong_accounts()
    granted = TRANSFERS.c.from_user_id.is_(None)
    totals = select(
        select(func.count()).select_from(USERS).scalar_subquery().label("users"),
        select(func.count()).select_from(TRANSFERS).scalar_subquery().label("transfers"),
        *(half.label(f"balances_{name}") for name, half in _halves(USERS.c.balance).items()),
        *(
            select(half).where(granted).scalar_subquery().label(f"granted_{name}")
            for name, half in _halves(TRANSFERS.c.amount).items()
        ),
    ).subquery()
    return select(totals, wrong).select_from(totals.outerjoin(wrong, true())).order_by(wrong.c.id)


def _wrong_accounts() -> Subquery:
    received = select(TRANSFERS.c.to_user_id.label("user_id"), TRANSFERS.c.amount)
    sent = select(TRANSFERS.c.from_user_id, -TRANSFERS.c.amount)
    moved = union_all(received, sent).subquery()
    halves = (half.label(name) for name, half in _halves(moved.c.amount).items())
    booked = select(moved.c.user_id, *halves).group_by(moved.c.user_id).subquery()
    high, low = (func.coalesce(booked.c[name], 0).label(name) for name in ("high", "low"))
    query = select(USERS.c.id, USERS.c.username, USERS.c.balance, high, low, func.count().over().label("wrong"))
    query = query.select_from(USERS.outerjoin(booked, booked.c.user_id == USERS.c.id))
    return query.where(USERS.c.balance != high * PART + low).order_by(USERS.c.id).limit(NAMED).subquery()


def _halves(column: ColumnElement[int]) -> dict[str, ColumnElement[Any]]:
    return {"high": func.sum(column // PART), "low": func.sum(column % PART)}


def _whole(high: Any, low: Any) -> int:
    return int(high or 0) * PART + int(low or 0)
