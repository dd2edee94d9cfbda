"""The second oracle: what a request means, in plain Python over plain rows. Written from the rules and the dialect, not
from the planner; it shares no code with the query path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cmp_to_key
from typing import Any
from uuid import UUID

import msgspec

Row = dict[str, Any]
Tables = Mapping[str, list[Row]]

COLUMNS = {
    "users": "id uid email username full_name role* is_active* balance created_at updated_at created_by* updated_by* "
    "deleted_at* version",
    "posts": "id user_id title slug content status published_at created_at updated_at created_by* updated_by* "
    "deleted_at+ version",
    "tags": "id name created_at updated_at version",
    "post_tags": "post_id tag_id",
    "transfers": "id from_user_id to_user_id amount note created_at created_by*",
    "revisions": "id+ at+ actor_id+ table_name+ row_id+ version+ operation+ changes+ key_id* request_id*",
}  # `*`: admins read it, `+`: authors too
MASKED = {"uid", "email", "balance"}
EXTRA = {"posts": {"tags"}, "users": {"password"}}
KEYS = {"post_tags": ("post_id", "tag_id")}
# name -> (table, to many, key here, key there); through post_tags the keys are those of the ends
RELATIONS = {
    "users": {
        "posts": ("posts", True, "id", "user_id"),
        "sent": ("transfers", True, "id", "from_user_id"),
        "received": ("transfers", True, "id", "to_user_id"),
    },
    "posts": {
        "author": ("users", False, "user_id", "id"),
        "tags": ("tags", True, "post_id", "tag_id"),
        "post_tags": ("post_tags", True, "id", "post_id"),
    },
    "tags": {"posts": ("posts", True, "tag_id", "post_id"), "post_tags": ("post_tags", True, "id", "tag_id")},
    "post_tags": {"post": ("posts", False, "post_id", "id"), "tag": ("tags", False, "tag_id", "id")},
    "transfers": {"sender": ("users", False, "from_user_id", "id"), "receiver": ("users", False, "to_user_id", "id")},
    "revisions": {},
}


@dataclass(frozen=True)
class Caller:
    view: str  # anonymous, member, author, admin
    me: int  # -1 for none


@dataclass(frozen=True)
class Ask:
    """One level of a request. `items` are (key, column) or (key, Ask); `order` (column, descending, nulls first)."""

    table: str
    items: tuple[tuple[str, str | Ask], ...]
    filters: tuple[tuple[str, bool, tuple[Any, ...] | None, Any], ...] = ()  # column, negated, list or None, value
    order: tuple[tuple[str, bool, bool], ...] = ()
    limit: int | None = None
    offset: int | None = None
    relation: str = ""


def columns(table: str, view: str) -> list[str]:
    hidden = {"admin": "", "author": "*"}.get(view, "*+")
    return [name.rstrip("*+") for name in COLUMNS[table].split() if name[-1] not in hidden]


@dataclass
class Evaluator:
    tables: Tables
    now: datetime
    who: Caller
    cap: int
    reached: set[int] = field(default_factory=set)  # embeds that need a statement, by identity

    def bytes(self, ask: Ask) -> bytes:
        limit = ask.limit if ask.limit is not None else self.cap
        rows = self.page(self.matching(ask, self.tables[ask.table], root=True), ask, limit)
        return msgspec.json.encode([self.document(ask, row) for row in rows])

    # ---- rows

    def matching(self, ask: Ask, rows: list[Row], *, root: bool = False) -> list[Row]:
        deleted = root and any(name == "deleted_at" for name, *_ in ask.filters)
        seen = [row for row in rows if self.visible(ask.table, row, deleted=deleted)]
        return self.ordered(ask, [row for row in seen if all(self.passes(ask, f, row) for f in ask.filters)])

    def visible(self, table: str, row: Row, *, deleted: bool = False) -> bool:
        admin, me = self.who.view == "admin", self.who.me
        own = self.who.view == "author" and row.get("user_id") == me
        if row.get("deleted_at") is not None and not (deleted and (admin or own)):
            return False
        match table:
            case "posts":
                published = row["published_at"]
                public = row["status"] == "published" and published is not None and published <= self.now
                return admin or own or public
            case "post_tags":
                return self.visible("posts", self.one("posts", row["post_id"]))
            case "transfers":
                return admin or (self.who.view != "anonymous" and me in (row["from_user_id"], row["to_user_id"]))
            case "revisions":
                posts = {str(post["id"]) for post in self.tables["posts"] if post["user_id"] == me}
                return admin or (row["table_name"] == "posts" and row["row_id"] in posts)
        return True

    def passes(self, ask: Ask, test: tuple[str, bool, tuple[Any, ...] | None, Any], row: Row) -> bool:
        name, negated, among, value = test
        have = self.value(ask.table, row, name)
        if among is not None and not among:
            return negated
        if have is None:
            return False
        return (have in among if among is not None else have == value) != negated

    def value(self, table: str, row: Row, name: str) -> Any:
        if table == "users" and name in MASKED and self.who.view != "admin":
            return row[name] if self.who.view != "anonymous" and row["id"] == self.who.me else None
        return row[name]

    def ordered(self, ask: Ask, rows: list[Row]) -> list[Row]:
        keys = [name for name in KEYS.get(ask.table, ("id",)) if name not in {name for name, *_ in ask.order}]
        last = bool(ask.order) and ask.order[-1][1]
        terms = [*ask.order, *((name, last, False) for name in keys)]

        def compare(a: Row, b: Row) -> int:
            for name, descending, nulls_first in terms:
                x, y = self.value(ask.table, a, name), self.value(ask.table, b, name)
                if x == y:
                    continue
                if x is None or y is None:
                    return -1 if (x is None) == nulls_first else 1
                return -1 if (x < y) != descending else 1
            return 0

        return sorted(rows, key=cmp_to_key(compare))

    def page(self, rows: list[Row], ask: Ask, limit: int | None) -> list[Row]:
        rows = rows[ask.offset or 0 :]
        return rows if limit is None else rows[: min(limit, self.cap)]

    # ---- documents

    def document(self, ask: Ask, row: Row) -> Row:
        return {key: self.embed(what, row, ask.table) if isinstance(what, Ask) else self.json(ask.table, row, what)
                for key, what in ask.items}  # fmt: skip

    def embed(self, ask: Ask, row: Row, parent: str) -> Any:
        _, to_many, here, there = RELATIONS[parent][ask.relation]
        through = to_many and {parent, ask.table} == {"posts", "tags"}
        key = row["id"] if through else row[here]
        if key is not None:
            self.reached.add(id(ask))
        if through:
            far = {link[there] for link in self.tables["post_tags"] if link[here] == key}
            related = [r for r in self.tables[ask.table] if r["id"] in far]
        else:
            related = [r for r in self.tables[ask.table] if key is not None and r[there] == key]
        found = [self.document(ask, r) for r in self.page(self.matching(ask, related), ask, ask.limit)]
        return found[: self.cap] if to_many else found[0] if found else None

    def json(self, table: str, row: Row, name: str) -> Any:
        match self.value(table, row, name):
            case datetime() as time:
                fraction = f".{time.microsecond:06}".rstrip("0").rstrip(".")
                return f"{time:%Y-%m-%dT%H:%M:%S}{fraction}+00:00"
            case UUID() as uid:
                return str(uid)
            case dict() as changes:
                return {key: pair for key, pair in changes.items() if key in set(self.known(row["table_name"]))}
            case value:
                return value

    def known(self, table: str) -> Iterator[str]:
        if table in COLUMNS:
            masked = MASKED if table == "users" and self.who.view != "admin" else set()
            yield from (name for name in columns(table, self.who.view) if name not in masked)
            yield from EXTRA.get(table, ())

    def one(self, table: str, id: int) -> Row:
        return next(row for row in self.tables[table] if row["id"] == id)
