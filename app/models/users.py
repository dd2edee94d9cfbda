"""Users, and their credentials in a table of their own that is never a resource."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Uuid
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
    from app.models.accounts import ApiKey, OneTimeToken, Session
    from app.models.posts import Post
    from app.models.transfers import Transfer


class UserRole(StrEnum):
    MEMBER = "member"
    AUTHOR = "author"
    ADMIN = "admin"


# Entities leave them out. JSON as text: PostgreSQL cannot compare two values of its own JSON, as UNION does.
UNLOADED: dict[str, Any] = {"deferred": True, "deferred_raiseload": True}


class User(Timestamps, Audited, SoftDeleted, Versioned, Base):
    """`balance` is in minor units. `uid` is the id on the account API; `id` the one of REST.

    What stands below `balance` is for the account API alone: the user writes `user_metadata`, admins `app_metadata`.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("balance >= 0", name="balance"),
        unique_among_present("users", "email"),
        unique_among_present("users", "username"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    uid: Mapped[UUID] = mapped_column(Uuid, unique=True, default=uuid4)
    email: Mapped[str | None] = mapped_column(string(254))
    username: Mapped[str] = mapped_column(string(50))
    full_name: Mapped[str | None] = mapped_column(string(100))
    role: Mapped[UserRole] = mapped_column(choice(UserRole, "role"), default=UserRole.MEMBER)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    balance: Mapped[int] = mapped_column(BigInteger, default=0)
    user_metadata: Mapped[str | None] = mapped_column(text(), **UNLOADED)
    app_metadata: Mapped[str | None] = mapped_column(text(), **UNLOADED)
    is_anonymous: Mapped[bool | None] = mapped_column(Boolean, **UNLOADED)
    email_confirmed_at: Mapped[datetime | None] = mapped_column(UtcTime, **UNLOADED)
    last_sign_in_at: Mapped[datetime | None] = mapped_column(UtcTime, **UNLOADED)
    banned_until: Mapped[datetime | None] = mapped_column(UtcTime, **UNLOADED)

    posts: Mapped[list[Post]] = relationship(back_populates="author", lazy="raise", passive_deletes="all")
    credentials: Mapped[Credentials | None] = relationship(back_populates="user", lazy="raise", passive_deletes="all")
    sessions: Mapped[list[Session]] = relationship(back_populates="user", lazy="raise", passive_deletes="all")
    one_time_tokens: Mapped[list[OneTimeToken]] = relationship(
        back_populates="user", lazy="raise", passive_deletes="all"
    )
    api_keys: Mapped[list[ApiKey]] = relationship(back_populates="user", lazy="raise", passive_deletes="all")
    sent: Mapped[list[Transfer]] = relationship(
        back_populates="sender", foreign_keys="Transfer.from_user_id", lazy="raise", passive_deletes="all"
    )
    received: Mapped[list[Transfer]] = relationship(
        back_populates="receiver", foreign_keys="Transfer.to_user_id", lazy="raise", passive_deletes="all"
    )


class Credentials(Base):
    """The argon2id hash of a user's password. Only `accounts` reads it."""

    __tablename__ = "credentials"

    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    hashed_password: Mapped[str] = mapped_column(string(255))
    changed_at: Mapped[datetime] = mapped_column(UtcTime)

    user: Mapped[User] = relationship(back_populates="credentials", lazy="raise")

    def __repr__(self) -> str:
        return f"Credentials(user_id={self.user_id!r})"
