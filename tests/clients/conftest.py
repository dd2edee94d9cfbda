"""Servers for the clients: on each database one with known rows and one with sites for accounts, for the whole run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import httpx
import pytest
from postgrest import AsyncPostgrestClient
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from tests.conftest import Server, fresh_database

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20  # that a stop may take on a busy machine


@dataclass(frozen=True, slots=True)
class Served:
    """A running server; `backend` is its database."""

    backend: str
    url: str
    publishable: str
    secret: str

    def reset(self) -> None:
        """Put the rows back as `serve.fill` made them."""
        with urlopen(
            Request(f"{self.url}/testing/reset", method="POST")
        ) as answer:  # raises for a status of 400 or more
            assert answer.status == 204

    def client(self, key: str) -> AsyncPostgrestClient:
        return AsyncPostgrestClient(f"{self.url}/rest/v1", headers={"apikey": key})


@dataclass(frozen=True, slots=True)
class Site:
    """An application with accounts. `anon` and `service_role` are keys as old projects have them."""

    url: str
    publishable: str
    secret: str
    anon: str
    service_role: str


@dataclass(frozen=True, slots=True)
class Mail:
    """`code` may be typed instead of following the link."""

    to: str
    subject: str
    link: str
    code: str


@dataclass(frozen=True, slots=True)
class Sites:
    """What `serve_accounts` serves, on one database; its docstring tells them apart."""

    backend: str
    open: Site
    confirming: Site
    strict: Site

    @contextmanager
    def at(self, ahead: float) -> Generator[None]:
        """The server's clock is so many seconds ahead meanwhile; that of the clients is not."""
        self._move_clock(ahead)
        try:
            yield
        finally:
            self._move_clock(0)

    def _move_clock(self, ahead: float) -> None:
        with urlopen(Request(f"{self.open.url}/testing/clock?ahead={ahead}", method="POST")) as answer:
            assert answer.status == 204

    def mail(self, address: str) -> Mail:
        """The oldest mail to an address that was not asked for before. Mails are sent after the answer."""
        found = self._mail(address, SECONDS)
        assert found is not None, f"no mail to {address}"
        return found

    def has_mail(self, address: str) -> bool:
        return self._mail(address, 0) is not None

    def _mail(self, address: str, wait: float) -> Mail | None:
        with urlopen(f"{self.open.url}/testing/mail?{urlencode({'to': address, 'wait': wait})}") as answer:
            found = json.load(answer)
        return None if found is None else Mail(**found)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Served]:
    folder = tmp_path_factory.mktemp("clients")
    for url in fresh_database(request.param, server, folder):
        with serving("tests.clients.serve", url, folder) as facts:
            yield Served(request.param, **facts)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def auth_served(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Sites]:
    folder = tmp_path_factory.mktemp("accounts")
    for url in fresh_database(request.param, server, folder):
        with serving("tests.clients.serve_accounts", url, folder) as facts:
            yield Sites(request.param, **{name: Site(**found) for name, found in facts.items()})


@contextmanager
def serving(module: str, database_url: str, folder: Path) -> Generator[dict[str, Any]]:
    """Runs the module, and gives what it prints when it serves."""
    command = [sys.executable, "-m", module, "--data-dir", str(folder), "--database-url", database_url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"the server ended with {process.wait(SECONDS)} before it served"
        yield json.loads(line)
    finally:
        process.stdin.close()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
async def client(served: Served) -> AsyncGenerator[AsyncPostgrestClient]:
    """With the secret key, which sees every row. One for all tests: making it costs more than most of them."""
    async with served.client(served.secret) as client:
        yield client


@pytest.fixture(scope="session")
async def public(served: Served) -> AsyncGenerator[AsyncPostgrestClient]:
    """With the publishable key: a visitor."""
    async with served.client(served.publishable) as client:
        yield client


@pytest.fixture
def fresh(served: Served, tidy: None) -> None:
    """For tests that write: they begin with the known rows."""
    served.reset()


@pytest.fixture(scope="module")
def tidy(served: Served) -> Generator[None]:
    """The next module finds the known rows."""
    yield
    served.reset()


# ---- clients with accounts ------------------------------------------------------------------------------------------


class Connect(Protocol):
    async def __call__(self, site: Site | None = None, *, key: str | None = None, **options: Any) -> AsyncClient: ...


@pytest.fixture(scope="session")
async def http() -> AsyncGenerator[httpx.AsyncClient]:
    """One for all clients: making it costs more than most tests."""
    async with httpx.AsyncClient(timeout=SECONDS) as http:
        yield http


@pytest.fixture(scope="session")
def connect(auth_served: Sites, http: httpx.AsyncClient) -> Connect:
    """Makes clients with no user signed in; of the open site with the publishable key, if not told otherwise."""

    async def make(site: Site | None = None, *, key: str | None = None, **options: Any) -> AsyncClient:
        site = site or auth_served.open
        given: dict[str, Any] = {"auto_refresh_token": False, "httpx_client": http, **options}
        return await acreate_client(site.url, key or site.publishable, AsyncClientOptions(**given))

    return make


@pytest.fixture
async def service(auth_served: Sites, connect: Connect) -> AsyncClient:
    """With the secret key."""
    return await connect(key=auth_served.open.secret)
