"""Users in the model. Who joins by REST without a password is refused, so only admins and the secret key make any."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reliability.blog.posts import Expected, Versions
from tests.reliability.blog.refusing import Refusal, body, denied, duplicate, missing_row, refuse, stale
from tests.reliability.blog.showing import show_user
from tests.reliability.blog.state import USER_COLUMNS, Row, State, Unit, change, insert
from tests.reliability.blog.values import (
    ADMINS_USER,
    JOINING,
    OWN_USER,
    Fields,
    check,
    check_new,
    cleaned,
    email_of,
    name_of,
    replaced,
    username_of,
)


def read(state: State, unit: Unit, key: int) -> Expected:
    row = _present(state, key)
    return Expected(200, show_user(row, unit), row["version"])


def create(state: State, unit: Unit, rows: Sequence[Row]) -> Expected:
    """A list of users, all or none."""
    check_new(ADMINS_USER if unit.view == "admin" else JOINING, rows)
    given = [_cleaned(row) for row in rows]
    if unit.view != "admin":
        hint = 'Send "password" beside "username".'
        raise Refusal(422, body("23502", "a new user needs a password", None, hint))
    made = []
    for row in given:
        found = unit.fresh.row("users")
        confirmed = {"email_confirmed_at": unit.now if row.get("email") is not None else None}
        blank = dict.fromkeys(USER_COLUMNS) | {"role": "member", "is_active": True, "balance": 0}
        whole = blank | row | confirmed | {"id": found["id"], "uid": found["uid"]}
        refuse_taken(state, whole)
        made.append(show_user(insert(state, unit, "users", whole), unit))
    return Expected(201, made)


def patch(state: State, unit: Unit, key: int, row: Row, versions: Versions) -> Expected:
    refuse(check(_fields(unit), row))
    return changed(state, unit, key, row, versions)


def put(state: State, unit: Unit, key: int, row: Row, versions: Versions) -> Expected:
    return changed(state, unit, key, replaced(_fields(unit), row, ("username",)), versions)


def delete(state: State, unit: Unit, key: int, versions: Versions) -> Expected:
    """Takes the present posts along."""
    if unit.view != "admin":
        raise denied("users", unit)
    old = locked(state, unit, key, versions)
    if old["balance"] > 0:
        hint = "Transfer the balance away before deleting the user."
        raise Refusal(409, body("BRD409", "this user still has a balance", None, hint))
    gone = {"deleted_at": unit.now}
    change(state, unit, "users", old, gone, operation="delete")
    for post in sorted(state.present("posts"), key=lambda row: row["id"]):
        if post["user_id"] == key:
            change(state, unit, "posts", post, gone, operation="delete")
    return Expected(204)


def refuse_reader(unit: Unit) -> None:
    if unit.view == "anonymous":
        raise denied("users", unit)


def _fields(unit: Unit) -> Fields:
    refuse_reader(unit)
    return ADMINS_USER if unit.view == "admin" else OWN_USER


def changed(state: State, unit: Unit, key: int, row: Row, versions: Versions) -> Expected:
    old = locked(state, unit, key, versions)
    values = _cleaned(row)
    if values.get("email", old["email"]) != old["email"]:
        values["email_confirmed_at"] = None if values["email"] is None else unit.now
    refuse_taken(state, old | values)
    new = change(state, unit, "users", old, values)
    return Expected(200, show_user(new, unit), new["version"])


def _cleaned(row: Row) -> Row:
    return cleaned(row, username=username_of, email=email_of, full_name=name_of)


def _present(state: State, key: int) -> Row:
    row = state.users.get(key)
    if row is None or row["deleted_at"] is not None:
        raise missing_row("users", key)
    return row


def locked(state: State, unit: Unit, key: int, versions: Versions) -> Row:
    row = _present(state, key)
    if unit.view != "admin" and key != unit.me:
        raise denied("users", unit)
    if versions is not None and row["version"] not in versions:
        raise stale("users", row)
    return row


def refuse_taken(state: State, row: Row) -> None:
    others = [other for other in state.present("users") if other["id"] != row["id"]]
    taken = [
        (name, row[name])
        for name in ("email", "username")
        if row[name] is not None and any(other[name] == row[name] for other in others)
    ]
    if taken:
        raise duplicate("users", *taken)
