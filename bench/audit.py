"""Looks at what a load that writes has left behind: no variant may be fast by writing less, or something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Query = Callable[[str], list[tuple[Any, ...]]]  # asks the database that was written
Counts = dict[str, int]

TAGS_EACH = 3
POSTS = "SELECT count(*) FROM posts"
COUNTED = {
    "posts": POSTS,
    "links": "SELECT count(*) FROM post_tags",
    "revisions": "SELECT count(*) FROM revisions WHERE table_name = 'posts'",
    "transfers": "SELECT count(*) FROM transfers",
}
BOOKS = """
SELECT min(balance), sum(CASE WHEN balance <>
  coalesce((SELECT sum(amount) FROM transfers WHERE to_user_id = users.id), 0)
  - coalesce((SELECT sum(amount) FROM transfers WHERE from_user_id = users.id), 0) THEN 1 ELSE 0 END) FROM users
"""


def counts(query: Query, variant: str) -> Counts:
    """How many rows of each kind there are. PocketBase keeps tags in the posts, and knows no transfers."""
    wanted = {"posts": POSTS} if variant == "pocketbase" else COUNTED
    return {name: query(statement)[0][0] for name, statement in wanted.items()}


def complaint(query: Query, before: Counts, load: str, variant: str, done: int) -> str:
    """What is wrong with a database after `done` successes, or nothing."""
    after = counts(query, variant)
    made = {name: after[name] - before[name] for name in after}
    wanted = dict.fromkeys(made, 0) | {
        name: count for name, count in _wanted(load, variant, done).items() if name in made
    }
    if made != wanted:
        return f"the answers say {wanted}, the database {made}"
    return _books(query) if load.startswith("transfer") else ""


def _wanted(load: str, variant: str, done: int) -> Counts:
    if load == "create":
        revisions = {"revisions": done} if variant == "broadsheet" else {}
        return {"posts": done, "links": done * TAGS_EACH, **revisions}
    return {"transfers": done} if load.startswith("transfer") else {}


def _books(query: Query) -> str:
    ((least, wrong),) = query(BOOKS)
    if least >= 0 and not wrong:
        return ""
    return f"{wrong} balances are not the sum of their transfers, the least is {least}"
