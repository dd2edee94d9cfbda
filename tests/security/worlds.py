"""Worlds: the rows of every table of an installation in which one caller has an account, and their twins, which differ
in all that this caller may not see: also in what only the account API keeps, and in what the scopes of a key leave out.
"""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text

from app.data.base import Base
from app.data.database import Database
from app.models import (
    ApiKey,
    Credentials,
    Event,
    OneTimeToken,
    Post,
    PostTag,
    RateCounter,
    Revision,
    Session,
    SigningKey,
    Tag,
    Transfer,
    User,
)
from tests.conftest import EPOCH, delete_all_rows
from tests.query.requests import CHANGES, TIMES, WORDS, tables
from tests.query.rows import Row, a_revision, a_tag, a_transfer, fill
from tests.query.twins import twin
from tests.security.callers import Kind

Tables = dict[str, list[Row]]
World = dict[type[Any], list[Row]]

SERVED: dict[str, type[Base]] = {
    "users": User, "posts": Post, "tags": Tag, "post_tags": PostTag, "transfers": Transfer, "revisions": Revision,
}  # fmt: skip
NEXT = 10_000  # the id that the next row of a table gets
NUMBERED = (Session, ApiKey, OneTimeToken)
SIGNING_KEYS: Any = SigningKey.__table__


def worlds(seed: int, kind: Kind, hashed: str) -> tuple[World, World]:
    """A world, and its twin for this caller, whose password has the hash."""
    r = Random(f"{seed} {kind.name}")
    one = _lived_in(tables(seed), kind)
    other = twin(one, kind.sees, r)
    _restore_self(one, other, kind)
    if kind.scopes is not None:
        _change_beyond(other, kind, r)
    return _world(one, kind, hashed, r), _world(other, kind, hashed, r)


async def keep(database: Database, world: World) -> None:
    """These rows and no others; the keys that sign tokens stay. What is made next gets the same ids in every world."""
    async with database.writer.connect() as connection:
        signing = [dict(row._mapping) for row in await connection.execute(select(SIGNING_KEYS))]
    await delete_all_rows(database)
    await fill(database, world)
    async with database.writer.begin() as connection:
        if signing:
            await connection.execute(insert(SIGNING_KEYS), signing)
        for statement in _moved_on(database):
            await connection.execute(text(statement))


def _moved_on(database: Database) -> list[str]:
    """Ids continue at NEXT, and the planner knows the rows."""
    names = [model.__tablename__ for model in (User, Post, Tag, Transfer, Revision, Event, *NUMBERED)]
    if database.name == "postgresql":
        sequence = "pg_get_serial_sequence('{}', 'id')"
        return [*(f"SELECT setval({sequence.format(name)}, {NEXT - 1})" for name in names), "ANALYZE"]
    numbered = f"UPDATE sqlite_sequence SET seq = {NEXT - 1}"
    return [numbered, "ANALYZE"]


# ---- what both have -------------------------------------------------------------------------------------------------


def _lived_in(data: Tables, kind: Kind) -> Tables:
    """The same with the caller as somebody who may sign in, whose posts have revisions."""
    for row in data["users"]:
        if row["id"] == kind.sees.me:
            row |= {"role": kind.sees.view, "is_active": True, "deleted_at": None, "email": kind.email}
    own = [row["id"] for row in data["posts"] if row["user_id"] == kind.sees.me]
    was = {"title": [None, "was"], "content": [None, "ä"], "created_by": [None, 3], "tags": [None, ["tag"]]}
    for at, id in enumerate(own[:2]):
        data["revisions"].append(a_revision(20 + at, "posts", id, was) | {"operation": "insert"})
        data["revisions"].append(a_revision(30 + at, "posts", id, CHANGES) | {"version": 2})
    return data


def _restore_self(one: Tables, other: Tables, kind: Kind) -> None:
    """A member does not see its role; but it decides who the member is."""
    (known,) = [row for row in one["users"] if row["id"] == kind.sees.me] or [{}]
    for row in other["users"]:
        if row["id"] == kind.sees.me:
            row |= {name: known[name] for name in ("role", "is_active")}


# ---- what differs ---------------------------------------------------------------------------------------------------


def _change_beyond(data: Tables, kind: Kind, r: Random) -> None:
    """All that lies outside of the scopes: here all tables but posts."""
    for row in data["users"]:
        if row["id"] != kind.sees.me:
            row |= {"username": f"other{row['id']}", "full_name": r.choice(WORDS), "created_at": r.choice(TIMES)}
    data["tags"] = [a_tag(row["id"], f"else{row['id']}") for row in data["tags"]]
    posts, tags = [row["id"] for row in data["posts"]], [row["id"] for row in data["tags"]]
    data["post_tags"] = [{"post_id": p, "tag_id": t} for p in posts for t in tags if r.random() < 0.3]
    users = [row["id"] for row in data["users"]]
    data["transfers"] = [a_transfer(id, r.choice([None, *users]), r.choice(users)) for id in range(1, 12)]
    data["revisions"] = [a_revision(id, "posts", r.choice(posts), {"title": ["p", "q"]}) for id in range(1, 12)]


def _world(data: Tables, kind: Kind, hashed: str, r: Random) -> World:
    for row in data["users"]:
        row |= _own_account() if row["id"] == kind.sees.me else _account(r)
    own = [{"user_id": kind.sees.me, "hashed_password": hashed, "changed_at": EPOCH}] if kind.sees.me > 0 else []
    others = [row["id"] for row in data["users"] if row["id"] != kind.sees.me]
    world: World = {SERVED[name]: rows for name, rows in data.items()}
    world[Revision] = [*world[Revision], a_revision(NEXT - 1, "elsewhere", 0, {})]  # the next one's id follows
    return world | _private(others, own, r)


def _own_account() -> Row:
    names = ("user_metadata", "app_metadata", "is_anonymous", "last_sign_in_at", "banned_until")
    return dict.fromkeys(names) | {"email_confirmed_at": EPOCH}


def _account(r: Random) -> Row:
    """What only the account API keeps of a user."""
    words = [None, '{"word":"a"}', f'{{"word":"{r.random()}"}}']
    return {
        "user_metadata": r.choice(words),
        "app_metadata": r.choice(words),
        "is_anonymous": r.choice([None, True, False]),
        "email_confirmed_at": r.choice([None, *TIMES]),
        "last_sign_in_at": r.choice([None, *TIMES]),
        "banned_until": r.choice([None, *TIMES]),
    }


def _private(others: list[int], own: list[Row], r: Random) -> World:
    """Tables that nobody is served, and events, which admins alone are."""
    some = [id for id in others if r.random() < 0.6]
    return {
        Credentials: own + [{"user_id": id, "hashed_password": _hash(r), "changed_at": r.choice(TIMES)} for id in some],
        Session: [_session(NEXT - 1 - at, id, r) for at, id in enumerate([others[0], *some])],
        ApiKey: [_key(NEXT - 1 - at, id, r) for at, id in enumerate([None, *some])],
        OneTimeToken: [_token(at, id, r) for at, id in enumerate(some, start=1)],
        Event: [_event(id, r) for id in range(1, r.randint(2, 6))],
        RateCounter: [{"key": _hash(r), "number": 1, "spent": r.randint(1, 9), "spent_before": 0, "expires": 2**40}],
    }


def _session(id: int, user_id: int, r: Random) -> Row:
    row = {"id": id, "uid": UUID(int=r.getrandbits(128)), "user_id": user_id, "created_at": EPOCH}
    return row | {"refreshed_at": EPOCH, "counter": r.randint(0, 9), "token_hash": _hash(r), "method": "password"}


def _key(id: int, user_id: int | None, r: Random) -> Row:
    row = {"id": id, "name": f"key {id} {_hash(r)[:6]}", "kind": "secret" if user_id is None else "user"}
    row |= {"key_hash": _hash(r), "user_id": user_id, "scopes": ["*"], "created_at": EPOCH}
    return row | dict.fromkeys(("created_by", "expires_at", "revoked_at"))


def _token(id: int, user_id: int, r: Random) -> Row:
    row = {"id": id, "user_id": user_id, "kind": "recovery", "token_hash": _hash(r), "otp_hash": _hash(r), "tries": 0}
    row |= {"email": f"mail{r.randint(1, 9)}@x", "challenge": None, "challenge_method": None}
    return row | {"created_at": EPOCH, "expires_at": r.choice(TIMES)}


def _event(id: int, r: Random) -> Row:
    row = {"id": id, "at": r.choice(TIMES), "kind": "key_created", "actor_id": r.choice([None, 1, 2])}
    row |= {"key_id": None, "address": "192.0.2.1", "request_id": None, "subject": f"key {r.randint(1, 99)}"}
    return row | {"details": {"name": "x"}}


def _hash(r: Random) -> str:
    return f"{r.getrandbits(256):064x}"
