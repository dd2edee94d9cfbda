"""Tags, and the junction that links them to posts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.base import NEVER_REUSE_IDS, Base, BigId, Timestamps, Versioned, string

if TYPE_CHECKING:
    from app.models.posts import Post


class Tag(Timestamps, Versioned, Base):
    """A name, unique byte for byte. Removing one removes its links and is a change of each post that had it."""

    __tablename__ = "tags"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(string(100), unique=True)

    posts: Mapped[list[Post]] = relationship(
        secondary="post_tags", back_populates="tags", lazy="raise", passive_deletes=True
    )
    post_tags: Mapped[list[PostTag]] = relationship(back_populates="tag", viewonly=True, lazy="raise")


class PostTag(Base):
    """A post has a tag."""

    __tablename__ = "post_tags"

    post_id: Mapped[int] = mapped_column(BigId, ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(BigId, ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, index=True)

    post: Mapped[Post] = relationship(back_populates="post_tags", viewonly=True, lazy="raise")
    tag: Mapped[Tag] = relationship(back_populates="post_tags", viewonly=True, lazy="raise")
