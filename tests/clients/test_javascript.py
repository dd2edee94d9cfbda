"""The JavaScript clients: supabase-js, postgrest-js and ra-data-postgrest run the tests of tests/clients/js."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import Served

FOLDER = Path(__file__).parent / "js"
NODE = FOLDER / "node_modules" / ".bin" / "node"
SECONDS = 120


@pytest.mark.skipif(not NODE.exists(), reason="`make test-clients` installs the JavaScript clients")
def test_javascript_clients(served: Served) -> None:
    """Takes seconds: a few hundred requests in processes of their own."""
    served.reset()
    environment = {
        "PATH": os.environ["PATH"],
        "CLIENTS_URL": served.url,
        "CLIENTS_PUBLISHABLE": served.publishable,
        "CLIENTS_SECRET": served.secret,
    }
    # one file at a time: those that write put the rows back before each test
    command = [str(NODE), "--test", "--test-concurrency=1", "--test-reporter=spec"]
    done = subprocess.run(
        command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests 0" not in done.stdout
