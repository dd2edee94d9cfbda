"""What happened that is no change of a row: failed sign-ins, changed roles, keys, reads of what is not one's own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.data.base import NEVER_REUSE_IDS, Base, BigId, Json, UtcTime, string


class Event(Base):
    """`subject` names what it is about (`user 7`, `transfers`); `details` never holds a secret."""

    __tablename__ = "events"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    kind: Mapped[str] = mapped_column(string(40), index=True)
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    key_id: Mapped[str | None] = mapped_column(string(32))
    address: Mapped[str | None] = mapped_column(string(45))
    request_id: Mapped[str | None] = mapped_column(string(128))
    subject: Mapped[str | None] = mapped_column(string(100))
    details: Mapped[Any] = mapped_column(Json, nullable=True)
