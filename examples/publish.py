"""Write a post with tags and publish it, as a script would: entities in, one unit of work, history kept.

    python examples/publish.py "My title" < text.md

The database is that of the service: BROADSHEET_DATABASE_URL, else the SQLite file under data/.
"""

from __future__ import annotations

import asyncio
import sys

from app.data.database import Database
from app.data.rules import SYSTEM, user
from app.models import Post, User, UserRole
from app.repositories import Posts, Users
from app.resources import CATALOG
from app.settings import Settings


async def publish(database: Database, title: str, text: str) -> Post:
    async with database.writing(SYSTEM) as session:
        author = await Users(session).by_username("example")
        if author is None:
            author = await Users(session).add(User(username="example", full_name="Example", role=UserRole.AUTHOR))

    # From here on as the author: the rules allow own posts and nothing else.
    async with database.writing(user(author.id, author.role)) as session:
        posts = Posts(session)
        post = await posts.add(Post(title=title, content=text))
        await posts.set_tags(post, ["example", "python"])
        return await posts.publish(post)


async def main() -> None:
    title = sys.argv[1] if len(sys.argv) > 1 else "Hello from a script"
    text = "" if sys.stdin.isatty() else sys.stdin.read()
    async with Database(Settings.from_env().url, CATALOG) as database:
        await database.migrate()
        post = await publish(database, title, text)
        print(f"published {post.slug}, version {post.version}, at {post.published_at:%Y-%m-%d %H:%M} UTC")


if __name__ == "__main__":
    asyncio.run(main())
