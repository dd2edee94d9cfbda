"""The JavaScript clients: supabase-js, postgrest-js and ra-data-postgrest run the tests of tests/clients/js."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.clients.conftest import Served, Sites
from tests.clients.serve_accounts import SITES, WELCOME

FOLDER = Path(__file__).parent / "js"
NODE = FOLDER / "node_modules" / ".bin" / "node"
SECONDS = 120

pytestmark = pytest.mark.skipif(not NODE.exists(), reason="`make test-clients` installs the JavaScript clients")


def test_javascript_clients(served: Served) -> None:
    """Takes seconds: a few hundred requests in processes of their own."""
    served.reset()
    environment = {
        "CLIENTS_URL": served.url,
        "CLIENTS_PUBLISHABLE": served.publishable,
        "CLIENTS_SECRET": served.secret,
    }
    # one file at a time: those that write put the rows back before each test
    run_node(["--test-concurrency=1", "*.test.js"], environment)


def test_javascript_accounts(auth_served: Sites) -> None:
    """Takes seconds: as many requests, in one process, since starting one takes long."""
    sites = {name: asdict(getattr(auth_served, name)) for name in SITES}
    environment = {"CLIENTS_SITES": json.dumps(sites), "CLIENTS_WELCOME": WELCOME}
    run_node(["--experimental-test-isolation=none", "auth/*.test.js"], environment)


def run_node(arguments: list[str], environment: dict[str, str]) -> None:
    command = [str(NODE), "--test", "--test-reporter=spec", *arguments]
    environment = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(
        command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests 0" not in done.stdout
