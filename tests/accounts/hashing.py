"""A hasher in place of argon2 that stops where a test tells it to, so that what happens meanwhile can be looked at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from app.accounts import passwords


class Held:
    """A hasher that counts how many hash at a time, and stops them where it is told to."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.may_go = threading.Event()
        self._lock = threading.Lock()

    def hash(self, text: str) -> str:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.may_go.wait(10)
        with self._lock:
            self.running -= 1
        return "$argon2id$"

    def verify(self, hashed: str, text: str) -> bool:
        return bool(self.hash(text))

    def check_needs_rehash(self, hashed: str) -> bool:
        return False


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Generator[Held]:
    """Its threads go on at the end, whatever became of the test."""
    found = Held()
    with monkeypatch.context() as patched:
        patched.setattr(passwords, "_HASHER", found)
        try:
            yield found
        finally:
            found.may_go.set()


def waiting() -> int:
    """How many stand in line."""
    return passwords._LINE.asked - passwords.HASHES_AT_ONCE


async def until(reached: Callable[[], bool]) -> None:
    """Lets others run until it is."""
    async with asyncio.timeout(5):
        while not reached():  # noqa: ASYNC110  # threads and limiters have no event
            await asyncio.sleep(0)
