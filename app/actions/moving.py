"""The statements that move credits on PostgreSQL.

`moving` is one transfer as a whole: both accounts are locked in ascending id, the debit's own condition says whether
there is enough, only a debit makes a credit, and only a credit a row of transfers. A condition in the statement that
locks would not do: it is checked on rows that others may have changed since the statement began, while an UPDATE checks
its own once more on what it finds then.

`booking` writes what became of accounts that are locked already, however many.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Select,
    Table,
    TableValuedAlias,
    and_,
    case,
    column,
    exists,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.types import TypeEngine

from app.query.driver import slot

SENDER, RECEIVER, AMOUNT, ROOM, NOTE, AT, BY = range(7)  # the slots; ROOM is what a receiver may have before


def moving(users: Table, transfers: Table, *, granted: bool) -> Select[Any]:
    """(id of the new row or NULL, then id, balance, is_active and deleted_at before) for each account that there is.
    Nothing is written where the id is NULL. What is `granted` comes from nowhere, and has no sender.
    """
    key, balance = users.c.id, users.c.balance
    sender, receiver = slot(SENDER, key.type), slot(RECEIVER, key.type)
    amount, room = slot(AMOUNT, balance.type), slot(ROOM, balance.type)
    acts = and_(users.c.is_active, users.c.deleted_at.is_(None))
    ids = [receiver] if granted else [sender, receiver]
    columns = (key, balance, users.c.is_active, users.c.deleted_at)
    accounts = select(*columns).where(key.in_(ids)).order_by(key).with_for_update(key_share=True).cte("accounts")
    a = accounts.c
    # an aggregate reads, and so locks, all of them before it is compared; EXISTS would stop at the first
    fits = case((and_(a.id == receiver, a.is_active, a.deleted_at.is_(None), a.balance <= room), 1))
    takes = select(func.count(fits)).scalar_subquery() == 1
    credit = update(users).values(balance=balance_after(users, accounts, receiver, amount)).where(key == receiver)
    if granted:
        credit = credit.where(acts, balance <= room, takes)
    else:
        debit = update(users).values(balance=balance_after(users, accounts, sender, -amount))
        debit = debit.where(key == sender, balance >= amount, acts, takes)
        credit = credit.where(exists().select_from(debit.returning(key).cte("debit")))
    written = {
        transfers.c.from_user_id: None if granted else sender,
        transfers.c.to_user_id: receiver,
        transfers.c.amount: amount,
        transfers.c.note: slot(NOTE, transfers.c.note.type),
        transfers.c.created_at: slot(AT, transfers.c.created_at.type),
        transfers.c.created_by: slot(BY, transfers.c.created_by.type),
    }
    values: list[Any] = list(written.values())
    row = select(*values).select_from(credit.returning(key).cte("credit"))
    made = insert(transfers).from_select(list(written), row).returning(transfers.c.id).cte("made")
    return select(made.c.id, *a).select_from(accounts.outerjoin(made, true())).order_by(a.id)


def balance_after(users: Table, accounts: CTE, key: ColumnElement[int], by: ColumnElement[int]) -> ColumnElement[int]:
    """Of the account with this key: what stands there when it is written, not what was read before."""
    return users.c.balance + by


def booking(users: Table, transfers: Table, columns: tuple[str, ...]) -> Select[Any]:
    """(how many balances were written, the ids of the new rows in their order). The slots are lists: the accounts, what
    they held, what they hold now; then these columns of the transfers, one list each. A balance that is not what the
    account held is not written.
    """
    names = ("id", "old", "new")
    types = (users.c.id.type, users.c.balance.type, users.c.balance.type)
    accounts = _listed(names, types, at=0)
    match = and_(users.c.id == accounts.c.id, users.c.balance == accounts.c.old)
    written = update(users).values(balance=accounts.c.new).where(match).returning(users.c.id).cte("written")
    rows = _listed(columns, tuple(transfers.c[name].type for name in columns), at=len(names))
    given = select(*[rows.c[name] for name in columns]).order_by(rows.c.place)
    made = insert(transfers).from_select(columns, given).returning(transfers.c.id).cte("made")
    many = select(func.count()).select_from(written).scalar_subquery()
    return select(many, func.array(select(made.c.id).order_by(made.c.id).scalar_subquery()))


def _listed(names: tuple[str, ...], types: tuple[TypeEngine[Any], ...], *, at: int) -> TableValuedAlias:
    """Rows of lists that travel as one parameter each, and their `place`."""
    lists = [slot(at + i, ARRAY(type_)) for i, type_ in enumerate(types)]
    columns = [column(name, type_) for name, type_ in zip(names, types, strict=True)]
    return func.unnest(*lists).table_valued(*columns, with_ordinality="place", name=f"given_{at}").render_derived()
