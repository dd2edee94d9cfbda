"""Runs a command of the program in this process, on a database that a test has filled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.cli.main import main

Command = Callable[..., int]


def command_on(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The program with its settings: give it words, it gives the exit code. In a thread, since it starts a loop."""
    monkeypatch.setenv("BROADSHEET_DATABASE_URL", url)
    monkeypatch.setenv("BROADSHEET_DATA_DIR", str(folder))

    def execute(*words: str | Path) -> int:
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(main, list(map(str, words))).result()

    return execute
