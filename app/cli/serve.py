"""`broadsheet serve`: check, migrate, make the keys of a first start, serve until Ctrl-C or SIGTERM.

Settings come from BROADSHEET_* variables. The port is taken before anything is made, so that a second server on the
same port changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from sqlalchemy import URL
from uvicorn.loops.auto import auto_loop_factory

from app import __version__, logs
from app.accounts.keys import load_keys
from app.cli.checkup.examine import examine_database, examine_settings, refuse, warn
from app.cli.checkup.finding import Finding
from app.data import engines
from app.data.database import Database
from app.errors import BadSetting
from app.http.app import create_app
from app.http.armour import LOOPBACK, ConnectionLimits, Guard
from app.http.protocol import Connection
from app.resources import open_database
from app.settings import Settings

GRACE = 40  # seconds until the process ends; what a statement may take is less, what a supervisor waits must be more
PATIENCE = 0.9  # of the grace, until even those are sent away whose requests run still
BACKLOG = 2048


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("serve", help="migrate the database and serve it over HTTP")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    logs.configure(settings.log_level)
    # Both signals end in KeyboardInterrupt: during the start at once, later when the server, which takes the signals
    # over while it runs, has closed everything and hands them back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    findings = examine_settings(settings)
    refuse(findings, settings)
    with (
        contextlib.closing(listen(settings.host, settings.port)) as sock,
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=auto_loop_factory()) as runner,
    ):
        runner.run(_serve(settings, findings, sock))
    return 0


async def _serve(settings: Settings, findings: list[Finding], sock: socket.socket) -> None:
    """With the connections that the check-up has opened. Raises BadSetting for what production refuses."""
    async with open_database(settings) as database:
        await _prepare(database, settings, findings)
        keys = load_keys(settings.data_dir)
        config = uvicorn.Config(
            create_app(settings, database=database),
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=GRACE,
        )
        limits = ConnectionLimits(uncounted=(*LOOPBACK, *settings.trusted_proxies))
        said = greeting(settings, keys.publishable)
        await Server(config, lambda: print(said, flush=True), limits, drain=settings.drain).serve(sockets=[sock])


class Server(uvicorn.Server):
    """Says when it really accepts connections, guards those of `Connection`, and leaves balancers `drain` seconds to
    turn away before it stops.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        announce: Callable[[], None],
        limits: ConnectionLimits | None = None,
        *,
        drain: float = 0,
    ) -> None:
        super().__init__(config)
        self.announce = announce
        self.drain = drain
        self.server_state = self.guard = Guard(limits or ConnectionLimits())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.guard.start()
            self.announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """After Ctrl-C a person waits, and no balancer."""
        if sig == signal.SIGINT:
            self.drain = 0
        super().handle_exit(sig, frame)

    async def turn_away(self) -> None:
        """Not ready any more, but still there. Each answer ends its connection, so that none is kept that would be cut
        later, perhaps under the next request.
        """
        self.lifespan.state["stopping"] = True
        self.config.encoded_headers.append((b"connection", b"close"))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while loop.time() - begun < self.drain:
            await self.on_tick(0)  # writes the headers of all answers, the date too
            await asyncio.sleep(0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Those who still wait shortly before the end of the grace are told so; then uvicorn cancels their requests."""
        await self.turn_away()
        grace = self.config.timeout_graceful_shutdown or GRACE
        last = asyncio.get_running_loop().call_later(grace * PATIENCE, self.guard.give_up)
        self.guard.stopping = True
        await super().shutdown(sockets)
        last.cancel()
        self.guard.stop()


def listen(host: str, port: int) -> socket.socket:
    """Raises BadSetting where the port is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # TCP by name: for protocol 0 asyncio leaves Nagle's algorithm on, 44 ms for each answer on a kept connection
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)  # now: two sockets may be bound to one port until the first listens
    except (OSError, UnicodeError, TypeError) as exc:  # the last two for a host that is no name
        sock.close()
        reason = f"cannot listen on {host} port {port}: {getattr(exc, 'strerror', None) or 'no such address'}"
        raise BadSetting(f"{reason} (set BROADSHEET_HOST and BROADSHEET_PORT)") from None
    return sock


def greeting(settings: Settings, publishable: str) -> str:
    """What a person needs first. Never the secret key."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return "\n".join(
        (
            f"Broadsheet {__version__} serves http://{host}:{settings.port}",
            f"  data             {place_of(settings)}",
            f"  publishable key  {publishable}",
            f"  secret key       {program()} keys",
            f"  first admin      {program()} create-admin NAME",
            "  sample content   make demo",
        )
    )


def program() -> str:
    """How this program was called: what a person can type again."""
    called = Path(sys.argv[0])
    if called.name != "broadsheet":
        return "broadsheet"
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_relative_to(here) else str(called)


def place_of(settings: Settings) -> str:
    """Where the data are: a file, or the URL of a server without its password."""
    url = engines.parse(settings.url)
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    shown = {name: value for name, value in url.query.items() if name in ("host", "port")}
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, shown)
    return bare.render_as_string()


async def _prepare(database: Database, settings: Settings, findings: list[Finding]) -> None:
    """The rest of the check-up, as far as it is cheap, and the newest schema."""
    findings = [*findings, *await examine_database(database, settings, GRACE, migrates=True)]
    refuse(findings, settings)
    warn(findings)
    await database.migrate()
