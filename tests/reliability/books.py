"""What stands in the database of a bank, read by plain SQL past the service, and whether it is what clients were told:
the second half of the checker.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.data import engines
from app.data.database import Database
from app.data.rules import SYSTEM
from tests.factories import make_transfer, make_user
from tests.reliability.history import History, Order, Sent, Verdict, some
from tests.reliability.trial import Figures

RICH, RICHES = 20, 1000  # accounts, and what each has in the beginning
POOR, POVERTY = 3, 3  # those whose transfers are mostly refused


@dataclass(frozen=True, slots=True)
class Accounts:
    """The ids of users with credits, and their balances in the beginning, for which grants stand."""

    rich: tuple[int, ...]
    poor: tuple[int, ...]
    opening: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    sender: int | None
    receiver: int
    amount: int


@dataclass(frozen=True, slots=True)
class Books:
    """`transfers` by their notes; grants have none. `unfinished` counts keys whose answer is not there, `damage` is
    what the database itself complains of.
    """

    balances: Mapping[int, int]
    transfers: Mapping[str | None, list[Row]]
    unfinished: int
    damage: tuple[str, ...]


async def open_accounts(database: Database) -> Accounts:
    opening = {}
    async with database.writing(SYSTEM) as session:
        for number in range(RICH + POOR):
            balance = RICHES if number < RICH else POVERTY
            made = await make_user(session, balance=balance)
            await make_transfer(session, None, made, balance)
            opening[made.id] = balance
    ids = tuple(opening)
    return Accounts(ids[:RICH], ids[RICH:], opening)


async def read_books(url: str) -> Books:
    engine = create_async_engine(engines.parse(url), poolclass=NullPool)
    async with engine.connect() as connection:
        balances = {row.id: row.balance for row in await connection.execute(text("SELECT id, balance FROM users"))}
        transfers: dict[str | None, list[Row]] = defaultdict(list)
        found = await connection.execute(text("SELECT id, from_user_id, to_user_id, amount, note FROM transfers"))
        for id_, sender, receiver, amount, note in found:
            transfers[note].append(Row(id_, sender, receiver, amount))
        unfinished = await connection.scalar(text("SELECT count(*) FROM idempotency_keys WHERE status IS NULL"))
        damage = await _damage(connection)
    await engine.dispose()
    return Books(balances, transfers, int(unfinished or 0), damage)


async def _damage(connection: AsyncConnection) -> tuple[str, ...]:
    if connection.dialect.name != "sqlite":
        return ()
    said: list[Any] = list(await connection.scalars(text("PRAGMA integrity_check")))
    broken = await connection.execute(text("PRAGMA foreign_key_check"))
    return tuple(str(line) for line in said if line != "ok") + tuple(str(tuple(row)) for row in broken)


# ---- invariants -----------------------------------------------------------------------------------------------------


def check_books(books: Books, opening: Mapping[int, int], figures: Figures) -> None:
    """The sum is the opening one, no balance is below zero, each is the sum of its transfers, nothing is half done."""
    total, found = sum(opening.values()), sum(books.balances.values())
    figures.expect(found == total, f"in the end there are {found} credits, not {total}")
    some(figures, [f"user {user} has {balance}" for user, balance in books.balances.items() if balance < 0])
    entries: Counter[int] = Counter()
    for row in (row for rows in books.transfers.values() for row in rows):
        entries[row.receiver] += row.amount
        if row.sender is not None:
            entries[row.sender] -= row.amount
    wrong = {user: balance for user, balance in books.balances.items() if balance != entries[user]}
    some(figures, [f"user {user} has {balance}, the transfers say {entries[user]}" for user, balance in wrong.items()])
    figures.expect(not books.unfinished, f"{books.unfinished} keys are still in progress")
    some(figures, list(books.damage))


def check_orders(history: History, books: Books, figures: Figures) -> None:
    """What was acknowledged is there once with its amount, what was refused or failed is not, what nobody knows of is
    there once or not at all, and nothing else is.
    """
    lost, doubled, wrong = [], [], []
    for sent in history.sent:
        rows = books.transfers.get(sent.order.note, [])
        if len(rows) > 1:
            doubled.append(f"{_name(sent)} was done {len(rows)} times")
        elif sent.verdict is Verdict.KEPT and not rows:
            lost.append(f"{_name(sent)} is lost")
        elif sent.verdict in (Verdict.REFUSED, Verdict.FAILED) and rows:
            wrong.append(f"{_name(sent)} was done all the same")
        if sent.verdict is Verdict.KEPT and rows and not any(_is_of(row, sent) for row in rows):
            wrong.append(f"{_name(sent)} was answered with row {sent.row}, and is {rows}")
    known = {sent.order.note for sent in history.sent}
    strange = [f"nobody ordered {rows}" for note, rows in books.transfers.items() if note and note not in known]
    for found in (lost, doubled, wrong, strange):
        some(figures, found)
    figures.counts["lost"] = len(lost)
    figures.counts["doubled"] = len(doubled)


def _name(sent: Sent) -> str:
    return f"order {sent.order.note} ({sent.verdict})"


def _is_of(row: Row, sent: Sent) -> bool:
    order = Order(row.sender or 0, row.receiver, row.amount, sent.order.note)
    return row.id == sent.row and order == sent.order
