"""What the model holds, and how one row changes: stamps, versions, revisions, uniqueness.

Rows are dicts of JSON values by column name. They are replaced and never changed, so a copy of the state is shallow.
Times are texts of one form, which sort like the times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.data.rules import Principal

Row = dict[str, Any]

USER_COLUMNS = (
    *("id", "uid", "email", "username", "full_name", "role", "is_active", "balance", "user_metadata", "app_metadata"),
    *("is_anonymous", "email_confirmed_at", "last_sign_in_at", "banned_until"),
    *("created_at", "updated_at", "created_by", "updated_by", "deleted_at", "version"),
)
POST_COLUMNS = (
    *("id", "user_id", "title", "slug", "content", "status", "published_at"),
    *("created_at", "updated_at", "created_by", "updated_by", "deleted_at", "version"),
)
UNKEPT = {"users": {"balance", "last_sign_in_at"}, "posts": set[str]()}  # columns of which no revision tells
UNKNOWN = 10**9
BESIDE = {"updated_at", "updated_by", "version"}  # columns that stand beside a revision's changes


@dataclass(slots=True)
class State:
    """`links` maps a post to its tags, `past` a table and an id to the row at each of its versions."""

    users: dict[int, Row] = field(default_factory=dict)
    posts: dict[int, Row] = field(default_factory=dict)
    tags: dict[int, Row] = field(default_factory=dict)
    links: dict[int, frozenset[int]] = field(default_factory=dict)
    transfers: dict[int, Row] = field(default_factory=dict)
    revisions: tuple[Row, ...] = ()
    past: dict[tuple[str, int], tuple[Row, ...]] = field(default_factory=dict)

    def copy(self) -> State:
        rows = (dict(self.users), dict(self.posts), dict(self.tags))
        return State(*rows, dict(self.links), dict(self.transfers), self.revisions, dict(self.past))

    def table(self, name: str) -> dict[int, Row]:
        found: dict[int, Row] = getattr(self, name)
        return found

    def present(self, name: str) -> Iterable[Row]:
        return (row for row in self.table(name).values() if row.get("deleted_at") is None)

    def names(self, tags: Iterable[int]) -> list[str]:
        return sorted(self.tags[tag]["name"] for tag in tags)


@dataclass(frozen=True, slots=True)
class Unit:
    """One request: who asks and when, and what its answer tells of keys that only the database can make."""

    who: Principal
    now: str
    request_id: str
    fresh: Fresh

    @property
    def me(self) -> int | None:
        return self.who.user_id

    @property
    def view(self) -> str:
        return "admin" if self.who.role.value == "service" else self.who.role.value


class Fresh:
    """Keys that the database made, by the answer. They must be new; which they are the model does not foresee."""

    def __init__(self, answer: Any, state: State) -> None:
        rows = answer if isinstance(answer, list) else [answer]
        self._rows = [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), int)]
        tags = (tag for row in self._rows for tag in row.get("tags") or () if isinstance(tag, dict))
        self._tags = {tag["name"]: tag["id"] for tag in tags}
        self._answer, self._state = answer, state

    def part(self, number: int) -> Fresh:
        """What the answer of a batch tells in this place."""
        parts = self._answer if isinstance(self._answer, list) else []
        return Fresh(parts[number].get("body") if number < len(parts) else None, self._state)

    def row(self, table: str) -> Row:
        """The next row of the answer whose id is not known yet."""
        known = self._state.table(table)
        found = next((row for row in self._rows if row["id"] not in known), {"id": None, "uid": ""})
        return found | {"id": _new(known, found["id"])}

    def tag(self, name: str) -> int:
        """The tag of this name that a post was given."""
        return _new(self._state.tags, self._tags.get(name))


def _new(known: Mapping[int, Row], key: Any) -> int:
    """The key if it comes after all that are known, else one that stands for nothing."""
    return key if isinstance(key, int) and key > max(known, default=0) else UNKNOWN + len(known)


# ---- changes of a row -----------------------------------------------------------------------------------------------


def insert(state: State, unit: Unit, table: str, row: Row, tags: frozenset[int] | None = None) -> Row:
    """`row` is complete but for its stamps; `tags` are None where nobody named any."""
    stamps: Row = {"created_at": unit.now, "updated_at": unit.now, "created_by": unit.me, "updated_by": unit.me}
    row = {name: stamps.get(name, value) for name, value in row.items()} | {"version": 1}
    state.table(table)[row["id"]] = row
    if table == "posts":
        state.links[row["id"]] = tags or frozenset()
    if table != "tags":
        changes = {name: [None, row[name]] for name in row if name not in UNKEPT[table]}
        shown = {} if tags is None else {"tags": [None, state.names(tags)]}
        _note(state, unit, table, "insert", row, changes | shown)
    return row


def change(
    state: State,
    unit: Unit,
    table: str,
    old: Row,
    values: Mapping[str, Any],
    tags: frozenset[int] | None = None,
    operation: str = "update",
) -> Row:
    """The row as it is then: itself where nothing differs."""
    changed = {name: value for name, value in values.items() if old[name] != value}
    have = state.links.get(old["id"], frozenset()) if table == "posts" else frozenset()
    links = {} if tags is None or tags == have else {"tags": [state.names(have), state.names(tags)]}
    if not changed and not links:
        return old
    row = {**old, **changed, "updated_at": unit.now, "version": old["version"] + 1}
    if "updated_by" in old:
        row["updated_by"] = unit.me
    state.table(table)[row["id"]] = row
    if links and tags is not None:
        state.links[row["id"]] = tags
    if table != "tags":
        told = [name for name in row if name in changed and name not in UNKEPT[table] | BESIDE]
        changes = {name: [old[name], row[name]] for name in told}
        _note(state, unit, table, operation, row, changes | links)
    return row


def _note(state: State, unit: Unit, table: str, operation: str, row: Row, changes: Row) -> None:
    """A revision, and the row as it is at this version."""
    revision = {
        "at": unit.now,
        "actor_id": unit.me,
        "key_id": unit.who.key_id,
        "request_id": unit.request_id,
        "table_name": table,
        "row_id": str(row["id"]),
        "version": row["version"],
        "operation": operation,
        "changes": changes,
    }
    state.revisions = (*state.revisions, revision)
    versions = state.past.get((table, row["id"]), ())
    names = changes["tags"][1] if "tags" in changes else versions[-1]["tags"] if versions else []
    then = {name: value for name, value in row.items() if name not in UNKEPT[table]}
    state.past[table, row["id"]] = (*versions, then | {"tags": names})
