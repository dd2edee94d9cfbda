"""The rows of `blog.toml` in a database, and the application on top of it, with the settings that a case wants."""

from __future__ import annotations

import dataclasses
import tomllib
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
from sqlalchemy import Table, insert
from starlette.datastructures import Headers

from app.accounts.authenticate import Authenticator
from app.accounts.keys import Keys
from app.data.database import Database
from app.data.rules import Principal, user
from app.http.app import create_app
from app.models import Base, Post, PostTag, Tag, Transfer, User
from app.settings import Limits, Settings
from tests.conformance.cases import FOLDER
from tests.conftest import delete_all_rows
from tests.http.conftest import client_of

USER_HEADER = "x-user"  # how a case says that a user asks: signing in is no part of the dialect
FIRST_NEW_ID = 101


@cache
def rows() -> dict[type[Base], list[dict[str, Any]]]:
    page = tomllib.loads((FOLDER / "blog.toml").read_text())
    return {
        model: [_values(page["defaults"][model.__tablename__] | row) for row in page[model.__tablename__]]
        for model in (User, Tag, Post, PostTag, Transfer)
    }


def _values(row: dict[str, Any]) -> dict[str, Any]:
    values = {name: None if value == "none" else value for name, value in row.items()}
    return values | ({"uid": UUID(values["uid"])} if "uid" in values else {})


async def restore(database: Database) -> None:
    """The rows as they were; ids of new rows begin at FIRST_NEW_ID again."""
    await delete_all_rows(database)
    async with database.writer.begin() as connection:
        for model, values in rows().items():
            table = model.__table__
            assert isinstance(table, Table)
            await connection.execute(insert(table), values)
        if database.name == "sqlite":
            await connection.exec_driver_sql("DELETE FROM sqlite_sequence")
        for table in Base.metadata.sorted_tables:
            if "id" in table.columns:
                await connection.exec_driver_sql(_next_id(database.name, table.name))


def _next_id(backend: str, table: str) -> str:
    if backend == "postgresql":
        return f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {FIRST_NEW_ID}, false)"
    return f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{table}', {FIRST_NEW_ID - 1})"


class World:
    """One database with the rows of the cases. Applications are made when a case first wants their settings."""

    def __init__(self, database: Database, folder: Path, keys: Keys) -> None:
        self.database = database
        self.folder = folder
        self.keys = keys
        self.stack = AsyncExitStack()
        self.clients: dict[tuple[tuple[str, Any], ...], httpx2.AsyncClient] = {}
        self.users = {row["username"]: user(row["id"], row["role"]) for row in rows()[User]}
        self.changed = True

    async def client(self, limits: tuple[tuple[str, Any], ...]) -> httpx2.AsyncClient:
        if limits not in self.clients:
            names = {f.name for f in dataclasses.fields(Limits)}
            many = {"new_shapes": 1_000_000} if "new_shapes" in names else {}
            own = many | {name: value for name, value in limits if name in names}
            others = {name: value for name, value in limits if name not in names}
            settings = Settings(data_dir=self.folder, limits=Limits(**own), **others)
            by_key = Authenticator(settings)

            async def authenticate(headers: Headers, database: Database) -> Principal:
                name = headers.get(USER_HEADER)
                return await by_key(headers, database) if name is None else self.users[name]

            app = create_app(settings, authenticate=authenticate, database=self.database)
            self.clients[limits] = await self.stack.enter_async_context(client_of(app))
        return self.clients[limits]

    def headers(self, who: str) -> dict[str, str]:
        match who:
            case "anonymous":
                return {}
            case "secret":
                return {"apikey": self.keys.secret}
            case name:
                return {USER_HEADER: name}
