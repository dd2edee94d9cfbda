"""What the database has already of what an import brings: users by name or address, tags by name, posts by slug.

Each look-up is one statement whatever the number of names.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from app.data.rules import Values
from app.data.session import AppSession
from app.importers.records import UserRecord
from app.models import Post, PostTag, Tag, User
from app.query.bulk import among

COMPARED = (Post.user_id, Post.title, Post.content, Post.status, Post.published_at)
NAMES = tuple(column.key for column in COMPARED)


@dataclass(frozen=True, slots=True)
class ExistingPost:
    """A post of the database, as far as it is compared."""

    id: int
    values: Values
    tags: frozenset[str]


async def find_users(
    session: AppSession, wanted: Sequence[UserRecord]
) -> tuple[dict[str, tuple[int, str | None]], dict[str | None, tuple[int, str]]]:
    """username -> (id, e-mail); and for those whose name is not there e-mail -> (id, username)."""
    query = select(User.username, User.id, User.email).order_by(User.id)
    names = [user.username for user in wanted]
    rows = (await session.execute(query.where(among(session, User.username, names)))).all() if names else []
    by_name = {name: (id_, email) for name, id_, email in rows}
    emails = [user.email for user in wanted if user.email and user.username not in by_name]
    rows = (await session.execute(query.where(among(session, User.email, emails)))).all() if emails else []
    return by_name, {email: (id_, name) for name, id_, email in rows}


async def find_tags(session: AppSession, names: Collection[str]) -> dict[str, int]:
    if not names:
        return {}
    query = select(Tag.name, Tag.id).where(among(session, Tag.name, names)).order_by(Tag.id)
    return dict((await session.execute(query)).all())


async def find_posts(session: AppSession, slugs: Collection[str]) -> dict[str, ExistingPost]:
    if not slugs:
        return {}
    query = select(Post.id, Post.slug, *COMPARED).where(among(session, Post.slug, slugs)).order_by(Post.id)
    rows = (await session.execute(query)).all()
    tags: dict[int, set[str]] = {row.id: set() for row in rows}
    if tags:
        links = select(PostTag.post_id, Tag.name).join(PostTag.tag).where(among(session, PostTag.post_id, tags))
        for id_, name in await session.execute(links.order_by(PostTag.post_id, PostTag.tag_id)):
            tags[id_].add(name)
    return {
        row.slug: ExistingPost(row.id, dict(zip(NAMES, row[2:], strict=True)), frozenset(tags[row.id])) for row in rows
    }
