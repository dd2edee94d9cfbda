"""Two readers, one meaning: the entities of each named query of the repositories against the documents of the
equivalent request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, user
from app.data.session import AppSession
from app.errors import NotFound
from app.models import Post, PostTag, Tag, Transfer, User
from app.query.fetch import fetch
from app.repositories import Posts, Transfers, Users
from tests.conftest import EPOCH
from tests.query.rows import DAY, a_post, a_tag, a_transfer, a_user, fill, links

CALLERS = {
    "anonymous": ANONYMOUS,
    "member": user(3),
    "author": user(1, "author"),
    "admin": user(4, "admin"),
    "service": SERVICE,
}
Shape = dict[str, "Shape | None"]


@pytest.fixture(autouse=True)
async def rows(database: Database) -> None:
    states: list[dict[str, Any]] = [{}, {}, {"status": "draft", "published_at": None}, {"published_at": EPOCH + DAY}]
    states += [{"status": "archived"}, {"deleted_at": EPOCH}, {"published_at": EPOCH - timedelta(microseconds=500_000)}]
    posts = [a_post(id, id % 3 + 1, created_at=EPOCH - id * DAY, **states[id % 7]) for id in range(1, 22)]
    users = [
        a_user(1, role="author", username="ada", full_name="Ada"),
        a_user(2, role="author", username="bob", email=None, is_active=False),
        a_user(3, username="mia", full_name=None),
        a_user(4, role="admin", created_at=EPOCH),
        a_user(5, deleted_at=EPOCH),
    ]
    joined = [row for id in range(1, 22) for row in links(id, *{id % 2 + 1, id % 3 + 1})]
    tags = [a_tag(1, "python"), a_tag(2, "async"), a_tag(3, "sql"), a_tag(4, "unused")]
    transfers = [a_transfer(1, None, 1), a_transfer(2, 1, 3), a_transfer(3, 3, 2)]
    await fill(database, {User: users, Post: posts, Tag: tags, PostTag: joined, Transfer: transfers})


@dataclass(frozen=True)
class Pair:
    entities: Callable[[AppSession], Awaitable[Any]]
    request: str
    shape: Shape
    below: str = ""  # the embed of the first document that holds the answer


POST: Shape = dict.fromkeys(("id", "user_id", "title", "slug", "status", "published_at"))
USER: Shape = dict.fromkeys(("id", "username", "full_name", "email", "balance", "uid", "version", "created_at"))
WHOLE: Shape = {**POST, "content": None, "version": None, "author": USER, "tags": {"id": None, "name": None}}
WHOLE_SELECT = f"*,author({','.join(USER)}),tags(id,name)"
TRANSFER: Shape = {"id": None, "amount": None, "sender": USER, "receiver": USER}

PAIRS = {
    "recent posts": Pair(
        lambda s: Posts(s).recent(limit=5),
        f"posts?select={WHOLE_SELECT}&status=eq.published&published_at=not.is.null&order=published_at.desc&limit=5",
        WHOLE,
    ),
    "post with author and tags": Pair(
        lambda s: _alone(Posts(s).with_author_and_tags(6)), f"posts?select={WHOLE_SELECT}&id=eq.6", WHOLE
    ),
    "summaries": Pair(
        lambda s: Posts(s).summaries(limit=9), f"posts?select={','.join(POST)}&order=id.desc&limit=9", POST
    ),
    "user by name": Pair(lambda s: _alone(Users(s).by_username("ada")), "users?username=eq.ada", USER),
    "user by address": Pair(
        lambda s: _alone(Users(s).by_email("u1@example.org")), "users?email=eq.u1@example.org", USER
    ),
    "recent users": Pair(lambda s: Users(s).recent(limit=3), "users?order=created_at.desc&limit=3", USER),
    "users with posts": Pair(
        lambda s: Users(s).with_posts(),
        f"users?select=id,posts({','.join(POST)},tags(name))",
        {"id": None, "posts": {**POST, "tags": {"name": None}}},
    ),
    "posts by tag": Pair(
        lambda s: Posts(s).by_tag("python", limit=4),
        f"tags?select=posts({WHOLE_SELECT})&name=eq.python&posts.order=id.desc&posts.limit=4",
        WHOLE,
        below="posts",
    ),
    "transfers": Pair(
        lambda s: Transfers(s).of_user(3),
        f"transfers?select=id,amount,sender({','.join(USER)}),receiver({','.join(USER)})&order=id.desc&id=in.(2,3)",
        TRANSFER,
    ),
}


async def _alone(found: Awaitable[Any]) -> list[Any]:
    try:
        row = await found
    except NotFound:
        return []
    return [] if row is None else [row]


def document(row: Any, shape: Shape) -> Any:
    """What the shape names of an entity or of a decoded document. Relations have no order of their own: sorted."""
    if row is None:
        return None
    read = row.get if isinstance(row, dict) else lambda name: getattr(row, name)
    return {name: value(read(name), below) for name, below in shape.items()}


def value(found: Any, below: Shape | None) -> Any:
    match found:
        case list() if below is not None:
            return sorted((document(row, below) for row in found), key=repr)
        case datetime():
            return found.isoformat().replace("500000", "5")
        case UUID():
            return str(found)
    return found if below is None else document(found, below)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", PAIRS)
async def test_a_named_query_and_its_request_agree(database: Database, name: str, caller: str) -> None:
    pair = PAIRS[name]
    async with database.reading(CALLERS[caller]) as session:
        entities = [document(entity, pair.shape) for entity in await pair.entities(session)]
        documents = msgspec.json.decode(await fetch(session, pair.request))
    assert entities or caller != "admin", "there is something to compare"
    if pair.below:
        documents = documents[0][pair.below]
    assert [document(row, pair.shape) for row in documents] == entities
