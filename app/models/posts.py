"""Posts: Markdown text of one author, with tags."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.base import (
    NEVER_REUSE_IDS,
    Audited,
    Base,
    BigId,
    SoftDeleted,
    Timestamps,
    UtcTime,
    Versioned,
    choice,
    string,
    text,
    unique_among_present,
)

if TYPE_CHECKING:
    from app.models.tags import PostTag, Tag
    from app.models.users import User


class PostStatus(StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"
    ARCHIVED = "archived"


class Post(Timestamps, Audited, SoftDeleted, Versioned, Base):
    """Public when published, `published_at` has come and it is not deleted; a future `published_at` is scheduled."""

    __tablename__ = "posts"
    __table_args__ = (
        unique_among_present("posts", "slug"),
        Index(None, "status", "published_at", "id"),
        Index(None, "published_at", "id"),
        Index(None, "user_id", "published_at", "id"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id", ondelete="RESTRICT"))
    title: Mapped[str] = mapped_column(string(200))
    slug: Mapped[str] = mapped_column(string(200))
    content: Mapped[str] = mapped_column(text(), default="")
    status: Mapped[PostStatus] = mapped_column(choice(PostStatus, "status"), default=PostStatus.DRAFT)
    published_at: Mapped[datetime | None] = mapped_column(UtcTime)

    author: Mapped[User] = relationship(back_populates="posts", lazy="raise")
    tags: Mapped[list[Tag]] = relationship(
        secondary="post_tags", back_populates="posts", lazy="raise", passive_deletes=True
    )
    post_tags: Mapped[list[PostTag]] = relationship(back_populates="post", viewonly=True, lazy="raise")
