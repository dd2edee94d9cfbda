"""Two sets of tables that differ only in what one caller may not see: hidden columns, masked values, rows of others,
and how many of these there are. What may be seen is asked of the evaluator.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

from tests.conftest import EPOCH
from tests.query.asks import Caller, Row
from tests.query.evaluator import COLUMNS, MASKED, Evaluator, Tables, columns
from tests.query.requests import POSTS, TAGS, TIMES, USERS, WORDS
from tests.query.rows import a_post, a_revision, a_transfer, a_user

MORE = 100  # ids of rows that only the twin has begin here


def twin(tables: Tables, caller: Caller, r: Random) -> dict[str, list[Row]]:
    """The same for the caller, and as different as can be in all else."""
    sees = Evaluator(tables, EPOCH, caller, cap=0)
    hidden = {
        name: [row for row in rows if not columns(name, caller.view) or not sees.visible(name, row, deleted=True)]
        for name, rows in tables.items()
    }
    seen = {name: [row for row in rows if row not in hidden[name]] for name, rows in tables.items()}
    gone = {post["id"] for post in hidden["posts"]}
    others = [id for id in range(1, USERS + 1) if id != caller.me]
    out = {name: [veiled(name, row, caller, r) for row in rows] for name, rows in seen.items()}
    out["users"] += [a_user(row["id"], **a_deleted_user(row["id"], r)) for row in hidden["users"]]
    out["users"] += [a_user(id, **a_deleted_user(id, r)) for id in range(MORE, MORE + 3)]
    posts = [id for id in gone if r.random() < 0.7] + list(range(MORE, MORE + 5))
    out["posts"] += [a_post(id, r.choice(others), **a_hidden_post(r)) for id in posts]
    out["post_tags"] = [link for link in tables["post_tags"] if link["post_id"] not in gone]
    pairs = [{"post_id": id, "tag_id": tag} for id in posts for tag in range(1, TAGS + 1)]
    out["post_tags"] += [pair for pair in pairs if r.random() < 0.6]
    out["transfers"] += [a_transfer(MORE + i, r.choice([None, others[0]]), r.choice(others)) for i in range(4)]
    out["revisions"] += [a_revision(MORE + i, "posts", r.choice(posts), {"title": ["x", "y"]}) for i in range(4)]
    return out


def veiled(table: str, row: Row, caller: Caller, r: Random) -> Row:
    """A row that the caller sees, with other values in what it does not see of it."""
    known = columns(table, caller.view)
    out = dict(row)
    for name in (name.rstrip("*+") for name in COLUMNS[table].split()):
        if name not in known or (name in MASKED and table == "users" and row["id"] != caller.me):
            out[name] = other(name, row, r)
    if table == "revisions":
        out["changes"] = row["changes"] | {"created_by": [r.randint(1, 9), None], "elsewhere": [r.random(), 0]}
    return out


def other(name: str, row: Row, r: Random) -> Any:
    match name:
        case "uid":
            return UUID(int=r.getrandbits(128))
        case "email":
            return r.choice([None, f"twin{row['id']}@x"])
        case "balance":
            return r.randint(1, 2**50)
        case "role":
            return r.choice(["member", "author", "admin"])
        case "is_active":
            return not row[name]
        case "created_by" | "updated_by":
            return r.choice([None, *range(1, 9)])
        case "deleted_at":
            return None  # a row that is seen is not deleted
        case "key_id" | "request_id":
            return r.choice([None, "twin"])
    raise KeyError(name)


def a_deleted_user(id: int, r: Random) -> dict[str, Any]:
    values = {"uid": UUID(int=r.getrandbits(128)), "email": f"gone{id}@x", "username": f"gone{id}", "full_name": "Gone"}
    return values | {"deleted_at": r.choice(TIMES), "balance": 0, "role": "author", "created_at": r.choice(TIMES)}


def a_hidden_post(r: Random) -> dict[str, Any]:
    """A draft, a scheduled or a deleted one."""
    values = {"title": r.choice(WORDS), "content": r.choice(WORDS), "version": r.randint(1, 9), "updated_by": 1}
    kind = r.choice(["draft", "scheduled", "deleted"])
    if kind == "draft":
        return values | {"status": "draft", "published_at": r.choice([None, *TIMES])}
    if kind == "scheduled":
        return values | {"published_at": EPOCH + timedelta(hours=r.randint(1, 9))}
    return values | {"deleted_at": r.choice(TIMES)}


assert MORE > POSTS
