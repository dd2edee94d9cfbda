"""Posts with one title that come at the same time: each gets a slug of its own."""

from __future__ import annotations

import asyncio

from sqlalchemy import select

from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.models import Post
from app.query.writer import insert
from tests.factories import make_user


async def test_posts_with_one_title_at_once_are_numbered(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        author = (await make_user(session)).id

    async def work(session: AppSession) -> None:
        await insert(session, session.catalog.of(Post), [{"user_id": author, "title": "News", "content": ""}])

    await asyncio.gather(*(database.transact(SYSTEM, work) for _ in range(12)))
    async with database.reading(SYSTEM) as session:
        slugs = set(await session.scalars(select(Post.slug)))
    assert slugs == {"news", *(f"news-{number}" for number in range(2, 13))}
