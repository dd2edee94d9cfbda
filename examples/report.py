"""A report on the blog: the newest posts, the busiest authors, the popular tags; and the same list as JSON, as HTTP
answers it.

    python examples/report.py

Everything is read as an anonymous visitor sees it: drafts, deleted posts and e-mail addresses do not exist here.
"""

from __future__ import annotations

import asyncio

from app.data.database import Database
from app.data.rules import ANONYMOUS
from app.query.fetch import fetch
from app.repositories import Posts, Tags, Users
from app.resources import CATALOG
from app.settings import Settings

NEWEST = "posts?select=title,author(username),tags(name)&order=published_at.desc&limit=3"


async def report(database: Database) -> None:
    async with database.reading(ANONYMOUS) as session:
        print("Newest posts")
        for post in await Posts(session).recent(limit=5):
            names = ", ".join(tag.name for tag in post.tags) or "no tags"
            print(f"  {post.published_at:%Y-%m-%d}  {post.title}, by {post.author.username} ({names})")
        print("Busiest authors")
        for author, number in await Users(session).with_post_counts(limit=3):
            print(f"  {author.username}: {number}")
        print("Popular tags")
        for name, number in await Tags(session).popular(limit=5):
            print(f"  {name}: {number}")
        print("As JSON")
        print((await fetch(session, NEWEST)).decode())


async def main() -> None:
    async with Database(Settings.from_env().url, CATALOG) as database:
        await database.migrate()
        await report(database)


if __name__ == "__main__":
    asyncio.run(main())
