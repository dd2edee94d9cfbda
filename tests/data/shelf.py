"""A store to read from in batches, for the tests of who is served by which read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.data.batching import Batches


@dataclass
class Shelf:
    """A store of versions whose reads wait while its door is closed, and see what was there when they began."""

    rows: dict[Any, Any] = field(default_factory=dict)
    reads: list[list[Any]] = field(default_factory=list)
    door: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: int = 0
    cancelled: int = 0
    most: int = 0
    inside: int = 0

    async def load(self, keys: list[Any]) -> Mapping[Any, Any]:
        self.reads.append(keys)
        seen = {key: self.rows[key] for key in keys if key in self.rows}
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun.set()
        try:
            await asyncio.sleep(0)
            await self.door.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.inside -= 1
            self.ended += 1
        if self.rows.get("fault"):
            raise self.rows["fault"]
        return seen


def ask(batches: Batches, shelf: Shelf, key: Any, kind: str = "kind") -> asyncio.Task[Any]:
    return asyncio.create_task(batches.get(kind, key, shelf.load))


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)
