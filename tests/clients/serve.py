"""A server with known rows, for clients in other processes.

    python -m tests.clients.serve --data-dir DIR [--database-url URL]

prints one line of JSON, {"url": ..., "publishable": ..., "secret": ...}, when it serves, and stops with SIGTERM or when
its stdin is closed. `POST /testing/reset` puts the rows back as they were, with the same ids.

The clock stands still at noon of 1 January 2026, so that answers are the same every day.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.accounts.keys import load_keys
from app.cli.serve import Server, listen
from app.data.base import Base
from app.data.database import Database
from app.data.rules import SYSTEM
from app.errors import BadSetting
from app.http.app import create_app
from app.http.protocol import Connection
from app.models import PostStatus
from app.resources import CATALOG
from app.settings import Settings
from tests.factories import make_post, make_tag, make_transfer, make_user

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PORTS = range(10_000, 30_000)  # below those that the system hands out by itself


# ---- the rows -------------------------------------------------------------------------------------------------------


async def fill(database: Database) -> None:
    """Ids count from 1 in the order in which the rows stand here. Posts 1, 2, 3 and 5 are public."""
    async with database.writing(SYSTEM) as session:
        for name in ("python", "sql", "async", "C, the language"):
            await make_tag(session, name)
        ada = await make_user(
            session, username="ada", full_name="Ada Lovelace", email="ada@example.org", role="author", balance=495
        )
        bob = await make_user(session, username="bob", full_name="Bob Stone", email="bob@example.org", balance=3)
        cyd = await make_user(session, username="cyd", full_name=None, email=None, is_active=False, balance=2)
        fox, joins = "The quick brown fox jumps over the lazy dog", "Indexes make joins quick"
        await make_post(session, ada, title="Hello, World", content=fox, tags=("python", "sql"), published_at=day(1))
        await make_post(session, ada, title="SQL joins", content=joins, tags=("sql",), published_at=day(2))
        await make_post(
            session, bob, title="Async Python", content="Loops", tags=("async", "python"), published_at=day(3)
        )
        await make_post(session, bob, title="Draft notes", content="", status=PostStatus.DRAFT)
        await make_post(session, ada, title="Ärger im Büro", content="(50 % off)", published_at=day(5))
        await make_post(
            session, bob, title="Later", content="Soon", tags=("python",), published_at=datetime(2030, 1, 1, tzinfo=UTC)
        )
        await make_transfer(session, None, ada, 500)
        await make_transfer(session, ada, bob, 5)
        await make_transfer(session, bob, cyd, 2)


def day(number: int) -> datetime:
    """That day of December 2025, half past nine."""
    return datetime(2025, 12, number, 9, 30, tzinfo=UTC)


async def empty(database: Database) -> None:
    """No rows, and ids that begin at 1 again."""
    tables = [f'"{table.name}"' for table in reversed(Base.metadata.sorted_tables)]
    async with database.writer.begin() as connection:
        if database.name == "postgresql":
            await connection.exec_driver_sql(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
            return
        for table in tables:
            await connection.exec_driver_sql(f"DELETE FROM {table}")
        await connection.exec_driver_sql("DELETE FROM sqlite_sequence")


# ---- the server -----------------------------------------------------------------------------------------------------


def application(settings: Settings, database: Database) -> Starlette:
    async def reset(request: Request) -> Response:
        await empty(database)
        await fill(database)
        return Response(status_code=204)

    return create_app(settings, database=database, routes=[Route("/testing/reset", reset, methods=["POST"])])


async def serve(settings: Settings) -> None:
    keys = load_keys(settings.data_dir)
    async with Database(settings.url, CATALOG, clock=lambda: NOW, limits=settings.limits) as database:
        await database.migrate()
        await empty(database)
        await fill(database)
        sock = free_socket(settings.host)
        host, port = sock.getsockname()[:2]
        facts = {"url": f"http://{host}:{port}", "publishable": keys.publishable, "secret": keys.secret}
        config = uvicorn.Config(
            application(settings, database), http=Connection, log_config=None, access_log=False, ws="none"
        )
        server = Server(config, lambda: print(json.dumps(facts), flush=True))
        when_stdin_closes(lambda: setattr(server, "should_exit", True))
        await server.serve(sockets=[sock])


def free_socket(host: str) -> socket.socket:
    """A listening socket on a port that was free."""
    while True:
        try:
            return listen(host, secrets.choice(PORTS))
        except BadSetting:
            continue


def when_stdin_closes(do: Callable[[], None]) -> None:
    """On a thread that does not keep the process alive."""

    def wait() -> None:
        sys.stdin.read()
        do()

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve known rows.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--database-url", default="")
    given = parser.parse_args()
    settings = Settings(data_dir=given.data_dir, database_url=given.database_url, allow_rollback=True)
    settings = replace(settings, limits=replace(settings.limits, aggregates=True))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as `broadsheet serve` does
        runner.run(serve(settings))


if __name__ == "__main__":
    main()
