"""Sites for the account API, with the real clock: three applications on one database, each on a port of its own.

    python -m tests.clients.serve_accounts --data-dir DIR --database-url URL

prints one line of JSON, {"open": {"url": ..., "publishable": ..., "secret": ..., "anon": ..., "service_role": ...}},
and so for the others, when all of them serve, and stops as `serve` does. The last two are keys as old projects have
them. The sites begin with the rows of `serve.fill`.

`open`: everybody may register, also without a name, and addresses need no confirmation. `confirming`: they do.
`strict`: nobody may register, no mail is sent, nothing is read without a key, and attempts are counted as an
installation does by default.

`POST /testing/clock?ahead=SECONDS` moves the clock of all: what is signed 3700 seconds ago has run out already for a
client. `GET /testing/mail?to=ADDRESS&wait=SECONDS` takes the oldest mail to an address, or null.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from socket import socket

import jwt
import uvicorn
import uvloop
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.accounts.keys import load_keys, vars_of
from app.cli.serve import Server
from app.data.database import Database
from app.http.app import create_app
from app.http.protocol import Connection
from app.resources import CATALOG
from app.settings import AccountSettings, RateLimits, Settings
from tests.clients.serve import empty, fill, free_socket, when_stdin_closes

WELCOME = "https://app.example.org/welcome"  # where links may lead
UNLIMITED = RateLimits(**dict.fromkeys(RateLimits.__slots__, 0))
OPEN = AccountSettings(sign_up="open", anonymous=True, mailer="console", redirects=(WELCOME,), rates=UNLIMITED)
SITES = {
    "open": OPEN,
    "confirming": replace(OPEN, confirm_email=True),
    "strict": AccountSettings(sign_up="closed", mailer="none"),
}


class MovableClock:
    """The time, or a time that is so many seconds ahead of it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Mails(logging.Handler):
    """Keeps what the console mailer writes until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[dict[str, str]] = []
        self.arrived = asyncio.Event()
        logger = logging.getLogger("broadsheet.mail")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append({name: vars(record)[name] for name in ("to", "subject", "link", "code")})
        self.arrived.set()

    async def take(self, address: str) -> dict[str, str]:
        while True:
            for mail in self.kept:
                if mail["to"] == address:
                    self.kept.remove(mail)
                    return mail
            self.arrived.clear()
            await self.arrived.wait()


def testing_routes(clock: MovableClock, mails: Mails) -> list[Route]:
    async def move_clock(request: Request) -> Response:
        clock.ahead = timedelta(seconds=float(request.query_params["ahead"]))
        return Response(status_code=204)

    async def take_mail(request: Request) -> Response:
        try:
            async with asyncio.timeout(float(request.query_params["wait"])):
                return JSONResponse(await mails.take(request.query_params["to"]))
        except TimeoutError:
            return JSONResponse(None)

    return [Route("/testing/clock", move_clock, methods=["POST"]), Route("/testing/mail", take_mail)]


async def serve(settings: Settings) -> None:
    clock, keys, mails = MovableClock(), load_keys(settings.data_dir), Mails()
    routes = testing_routes(clock, mails)
    async with Database(settings.url, CATALOG, clock=clock, limits=settings.limits) as database:
        await database.migrate()
        await empty(database)
        await fill(database)
        facts: dict[str, dict[str, str]] = {}
        servers: list[tuple[Server, socket]] = []
        announce = Countdown(len(SITES), lambda: print(json.dumps(facts), flush=True))
        for name, accounts in SITES.items():
            sock = free_socket(settings.host)
            site = replace(settings, port=sock.getsockname()[1], accounts=accounts, require_key=name == "strict")
            app = create_app(site, database=database, routes=routes)
            config = uvicorn.Config(app, http=Connection, log_config=None, access_log=False, ws="none")
            servers.append((Server(config, announce), sock))
            facts[name] = {"url": site.site, **vars_of(keys), **legacy_keys(site.jwt_secret)}
        when_stdin_closes(lambda: stop(servers))
        async with asyncio.TaskGroup() as group:
            for server, sock in servers:
                group.create_task(server.serve(sockets=[sock]))


def legacy_keys(secret: str) -> dict[str, str]:
    """Good for ten years, as those of old projects."""
    now = datetime.now(UTC)
    times = {"iat": now, "exp": now + timedelta(3650)}
    return {role: jwt.encode({"iss": "supabase", "role": role, **times}, secret) for role in ("anon", "service_role")}


class Countdown:
    """Does something at its last call."""

    def __init__(self, calls: int, do: Callable[[], None]) -> None:
        self.left = calls
        self.do = do

    def __call__(self) -> None:
        self.left -= 1
        if not self.left:
            self.do()


def stop(servers: Sequence[tuple[Server, socket]]) -> None:
    for server, _ in servers:
        server.should_exit = True


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve sites for the account API.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--database-url", default="")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Settings(data_dir=given.data_dir, database_url=given.database_url, jwt_secret=token_hex(32))))


if __name__ == "__main__":
    main()
