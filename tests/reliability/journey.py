"""The way of an export into another database, by imports that are killed and started again.

The records of the file are known, and so is where one batch ends and the next begins. After each kill the database must
hold a whole number of batches: those that were acknowledged, and at most the one whose commit was under way.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Table, func, select

from app.data.audit import Revision
from app.data.database import Database
from app.data.failpoints import Point
from app.data.rules import SYSTEM
from app.importers import jsonl
from app.importers.loader import load
from app.models import Post, PostTag, Tag, User
from tests.reliability.trial import Figures

BATCH = 40  # records
POINTS = (Point.CHECKED_OUT, Point.COMMITTING, Point.COMMITTED)
NAMES = {"user": "username", "tag": "name", "post": "slug"}
PATIENCE = 60  # seconds for one import


def body_of(content: bytes) -> bytes:
    """All but the first line, which says when."""
    return content.partition(b"\n")[2]


class Journey:
    """`torn` removes the guard that a batch is one transaction."""

    def __init__(self, file: Path, figures: Figures, random: Random, *, torn: bool) -> None:
        self.file = file
        self.figures = figures
        self.random = random
        self.torn = torn
        lines = [json.loads(line) for line in body_of(file.read_bytes()).splitlines()]
        self.records = [
            (kind, fields[NAMES[kind]], fields.get("tags", [])) for each in lines for kind, fields in each.items()
        ]
        self.batches = -(-len(self.records) // BATCH)

    async def carry(self, database: Database, url: str, kills: int) -> None:
        """Import until all is there; `kills` imports do not come to their end."""
        done = 0  # batches
        for left in range(kills, 0, -1):
            done = await self._killed(database, url, done, max(1, (self.batches - done) // (left + 1)))
        posts = sum(kind == "post" for kind, _, _ in self.records)
        there = sum(kind == "post" for kind, _, _ in self.records[: done * BATCH])
        report = await load(database, jsonl.read(self.file, admins=True), batch=BATCH)
        self.figures.expect(report.problems == [], f"the last import has problems: {report.problems[:1]}")
        if not self.torn:
            counted = (report.created, report.unchanged)
            self.figures.expect(counted == (posts - there, there), f"the last import made and found {counted} posts")
        await self._check(database, self.batches, "after the last import")

    async def _killed(self, database: Database, url: str, done: int, most: int) -> int:
        """One import that is killed; how many batches are there now."""
        reaches = BATCH + 7 if self.torn else done + self.random.randint(1, most)
        point = self.random.choice([None, *POINTS])
        if self.torn or point is not None:
            point = point or Point.COMMITTING
            acknowledged = await self._kill_itself(url, point, reaches)
        else:
            acknowledged = await self._kill_from_outside(url, reaches)
        self.figures.counts["kills"] = int(self.figures.counts["kills"]) + 1
        exact = None if point is None else reaches - (point is not Point.COMMITTED)
        return await self._check(database, exact, f"after a kill {point or 'from outside'}", acknowledged)

    async def _kill_itself(self, url: str, point: Point, reaches: int) -> int:
        process = await self._start(url, point.value, str(reaches), *(["--torn"] if self.torn else []))
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        self.figures.expect(process.returncode == -signal.SIGKILL, f"an import was not killed: {err.decode()[-300:]}")
        return len(out.splitlines())

    async def _kill_from_outside(self, url: str, batches: int) -> int:
        process = await self._start(url)
        assert process.stdout is not None
        for _ in range(batches):
            await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        if process.returncode is None:
            process.kill()
        out, _ = await process.communicate()
        return batches + len(out.splitlines())

    async def _start(self, url: str, *words: str) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "tests.reliability.carrier", url, str(self.file), str(BATCH), *words]
        pipes: dict[str, Any] = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        return await asyncio.create_subprocess_exec(*command, **pipes, cwd=Path(__file__).parents[2])

    async def _check(self, database: Database, exact: int | None, when: str, acknowledged: int = 0) -> int:
        """How many batches are there, each of them whole."""
        found = await _found(database)
        count = len(found["records"])
        expected = self.records[:count]
        whole = count % BATCH == 0 or count == len(self.records)
        self.figures.expect(whole, f"{when} there is a part of a batch: {count} records")
        self.figures.expect(found["records"] == {record[:2] for record in expected}, f"{when} records are out of order")
        links = sum(len(tags) for _, _, tags in expected)
        self.figures.expect(found["links"] == links, f"{when} there are {found['links']} links of tags for {links}")
        revised = sum(kind != "tag" for kind, _, _ in expected)
        self.figures.expect(found["revisions"] == revised, f"{when} {revised} rows have {found['revisions']} revisions")
        batches = -(-count // BATCH)
        self.figures.expect(
            batches >= acknowledged, f"{when} {batches} batches are there of {acknowledged} acknowledged"
        )
        self.figures.expect(exact in (None, batches), f"{when} there are {batches} batches, not {exact}")
        return batches


async def _found(database: Database) -> dict[str, Any]:
    links: Any = PostTag.__table__
    assert isinstance(links, Table)
    async with database.reading(SYSTEM) as session:
        records = {("user", name) for name in await session.scalars(select(User.username))}
        records |= {("tag", name) for name in await session.scalars(select(Tag.name))}
        records |= {("post", slug) for slug in await session.scalars(select(Post.slug))}
        inserted = select(func.count()).select_from(Revision).where(Revision.operation == "insert")
        return {
            "records": records,
            "links": await session.scalar(select(func.count()).select_from(links)),
            "revisions": await session.scalar(inserted),
        }
