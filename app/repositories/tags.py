"""Tags: found or made by name, and how much they are used."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, select

from app.models import Post, Tag
from app.models.names import clean_tag
from app.query.naming import find_or_insert
from app.repositories.base import Repository


class Tags(Repository[Tag]):
    model = Tag

    async def find_or_add(self, names: Collection[str]) -> Sequence[Tag]:
        """The tags with these names, by name; missing ones are made, safe against others who do so. Raises BadValue."""
        await self.session.flush()
        ids = (await find_or_insert(self.session, Tag, "name", {clean_tag(name) for name in names})).values()
        if not ids:
            return []
        return await self._rows(self.where(Tag.id.in_(ids)), Tag.name, Tag.id, limit=len(ids))

    async def popular(self, *, limit: int = 20) -> list[tuple[str, int]]:
        """Name and number of the posts that the caller may see, most used first; unused tags are left out."""
        number = func.count(Post.id)
        query = select(Tag.name, number).join(Tag.posts).group_by(Tag.id, Tag.name)
        rows = await self.session.execute(query.order_by(number.desc(), Tag.name, Tag.id).limit(limit))
        return [(name, counted) for name, counted in rows]
