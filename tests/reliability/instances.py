"""The service in a process of its own, to be stopped as a supervisor does and started again: `broadsheet serve` as it
is. Requests whose id begins with `slow` are answered two seconds after they are done.

    python -m tests.reliability.instances [--without GUARD]

Settings come from the environment, as for the service.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

from app import logs
from app.cli import serve
from app.data import failpoints
from app.data.failpoints import Point
from app.settings import Settings
from tests.clients.serve import free_socket
from tests.localpg import die_with_parent
from tests.reliability.guards import replaced

ROOT = Path(__file__).resolve().parents[2]
SLOW = 2.0  # seconds
DRAIN = 1  # seconds, ten times what the balancer needs
STARTING = 30  # seconds

READINESS = "readiness that ends before the server does"
WAIT = "the wait between readiness and the last connection"


# ---- the process ----------------------------------------------------------------------------------------------------


async def tarry() -> None:
    if (logs.request_id.get() or "").startswith("slow"):
        await asyncio.sleep(SLOW)  # what is done is not told yet


@contextlib.contextmanager
def always_ready() -> Generator[None]:
    async def wait(self: serve.Server) -> None:
        await asyncio.sleep(self.drain)

    with replaced(serve.Server, "turn_away", wait):
        yield


@contextlib.contextmanager
def at_once() -> Generator[None]:
    async def go(self: serve.Server) -> None:
        self.lifespan.state["stopping"] = True

    with replaced(serve.Server, "turn_away", go):
        yield


GUARDS: dict[str, Callable[[], AbstractContextManager[None]]] = {READINESS: always_ready, WAIT: at_once}


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve, and tarry.")
    parser.add_argument("--without", choices=GUARDS)
    given = parser.parse_args()
    removed = GUARDS[given.without]() if given.without else contextlib.nullcontext()
    with removed, failpoints.armed({Point.SENDING: tarry}):
        return serve.run(argparse.Namespace(), Settings.from_env())


# ---- its owner ------------------------------------------------------------------------------------------------------


class Instance:
    """One server on a port of its own, under the eyes of a supervisor."""

    def __init__(self, folder: Path, url: str, without: str | None) -> None:
        self.folder = folder
        self.url = url
        self.without = without
        with free_socket("127.0.0.1") as sock:
            self.port: int = sock.getsockname()[1]
        self.log = folder / f"server-{self.port}.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it serves."""
        environment = {
            **os.environ,
            "BROADSHEET_DATA_DIR": str(self.folder),
            "BROADSHEET_DATABASE_URL": self.url,
            "BROADSHEET_PORT": str(self.port),
            "BROADSHEET_DRAIN_SECONDS": str(DRAIN),
            "BROADSHEET_LOG_LEVEL": "warning",
        }
        arguments = ["-m", "tests.reliability.instances", *(["--without", self.without] if self.without else [])]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                cwd=ROOT,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(STARTING):
            if not await self.process.stdout.readline():
                raise RuntimeError(f"the server did not start:\n{self.said(0)}")

    async def stop(self) -> tuple[int, float, list[str]]:
        """As a supervisor does: the exit code, the seconds, and the errors in its log."""
        assert self.process is not None
        before, begun = self.log.stat().st_size, time.monotonic()
        self.process.terminate()
        async with asyncio.timeout(serve.GRACE + DRAIN):
            code = await self.process.wait()
        return code, time.monotonic() - begun, [line for line in self.said(before) if not is_harmless(line)]

    def said(self, after: int) -> list[str]:
        """The lines of its log from a place on."""
        return self.log.read_bytes()[after:].decode(errors="replace").splitlines()

    def left(self) -> list[int]:
        """Processes that it has started, and that outlive it: its session is its own."""
        assert self.process is not None
        return [pid for pid, session in sessions() if session == self.process.pid]

    async def end(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()


def is_harmless(line: str) -> bool:
    """A warning of the service, such as that of a probe which was told that the server is not ready; no traceback."""
    try:
        return bool(json.loads(line)["level"] == "warning")
    except (ValueError, KeyError, TypeError):
        return False


def sessions() -> Generator[tuple[int, int]]:
    """Of each process its pid and its session, where the system shows them."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            yield int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[3])


@asynccontextmanager
async def instances(folder: Path, url: str, number: int, without: str | None) -> AsyncGenerator[list[Instance]]:
    """So many that serve one database. None is left when the block ends."""
    found = [Instance(folder, url, without) for _ in range(number)]
    try:
        await found[0].start()  # alone: it makes the keys
        await asyncio.gather(*(one.start() for one in found[1:]))
        yield found
    finally:
        for one in found:
            await one.end()


if __name__ == "__main__":
    sys.exit(main())
