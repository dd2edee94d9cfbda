"""Short ways to say who writes what, and to read what was kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from app.data.database import Database
from app.data.rules import SERVICE, SYSTEM, Principal, Values, user
from app.query import removal, writer
from app.query.fetch import fetch
from app.resources import CATALOG


async def insert(database: Database, who: Principal, table: str, *rows: Values) -> list[Values]:
    async with database.writing(who, request_id="req-1") as session:
        return await writer.insert(session, resource(table), rows)


async def update(
    database: Database, who: Principal, table: str, keys: Sequence[int], values: Values, expect: int | None = None
) -> list[Values]:
    async with database.writing(who) as session:
        return await writer.update(session, resource(table), keys, values, expect=expect)


async def remove(database: Database, who: Principal, table: str, *keys: int) -> list[Values]:
    async with database.writing(who) as session:
        return await removal.remove(session, resource(table), keys)


async def restore(database: Database, who: Principal, table: str, *keys: int) -> list[Values]:
    async with database.writing(who) as session:
        return await removal.restore(session, resource(table), keys)


async def purge(database: Database, who: Principal, table: str, *keys: int) -> list[Values]:
    async with database.writing(who) as session:
        return await removal.purge(session, resource(table), keys)


async def read(database: Database, request: str, who: Principal = SERVICE) -> Any:
    async with database.reading(who) as session:
        return msgspec.json.decode(await fetch(session, request))


async def revisions(database: Database, table: str, row: int) -> list[Any]:
    columns = "operation,version,actor_id,key_id,request_id,changes"
    return list(await read(database, f"revisions?select={columns}&table_name=eq.{table}&row_id=eq.{row}&order=id"))


async def an_author(database: Database, name: str = "ada") -> Principal:
    (row,) = await insert(database, SYSTEM, "users", {"username": name, "role": "author"})
    return user(row["id"], "author")


def resource(table: str) -> Any:
    found = CATALOG.get(table)
    assert found is not None
    return found
