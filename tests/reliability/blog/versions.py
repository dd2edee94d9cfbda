"""The history of a row in the model: its revisions, what it was at each of its versions, and the ways back."""

from __future__ import annotations

from tests.reliability.blog import posts, users
from tests.reliability.blog.posts import Expected, Versions
from tests.reliability.blog.refusing import Refusal, body, denied, missing_row, stale
from tests.reliability.blog.showing import POSTS, USERS, owns_post, sees_post, show_post, show_user, writes_post
from tests.reliability.blog.state import Row, State, Unit, change

WRITTEN = {
    "posts": ("title", "slug", "content", "status", "published_at", "tags"),
    "users": ("email", "username", "full_name", "role", "is_active"),
}


def read_revisions(state: State, unit: Unit, table: str, key: int, most: int = 20) -> Expected:
    """The newest first. Who sees none learns no more than of a row that never was."""
    told = [row for row in state.revisions if row["table_name"] == table and row["row_id"] == str(key)]
    if not told or not _sees(state, unit, table, key):
        raise missing_row(table, key)
    shown = [_shown(row, unit) for row in reversed(told[-most:])]
    return Expected(200, shown, None, f"0-{len(shown) - 1}/*")


def read_version(state: State, unit: Unit, table: str, key: int, number: int) -> Expected:
    then = _then(state, unit, table, key, number)
    if then is None:
        raise _no_version(table, key, number)
    columns = [name for name in (POSTS if table == "posts" else USERS)[unit.view] if name != "balance"]
    return Expected(200, {name: then[name] for name in columns} | ({"tags": then["tags"]} if table == "posts" else {}))


def restore_version(state: State, unit: Unit, table: str, key: int, number: int, versions: Versions) -> Expected:
    """As PATCH with what the caller may write of that version."""
    then = _then(state, unit, table, key, number)
    row = {} if then is None else {name: then[name] for name in WRITTEN[table]}
    if then is not None and table == "posts" and unit.view == "admin":
        row["user_id"] = then["user_id"]
    if table == "posts":
        posts.refuse_reader(unit)
        posts.locked(state, unit, key)
    else:
        users.refuse_reader(unit)
        users.locked(state, unit, key, None)
    if then is None:
        raise _no_version(table, key, number)
    change_of = posts.changed if table == "posts" else users.changed
    return change_of(state, unit, key, row, versions)


def restore(state: State, unit: Unit, table: str, key: int, versions: Versions) -> Expected:
    """Back among the present rows, with those that went along. A row that is there is answered as it is."""
    if unit.view not in ("author", "admin") or (table == "users" and unit.view != "admin"):
        raise denied(table, unit)
    old = state.table(table).get(key)
    if old is None or not (table == "users" or _reaches(old, unit)):
        raise missing_row(table, key)
    if table == "posts" and not writes_post(old, unit):
        raise denied(table, unit)
    if versions is not None and old["version"] not in versions:
        raise stale(table, old)
    if old["deleted_at"] is not None:
        _bring_back(state, unit, table, old)
    new = state.table(table)[key]
    return Expected(200, show_post(state, new, unit) if table == "posts" else show_user(new, unit), new["version"])


def _reaches(row: Row, unit: Unit) -> bool:
    return writes_post(row, unit) or (row["deleted_at"] is None and sees_post(row, unit))


def _bring_back(state: State, unit: Unit, table: str, old: Row) -> None:
    if table == "posts":
        posts.refuse_absent_author(state, [old["user_id"]])
        posts.refuse_taken(state, old)
    else:
        users.refuse_taken(state, old)
    change(state, unit, table, old, {"deleted_at": None}, operation="restore")
    if table == "users":
        for _, post in sorted(state.posts.items()):
            if post["user_id"] == old["id"] and post["deleted_at"] == old["deleted_at"]:
                _bring_back(state, unit, "posts", post)


def _sees(state: State, unit: Unit, table: str, key: int) -> bool:
    """Admins all, authors those of the posts that are theirs now."""
    own = table == "posts" and key in state.posts and owns_post(state.posts[key], unit)
    return unit.view == "admin" or own


def _then(state: State, unit: Unit, table: str, key: int, number: int) -> Row | None:
    past = state.past.get((table, key), ())
    return past[number - 1] if 0 < number <= len(past) and _sees(state, unit, table, key) else None


def _shown(revision: Row, unit: Unit) -> Row:
    """`changes` has the columns that exist for the caller."""
    table = revision["table_name"]
    columns = {*(POSTS if table == "posts" else USERS)[unit.view], "tags"}
    changes = {name: pair for name, pair in revision["changes"].items() if name in columns}
    return {name: revision[name] for name in ("version", "operation", "at", "actor_id")} | {"changes": changes}


def _no_version(table: str, key: int, number: int) -> Refusal:
    return Refusal(404, body("BRD404", f"no row of {table} with the id {key} has a version {number}"))
