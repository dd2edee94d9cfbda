"""What a server has loaded when it has answered its first request. What it does not need costs every start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_program import SECONDS, environment, free_port

ROOT = Path(__file__).resolve().parents[1]

# Tens of milliseconds and megabytes each.
UNNEEDED = {
    "where there is something to migrate": ("alembic", "mako", "app.data.migrating"),
    "by importers and their progress": ("yaml", "tqdm", "markdown_it", "app.importers"),
    "by other commands": ("app.cli.keys", "app.cli.doctor", "app.cli.purge", "app.cli.export"),
    "when the first token or secret is at hand": ("cryptography", "jwt", "app.accounts.primitives"),
    "when somebody asks for /metrics": ("prometheus_client", "app.http.exposition"),
    "by tests and benchmarks": ("hypothesis", "pytest", "schemathesis", "coverage", "unittest", "tests", "bench"),
    "by nobody here": ("fastapi", "pydantic", "requests", "httpx", "httpx2", "h11", "werkzeug", "rich", "websockets"),
}

# `broadsheet serve`, until a thread beside it has been answered and has said what it sees.
PROGRAM = """
import gc, json, os, signal, socket, sys, threading, time

def ask(path):
    with socket.create_connection(("127.0.0.1", int(os.environ["BROADSHEET_PORT"]))) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\\r\\nHost: here\\r\\nConnection: close\\r\\n\\r\\n".encode())
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()

def look():
    while True:
        try:
            status = ask("/posts?limit=1").split()[1]
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    seen = {"status": status, "modules": list(sys.modules), "frozen": gc.get_freeze_count(), "collects": gc.isenabled()}
    print(json.dumps(seen), file=sys.stderr)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=look, daemon=True).start()
from app.cli.main import main
sys.exit(main(["serve"]))
"""


@pytest.fixture
def seen(spare_url: str, tmp_path: Path) -> dict[str, Any]:
    """Of a server on a database that is migrated. A start takes a second or two."""
    settings = {"BROADSHEET_DATABASE_URL": spare_url, "BROADSHEET_PORT": str(free_port())}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=environment(tmp_path, BROADSHEET_LOG_LEVEL="error", **settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stderr)
    assert found["status"] == "200"
    return found


def test_server_that_has_answered_has_loaded_nothing_that_it_does_not_need(seen: dict[str, Any]) -> None:
    loaded = {use: set(names).intersection(seen["modules"]) for use, names in UNNEEDED.items()}
    assert {use: names for use, names in loaded.items() if names} == {}


def test_collector_passes_over_what_was_imported_and_goes_on(seen: dict[str, Any]) -> None:
    assert seen["frozen"] > 50_000
    assert seen["collects"]
