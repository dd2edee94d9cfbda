"""Servers for the clients: one on each database, for the whole run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from postgrest import AsyncPostgrestClient

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


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Served]:
    folder = tmp_path_factory.mktemp("clients")
    for url in fresh_database(request.param, server, folder):
        with serving(request.param, url, folder) as served:
            yield served


@contextmanager
def serving(backend: str, database_url: str, folder: Path) -> Generator[Served]:
    command = [sys.executable, "-m", "tests.clients.serve", "--data-dir", str(folder), "--database-url", database_url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"the server ended with {process.wait(SECONDS)} before it served"
        yield Served(backend, **json.loads(line))
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
