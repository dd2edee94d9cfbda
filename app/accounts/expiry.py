"""Removes sessions and one-time tokens whose time is over. Those of users who come again go by themselves; this is for
the others.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement

from app.accounts.one_time import TOKENS
from app.accounts.sessions import SESSIONS
from app.data.expired import remove_first
from app.data.session import AppSession
from app.settings import AccountSettings


async def purge_tokens(session: AppSession, most: int) -> int:
    """How many were removed."""
    return await _purge(session, TOKENS, TOKENS.c.expires_at <= session.unit.now, most)


async def purge_sessions(session: AppSession, settings: AccountSettings, most: int) -> int:
    """The same of those that nobody can refresh any more."""
    last = session.unit.now - timedelta(settings.refresh_days)
    return await _purge(session, SESSIONS, SESSIONS.c.refreshed_at < last, most)


async def _purge(session: AppSession, table: Any, over: ColumnElement[bool], most: int) -> int:
    gone = await session.execute(remove_first(table, over, table.c.id, most).returning(table.c.id))
    return len(gone.all())
