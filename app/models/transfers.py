"""Transfers of credits between users. Rows are immutable; the sum of balances is the sum of grants."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.base import NEVER_REUSE_IDS, Base, BigId, UtcTime, string

if TYPE_CHECKING:
    from app.models.users import User


class Transfer(Base):
    """`amount` in minor units, above 0. Without `from_user_id` it is a grant by an admin."""

    __tablename__ = "transfers"
    __table_args__ = (CheckConstraint("amount > 0", name="amount"), NEVER_REUSE_IDS)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    from_user_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    to_user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    note: Mapped[str | None] = mapped_column(string(500))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    created_by: Mapped[int | None] = mapped_column(BigInteger)

    sender: Mapped[User | None] = relationship(back_populates="sent", foreign_keys=[from_user_id], lazy="raise")
    receiver: Mapped[User] = relationship(back_populates="received", foreign_keys=[to_user_id], lazy="raise")
