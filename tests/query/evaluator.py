"""The second oracle: what a request means, in plain Python over plain rows. Written from the rules and the dialect, not
from the planner; it shares no code with the query path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import cmp_to_key
from typing import Any
from uuid import UUID

import msgspec

from tests.query.asks import Ask, Caller, Cast, Null, Order, Row, Term, Test, Total, Tree, columns_named
from tests.query.logic import all_of, any_of, holds, opposite

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


def columns(table: str, view: str) -> list[str]:
    hidden = {"admin": "", "author": "*"}.get(view, "*+")
    return [name.rstrip("*+") for name in COLUMNS[table].split() if name[-1] not in hidden]


def through(parent: str, relation: str) -> bool:
    """Whether the relation goes through the junction."""
    return {parent, RELATIONS[parent][relation][0]} == {"posts", "tags"}


@dataclass
class Evaluator:
    tables: Tables
    now: datetime
    who: Caller
    cap: int
    reached: set[int] = field(default_factory=set)  # embeds that need a statement, by identity

    def page(self, ask: Ask) -> bytes:
        limit = ask.limit if ask.limit is not None else self.cap
        return msgspec.json.encode(self.documents(ask, self.roots(ask), limit))

    def every_page(self, ask: Ask) -> bytes:
        """Whatever its page."""
        return msgspec.json.encode([self.document(ask, [row]) for row in self.ordered(ask, self.roots(ask))])

    def total(self, ask: Ask) -> int:
        rows = self.roots(ask)
        return len(self.groups(ask, rows)) if ask.grouped else len(rows)

    def roots(self, ask: Ask) -> list[Row]:
        return self.matching(ask, self.tables[ask.table], root=True)

    # ---- rows

    def matching(self, ask: Ask, rows: list[Row], *, root: bool = False) -> list[Row]:
        deleted = root and any("deleted_at" in columns_named(term) for term in ask.where)
        return [
            row
            for row in rows
            if self.visible(ask.table, row, deleted=deleted)
            and all(self.holds(ask, term, row) is True for term in ask.where)
            and all(self.related(ask, embed, row) for embed in ask.embeds.values() if embed.inner)
        ]

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

    def holds(self, ask: Ask, term: Term, row: Row) -> bool | None:
        match term:
            case Test():
                found = holds(self.value(ask.table, row, term.column), term, self.now)
                return opposite(found) if term.negated else found
            case Null():
                return bool(self.related(ask, ask.embeds[term.key], row)) is term.present
            case Tree():
                terms = [self.holds(ask, inner, row) for inner in term.terms]
                joined = all_of(terms) if term.operator == "and" else any_of(terms)
                return opposite(joined) if term.negated else joined

    def related(self, parent: Ask, embed: Ask, row: Row) -> list[Row]:
        """The rows of an embed, after its own filters."""
        _, _, here, there = RELATIONS[parent.table][embed.relation]
        rows = self.tables[embed.table]
        if through(parent.table, embed.relation):
            far = {link[there] for link in self.tables["post_tags"] if link[here] == row["id"]}
            return self.matching(embed, [r for r in rows if r["id"] in far])
        return self.matching(embed, [r for r in rows if row[here] is not None and r[there] == row[here]])

    def value(self, table: str, row: Row, name: str) -> Any:
        if table == "users" and name in MASKED and self.who.view != "admin":
            return row[name] if self.who.view != "anonymous" and row["id"] == self.who.me else None
        return row[name]

    # ---- order and page

    def ordered(self, ask: Ask, rows: list[Row]) -> list[Row]:
        asked = {term.column for term in ask.order if term.embed is None}
        keys = [name for name in KEYS.get(ask.table, ("id",)) if name not in asked]
        last = bool(ask.order) and ask.order[-1].descending
        terms = [*ask.order, *(Order(name, last, False) for name in keys)]
        return self.sorted(rows, terms, lambda row, term: self.sorting_value(ask, row, term))

    def sorted(self, rows: list[Row], terms: list[Order], value: Any) -> list[Row]:
        def compare(a: Row, b: Row) -> int:
            for term in terms:
                x, y = value(a, term), value(b, term)
                if x == y:
                    continue
                if x is None or y is None:
                    return -1 if (x is None) == term.nulls_first else 1
                return -1 if (x < y) != term.descending else 1
            return 0

        return sorted(rows, key=cmp_to_key(compare))

    def sorting_value(self, ask: Ask, row: Row, term: Order) -> Any:
        if term.embed is None:
            return self.value(ask.table, row, term.column)
        embed = ask.embeds[term.embed]
        found = self.related(ask, embed, row)
        return self.value(embed.table, found[0], term.column) if found else None

    def paged(self, rows: list[Any], ask: Ask, limit: int | None) -> list[Any]:
        rows = rows[ask.offset or 0 :]
        return rows if limit is None else rows[: min(limit, self.cap)]

    # ---- documents

    def documents(self, ask: Ask, rows: list[Row], limit: int | None) -> list[Row]:
        """Of the rows of one parent, or of the root."""
        if not ask.grouped:
            return [self.document(ask, [row]) for row in self.paged(self.ordered(ask, rows), ask, limit)]
        return [self.document(ask, group) for group in self.paged(self.groups(ask, rows), ask, limit)]

    def document(self, ask: Ask, rows: list[Row]) -> Row:
        """Of one row, or of one group of rows, which may be empty."""
        out: Row = {}
        for key, what in ask.items:
            match what:
                case Ask():
                    out |= self.embed(ask, key, what, rows[0])
                case Total():
                    out[key] = self.aggregate(ask.table, rows, what)
                case _:
                    out[key] = self.json(ask.table, rows[0], what)
        return out

    def embed(self, parent: Ask, key: str, ask: Ask, row: Row) -> Row:
        if not ask.shown:
            return {}
        _, to_many, here, _ = RELATIONS[parent.table][ask.relation]
        if through(parent.table, ask.relation) or row[here] is not None:
            self.reached.add(id(ask))
        found = self.documents(ask, self.related(parent, ask, row), ask.limit)[: self.cap]
        if not ask.spread:
            return {key: found if to_many else found[0] if found else None}
        names = self.document_keys(ask)
        if to_many:
            return {name: [document[name] for document in found] for name in names}
        return {name: found[0][name] if found else None for name in names}

    def document_keys(self, ask: Ask) -> Iterator[str]:
        for key, what in ask.items:
            if isinstance(what, Ask) and what.spread:
                yield from self.document_keys(what)
            elif not isinstance(what, Ask) or what.shown:
                yield key

    # ---- aggregates

    def groups(self, ask: Ask, rows: list[Row]) -> list[list[Row]]:
        """Rows that agree in what stands beside the aggregates: columns, and the keys of embeds."""
        by = []
        for _, what in ask.items:
            if isinstance(what, Ask) and what.shown:
                by.append(RELATIONS[ask.table][what.relation][2])
            elif isinstance(what, str):
                by.append(what)
            elif isinstance(what, Cast):
                by.append(what.column)
        found: dict[Any, list[Row]] = {} if by else {(): []}
        for row in rows:
            found.setdefault(tuple(self.value(ask.table, row, name) for name in by), []).append(row)
        rest = [name for name in by if name not in {term.column for term in ask.order}]
        terms = [*ask.order, *(Order(name, False, False) for name in rest)]
        groups: Any = list(found.values())
        return self.sorted(groups, terms, lambda group, term: self.value(ask.table, group[0], term.column))  # type: ignore[return-value]

    def aggregate(self, table: str, rows: list[Row], what: Total) -> Any:
        if what.column is None:
            return len(rows)
        values = [value for row in rows if (value := self.value(table, row, what.column)) is not None]
        match what.function:
            case "count":
                return len(values)
            case "sum" if values:
                return sum(values)
            case "avg" if values:
                digits = round(Fraction(sum(values), len(values)) * 10**16)  # half to even
                return msgspec.Raw(f"{digits // 10**16}.{digits % 10**16:016}".encode())  # no value is below 0
            case "min" | "max" if values:
                return self.shown(min(values) if what.function == "min" else max(values))
        return None

    # ---- values

    def json(self, table: str, row: Row, what: str | Cast) -> Any:
        value = self.value(table, row, what if isinstance(what, str) else what.column)
        if isinstance(value, dict):
            value = {name: pair for name, pair in value.items() if name in set(self.known(row["table_name"]))}
        return self.shown(value) if isinstance(what, str) or value is None else self.cast(value, what.target)

    def shown(self, value: Any) -> Any:
        match value:
            case datetime():
                fraction = f".{value.microsecond:06}".rstrip("0").rstrip(".")
                return f"{value:%Y-%m-%dT%H:%M:%S}{fraction}+00:00"
            case UUID():
                return str(value)
        return value

    def cast(self, value: Any, target: str) -> Any:
        match value, target:
            case bool(), "text":
                return "true" if value else "false"
            case datetime(), "text":
                return self.shown(value).replace("T", " ").removesuffix(":00")
            case datetime(), "timestamp":
                return self.shown(value).removesuffix("+00:00")
            case datetime(), "date":
                return f"{value:%Y-%m-%d}"
            case dict(), "text":
                return msgspec.json.encode(value).decode()
            case _, "text":
                return str(value)
            case int(), "boolean":
                return value != 0
        return int(value)  # a boolean as a number, or a number that stays one

    def known(self, table: str) -> Iterator[str]:
        if table in COLUMNS:
            masked = MASKED if table == "users" and self.who.view != "admin" else set()
            yield from (name for name in columns(table, self.who.view) if name not in masked)
            yield from EXTRA.get(table, ())

    def one(self, table: str, id: int) -> Row:
        return next(row for row in self.tables[table] if row["id"] == id)
