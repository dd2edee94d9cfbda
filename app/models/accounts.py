"""What signing in leaves behind: sessions, API keys, one-time tokens, signing keys. Never resources.

Secrets stand here as hashes in hexadecimal: SHA-256 of what is random, an HMAC by the installation's secret of what is
not, or is derived from it. Private signing keys are encrypted.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Integer, Uuid
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.base import Base, BigId, Json, UtcTime, choice, string, text

if TYPE_CHECKING:
    from app.models.users import User

HASH = 64  # hexadecimal digits of SHA-256


class Session(Base):
    """One sign-in and the family of its refresh tokens: `counter` and `token_hash` are those of the newest one.

    `uid` is the claim `session_id`, `method` how the user came in (the claim `amr`).
    """

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    uid: Mapped[UUID] = mapped_column(Uuid, unique=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    refreshed_at: Mapped[datetime] = mapped_column(UtcTime)
    counter: Mapped[int] = mapped_column(Integer)
    token_hash: Mapped[str] = mapped_column(string(HASH))
    method: Mapped[str] = mapped_column(string(32))

    user: Mapped[User] = relationship(back_populates="sessions", lazy="raise")


class KeyKind(StrEnum):
    PUBLISHABLE = "publishable"
    SECRET = "secret"  # the name of a kind
    USER = "user"


class ApiKey(Base):
    """A named key. One of kind `user` acts as that user, within `scopes` (NULL: whatever the user or kind may)."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(string(100))
    kind: Mapped[KeyKind] = mapped_column(choice(KeyKind, "kind"))
    key_hash: Mapped[str] = mapped_column(string(HASH), unique=True)
    user_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    scopes: Mapped[Any] = mapped_column(Json, nullable=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[int | None] = mapped_column(BigInteger)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)

    user: Mapped[User | None] = relationship(back_populates="api_keys", lazy="raise")


class OneTimeToken(Base):
    """A link or code that works once. `email` is the address to which it was made out; `challenge` is the PKCE one."""

    __tablename__ = "one_time_tokens"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(string(16))
    token_hash: Mapped[str] = mapped_column(string(HASH), unique=True)
    otp_hash: Mapped[str | None] = mapped_column(string(HASH))
    email: Mapped[str | None] = mapped_column(string(254), index=True)
    tries: Mapped[int] = mapped_column(Integer)
    challenge: Mapped[str | None] = mapped_column(string(128))
    challenge_method: Mapped[str | None] = mapped_column(string(8))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)

    user: Mapped[User] = relationship(back_populates="one_time_tokens", lazy="raise")


class SigningKey(Base):
    """A key pair for access tokens. `public_key` is its JWK; `private_key` is encrypted with the installation's secret.

    The newest that is old enough to be known to clients signs; all that are not retired verify.
    """

    __tablename__ = "signing_keys"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kid: Mapped[str] = mapped_column(string(64), unique=True)
    algorithm: Mapped[str] = mapped_column(string(8))
    public_key: Mapped[Any] = mapped_column(Json)
    private_key: Mapped[str] = mapped_column(text())
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    retired_at: Mapped[datetime | None] = mapped_column(UtcTime)

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r})"
