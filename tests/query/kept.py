"""What a database holds, so that two ways of writing the same can be compared."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from app.data.audit import Revision
from app.data.base import Base
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import Post, PostTag, Tag, User

# Ids go on counting after rows are deleted, and uids are random.
DIFFERENT = ("id", "uid", "user_id", "created_by", "updated_by", "actor_id", "row_id", "post_id", "tag_id")


async def kept(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows as the database gives them, with what they point at named."""
    async with database.reading(SYSTEM) as session:
        found = {}
        for model in (User, Tag, Post, Revision):
            rows = (await session.execute(select(*model.__table__.columns).order_by(model.id))).mappings()
            found[model.__tablename__] = [_without_ids(model, dict(row)) for row in rows]
        links = select(Post.slug, Tag.name).join(PostTag, PostTag.post_id == Post.id).join(PostTag.tag)
        found["links"] = [dict(row) for row in (await session.execute(links.order_by(Post.slug, Tag.name))).mappings()]
        return found


def _without_ids(model: type[Base], row: dict[str, Any]) -> dict[str, Any]:
    if model is Revision:
        row["changes"] = {name: change for name, change in row["changes"].items() if name not in DIFFERENT}
    return {name: value for name, value in row.items() if name not in DIFFERENT}
