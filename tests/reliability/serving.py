"""The service in a process of its own, to be killed: `broadsheet serve` as it is, with a failpoint armed or a guard
removed where the arguments say so.

    python -m tests.reliability.serving FOLDER URL PORT [--fault POINT --at N] [--without GUARD]

It ends at once when its stdin is closed, that is with the process that started it, and when it passes the failpoint for
the N-th time after `POST /testing/fault`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import os
import signal
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.accounts.keys import load_keys
from app.cli import serve
from app.data import failpoints
from app.data.failpoints import Point
from app.http.app import create_app
from app.settings import Settings
from tests.clients.serve import free_socket, when_stdin_closes
from tests.reliability.clients import HttpDesk
from tests.reliability.guards import replaced, without_renewal, without_replay, without_second_chances

DIED = 9  # exit code of a process that met its fault
STARTING = 30  # seconds
ROOT = Path(__file__).resolve().parents[2]
REPLAY = "the replay of keys"
CHANCES = "ping and repetition"
RENEWAL = "the renewal of connections that take no writes"
GUARDS = {REPLAY: without_replay, CHANCES: without_second_chances, RENEWAL: without_renewal}


# ---- the process ----------------------------------------------------------------------------------------------------


class Death:
    """Ends the process when a failpoint is passed for the n-th time since it was begun."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.begun = False

    async def begin(self, request: Request) -> Response:
        self.begun = True
        return JSONResponse({})

    async def pass_by(self) -> None:
        if self.begun:
            self.left -= 1
            if self.left == 0:
                os._exit(DIED)


async def show_connections(request: Request) -> Response:
    """How many are out now. This request takes none."""
    return JSONResponse({"in_use": request.state.service.database.in_use})


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve, to be killed.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("port", type=int)
    parser.add_argument("--fault", type=Point)
    parser.add_argument("--at", type=int, default=1)
    parser.add_argument("--without", choices=GUARDS)
    given = parser.parse_args()
    when_stdin_closes(lambda: os._exit(0))
    settings = Settings(data_dir=given.folder, database_url=given.url, port=given.port, log_level="warning")
    death = Death(given.at)
    routes = [
        Route("/testing/connections", show_connections),
        Route("/testing/fault", death.begin, methods=["POST"]),
    ]
    create = functools.partial(create_app, routes=routes)
    removed: AbstractContextManager[None] = GUARDS[given.without]() if given.without else contextlib.nullcontext()
    armed = failpoints.armed({given.fault: death.pass_by}) if given.fault else contextlib.nullcontext()
    with removed, armed, replaced(serve, "create_app", create):
        sys.exit(serve.run(argparse.Namespace(), settings))


# ---- its owner ------------------------------------------------------------------------------------------------------


class Service:
    """One service on one port, which may be killed and started again; it is gone when the block ends."""

    def __init__(self, folder: Path, url: str, without: str | None = None) -> None:
        self.folder = folder
        self.url = url
        self.without = without
        self.secret = load_keys(folder).secret
        with free_socket("127.0.0.1") as sock:
            self.port: int = sock.getsockname()[1]
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Service:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.process is not None:
            await self.kill()

    async def start(self, fault: Point | None = None, at: int = 1) -> float:
        """The seconds until it has answered a request with 200. From then on it counts how often it passes the point
        of the fault, and dies there.
        """
        begun = time.monotonic()
        arguments = ["-m", __name__, str(self.folder), self.url, str(self.port)]
        if fault is not None:
            arguments += ["--fault", fault.value, "--at", str(at)]
        if self.without is not None:
            arguments += ["--without", self.without]
        with (self.folder / "service.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        await self._answers(self.process)
        seconds = time.monotonic() - begun
        if fault is not None:
            await self._asked("POST", "/testing/fault")
        return seconds

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        desk = self.desk()
        assert process.stdout is not None
        async with asyncio.timeout(STARTING):
            await process.stdout.readline()  # the greeting, or nothing
            while (await desk.read()).balances is None:
                if process.returncode is not None:
                    raise RuntimeError(f"the service did not start:\n{self.log()}")
                await asyncio.sleep(0.01)
        desk.close()

    async def _asked(self, method: str, path: str) -> Any:
        desk = self.desk()
        answer = await desk.ask(method, path)
        desk.close()
        return answer.json()

    def desk(self, *, keyed: bool = False) -> HttpDesk:
        return HttpDesk(self.port, self.secret, keyed=keyed)

    async def kill(self) -> None:
        """SIGKILL, unless it is gone already."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        """Waits for its end. The exit code, below zero for a signal."""
        assert self.process is not None
        async with asyncio.timeout(STARTING):
            code = await self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        return code

    async def in_use(self) -> int:
        return int((await self._asked("GET", "/testing/connections"))["in_use"])

    def log(self) -> str:
        path = self.folder / "service.log"
        return path.read_text(errors="replace") if path.exists() else ""


if __name__ == "__main__":
    main()
