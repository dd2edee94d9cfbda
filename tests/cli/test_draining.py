"""How the server takes leave of balancers: what it answers between SIGTERM and its end."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx2

from tests.cli.test_program import SECONDS, free_port, serving


def test_server_that_was_told_to_stop_is_not_ready_but_serves_on(tmp_path: Path) -> None:
    """Each answer ends its connection. Takes the time that the server drains."""
    port = free_port()
    with serving(tmp_path, port, BROADSHEET_DRAIN_SECONDS="3") as (process, _):
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert "connection" not in client.get("/posts").headers
            process.send_signal(signal.SIGTERM)
            while (ready := client.get("/health/ready")).status_code == 200:
                pass
            assert ready.status_code == 503
            assert (ready.json()["code"], ready.headers["connection"]) == ("BRD503", "close")
            assert client.get("/health/live").status_code == 200
            posts = client.get("/posts")
            assert (posts.status_code, posts.headers["connection"]) == (200, "close")
        assert process.wait(SECONDS) == 0


def test_person_at_the_terminal_does_not_wait_for_balancers(tmp_path: Path) -> None:
    with serving(tmp_path, free_port(), BROADSHEET_DRAIN_SECONDS="300") as (process, _):
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    assert time.monotonic() - began < SECONDS


def test_ctrl_c_ends_the_wait_of_a_sigterm(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port, BROADSHEET_DRAIN_SECONDS="300") as (process, _):
        process.send_signal(signal.SIGTERM)
        while httpx2.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
