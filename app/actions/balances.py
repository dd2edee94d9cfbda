"""What an account has and how that came about: for its owner, and for those with the admin's view.

A statement is one SQL statement, so its balance and its entries belong to the same moment. Entries count back from the
balance; that it is the sum of all of them is what `broadsheet doctor --ledger` looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select, true, union_all

from app.data.rules import Principal, Role
from app.data.session import AppSession
from app.errors import BadValue, Forbidden
from app.models import Transfer, User
from app.query.reader import note
from app.query.writer import missing_row

MOST_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One transfer as an account sees it: `amount` is below 0 where credits went out, `balance` what there was after
    it. A grant has no counterparty.
    """

    id: int
    at: datetime
    amount: int
    balance: int
    counterparty_id: int | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Statement:
    """The newest entry first. `next` is the `before` of the entries that follow, None where there are no more."""

    user_id: int
    balance: int
    entries: list[Entry]
    next: int | None


async def balance_of(session: AppSession, user_id: int | None = None) -> int:
    """The credits of the own account, or of the one named, which takes an admin or the secret key.

    Minor units. Raises Forbidden, BadValue (22004), NotFound.
    """
    account = account_of(session.unit.who, user_id, "user_id")
    query = select(session.masking(User.balance.expression)).where(User.id == account)
    found: int | None = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise missing_row(session.catalog.of(User), account)
    return found


async def statement(
    session: AppSession, user_id: int | None = None, before: int | None = None, limit: int = 20
) -> Statement:
    """The transfers of the own account, or of the one named, which takes an admin or the secret key: newest first, each
    with the balance after it. `before` is the last entry's id that was seen.

    Raises Forbidden, BadValue (22004; 22023 for a limit that is not 1 to 1000), NotFound.
    """
    account = account_of(session.unit.who, user_id, "user_id")
    if not 1 <= limit <= MOST_ENTRIES:
        raise BadValue(f"the limit {limit} is not from 1 to {MOST_ENTRIES}", code="22023", hint="Ask for pages.")
    rows = (await session.execute(_statement(session, account, before, limit + 1))).all()
    if not rows:
        raise missing_row(session.catalog.of(User), account)
    entries = _entries(rows[:limit]) if rows[0].id is not None else []
    _note_foreign(session, account, entries)
    return Statement(account, rows[0].total, entries, entries[-1].id if len(rows) > limit else None)


def account_of(who: Principal, named: int | None, parameter: str) -> int:
    """The id of the account that a caller means. Nothing is looked up. Raises Forbidden, and BadValue (22004) where a
    caller without an account names none.
    """
    if who.view is Role.ANONYMOUS:
        raise Forbidden("this takes an account", hint="Sign in.")
    if named is None:
        if who.user_id is None:
            hint = f"Name the account in {parameter}."
            raise BadValue(f"the argument {parameter} is missing: this key has no account", code="22004", hint=hint)
        return who.user_id
    if named != who.user_id and who.view is not Role.ADMIN:
        raise Forbidden("this is the account of somebody else", hint=f"Leave out {parameter}: it is your own then.")
    return named


def _note_foreign(session: AppSession, account: int, entries: Sequence[Entry]) -> None:
    """What a person sees by the admin's view alone is recorded, as the rule of transfers has it."""
    who = session.unit.who
    foreign = [entry.id for entry in entries if who.user_id not in (account, entry.counterparty_id)]
    if foreign and who.role is Role.ADMIN:
        note(session, "transfers", foreign)


# ---- the statement --------------------------------------------------------------------------------------------------


def _statement(session: AppSession, account: int, before: int | None, most: int) -> Select[Any]:
    """A row for each entry, with the account's balance now and what came to it after `before`; one without an entry
    where there is none.
    """
    older = [half if before is None else half.where(Transfer.id < before) for half in _halves(account)]
    newest = [select(half.order_by(Transfer.id.desc()).limit(most).subquery()) for half in older]
    page = union_all(*newest).subquery()
    total = session.masking(User.balance.expression).label("total")
    since = literal(0) if before is None else _since(account, before)
    query = select(total, since.label("since"), page).select_from(User).outerjoin(page, true())
    return query.where(User.id == account).order_by(page.c.id.desc()).limit(most)


def _since(account: int, entry: int) -> ColumnElement[Any]:
    """What has moved with this entry and later. Summed up from the newest to the oldest, which never leaves the range
    of balances: the sum of all that came in alone may be too large for SQLite.
    """
    newer = union_all(*(half.where(Transfer.id >= entry) for half in _halves(account))).subquery()
    moved = func.sum(newer.c.amount).over(order_by=newer.c.id.desc(), rows=(None, 0))
    return func.coalesce(select(moved).order_by(newer.c.id).limit(1).scalar_subquery(), 0)


def _halves(account: int) -> tuple[Any, Any]:
    """What went out and what came in, each by its own index: an OR would look through the transfers of everybody."""
    columns = (Transfer.id, Transfer.created_at, Transfer.note)
    sent = select(*columns, (-Transfer.amount).label("amount"), Transfer.to_user_id.label("counterparty_id"))
    received = select(*columns, Transfer.amount, Transfer.from_user_id.label("counterparty_id"))
    return sent.where(Transfer.from_user_id == account), received.where(Transfer.to_user_id == account)


def _entries(rows: Sequence[Any]) -> list[Entry]:
    """Counted back from the balance after the first of them."""
    entries: list[Entry] = []
    balance = rows[0].total - int(rows[0].since)
    for row in rows:
        entries.append(Entry(row.id, row.created_at, row.amount, balance, row.counterparty_id, row.note))
        balance -= row.amount
    return entries
