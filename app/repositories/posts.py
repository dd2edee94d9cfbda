"""Posts: with author and tags, by tag, by date."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.orm import contains_eager, joinedload, load_only, selectinload

from app.models import Post, PostStatus, Tag, User
from app.models.names import clean_tag
from app.repositories.base import Options, Repository
from app.repositories.tags import Tags

# The author in the same row, the tags in one statement more.
WITH_AUTHOR_AND_TAGS: Options = (joinedload(Post.author), selectinload(Post.tags))
# The foreign key stays: without it no author could be found; and the version: without it no change could be checked.
_SUMMARY = (Post.id, Post.user_id, Post.title, Post.slug, Post.status, Post.published_at, Post.version)
SUMMARY: Options = (load_only(*_SUMMARY, raiseload=True),)


class Posts(Repository[Post]):
    model = Post

    async def recent(self, *, limit: int = 20, options: Options = WITH_AUTHOR_AND_TAGS) -> Sequence[Post]:
        """Published posts, the newest first."""
        query = self.where(Post.status == PostStatus.PUBLISHED, Post.published_at.is_not(None)).options(*options)
        return await self._rows(query, Post.published_at.desc(), Post.id.desc(), limit=limit)

    async def with_author_and_tags(self, id: int) -> Post:
        """Raises NotFound."""
        return await self.require(id, options=WITH_AUTHOR_AND_TAGS)

    async def by_tag(self, name: str, *, limit: int = 20, options: Options = WITH_AUTHOR_AND_TAGS) -> Sequence[Post]:
        """Posts with this tag, the latest first. Raises BadValue for what is no tag."""
        query = self.where(Tag.name == clean_tag(name)).join(Post.tags).options(*options)
        return await self._rows(query, Post.id.desc(), limit=limit)

    async def by_active_authors(self, *, limit: int = 20) -> Sequence[Post]:
        """Posts of active authors, with these from the same join.

        `is_active` exists for admins alone: for others the session refuses the condition (Forbidden), so that nobody
        can tell active authors by which posts come.
        """
        query = self.where(User.is_active.is_(True)).join(Post.author).options(contains_eager(Post.author))
        return await self._rows(query, Post.id.desc(), limit=limit)

    async def summaries(self, *, limit: int = 20) -> Sequence[Post]:
        """Without content: reading it from a summary raises instead of loading it post by post."""
        return await self._rows(self.where().options(*SUMMARY), Post.id.desc(), limit=limit)

    async def publish(self, post: Post) -> Post:
        """Public from now, or from its own `published_at` where it has one."""
        return await self.change(post, status=PostStatus.PUBLISHED)

    async def set_tags(self, post: Post, names: Collection[str]) -> Post:
        """Replaces the tags by name; new names are made. A change of the post, with version and revision."""
        tags = await Tags(self.session).find_or_add(names)
        await self.require(post.id, options=(load_only(Post.id), selectinload(Post.tags)))
        return await self.change(post, tags=list(tags))
