"""Credits move: from one account to another (`transfer`), or from nowhere (`grant`). Amounts are whole minor units.

The accounts are locked in ascending id, a debit is made only of what is there, and the row of transfers is what
remains. Refuses with BRD601 to BRD605, and leaves nothing behind then: the caller's unit of work goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table

from app.actions import moving
from app.actions.balances import account_of
from app.data import checks, failpoints, faults
from app.data.catalog import Resource
from app.data.failpoints import Point
from app.data.rules import Role, Row, Values
from app.data.scopes import require_write
from app.data.session import AppSession
from app.data.steps import Steps, whole
from app.errors import BadValue, Conflict, Forbidden, Unavailable
from app.models import Transfer, User
from app.query.driver import prepare
from app.query.statements import WriteStatements, statements_of

REST = ("note", "created_at", "created_by")  # of a transfer, behind who and what
ACCOUNT = ("id", "balance", "is_active", "deleted_at")
MOST = 2**53 - 1  # of an amount and of a balance: what every reader of JSON keeps exactly
WHOLE = f"Send a whole number from 1 to {MOST}, in minor units."


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one balance."""

    user_id: int
    old: int
    new: int


async def transfer(
    session: AppSession, *, to_user_id: int, amount: int, from_user_id: int | None = None, note: str | None = None
) -> int:
    """Sends credits from the own account, or from the one named, which takes an admin or the secret key.

    The id of the new row of transfers. Raises Forbidden; BadValue (22004, BRD601 the same account twice, BRD602 an
    amount that is not above 0, BRD603 one above 2**53 - 1); Conflict (BRD604 no such active user, BRD605 insufficient
    funds); Unavailable.
    """
    sender = account_of(session.unit.who, from_user_id, "from_user_id")
    return await _move(session, _row(session, sender, to_user_id, amount, note))


async def grant(session: AppSession, *, to_user_id: int, amount: int, note: str | None = None) -> int:
    """Gives an account new credits; for admins and the secret key.

    Returns and raises as `transfer` does.
    """
    if session.unit.who.view is not Role.ADMIN:
        raise Forbidden("permission denied for function grant")
    return await _move(session, _row(session, None, to_user_id, amount, note))


def _row(session: AppSession, sender: int | None, receiver: int, amount: int, note: str | None) -> Values:
    unit = session.unit
    row: Values = {"from_user_id": sender, "to_user_id": receiver, "amount": amount, "note": note}
    return row | {"created_at": unit.now, "created_by": unit.who.user_id}


async def _move(session: AppSession, row: Values) -> int:
    transfers, users = session.catalog.of(Transfer), session.catalog.of(User)
    require_write(session.unit.who, transfers.name)
    if session.sync_session.read_only:
        raise faults.read_only()
    _refuse_values(transfers, row)
    move = _step_by_step if session.dialect.name == "sqlite" else _at_once
    steps = move(statements_of(session), users.table, transfers.table, row)
    made, changes = await session.run(whole(steps) if move is _step_by_step else steps)
    if failpoints.ON:
        await failpoints.reach(Point.LOCKED)
    session.absorb(users, [{"id": change.user_id, "balance": change.new} for change in changes])
    return made


def _refuse_values(transfers: Resource, row: Row) -> None:
    """What can be told without the database."""
    wrong: list[BadValue] = []
    if row["from_user_id"] == row["to_user_id"]:
        wrong.append(BadValue("credits cannot go from an account to itself", code="BRD601"))
    if row["amount"] < 1:
        wrong.append(BadValue(f"the amount {row['amount']} is not above 0", code="BRD602", hint=WHOLE))
    elif row["amount"] > MOST:
        wrong.append(BadValue(f"the amount {row['amount']} is above {MOST}", code="BRD603", hint=WHOLE))
    checks.refuse(wrong)
    checks.row(transfers, row)


def _changes(accounts: Mapping[int, Row], row: Row) -> list[Change]:
    """In ascending id. The sender's funds are looked at before the receiver's balance, which the sender may not see:
    only who can pay learns that it would grow too large.
    """
    sender, receiver, amount = row["from_user_id"], row["to_user_id"], row["amount"]
    moved = {receiver: amount} if sender is None else {sender: -amount, receiver: amount}
    for user_id in moved:
        _refuse_inactive(accounts, user_id)
    if sender is not None and accounts[sender]["balance"] < amount:
        raise Conflict("insufficient funds", code="BRD605", hint="Ask for the balance: /rpc/balance_of")
    if accounts[receiver]["balance"] + amount > MOST:
        raise BadValue(f"the balance of user {receiver} would be above {MOST}", code="BRD603", hint="Send less.")
    changes = [Change(id, accounts[id]["balance"], accounts[id]["balance"] + by) for id, by in moved.items()]
    return sorted(changes, key=lambda change: change.user_id)


def _refuse_inactive(accounts: Mapping[int, Row], user_id: int) -> None:
    """One text for all: who asks may not see which of them it is."""
    row = accounts.get(user_id)
    if row is None or row["deleted_at"] is not None or not row["is_active"]:
        raise Conflict(f"there is no active user with the id {user_id}", code="BRD604")


# ---- steps ----------------------------------------------------------------------------------------------------------


def _at_once(
    statements: WriteStatements, users: Table, transfers: Table, row: Values
) -> Steps[tuple[int, list[Change]]]:
    """On PostgreSQL, in one statement. Where it moved nothing, the accounts that it has locked tell why."""
    granted = row["from_user_id"] is None
    prepared = statements.once(
        ("moving", granted), lambda: prepare(moving.moving(users, transfers, granted=granted), statements.dialect, {})
    )
    room = MOST - row["amount"]
    values = (row["from_user_id"], row["to_user_id"], row["amount"], room, *(row[name] for name in REST))
    for _ in range(2):  # when it began there may have been too little, in a row that then grew while it was waited for
        found = yield prepared.statement(values)
        changes = _changes({id: dict(zip(ACCOUNT, (id, *rest), strict=True)) for _, id, *rest in found}, row)
        if found[0][0] is not None:
            return found[0][0], changes
    raise _moved()


def _step_by_step(
    statements: WriteStatements, users: Table, transfers: Table, row: Values
) -> Steps[tuple[int, list[Change]]]:
    """On SQLite, where writers take turns: the accounts, deleted ones too; balances that are still what they were; then
    the transfer.
    """
    ids = sorted({row["from_user_id"], row["to_user_id"]} - {None})
    found = yield statements.locked_all(users, "id", keeps_key=True).statement((), None, ids)
    read = statements.reader(users)
    changes = _changes({account["id"]: account for account in map(read, found)}, row)
    update = statements.update(users, ("balance",), ("id", "balance"))
    arguments: list[tuple[Any, ...]] = [(change.new, change.user_id, change.old) for change in changes]
    done = yield from statements.each(update, arguments)
    if len(done) != len(changes):
        raise _moved()
    insert = statements.insert(transfers, tuple(row))
    ((made,),) = yield from statements.each(insert, [tuple(row.values())])
    return int(made), changes


def _moved() -> Unavailable:
    return Unavailable("a balance was changed at the same time", code="40001", retry_after=1)
