"""How each variant is started: one process on the server's core, as its documentation says.

Broadsheet starts as its users start it: `broadsheet serve`, whose defaults do not count callers from this machine. Only
its log is at `warning`, for a line for each request is what the peers do not write either. They run on uvicorn with
uvloop and httptools, by the interpreter of the benchmarks' own environment; PocketBase is its own server.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.dialects import Request
from bench.peers import pocketbase
from bench.processes import Failed, Process, free_port
from bench.store import ROOT, Store
from bench.variants import LOGGED, Variant

PEERS_PYTHON = ROOT / ".bench" / "venv" / "bin" / "python"
PATIENCE = 60  # seconds for a server to answer
POLL = 0.005
HEALTH = {"broadsheet": "/health/ready", "peer": "/health", "nothing": "/health", "pocketbase": pocketbase.HEALTH}
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


@dataclass
class Server:
    """Running; `headers` are those of a caller who may write."""

    variant: Variant
    processes: list[Process]
    ports: list[int]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def stop(self) -> None:
        for process in self.processes:
            process.stop()

    def ask(self, request: Request) -> Any:
        """The decoded body of an answer. Raises Failed for a status that is no success."""
        data = None if request.body is None else json.dumps(request.body).encode()
        url = f"http://127.0.0.1:{self.ports[0]}{request.path}"
        asked = urllib.request.Request(url, data, dict(request.headers), method=request.method)
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            said = exc.read()[:500].decode(errors="replace")
            raise Failed(f"{request.method} {request.path} is answered {exc.code}: {said}") from None


def start(
    variant: Variant, url: str, store: Store, folder: Path, cores: Iterable[int], *, count: int = 1, path: str = ""
) -> Server:
    """`count` processes of it, each on a port of its own, when all answer with 200: to the question for their health,
    or to `path`. Raises Failed.

    `folder` is for logs and for what it keeps besides the database.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if variant.dialect == "pocketbase" and not (folder / "data").exists():
        shutil.copytree(store.pocketbase(), folder / "data")
    server = Server(variant, [], [])
    try:
        for number in range(count):
            port = free_port()
            command, environment = _command(variant, url, folder, port)
            server.processes.append(Process(command, environment, folder / f"log-{number}", cores))
            server.ports.append(port)
            _wait(variant, server.processes[-1], f"http://127.0.0.1:{port}{path or HEALTH[variant.dialect]}")
    except BaseException:
        server.stop()
        raise
    if variant.dialect == "broadsheet":
        server.headers["apikey"] = json.loads((folder / "keys.json").read_text())["secret"]
    return server


def _command(variant: Variant, url: str, folder: Path, port: int) -> tuple[list[str], Mapping[str, str]]:
    plain = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONPATH": str(ROOT)}
    match variant.dialect:
        case "broadsheet":
            program = [str(Path(sys.executable).with_name("broadsheet")), "serve"]
            level = "info" if variant.name == LOGGED else "warning"
            settings = {"DATABASE_URL": url, "DATA_DIR": str(folder), "PORT": str(port), "LOG_LEVEL": level}
            return program, plain | {f"BROADSHEET_{name}": value for name, value in settings.items()}
        case "pocketbase":
            return pocketbase.command(folder / "data", port), plain
        case _:
            program = [str(PEERS_PYTHON), "-m", "uvicorn", f"bench.peers.{variant.module}:app"]
            return [*program, "--port", str(port), *UVICORN], plain | {"BENCH_DATABASE_URL": url}


def _wait(variant: Variant, process: Process, url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.has_ended:
            break
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):
                return
        except OSError:  # not there yet
            time.sleep(POLL)
    raise Failed(f"{variant.name} did not start:\n{process.last_words()}")
