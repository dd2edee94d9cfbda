"""A service on a database that a test may break, other programs that get in its way, and what a refusal must look like:
its four keys and headers, and nothing of rows or SQL.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
import httpx2
import pytest
from sqlalchemy import make_url

from app.data import engines
from app.data.database import Database
from app.resources import CATALOG
from app.settings import Limits, Settings
from tests.conftest import Server, execute_alone
from tests.data.statements import names
from tests.http.asking import service_client
from tests.http.conftest import Headers

SURFACES = ("", "/rest/v1")
ON_POSTGRESQL = pytest.mark.parametrize("spare_url", ["postgresql"], indirect=True)
ON_SQLITE = pytest.mark.parametrize("spare_url", ["sqlite"], indirect=True)
CANARY = "canary"  # a value in every write
LEAKS = (CANARY, "tags", "select", "returning", "sqlite", "asyncpg", "sqlalchemy", "traceback")


@dataclass
class Site:
    """The service, with two tags."""

    url: str
    database: Database
    client: httpx2.AsyncClient
    tags: list[int] = field(default_factory=list)

    async def rename(self, prefix: str = "", name: str = CANARY) -> httpx2.Response:
        """A write that locks its row first."""
        return await self.client.patch(f"{prefix}/tags?id=eq.{self.tags[0]}", json={"name": name})

    async def add(self, name: str = CANARY, headers: Headers | None = None) -> httpx2.Response:
        return await self.client.post("/tags", json={"name": name}, headers=headers)

    async def sql(self, *statements: str) -> None:
        """From outside."""
        for statement in statements:
            await execute_alone(engines.parse(self.url).render_as_string(hide_password=False), statement)

    async def repeats(self, code: str) -> float:
        """As the metrics have it."""
        name = f'broadsheet_database_retries_total{{code="{code}"}}'
        lines = (await self.client.get("/metrics")).text.splitlines()
        return float(next((line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")), 0))

    async def names(self) -> list[str]:
        return await names(self.database)

    async def check_well(self) -> None:
        """Nothing is out, and the next write gets through."""
        await self.database.pools.settled()
        assert self.database.in_use == 0
        assert (await self.add("afterwards")).status_code == 201
        assert (await self.client.get("/tags?name=eq.afterwards&select=name")).json() == [{"name": "afterwards"}]


@asynccontextmanager
async def opened(url: str, settings: Settings, *, limits: Limits | None = None, **more: Any) -> AsyncGenerator[Site]:
    limits = limits or Limits()
    async with (
        Database(url, CATALOG, limits=limits, **more) as database,
        service_client(settings, database) as client,
    ):
        site = Site(url, database, client)
        site.tags = [(await site.add(name)).json()["id"] for name in ("one", "two")]
        yield site


def check_refusal(answer: httpx2.Response, status: int, code: str, retry: str | None = "1") -> None:
    body = answer.json()
    assert (answer.status_code, body["code"], answer.headers.get("retry-after")) == (status, code, retry), body
    assert set(body) == {"code", "message", "details", "hint"}
    assert answer.headers["proxy-status"] == f"PostgREST; error={code}"
    text = f"{body['message']} {body['details']} {body['hint']}".lower()
    assert not [leak for leak in LEAKS if leak in text], text


# ---- other programs -------------------------------------------------------------------------------------------------


def once(fault: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[None]]:
    """For a failpoint that is passed again by those who repeat."""
    faults = [fault]

    async def strike() -> None:
        if faults:
            await faults.pop()()

    return strike


async def alter(server: Server, url: str, change: str) -> None:
    """ALTER DATABASE, from another one: a database may not let itself be changed any more."""
    await execute_alone(server.info["admin"], f'ALTER DATABASE "{make_url(url).database}" {change}')


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Any]:
    """A connection to the server that is none of ours."""
    parsed = make_url(url)
    host = parsed.query.get("host") or parsed.host
    who = {"user": parsed.username, "password": parsed.password, "database": parsed.database}
    connection = await asyncpg.connect(host=host, port=parsed.port, **who)
    try:
        yield connection
    finally:
        await connection.close()


async def someone_waits(connection: Any) -> None:
    """Until a lock is waited for in the connection's database."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(5):
        while not await connection.fetchval(waiting):  # noqa: ASYNC110  # a lock has no event
            await asyncio.sleep(0.005)


def killing(url: str, state: str = "idle in transaction") -> Callable[[], Awaitable[None]]:
    """Ends the backends of the database that are in this state, and waits until they are gone."""
    found = f"FROM pg_stat_activity WHERE datname = current_database() AND state = '{state}'"

    async def kill() -> None:
        async with connected(url) as other, asyncio.timeout(5):
            await other.execute(f"SELECT pg_terminate_backend(pid) {found} AND pid <> pg_backend_pid()")
            while await other.fetchval(f"SELECT count(*) {found}"):  # noqa: ASYNC110  # the server tells nobody
                await asyncio.sleep(0.005)

    return kill


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another_process(url: str) -> Generator[None]:
    """SQLite's locks are a process's: another connection of this one would prove less."""
    arguments = [sys.executable, "-c", HOLDER, str(make_url(url).database)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.communicate()


async def on_writer(database: Database, *statements: str) -> None:
    """Runs these on the writing connection of SQLite, for which they stay in force."""
    async with database.pools.writing.lend() as lane:
        for statement in statements:
            await lane.driver.execute(statement)
