"""A small blog that most tests of this folder ask about."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.data.database import Database
from app.models import Post, PostTag, Revision, Tag, Transfer, User
from tests.conftest import EPOCH
from tests.query.asking import Asker
from tests.query.rows import DAY, a_post, a_revision, a_tag, a_transfer, a_user, fill, links


@pytest.fixture
async def ask(database: Database) -> Asker:
    """Ada (1) has posts in every state, Bob (2) one public and one deleted, and a deleted author (5) a public one."""
    posts = [
        a_post(1, 1, title="first", published_at=EPOCH - 3 * DAY),
        a_post(2, 1, title="second", published_at=EPOCH - 2 * DAY),
        a_post(3, 1, title="draft", status="draft", published_at=None),
        a_post(4, 1, title="scheduled", published_at=EPOCH + timedelta(microseconds=1)),
        a_post(5, 1, title="archived", status="archived"),
        a_post(6, 1, title="deleted", deleted_at=EPOCH),
        a_post(7, 2, title="bobs", published_at=EPOCH - 2 * DAY),
        a_post(8, 5, title="orphan", published_at=EPOCH),
        a_post(9, 2, title="bobs deleted", status="draft", deleted_at=EPOCH),
    ]
    users = [
        a_user(1, username="ada", role="author"),
        a_user(2, username="bob", role="author", email=None, full_name=None),
        a_user(3, username="mia", is_active=False),
        a_user(4, username="root", role="admin", full_name=None),
        a_user(5, username="gone", role="author", deleted_at=EPOCH),
    ]
    tags = [a_tag(1, "python"), a_tag(2, "async"), a_tag(3, "zebra"), a_tag(4, "unused")]
    joined = [
        *links(1, 1, 2),
        *links(2, 3, 1),
        *links(3, 1),
        *links(6, 2),
        *links(7, 1, 2, 3),
        *links(8, 3),
        *links(4, 4),
    ]
    changes = {"title": ["a", "b"], "created_by": [None, 1], "tags": [[], ["x"]], "hashed_password": ["no", "no"]}
    revisions = [
        a_revision(1, "posts", 1, changes),
        a_revision(2, "posts", 6, {"deleted_at": [None, "t"]}),
        a_revision(3, "posts", 7, changes),
        a_revision(4, "users", 1, {"email": ["a", "b"], "username": ["a", "b"], "password": [None, None]}),
        a_revision(5, "credentials", 1, {"hashed_password": ["a", "b"]}),
    ]
    transfers = [a_transfer(1, None, 1), a_transfer(2, 1, 3), a_transfer(3, 2, 3)]
    await fill(
        database, {User: users, Post: posts, Tag: tags, PostTag: joined, Revision: revisions, Transfer: transfers}
    )
    return Asker(database)
