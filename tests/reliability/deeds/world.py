"""An installation with people who are signed in, and rows for each deed to change."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from app.accounts import passwords
from app.accounts.keys import KeyHashes, fingerprint, load_keys
from app.data.database import Database
from app.data.rules import SYSTEM
from app.http.app import create_app
from app.query import writer
from app.resources import CATALOG
from app.settings import AccountSettings, RateLimits, Settings
from tests.reliability.guards import replaced
from tests.reliability.inside import Answer, Service, serving

PASSWORD = "correct horse battery"
NO_RATES = RateLimits(**dict.fromkeys(RateLimits.__slots__, 0))
Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    body: Any = None
    headers: Headers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Act:
    """A request that changes something, and one that is refused, inside the unit of work where that can be."""

    request: Request
    refused: Request


@dataclass(frozen=True, slots=True)
class Deed:
    """`caller` is `secret`, `nobody` or a person; revisions name it, or `by_link` the user whose link was followed.
    `others` are refused the same. What is not `kept` changes no rows that have revisions, and of what is `forgotten` no
    old values are told.
    """

    make: Callable[[World], Awaitable[Act]]
    caller: str = "secret"
    others: tuple[str, ...] = ("bob", "nobody")
    by_link: bool = False
    kept: bool = True
    forgotten: bool = False


@dataclass(slots=True)
class World:
    """`people` maps names to ids, `uids` ids to those of the account API. No revision may hold one of the `secrets`."""

    service: Service
    database: Database
    key: str
    key_id: str
    people: dict[str, int] = field(default_factory=dict)
    uids: dict[int, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=lambda: {PASSWORD, "argon2"})
    watch: Callable[[], None] | None = None  # called with each statement of the service
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def name(self, kind: str = "x") -> str:
        """One that nothing has yet."""
        return f"{kind}{next(self._numbers)}"

    def headers_of(self, caller: str) -> Headers:
        if caller == "secret":
            return {"apikey": self.key}
        return {} if caller == "nobody" else {"authorization": f"Bearer {self.tokens[caller]}"}

    async def ask(self, request: Request, caller: str, request_id: str = "setup") -> Answer:
        headers = {**self.headers_of(caller), "x-request-id": request_id, **request.headers}
        return await self.service.ask(request.method, request.target, request.body, headers=headers)

    async def clear(self) -> None:
        """Leaves only the people: so readings of all tables stay short."""
        people = ", ".join(map(str, self.people.values()))
        async with self.database.writer.begin() as connection:
            for table in ("revisions", "post_tags", "posts", "tags"):
                await connection.exec_driver_sql(f"DELETE FROM {table}")
            strangers = f"to_user_id NOT IN ({people}) OR from_user_id NOT IN ({people})"
            await connection.exec_driver_sql(f"DELETE FROM transfers WHERE {strangers}")
            await connection.exec_driver_sql(f"DELETE FROM users WHERE id NOT IN ({people})")

    # ---- rows to change ----

    async def insert(self, table: str, **values: Any) -> dict[str, Any]:
        resource = CATALOG.get(table)
        assert resource is not None
        async with self.database.writing(SYSTEM) as session:
            (row,) = await writer.insert(session, resource, [values])
        return row

    async def post(self, **values: Any) -> int:
        given = {"title": self.name("post"), "user_id": self.people["ada"], "tags": ["one", "two"]} | values
        key: int = (await self.insert("posts", **given))["id"]
        return key

    async def user(self, **values: Any) -> int:
        name = self.name("user")
        row = await self.insert("users", **{"username": name, "email": f"{name}@example.org"} | values)
        self.uids[row["id"]] = str(row["uid"])
        key: int = row["id"]
        return key

    async def tag(self) -> int:
        key: int = (await self.insert("tags", name=self.name("tag")))["id"]
        return key

    async def slug(self) -> str:
        """One that a present post has."""
        name = self.name("slug")
        await self.post(slug=name)
        return name

    async def done(self, request: Request, caller: str = "secret") -> Any:
        """What a request that prepares a deed answers."""
        answer = await self.ask(request, caller)
        assert answer.status < 300, f"{request} was answered {answer}"
        return answer.json

    async def join(self, name: str, role: str) -> None:
        """A person who signs in."""
        address = f"{name}@example.org"
        self.people[name] = await self.user(username=name, email=address, role=role, password=PASSWORD)
        body = {"email": address, "password": PASSWORD}
        entered = await self.done(Request("POST", "/auth/v1/token?grant_type=password", body))
        self.tokens[name] = entered["access_token"]
        self.secrets |= {entered["access_token"], entered["refresh_token"]}


@asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncGenerator[World]:
    """Ada writes, Bob is a member with credits, Root is an admin."""
    accounts = AccountSettings(rates=NO_RATES, mailer="console")
    settings = Settings(data_dir=folder, allow_rollback=True, accounts=accounts)
    keys = load_keys(folder)
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    async with AsyncExitStack() as stack:
        stack.enter_context(replaced(passwords, "_HASHER", cheap))
        seen: list[World] = []

        def observe(sql: str) -> None:
            for world in seen:
                if world.watch is not None:
                    world.watch()

        database = await stack.enter_async_context(Database(url, CATALOG, observe=observe))
        service = await stack.enter_async_context(serving(create_app(settings, database=database)))
        world = World(service, database, keys.secret, fingerprint(KeyHashes.of(keys).secret))
        world.secrets.add(keys.secret)
        seen.append(world)
        for name, role in (("ada", "author"), ("bob", "member"), ("root", "admin")):
            await world.join(name, role)
        await world.done(Request("POST", "/rpc/grant", {"to_user_id": world.people["bob"], "amount": 1_000_000}))
        yield world
