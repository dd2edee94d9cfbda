"""Transfers: read only. Money moves through actions alone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_
from sqlalchemy.orm import joinedload

from app.models import Transfer
from app.repositories.base import Options, Repository

WITH_PARTIES: Options = (joinedload(Transfer.sender), joinedload(Transfer.receiver))


class Transfers(Repository[Transfer]):
    model = Transfer

    async def of_user(self, user_id: int, *, limit: int = 20) -> Sequence[Transfer]:
        """The latest transfers from or to a user, with both users; the sender of a grant is None."""
        party = or_(Transfer.from_user_id == user_id, Transfer.to_user_id == user_id)
        return await self._rows(self.where(party).options(*WITH_PARTIES), Transfer.id.desc(), limit=limit)
