"""Random data, callers and valid requests: as a tree for the evaluator, as a query string for the service."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from hypothesis import strategies as st

from app.data.rules import ANONYMOUS, SERVICE, Principal, user
from tests.conftest import EPOCH
from tests.query.evaluator import RELATIONS, Ask, Caller, Row, columns
from tests.query.rows import DAY, a_post, a_revision, a_tag, a_transfer, a_user

USERS, POSTS, TAGS = 6, 18, 5
WORDS = ["", "a", "A", "ab", "zé", "ZÉ", "日本", "a,b", '"q"', "x\\y", "a b", "null", "\u2028", "(a)", "1"]
TIMES = [EPOCH, EPOCH - DAY, EPOCH + DAY, EPOCH - timedelta(microseconds=1), EPOCH - timedelta(milliseconds=1500)]
CHANGES = {"title": ["a", "é"], "email": [None, "x"], "created_by": [None, 1], "tags": [[], ["t"]], "nothing": [1.5, 2]}


def tables(seed: int) -> dict[str, list[Row]]:
    """Small tables in which every kind of row is likely."""
    r = random.Random(seed)

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


callers: st.SearchStrategy[tuple[Principal, Caller]] = st.one_of(
    st.just((ANONYMOUS, Caller("anonymous", -1))),
    st.just((SERVICE, Caller("admin", -1))),
    st.builds(
        lambda id, role: (user(id, role), Caller(role, id)),
        st.integers(1, USERS),
        st.sampled_from(["member", "author", "author", "admin"]),
    ),
)


@st.composite
def asks(
    draw: st.DrawFn, data: dict[str, list[Row]], view: str, depth: int = 0, table: str = "", relation: str = ""
) -> Ask:
    """One level, and below it up to two embeds, three levels deep."""
    served = [name for name in RELATIONS if columns(name, view)]
    table = table or draw(st.sampled_from(served))
    known = columns(table, view)
    items: list[tuple[str, str | Ask]] = [
        (name, name) for name in draw(st.lists(st.sampled_from(known), unique=True, max_size=4))
    ]
    for i in range(draw(st.integers(0, 2)) if depth < 3 and RELATIONS[table] else 0):
        name = draw(st.sampled_from(sorted(RELATIONS[table])))
        below = draw(asks(data, view, depth + 1, RELATIONS[table][name][0], name))
        items.append((f"e{i}", below))
    comparable = [name for name in known if name != "changes"]
    paged = draw(st.booleans())
    return Ask(
        table,
        tuple(draw(st.permutations(items))) or ((known[0], known[0]),),
        tuple(draw(filters(data[table], comparable)) for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2])))),
        tuple(draw(st.lists(orders(comparable), max_size=2))),
        draw(st.none() | st.integers(0, 8)) if paged else None,
        draw(st.none() | st.integers(0, 3)) if paged else None,
        relation,
    )


def orders(names: list[str]) -> st.SearchStrategy[tuple[str, bool, bool]]:
    return st.tuples(st.sampled_from(names), st.booleans(), st.booleans())


@st.composite
def filters(draw: st.DrawFn, rows: list[Row], names: list[str]) -> tuple[str, bool, tuple[Any, ...] | None, Any]:
    """Compares with values that occur."""
    # asking for deleted rows is a question of its own
    name = draw(st.sampled_from([*names, *(["deleted_at"] * 4 if "deleted_at" in names else [])]))
    values = [row[name] for row in rows if row[name] is not None]
    negated = draw(st.booleans())
    if not values or draw(st.booleans()):
        return name, negated, tuple(draw(st.lists(st.sampled_from(values), max_size=3))) if values else (), None
    return name, negated, None, draw(st.sampled_from(values))


# ---- as a query string ----------------------------------------------------------------------------------------------


def request_of(ask: Ask) -> str:
    parameters = [f"select={_select(ask)}", *_parameters(ask, "")]
    return f"{ask.table}?" + "&".join(parameters)


def _select(ask: Ask) -> str:
    return ",".join(f"{k}:{w.relation}({_select(w)})" if isinstance(w, Ask) else w for k, w in ask.items)


def _parameters(ask: Ask, path: str) -> list[str]:
    out = []
    for name, negated, among, value in ask.filters:
        test = f"in.({','.join(_element(v) for v in among)})" if among is not None else f"eq.{_text(value)}"
        out.append(f"{path}{name}={'not.' if negated else ''}{quote(test, safe='(),.')}")
    if ask.order:
        terms = (f"{n}.{'desc' if d else 'asc'}.nulls{'first' if first else 'last'}" for n, d, first in ask.order)
        out.append(f"{path}order={','.join(terms)}")
    out += [f"{path}{name}={n}" for name, n in (("limit", ask.limit), ("offset", ask.offset)) if n is not None]
    for key, what in ask.items:
        out += _parameters(what, f"{path}{key}.") if isinstance(what, Ask) else []
    return out


def _element(value: Any) -> str:
    text = _text(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _text(value: Any) -> str:
    return (
        value.isoformat()
        if isinstance(value, datetime)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
