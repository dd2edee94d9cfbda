"""Requests as the machine chooses them: from small numbers and short texts to a request and the model's part of it.

A number stands for a row by its place among all that were ever made, the highest one for a row that was not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from app.data.rules import Principal, Role
from tests.reliability.blog import money, posts, tags, upserting, users
from tests.reliability.blog import versions as history
from tests.reliability.blog.play import Request
from tests.reliability.blog.posts import Versions
from tests.reliability.blog.showing import POST_SELECT
from tests.reliability.blog.state import Row, State

NOBODY = 999  # the id of no row
LAST = 11  # the highest number
POSTS = f"/posts?{POST_SELECT}"


def pick(rows: Mapping[int, Row], number: int) -> int:
    ids = sorted(rows)
    return ids[number % len(ids)] if ids and number != LAST else NOBODY


def condition(row: Row | None, match: str) -> tuple[dict[str, str], Versions]:
    """If-Match with the `current` version or an `old` one, with `any`, or `no` such header."""
    version = row["version"] if row else 1
    match match:
        case "current":
            return {"if-match": f'"{version}"'}, frozenset({version})
        case "old":
            return {"if-match": f'"{version - 1}-0123abcd"'}, frozenset({version - 1})
        case "any":
            return {"if-match": "*"}, None
        case _:
            return {}, None


def alike(rows: Sequence[Row]) -> list[Row]:
    """Rows with the keys of the first: others are no list that a body may hold."""
    return [{name: row.get(name, value) for name, value in rows[0].items()} for row in rows]


def _resolved(state: State, who: Principal, row: Row) -> Row:
    """With the id of the author that a number stands for; from authors, who may not say it, only the last one."""
    if "user_id" not in row or not state.users:
        return row
    if who.view is Role.AUTHOR and row["user_id"] != LAST:
        return {name: value for name, value in row.items() if name != "user_id"}
    return row | {"user_id": pick(state.users, row["user_id"])}


def _fitting(who: Principal, row: Row) -> Row:
    """Of a user's columns mostly those that this caller may write."""
    if who.view is Role.ADMIN or row.get("role") == "king":
        return row
    return {name: value for name, value in row.items() if name in ("username", "full_name")}


# ---- posts ----------------------------------------------------------------------------------------------------------


def create_posts(state: State, who: Principal, rows: Sequence[Row], single: bool) -> Request:
    given = alike([_resolved(state, who, row) for row in (rows[:1] if single else rows)])
    predict = partial(posts.create, rows=given, single=single)
    return Request("POST", POSTS, predict, given[0] if single else given)


def upsert_posts(state: State, who: Principal, rows: Sequence[Row], single: bool, merge: bool) -> Request:
    given = alike([_resolved(state, who, row) for row in (rows[:1] if single else rows)])
    predict = partial(upserting.upsert, rows=given, single=single, merge=merge)
    headers = {"prefer": f"resolution={'merge' if merge else 'ignore'}-duplicates"}
    return Request("POST", f"{POSTS}&on_conflict=slug", predict, given[0] if single else given, headers)


def patch_post(state: State, who: Principal, post: int, row: Row, match: str) -> Request:
    key, given = pick(state.posts, post), _resolved(state, who, row)
    headers, versions = condition(state.posts.get(key), match)
    predict = partial(posts.patch, key=key, row=given, versions=versions)
    return Request("PATCH", f"/posts/{key}?{POST_SELECT}", predict, given, headers)


def put_post(state: State, who: Principal, post: int, row: Row, match: str) -> Request:
    key, given = pick(state.posts, post), _resolved(state, who, row)
    headers, versions = condition(state.posts.get(key), match)
    predict = partial(posts.put, key=key, row=given, versions=versions)
    return Request("PUT", f"/posts/{key}?{POST_SELECT}", predict, given, headers)


def delete_post(state: State, who: Principal, post: int, match: str) -> Request:
    key = pick(state.posts, post)
    headers, versions = condition(state.posts.get(key), match)
    return Request("DELETE", f"/posts/{key}", partial(posts.delete, key=key, versions=versions), None, headers)


def patch_posts(state: State, who: Principal, chosen: tuple[str, Any], row: Row, version: int | None) -> Request:
    given, (query, test) = _resolved(state, who, row), _filtered(state, chosen)
    headers, versions = _of_version(version)
    predict = partial(posts.patch_matching, test=test, row=given, versions=versions)
    return Request("PATCH", f"{POSTS}&{query}", predict, given, headers)


def delete_posts(state: State, who: Principal, chosen: tuple[str, Any], version: int | None) -> Request:
    query, test = _filtered(state, chosen)
    headers, versions = _of_version(version)
    predict = partial(posts.delete_matching, test=test, versions=versions)
    return Request("DELETE", f"/posts?{query}", predict, None, headers)


def read_post(state: State, who: Principal, post: int) -> Request:
    key = pick(state.posts, post)
    return Request("GET", f"/posts/{key}?{POST_SELECT}", partial(posts.read, key=key))


def read_posts(state: State, who: Principal, deleted: bool) -> Request:
    """`deleted_at` is a column for authors and admins alone."""
    query = "&deleted_at=not.is.null" if deleted else ""
    return Request("GET", f"{POSTS}&order=id{query}", partial(posts.read_all, deleted=deleted))


def _filtered(state: State, chosen: tuple[str, Any]) -> tuple[str, posts.Test]:
    """A query string, and which rows it means."""
    column, value = chosen
    if column == "id":
        keys = [pick(state.posts, number) for number in value]
        return f"id=in.({','.join(map(str, keys))})", lambda row: row["id"] in keys
    if column == "user_id":
        value = pick(state.users, value)
    return f"{column}=eq.{value}", lambda row: bool(row[column] == value)


def _of_version(version: int | None) -> tuple[dict[str, str], Versions]:
    return ({}, None) if version is None else ({"if-match": f'"{version}"'}, frozenset({version}))


# ---- tags -----------------------------------------------------------------------------------------------------------


def create_tag(state: State, who: Principal, name: str) -> Request:
    return Request("POST", "/tags", partial(tags.create, name=name), {"name": name})


def rename_tag(state: State, who: Principal, tag: int, name: str | None, match: str) -> Request:
    key = pick(state.tags, tag)
    headers, versions = condition(state.tags.get(key), match)
    predict = partial(tags.rename, key=key, name=name, versions=versions)
    return Request("PATCH", f"/tags/{key}", predict, {"name": name}, headers)


def delete_tag(state: State, who: Principal, tag: int, match: str) -> Request:
    key = pick(state.tags, tag)
    headers, versions = condition(state.tags.get(key), match)
    return Request("DELETE", f"/tags/{key}", partial(tags.delete, key=key, versions=versions), None, headers)


# ---- users ----------------------------------------------------------------------------------------------------------


def create_users(state: State, who: Principal, rows: Sequence[Row]) -> Request:
    given = alike([_fitting(who, row) for row in rows])
    return Request("POST", "/users", partial(users.create, rows=given), given)


def patch_user(state: State, who: Principal, user: int, row: Row, match: str) -> Request:
    key, given = pick(state.users, user), _fitting(who, row)
    headers, versions = condition(state.users.get(key), match)
    predict = partial(users.patch, key=key, row=given, versions=versions)
    return Request("PATCH", f"/users/{key}", predict, given, headers)


def put_user(state: State, who: Principal, user: int, row: Row, match: str) -> Request:
    key, given = pick(state.users, user), _fitting(who, row)
    headers, versions = condition(state.users.get(key), match)
    predict = partial(users.put, key=key, row=given, versions=versions)
    return Request("PUT", f"/users/{key}", predict, given, headers)


def delete_user(state: State, who: Principal, user: int, match: str) -> Request:
    key = pick(state.users, user)
    headers, versions = condition(state.users.get(key), match)
    return Request("DELETE", f"/users/{key}", partial(users.delete, key=key, versions=versions), None, headers)


def read_user(state: State, who: Principal, user: int) -> Request:
    key = pick(state.users, user)
    return Request("GET", f"/users/{key}", partial(users.read, key=key))


# ---- history --------------------------------------------------------------------------------------------------------


def restore_row(state: State, who: Principal, table: str, row: int, match: str) -> Request:
    key = pick(state.table(table), row)
    headers, versions = condition(state.table(table).get(key), match)
    predict = partial(history.restore, table=table, key=key, versions=versions)
    return Request("POST", f"/{table}/{key}/restore{_select(table)}", predict, None, headers)


def restore_version(state: State, who: Principal, table: str, row: int, version: int, match: str) -> Request:
    key = pick(state.table(table), row)
    number = _version(state, table, key, version)
    headers, versions = condition(state.table(table).get(key), match)
    predict = partial(history.restore_version, table=table, key=key, number=number, versions=versions)
    return Request("POST", f"/{table}/{key}/revisions/{number}/restore{_select(table)}", predict, None, headers)


def read_version(state: State, who: Principal, table: str, row: int, version: int) -> Request:
    key = pick(state.table(table), row)
    number = _version(state, table, key, version)
    predict = partial(history.read_version, table=table, key=key, number=number)
    return Request("GET", f"/{table}/{key}/revisions/{number}", predict)


def read_revisions(state: State, who: Principal, table: str, row: int) -> Request:
    key = pick(state.table(table), row)
    query = "select=version,operation,at,actor_id,changes"
    return Request("GET", f"/{table}/{key}/revisions?{query}", partial(history.read_revisions, table=table, key=key))


def _version(state: State, table: str, key: int, number: int) -> int:
    versions = len(state.past.get((table, key), ()))
    return versions + 1 if number == LAST or not versions else 1 + number % versions


def _select(table: str) -> str:
    return f"?{POST_SELECT}" if table == "posts" else ""


# ---- credits --------------------------------------------------------------------------------------------------------


def transfer(state: State, who: Principal, sender: int, receiver: int, amount: int) -> Request:
    """Users name the sender seldom, for it is themselves, and the secret key mostly."""
    to_user = pick(state.users, receiver)
    from_user = pick(state.users, sender) if (who.user_id is None) is not (sender == LAST) else None
    given = {"to_user_id": to_user, "amount": amount} | ({} if from_user is None else {"from_user_id": from_user})
    predict = partial(money.transfer, sender=from_user, receiver=to_user, amount=amount)
    return Request("POST", "/rpc/transfer", predict, given)


def grant(state: State, who: Principal, receiver: int, amount: int) -> Request:
    return granted(pick(state.users, receiver), amount)


def granted(user: int, amount: int) -> Request:
    predict = partial(money.grant, receiver=user, amount=amount)
    return Request("POST", "/rpc/grant", predict, {"to_user_id": user, "amount": amount})


def read_balance(state: State, who: Principal, user: int | None) -> Request:
    account = None if user is None else pick(state.users, user)
    query = "" if account is None else f"?user_id={account}"
    return Request("GET", f"/rpc/balance_of{query}", partial(money.balance_of, user=account))
