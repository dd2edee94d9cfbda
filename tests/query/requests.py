"""Random data, callers and valid requests, as trees, from a seed: the same on every run.

Not from Hypothesis: in a few dozen examples it hardly leaves the simple ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from app.data.rules import ANONYMOUS, SERVICE, Principal, user
from tests.conftest import EPOCH
from tests.query.asks import Ask, Caller, Cast, Null, Order, Row, Term, Test, Total, Tree, Word
from tests.query.evaluator import RELATIONS, columns
from tests.query.rows import DAY, a_post, a_revision, a_tag, a_transfer, a_user

USERS, POSTS, TAGS = 6, 18, 5
WORDS = ["", "a", "A", "ab", "zé", "ZÉ", "日本", "a,b", '"q"', "x\\y", "a b", "null", "\u2028", "(a)", "1"]
TIMES = [EPOCH, EPOCH - DAY, EPOCH + DAY, EPOCH - timedelta(microseconds=1), EPOCH - timedelta(milliseconds=1500)]
TIME_WORDS = ["now", "now()", "today", "yesterday", "tomorrow", "infinity", "-infinity"]
REGULAR = ["a", "^a", "b$", "^$", "[ab]b", "a|1", "x?y", "^.$"]  # what both dialects of expressions know
CHANGES = {"title": ["a", "é"], "email": [None, "x"], "created_by": [None, 1], "tags": [[], ["t"]], "nothing": [1.5, 2]}


def tables(seed: int) -> dict[str, list[Row]]:
    """Small tables in which every kind of row is likely."""
    r = Random(seed)

    def deleted() -> datetime | None:
        return r.choice(TIMES) if r.random() < 0.25 else None

    users = [
        a_user(
            id,
            uid=UUID(int=r.getrandbits(128)),
            email=r.choice([None, f"{id}@x"]),
            full_name=r.choice([None, *WORDS]),
            role=r.choice(["member", "author", "admin"]),
            is_active=r.random() < 0.5,
            balance=r.choice([0, 5, 2**53 + 1]),
            created_at=r.choice(TIMES),
            deleted_at=deleted(),
        )
        for id in range(1, USERS + 1)
    ]
    posts = [
        a_post(
            id,
            r.randint(1, USERS),
            title=r.choice(WORDS),
            content=r.choice(WORDS) * r.randint(0, 3),
            status=r.choice(["draft", "archived", "published", "published", "published"]),
            published_at=r.choice([None, *TIMES]),
            updated_by=r.choice([None, 1]),
            deleted_at=deleted(),
            version=r.randint(1, 3),
        )
        for id in range(1, POSTS + 1)
    ]
    joined = [
        {"post_id": post["id"], "tag_id": tag}
        for post in posts
        for tag in r.sample(range(1, TAGS + 1), r.choice([0, 0, 1, 2, TAGS]))
    ]
    transfers = [a_transfer(id, r.choice([None, 1, 2]), r.randint(1, USERS)) for id in range(1, 8)]
    revisions = [
        a_revision(id, r.choice(["posts", "posts", "users", "tags", "elsewhere"]), r.randint(1, POSTS), CHANGES)
        for id in range(1, 8)
    ]
    tags = [a_tag(id, f"{r.choice(WORDS)}{id}") for id in range(1, TAGS + 1)]
    made = {"users": users, "posts": posts, "tags": tags}
    return made | {"post_tags": joined, "transfers": transfers, "revisions": revisions}


def a_caller(r: Random) -> tuple[Principal, Caller]:
    kind = r.choice(["anonymous", "service", "member", "author", "author", "admin"])
    if kind == "anonymous":
        return ANONYMOUS, Caller("anonymous", -1)
    if kind == "service":
        return SERVICE, Caller("admin", -1)
    me = r.randint(1, USERS)
    return user(me, kind), Caller(kind, me)


# how a relation may be named besides by itself
WRITTEN = {
    ("posts", "author"): ["users", "user_id", "users!user_id", "users!posts_user_id_fkey"],
    ("posts", "tags"): ["tags!post_tags"],
    ("users", "sent"): ["transfers!from_user_id", "transfers!transfers_from_user_id_fkey"],
    ("transfers", "receiver"): ["users!to_user_id", "to_user_id"],
    ("tags", "posts"): ["posts!post_tags"],
}
EMBEDS = [*["plain"] * 6, "inner", "inner", "empty", "count", "totals", "spread", "spread"]
ORDERED_BY = {"users": ["username", "full_name", "email"], "posts": ["title", "published_at"]}  # that every view reads


@dataclass
class Requests:
    """Valid requests of a view over these rows."""

    r: Random
    data: dict[str, list[Row]]
    view: str

    def root(self, *, totals: bool = True) -> Ask:
        table = self.r.choice([name for name in RELATIONS if columns(name, self.view)])
        return self.level(table, totals=totals and self.chance(0.1))

    def chance(self, of: float) -> bool:
        return self.r.random() < of

    def level(self, table: str, depth: int = 0, prefix: str = "", *, totals: bool = False) -> Ask:
        """One level, and below it up to two embeds, three levels deep. `prefix` keeps the keys of a spread apart."""
        items = self.totals(table) if totals else self.items(table, depth, prefix)
        ask = Ask(table, tuple(items))
        paged, where = self.chance(0.4), self.r.choice([0, 0, 0, 1, 2])
        return replace(
            ask,
            where=tuple(self.term(ask) for _ in range(where)),
            order=self.grouped_order(ask)
            if totals
            else tuple(self.order(ask) for _ in range(self.r.choice([0, 1, 2]))),
            limit=self.r.randint(0, 8) if paged and self.chance(0.7) else None,
            offset=self.r.randint(0, 3) if paged and self.chance(0.5) else None,
        )

    # ---- items

    def items(self, table: str, depth: int, prefix: str) -> list[tuple[str, Any]]:
        known = columns(table, self.view)
        items: dict[str, Any] = {
            prefix + name: name for name in self.r.sample(known, min(len(known), self.r.randint(0, 4)))
        }
        for i in range(self.r.choice([0, 0, 1])):
            name = self.r.choice(known)
            items[f"{prefix}c{i}"] = Cast(name, self.r.choice(targets(name)))
        for i in range(self.r.choice([0, 1, 1, 2]) if depth < 3 and RELATIONS[table] else 0):
            key, embed = self.embed(table, depth, f"{prefix}e{i}")
            items.setdefault(key, embed)
        found = list(items.items()) or [(f"{prefix}x", known[0])]
        return self.r.sample(found, len(found))

    def embed(self, table: str, depth: int, key: str) -> tuple[str, Ask]:
        name = self.r.choice(sorted(RELATIONS[table]))
        far, kind = RELATIONS[table][name][0], self.r.choice(EMBEDS)
        written = self.r.choice([name, *WRITTEN.get((table, name), [])])
        if kind == "spread":
            ask = self.level(far, depth + 1, f"{key}_")
            return written.partition("!")[0], replace(ask, relation=name, written=written, aliased=False, spread=True)
        ask = self.level(far, depth + 1, totals=kind == "totals")
        if kind in ("count", "empty"):
            items = (("count", Total("count", bare=True)),) if kind == "count" else ()
            order = () if kind == "count" else tuple(term for term in ask.order if term.embed is None)
            ask = replace(ask, items=items, order=order, where=tuple(t for t in ask.where if isinstance(t, Test)))
        return key, replace(ask, relation=name, written=written, inner=kind == "inner" or self.chance(0.15))

    def totals(self, table: str) -> list[tuple[str, Any]]:
        plain = comparable(columns(table, self.view))
        items: list[tuple[str, Any]] = [(name, name) for name in self.r.sample(plain, self.r.choice([0, 1, 2]))]
        if table in ("posts", "transfers") and self.chance(0.4):
            relation = "author" if table == "posts" else "receiver"
            items.append(("by", Ask("users", (("username", "username"),), relation=relation, written=relation)))
        numbers = [n for n in plain if n in ("id", "amount", "balance", "version", "user_id", "tag_id")]
        for i in range(self.r.randint(1, 2)):
            function = self.r.choice(["count", "sum", "avg", "min", "max", "rows"])
            among = numbers if function in ("sum", "avg") else [n for n in plain if n not in ("uid", "is_active")]
            items.append((f"t{i}", Total("count") if function == "rows" else Total(function, self.r.choice(among))))
        return self.r.sample(items, len(items))

    # ---- orders

    def order(self, ask: Ask) -> Order:
        to_one = [key for key, embed in ask.embeds.items() if not RELATIONS[ask.table][embed.relation][1]]
        first, descending = self.chance(0.5), self.chance(0.5)
        if to_one and self.chance(0.5):
            key = self.r.choice(to_one)
            column = self.r.choice(ORDERED_BY.get(ask.embeds[key].table, ["name"]))
            return Order(column, descending, first, key)
        return Order(self.r.choice(comparable(columns(ask.table, self.view))), descending, first)

    def grouped_order(self, ask: Ask) -> tuple[Order, ...]:
        plain = [what for _, what in ask.items if isinstance(what, str)]
        return tuple(
            Order(name, self.chance(0.5), self.chance(0.5))
            for name in self.r.sample(plain, self.r.randint(0, len(plain)))
        )

    # ---- filters

    def term(self, ask: Ask, depth: int = 0) -> Term:
        kind = self.r.choice(["test", "test", "test", "null", "tree", "tree"])
        if kind == "null" and ask.embeds:
            return Null(self.r.choice(sorted(ask.embeds)), self.chance(0.5))
        if kind == "tree" and depth < 2:
            inner = tuple(self.term(ask, depth + 1) for _ in range(self.r.randint(1, 3)))
            return Tree(self.r.choice(["and", "or", "or"]), inner, self.chance(0.3))
        return self.test(ask.table)

    def test(self, table: str) -> Test:
        """Compares with values that occur."""
        known = columns(table, self.view)
        # asking for deleted rows is a question of its own
        name = self.r.choice([*known, *(["deleted_at"] * 4 if "deleted_at" in known else [])])
        negated = self.chance(0.4)
        values = [row[name] for row in self.data[table] if row[name] is not None]
        if name == "changes" or not values or self.chance(0.12):
            words = ["null", "not_null", *(["true", "false", "unknown"] * 2 if name == "is_active" else [])]
            return Test(name, "is", self.r.choice(words), negated)
        if isinstance(values[0], str) and self.chance(0.5):
            return self.pattern(name, values, negated)
        operator = self.r.choice(["eq", "eq", "neq", "gt", "gte", "lt", "lte", "isdistinct", "in", "in"])
        if isinstance(values[0], datetime):
            values += [Word(word) for word in TIME_WORDS]
        if operator == "in":
            return Test(name, "in", self.some(values), negated)
        if operator in ("neq", "isdistinct") or self.chance(0.6):
            return Test(name, operator, self.r.choice(values), negated)
        return Test(name, operator, self.some([*values, None]), negated, self.r.choice(["any", "all"]))

    def pattern(self, name: str, values: list[str], negated: bool) -> Test:
        operator = self.r.choice(["like", "like", "ilike", "ilike", "match", "imatch"])
        framed = [
            f"{self.r.choice(['', '*', '_', '%'])}{text}{self.r.choice(['', '*', '_'])}"
            for text in [*values, "\\%", ""]
        ]
        patterns = REGULAR if operator in ("match", "imatch") else framed
        if self.chance(0.6):
            return Test(name, operator, self.r.choice(patterns), negated)
        return Test(name, operator, self.some([*patterns, None]), negated, self.r.choice(["any", "all"]))

    def some(self, values: list[Any]) -> tuple[Any, ...]:
        return tuple(self.r.choice(values) for _ in range(self.r.choice([0, 1, 2, 2, 3])))


def comparable(names: list[str]) -> list[str]:
    return [name for name in names if name != "changes"]


def targets(name: str) -> list[str]:
    """Casts that no value can fail."""
    if name.endswith("_at") or name == "at":
        return ["text", "date", "timestamp"]
    return {"is_active": ["text", "int"], "version": ["boolean", "text"], "id": ["text", "numeric"]}.get(name, ["text"])
