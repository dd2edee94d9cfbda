"""The mapped classes of the peers that use SQLAlchemy, and their queries, after "ORM Mapped Class Configuration",
"ORM Querying Guide" (what kind of loading to use: joined for many-to-one, select-in for collections) and the recipe
"Store Timezone Aware Timestamps as Timezone Naive UTC", which SQLite needs.
"""

from __future__ import annotations

import os
import re
import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Dialect, ForeignKey, Integer, Select, Table, TypeDecorator, select
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship, selectinload


class NaiveUtc(TypeDecorator[datetime]):
    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


BigId = BigInteger().with_variant(Integer(), "sqlite")  # only an INTEGER primary key numbers itself on SQLite
Instant = DateTime(timezone=True).with_variant(NaiveUtc(), "sqlite")


class Base(DeclarativeBase):
    type_annotation_map = {int: BigId, datetime: Instant}  # noqa: RUF012  # as SQLAlchemy declares it


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    username: Mapped[str]
    full_name: Mapped[str | None]
    is_active: Mapped[bool]
    balance: Mapped[int]
    deleted_at: Mapped[datetime | None]


class Credentials(Base):
    __tablename__ = "credentials"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    hashed_password: Mapped[str]


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


post_tags = Table(
    "post_tags",
    Base.metadata,
    Column("post_id", ForeignKey("posts.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Post(Base):
    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    slug: Mapped[str]
    content: Mapped[str]
    status: Mapped[str]
    published_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)

    author: Mapped[User] = relationship()
    tags: Mapped[list[Tag]] = relationship(secondary=post_tags, order_by=Tag.id)


class Transfer(Base):
    __tablename__ = "transfers"

    id: Mapped[int] = mapped_column(primary_key=True)
    from_user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    to_user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    amount: Mapped[int]
    created_at: Mapped[datetime]


# as the asyncio pages of SQLAlchemy show it; the guide to loading would join the author, which is a variant of its own
JOINED = os.environ.get("BENCH_AUTHOR") == "joined"
AUTHOR = joinedload(Post.author, innerjoin=True) if JOINED else selectinload(Post.author)
LOADED = (AUTHOR, selectinload(Post.tags))


def now() -> datetime:
    return datetime.now(UTC)


def public() -> tuple[Any, ...]:
    return Post.status == "published", Post.published_at <= now(), Post.deleted_at.is_(None)


def feed(
    limit: int, offset: int = 0, before_id: int | None = None, tag: str | None = None, author: int | None = None
) -> Select[Post]:
    """Newest first; before an id, in the order of ids."""
    posts = select(Post).options(*LOADED).where(*public())
    if tag is not None:
        posts = posts.join(Post.tags).where(Tag.name == tag)
    if author is not None:
        posts = posts.where(Post.user_id == author)
    if before_id is not None:
        posts = posts.where(Post.id < before_id).order_by(Post.id.desc())
    else:
        posts = posts.order_by(Post.published_at.desc(), Post.id.desc())
    return posts.limit(limit).offset(offset)


def published(title: str, content: str, author: User, tags: list[Tag]) -> Post:
    """A new post of which everything is loaded that an answer shows."""
    at = now()
    return Post(
        title=title,
        slug=slug(title),
        content=content,
        status="published",
        published_at=at,
        created_at=at,
        updated_at=at,
        author=author,
        tags=tags,
    )


def slug(title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return f"{words[:180]}-{secrets.token_hex(6)}"


def both(from_user_id: int, to_user_id: int) -> Select[User]:
    """The two users of a transfer, locked in the order of their ids, so that no two transfers wait for each other."""
    present = User.id.in_((from_user_id, to_user_id)), User.is_active, User.deleted_at.is_(None)
    return select(User).where(*present).order_by(User.id).with_for_update()


def transferred(sender: User, receiver: User, amount: int) -> Transfer | None:
    """Moves the amount between two locked users; None when the sender has less."""
    if sender.balance < amount:
        return None
    sender.balance -= amount
    receiver.balance += amount
    return Transfer(from_user_id=sender.id, to_user_id=receiver.id, amount=amount, created_at=now())


def account(email: str) -> Select[int, str]:
    """The id of whom this address belongs to, and the hash of the password."""
    present = User.email == email.lower(), User.is_active, User.deleted_at.is_(None)
    return (
        select(User.id, Credentials.hashed_password).join(Credentials, Credentials.user_id == User.id).where(*present)
    )
