"""Rows as plain dicts, written past the rules so that a test has exactly the ids and values that it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, insert

from app.data.database import Database
from app.models import Post, PostTag, Revision, Tag, Transfer, User
from tests.conftest import EPOCH

Row = dict[str, Any]
Rows = Mapping[type[Any], Sequence[Row]]
DAY = timedelta(days=1)


def a_user(id: int, **values: Any) -> Row:
    row = {
        "id": id,
        "uid": UUID(int=id),
        "email": f"u{id}@example.org",
        "username": f"user{id}",
        "full_name": f"User {id}",
    }
    row |= {"role": "member", "is_active": True, "balance": 10 * id, "created_by": None, "updated_by": None}
    return row | _stamps() | {"deleted_at": None} | values


def a_post(id: int, user_id: int, **values: Any) -> Row:
    """Published a day ago unless `values` say otherwise."""
    row = {"id": id, "user_id": user_id, "title": f"Post {id}", "slug": f"post-{id}", "content": f"Text {id}"}
    row |= {"status": "published", "published_at": EPOCH - DAY, "created_by": None, "updated_by": None}
    return row | _stamps() | {"deleted_at": None} | values


def a_tag(id: int, name: str) -> Row:
    return {"id": id, "name": name} | _stamps()


def a_transfer(id: int, from_user_id: int | None, to_user_id: int) -> Row:
    row = {"id": id, "from_user_id": from_user_id, "to_user_id": to_user_id, "amount": id, "note": None}
    return row | {"created_at": EPOCH, "created_by": None}


def a_revision(id: int, table: str, row_id: int, changes: Any) -> Row:
    row = {"id": id, "at": EPOCH, "actor_id": None, "key_id": None, "request_id": None, "table_name": table}
    return row | {"row_id": str(row_id), "version": 1, "operation": "update", "changes": changes}


def links(post_id: int, *tag_ids: int) -> list[Row]:
    return [{"post_id": post_id, "tag_id": tag_id} for tag_id in tag_ids]


def _stamps(when: datetime = EPOCH - 9 * DAY) -> Row:
    return {"created_at": when, "updated_at": when, "version": 1}


ORDER = (User, Tag, Post, PostTag, Transfer, Revision)  # parents first


async def fill(database: Database, rows: Rows) -> None:
    async with database.writer.begin() as connection:
        for model in sorted(rows, key=lambda model: ORDER.index(model) if model in ORDER else len(ORDER)):
            table = model.__table__
            assert isinstance(table, Table)
            if rows[model]:
                await connection.execute(insert(table), list(rows[model]))
