"""Credits move: from one account to another (`transfer`), or from nowhere (`grant`). Amounts are whole minor units.

The accounts are locked in ascending id, a debit is made only of what is there, and the row of transfers is what
remains. Refuses with BRD601 to BRD605, and leaves nothing behind then: the caller's unit of work goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table

from app.actions import moving
from app.actions.balances import account_of
from app.data import checks, failpoints, faults
from app.data.catalog import Resource
from app.data.failpoints import Point
from app.data.rules import Principal, Role, Row, Values
from app.data.scopes import require_write
from app.data.session import AppSession
from app.data.steps import Steps, whole
from app.errors import BadValue, BroadsheetError, Conflict, Forbidden, Unavailable
from app.models import Transfer, User
from app.query.driver import prepare
from app.query.statements import WriteStatements, statements_of

ACCOUNTS = ("from_user_id", "to_user_id")
REST = ("note", "created_at", "created_by")
ROW = (*ACCOUNTS, "amount", *REST)  # of transfers
ACCOUNT = ("id", "balance", "is_active", "deleted_at")
MOST = 2**53 - 1  # of an amount and of a balance: what every reader of JSON keeps exactly
WHOLE = f"Send a whole number from 1 to {MOST}, in minor units."


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one balance."""

    user_id: int
    old: int
    new: int


Booked = tuple[int, int, int]  # an account, what it held, what it holds now
Moved = tuple[int, list[Change]]  # the id of the new row of transfers
Outcome = int | BroadsheetError


async def transfer(
    session: AppSession, *, to_user_id: int, amount: int, from_user_id: int | None = None, note: str | None = None
) -> int:
    """Sends credits from the own account, or from the one named, which takes an admin or the secret key.

    The id of the new row of transfers. Raises Forbidden; BadValue (22004, BRD601 the same account twice, BRD602 an
    amount that is not above 0, BRD603 one above 2**53 - 1); Conflict (BRD604 no such active user, BRD605 insufficient
    funds); Unavailable.
    """
    who, now = session.unit.who, session.unit.now
    return await _move(session, _transferred(who, now, to_user_id, amount, from_user_id, note))


def transfers(session: AppSession, asked: Sequence[tuple[Principal, Mapping[str, Any]]]) -> Steps[list[Outcome]]:
    """Several transfers, each by its own caller with the arguments of `transfer`, as if one came after the other: the
    ids of their rows, and the refusals of those that were not made. Raises Unavailable, after which the unit of work
    must be given up.
    """
    own, users = session.catalog.of(Transfer), session.catalog.of(User)
    given = [_given(own, who, session.unit.now, arguments) for who, arguments in asked]
    rows = [row for row in given if isinstance(row, dict)]
    moved = iter((yield from _one_by_one(statements_of(session), users.table, own.table, rows)))
    return [_id_of(next(moved)) if isinstance(row, dict) else row for row in given]


def _given(own: Resource, who: Principal, now: datetime, arguments: Mapping[str, Any]) -> Values | BroadsheetError:
    try:
        require_write(who, own.name)
        row = _transferred(who, now, **arguments)
        _refuse_values(own, row)
    except BroadsheetError as exc:
        return exc
    return row


def _id_of(moved: Moved | BroadsheetError) -> Outcome:
    return moved if isinstance(moved, BroadsheetError) else moved[0]


async def grant(session: AppSession, *, to_user_id: int, amount: int, note: str | None = None) -> int:
    """Gives an account new credits; for admins and the secret key.

    Returns and raises as `transfer` does.
    """
    if session.unit.who.view is not Role.ADMIN:
        raise Forbidden("permission denied for function grant")
    return await _move(session, _row(session.unit.who, session.unit.now, None, to_user_id, amount, note))


def _transferred(
    who: Principal,
    now: datetime,
    to_user_id: int,
    amount: int,
    from_user_id: int | None = None,
    note: str | None = None,
) -> Values:
    """Raises Forbidden, BadValue."""
    return _row(who, now, account_of(who, from_user_id, "from_user_id"), to_user_id, amount, note)


def _row(who: Principal, now: datetime, sender: int | None, receiver: int, amount: int, note: str | None) -> Values:
    row: Values = {"from_user_id": sender, "to_user_id": receiver, "amount": amount, "note": note}
    return row | {"created_at": now, "created_by": who.user_id}


async def _move(session: AppSession, row: Values) -> int:
    transfers, users = session.catalog.of(Transfer), session.catalog.of(User)
    require_write(session.unit.who, transfers.name)
    if session.sync_session.read_only:
        raise faults.read_only()
    _refuse_values(transfers, row)
    statements = statements_of(session)
    if statements.sqlite:
        moved = await session.run(whole(_alone(_one_by_one(statements, users.table, transfers.table, [row]))))
    else:
        moved = await session.run(_at_once(statements, users.table, transfers.table, row))
    made, changes = moved
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


def _at_once(statements: WriteStatements, users: Table, transfers: Table, row: Values) -> Steps[Moved]:
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


def _one_by_one(
    statements: WriteStatements, users: Table, transfers: Table, rows: Sequence[Values]
) -> Steps[list[Moved | BroadsheetError]]:
    """Any number of them: the accounts, deleted ones too; then what becomes of each, one row after the other; balances
    that are still what they were; then the transfers. Refusals leave nothing.
    """
    ids = sorted({row[name] for row in rows for name in ACCOUNTS} - {None})
    found = (yield statements.locked_all(users, "id", keeps_key=True).statement((), None, ids)) if ids else ()
    read = statements.reader(users)
    accounts = {account["id"]: account for account in map(read, found)}
    opening = {id: account["balance"] for id, account in accounts.items()}
    outcomes = [_entered(accounts, row) for row in rows]
    kept = [row for row, outcome in zip(rows, outcomes, strict=True) if not isinstance(outcome, BroadsheetError)]
    changed = [(id, old, accounts[id]["balance"]) for id, old in opening.items() if accounts[id]["balance"] != old]
    write = _written_singly if statements.sqlite else _written_together
    made = iter((yield from write(statements, users, transfers, changed, kept)) if kept else ())
    return [outcome if isinstance(outcome, BroadsheetError) else (next(made), outcome) for outcome in outcomes]


def _written_singly(
    statements: WriteStatements, users: Table, transfers: Table, changed: Sequence[Booked], rows: Sequence[Row]
) -> Steps[list[int]]:
    """The ids of the transfers. Raises Unavailable where a balance was not what was read."""
    update = statements.update(users, ("balance",), ("id", "balance"))
    done = yield from statements.each(update, [(new, id, old) for id, old, new in changed])
    if len(done) != len(changed):
        raise _moved()
    insert = statements.insert(transfers, ROW)
    made = yield from statements.each(insert, [tuple(row[name] for name in ROW) for row in rows])
    return [id for (id,) in made]


def _written_together(
    statements: WriteStatements, users: Table, transfers: Table, changed: Sequence[Booked], rows: Sequence[Row]
) -> Steps[list[int]]:
    """The same in one statement."""
    prepared = statements.once(
        "booking", lambda: prepare(moving.booking(users, transfers, ROW), statements.dialect, {})
    )
    lists = [*([*held] for held in zip(*changed, strict=True)), *([row[name] for row in rows] for name in ROW)]
    ((done, made),) = yield prepared.statement(lists if changed else [[], [], [], *lists])
    if done != len(changed):
        raise _moved()
    return list(made)


def _entered(accounts: Mapping[int, Values], row: Row) -> list[Change] | BroadsheetError:
    """The changes, which the accounts then have, or the refusal."""
    try:
        changes = _changes(accounts, row)
    except BroadsheetError as exc:
        return exc
    for change in changes:
        accounts[change.user_id]["balance"] = change.new
    return changes


def _alone(steps: Steps[list[Moved | BroadsheetError]]) -> Steps[Moved]:
    (outcome,) = yield from steps
    if isinstance(outcome, BroadsheetError):
        raise outcome
    return outcome


def _moved() -> Unavailable:
    return Unavailable("a balance was changed at the same time", code="40001", retry_after=1)
