"""Rows for tests: one helper for each kind, with unique names by counter. They flush; the unit of work commits.

async with database.writing(SYSTEM) as session:
    ada = await make_user(session, role="author")
    post = await make_post(session, ada, tags=("python",))
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any

from sqlalchemy import Table, insert, update
from sqlalchemy.orm.attributes import set_committed_value

from app.data.database import Database
from app.data.rules import SYSTEM, Principal, user
from app.data.session import AppSession
from app.models import Post, PostStatus, Tag, Transfer, User, UserRole
from app.repositories import Tags

_numbers = itertools.count(1)


async def make_user(session: AppSession, *, balance: int = 0, role: str = "member", **values: Any) -> User:
    """`balance` is set past the actions: no grant stands for it."""
    number = next(_numbers)
    given = {"username": f"user{number}", "email": f"user{number}@example.org", "full_name": f"User {number}"} | values
    made = User(role=UserRole(role), **given)
    session.add(made)
    await session.flush()
    if balance:
        table = _table(User)
        await (await session.connection()).execute(update(table).where(table.c.id == made.id).values(balance=balance))
        set_committed_value(made, "balance", balance)
    return made


async def make_post(session: AppSession, author: User, *, tags: Collection[str] = (), **values: Any) -> Post:
    """Published now unless `values` say otherwise."""
    number = next(_numbers)
    given = {"title": f"Post {number}", "status": PostStatus.PUBLISHED, "content": f"Text {number}"} | values
    if given["status"] is PostStatus.PUBLISHED:
        given.setdefault("published_at", session.unit.now)
    post = Post(user_id=author.id, tags=list(await Tags(session).find_or_add(tags)), **given)
    session.add(post)
    await session.flush()
    return post


async def make_tag(session: AppSession, name: str | None = None) -> Tag:
    tag = Tag(name=name or f"tag{next(_numbers)}")
    session.add(tag)
    await session.flush()
    return tag


async def make_transfer(session: AppSession, sender: User | None, receiver: User, amount: int = 1) -> int:
    """The id of a transfer row; the balances stay as they are."""
    row = {
        "from_user_id": sender.id if sender else None,
        "to_user_id": receiver.id,
        "amount": amount,
        "created_at": session.unit.now,
    }
    made = await (await session.connection()).execute(insert(_table(Transfer)).values(row).returning(Transfer.id))
    return int(made.scalar_one())


async def author_with_post(database: Database, **values: Any) -> tuple[Principal, int]:
    """A new author as a caller, and the id of a post of hers: committed."""
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, role="author")
        post = await make_post(session, ada, **values)
    return user(ada.id, "author"), post.id


def _table(model: type[Any]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table
