"""Credits in the model: a transfer changes two balances and makes one row, and no version of anything."""

from __future__ import annotations

from tests.reliability.blog.posts import Expected
from tests.reliability.blog.refusing import Refusal, body, forbidden, missing_row, refuse
from tests.reliability.blog.showing import show_transfer
from tests.reliability.blog.state import Row, State, Unit

MOST = 2**53 - 1
WHOLE = f"Send a whole number from 1 to {MOST}, in minor units."


def transfer(state: State, unit: Unit, sender: int | None, receiver: int, amount: int) -> Expected:
    return _move(state, unit, _account(unit, sender, "from_user_id", 422), receiver, amount)


def grant(state: State, unit: Unit, receiver: int, amount: int) -> Expected:
    if unit.view != "admin":
        raise forbidden("permission denied for function grant", unit)
    return _move(state, unit, None, receiver, amount)


def balance_of(state: State, unit: Unit, user: int | None) -> Expected:
    account = _account(unit, user, "user_id", 400)
    row = state.users.get(account)
    if row is None or row["deleted_at"] is not None:
        raise missing_row("users", account)
    return Expected(200, row["balance"])


def _account(unit: Unit, named: int | None, parameter: str, status: int) -> int:
    """The own account, which the secret key has not; admins name any."""
    if unit.view == "anonymous":
        raise forbidden("this takes an account", unit, "Sign in.")
    if named is None and unit.me is None:
        message = f"the argument {parameter} is missing: this key has no account"
        raise Refusal(status, body("22004", message, None, f"Name the account in {parameter}."))
    if named not in (None, unit.me) and unit.view != "admin":
        hint = f"Leave out {parameter}: it is your own then."
        raise forbidden("this is the account of somebody else", unit, hint)
    account = unit.me if named is None else named
    assert account is not None
    return account


def _move(state: State, unit: Unit, sender: int | None, receiver: int, amount: int) -> Expected:
    refuse(_problems(sender, receiver, amount))
    for account in (sender, receiver):
        if account is not None:
            _refuse_inactive(state, account)
    if sender is not None and state.users[sender]["balance"] < amount:
        raise Refusal(409, body("BRD605", "insufficient funds", None, "Ask for the balance: /rpc/balance_of"))
    if state.users[receiver]["balance"] + amount > MOST:
        message = f"the balance of user {receiver} would be above {MOST}"
        raise Refusal(422, body("BRD603", message, None, "Send less."))
    for account, by in ((sender, -amount), (receiver, amount)):
        if account is not None:
            state.users[account] = state.users[account] | {"balance": state.users[account]["balance"] + by}
    row = {"id": unit.fresh.row("transfers")["id"], "from_user_id": sender, "to_user_id": receiver, "amount": amount}
    row |= {"note": None, "created_at": unit.now, "created_by": unit.me}
    state.transfers[row["id"]] = row
    return Expected(200, show_transfer(row, unit))


def _problems(sender: int | None, receiver: int, amount: int) -> list[Row]:
    found = []
    if sender == receiver:
        found.append(body("BRD601", "credits cannot go from an account to itself"))
    if amount < 1:
        found.append(body("BRD602", f"the amount {amount} is not above 0", None, WHOLE))
    elif amount > MOST:
        found.append(body("BRD603", f"the amount {amount} is above {MOST}", None, WHOLE))
    return found


def _refuse_inactive(state: State, account: int) -> None:
    row = state.users.get(account)
    if row is None or row["deleted_at"] is not None or not row["is_active"]:
        raise Refusal(409, body("BRD604", f"there is no active user with the id {account}"))
