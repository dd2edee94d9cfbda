"""Processes of the program that begin at the same moment: one process has imported it, and forks for each.

    async with nursery(folder) as processes:
        child = await processes.begin("migrate", environment={...}, dies_at=17, token=...)
        ended = await processes.end(child)

A child may be killed at a statement of its migration, and leave out the lock of migrations.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import json
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.event import listen

from app.cli.main import main as broadsheet

PATIENCE = 60  # seconds until a process that does not end is a fault of the test
ROOT = Path(__file__).resolve().parents[2]
IMPORTED = ("app.cli.migrate", "app.cli.serve", "app.data.migrating", "asyncpg", "aiosqlite", "uvloop")
VERSION = re.compile(r"(?:INSERT INTO|UPDATE) alembic_version .*?'(\d{4})'")
CHANGES = re.compile(r"\s*(CREATE|ALTER|DROP|INSERT|UPDATE|DELETE)\b")
UNLOCKED = {"BEGIN IMMEDIATE": "BEGIN", "SELECT pg_try_advisory_lock": "SELECT true"}  # by how a statement begins


# ---- the processes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Child:
    """What a process is to do. Of all that have the same `token` the first to reach the statement `dies_at` dies."""

    words: list[str]
    environment: dict[str, str]
    report: str
    token: str = ""
    dies_at: int = 0
    unlocked: bool = False


@dataclass(eq=False)  # SQLAlchemy keeps listeners by identity
class Watch:
    """Sees each statement before it is sent: those that change something, and the revisions among them."""

    child: Child
    statements: int = 0
    revisions: list[str] = field(default_factory=list)

    def __call__(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        if CHANGES.match(statement):
            self.statements += 1
            if self.statements == self.child.dies_at and _is_first(self.child.token):
                os.kill(os.getpid(), signal.SIGKILL)
        if (version := VERSION.match(statement)) is not None:
            self.revisions.append(version[1])
        if self.child.unlocked:
            statement = next((sql for begins, sql in UNLOCKED.items() if statement.startswith(begins)), statement)
        return statement, parameters


def _is_first(token: str) -> bool:
    try:
        os.close(os.open(token, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def live(child: Child) -> int:
    """The life of a forked process; its exit code."""
    output = os.open(f"{child.report}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(child.environment)
    watch = Watch(child)
    listen(Engine, "before_cursor_execute", watch, retval=True)
    code = broadsheet(child.words)
    Path(f"{child.report}.json").write_text(json.dumps([watch.statements, watch.revisions]))
    sys.stdout.flush()
    return code


def nurse() -> None:
    """Answers the line of a Child with a pid, and that of a pid, when it has ended, with its exit code."""
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, int):
            print(os.waitstatus_to_exitcode(os.waitpid(order, 0)[1]), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            os._exit(live(Child(**order)))
    os.killpg(0, signal.SIGKILL)  # the owner has gone: so do the children


# ---- their owner ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begun:
    pid: int
    report: str

    @property
    def reported(self) -> tuple[int, list[str]]:
        path = Path(f"{self.report}.json")
        return tuple(json.loads(path.read_text())) if path.exists() else (0, [])

    @property
    def said(self) -> str:
        return Path(f"{self.report}.log").read_text().strip()


@dataclass(frozen=True, slots=True)
class Ended:
    """`statements` that changed something, and the revisions that it set; 0 and none for one that was killed."""

    code: int
    statements: int
    revisions: list[str]
    said: str


class Nursery:
    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.numbers = itertools.count(1)

    async def begin(self, *words: str, environment: Mapping[str, str], **more: Any) -> Begun:
        report = str(self.folder / f"process-{next(self.numbers)}")
        return Begun(await self._ask(asdict(Child(list(words), dict(environment), report, **more))), report)

    async def end(self, begun: Begun) -> Ended:
        return Ended(await self._ask(begun.pid), *begun.reported, begun.said)

    async def stop(self, begun: Begun) -> Ended:
        """As a supervisor does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(begun.pid, signal.SIGTERM)
        return await self.end(begun)

    async def _ask(self, order: Any) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(order)}\n".encode())
        async with asyncio.timeout(PATIENCE):
            return int(await self.process.stdout.readline())


@asynccontextmanager
async def nursery(folder: Path) -> AsyncGenerator[Nursery]:
    pipe = asyncio.subprocess.PIPE
    words = (sys.executable, "-m", "tests.reliability.nursery")
    process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdin=pipe, stdout=pipe, start_new_session=True)
    try:
        yield Nursery(process, folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its children too
        await process.communicate()


if __name__ == "__main__":
    nurse()
