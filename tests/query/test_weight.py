"""The size of an answer counts what is shown, not what is fetched: shared rows count at every place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SYSTEM
from app.errors import BadQuery
from tests.factories import make_post, make_user
from tests.query.asking import LIMITS, Asker

SHARED = "posts?select=id,author(id,posts(id))&limit=1000"


async def blog(database: Database, posts: int, text: str = "") -> None:
    async with database.writing(SYSTEM) as session:
        author = await make_user(session, role="author")
        for _ in range(posts):
            await make_post(session, author, content=text)


async def test_rows_that_are_shared_count_at_every_place(database: Database) -> None:
    """12 posts of one author: 12 + 12 authors + 144 posts, though 25 rows are fetched."""
    await blog(database, 12)
    assert len(await Asker(database, limits=replace(LIMITS, answer_rows=168))(ANONYMOUS, SHARED)) == 12
    with pytest.raises(BadQuery) as refusal:
        await Asker(database, limits=replace(LIMITS, answer_rows=167))(ANONYMOUS, SHARED)
    assert (refusal.value.code, refusal.value.status) == ("54000", 400)


async def test_long_texts_count_in_bytes(database: Database) -> None:
    await blog(database, 4, "x" * 10_000)
    asker = Asker(database, limits=replace(LIMITS, answer_bytes=50_000))
    assert len(await asker(ANONYMOUS, "posts?select=content")) == 4
    with pytest.raises(BadQuery, match="too many bytes"):
        await asker(ANONYMOUS, "posts?select=author(posts(content))")


async def test_deep_sharing_is_refused_before_it_is_built(database: Database) -> None:
    """A million documents from 200 rows: the answer must come at once, and be a refusal."""
    await blog(database, 100)
    request = "posts?select=id,author(id,posts(id,author(id,posts(id))))&limit=1000"
    with pytest.raises(BadQuery, match="too many rows"):
        await Asker(database)(ANONYMOUS, request)
