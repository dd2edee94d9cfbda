"""Export and import: what is exported comes back byte for byte, on each database and from one to the other, although
imports are killed (SIGKILL, in the middle of a batch) and started again. An export shows one moment while others write,
a file that was cut or spoilt is known for one, and CSV carries cells that look like formulas as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import select

from app.accounts.keys import load_keys
from app.data.database import Database
from app.data.rules import SYSTEM, Principal
from app.data.session import AppSession
from app.http.app import create_app
from app.importers import exporting, jsonl
from app.importers.exporting import export
from app.importers.loader import load
from app.importers.report import Report
from app.models import Post
from app.query import writer
from app.resources import CATALOG
from app.settings import Settings
from tests.http.conftest import client_of
from tests.reliability.cargo import FORMULAS, SPOILT, fill
from tests.reliability.guards import replaced
from tests.reliability.journey import BATCH, Journey, body_of
from tests.reliability.trial import Conditions, Figures, Trial

WHOLE, MOMENT = "one transaction for each batch", "one snapshot for an export"
CHANGED = 100  # posts that somebody changes during an export
CSV_ROWS = 200


@dataclass(frozen=True, slots=True)
class Scale:
    posts: int
    kills: int


def scale_of(conditions: Conditions) -> Scale:
    if conditions.without is not None:
        return Scale(posts=200, kills=int(conditions.without == WHOLE))
    return Scale(posts=10_000, kills=25) if conditions.long else Scale(posts=400, kills=2)


async def work(conditions: Conditions) -> Figures:
    figures, random, scale = Figures(), Random(conditions.seed), scale_of(conditions)
    first, *others = stations(conditions)
    async with opened(first) as database:
        await fill(database, random, scale.posts)
        content = await exported(database)
    file = conditions.folder / "cargo.jsonl"
    file.write_bytes(content)
    figures.counts |= {"posts": scale.posts, "bytes": len(content), "legs": len(others), "kills": 0}
    journey = Journey(file, figures, random, torn=conditions.without == WHOLE)
    for url in others:
        async with opened(url) as database:
            await journey.carry(database, url, scale.kills if url == others[0] else 0)
            again = await exported(database)
        figures.expect(body_of(again) == body_of(content), f"the export of leg {others.index(url) + 1} differs")
    async with opened(others[-1]) as database:
        if conditions.without in (None, MOMENT):
            await one_moment(database, random, figures)
        if conditions.without is None:
            await spoilt(database, content, random, figures)
    if conditions.without is None:
        await as_csv(others[-1], conditions, figures)
    return figures


def stations(conditions: Conditions) -> list[str]:
    """Where the rows go: PostgreSQL lies between two files of SQLite."""
    first, second = (f"sqlite:///{conditions.folder / name}.db" for name in ("first", "second"))
    way = [conditions.url, second] if conditions.backend == "sqlite" else [first, conditions.url, second]
    return way if conditions.without is None else way[:2]


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Database]:
    async with Database(url, CATALOG) as database:
        await database.migrate()
        yield database


async def exported(database: Database, after_first: Callable[[], object] | None = None) -> bytes:
    """`after_first` is called in another thread when the first line is written and the rows are still to be read."""
    parts: list[bytes] = []

    def write(part: bytes) -> None:
        parts.append(part)
        if after_first is not None and len(parts) == 1:
            after_first()

    await export(database, write, batch=BATCH)
    return b"".join(parts)


async def imported(database: Database, content: bytes) -> Report:
    return await load(database, jsonl.read_stream(io.BytesIO(content), "spoilt", admins=True), batch=BATCH)


# ---- one moment -----------------------------------------------------------------------------------------------------


async def one_moment(database: Database, random: Random, figures: Figures) -> None:
    """Somebody changes posts everywhere, in one unit of work, while they are being read."""
    loop = asyncio.get_running_loop()
    before = await exported(database)
    async with database.reading(SYSTEM) as session:
        ids = list(await session.scalars(select(Post.id).order_by(Post.id)))

    async def change() -> None:
        async with database.writing(SYSTEM) as session:
            chosen = sorted(random.sample(ids, min(len(ids), CHANGED)))
            await writer.update(session, CATALOG.of(Post), chosen, {"title": "changed meanwhile"})

    during = await exported(database, lambda: asyncio.run_coroutine_threadsafe(change(), loop).result(30))
    figures.expect(body_of(during) == body_of(before), "an export shows what was committed after it had begun")
    after = await exported(database)
    figures.counts["changed meanwhile"] = after.count(b"changed meanwhile")
    figures.expect(after.count(b"changed meanwhile") > 0, "nothing was changed meanwhile")


# ---- files that are not whole ---------------------------------------------------------------------------------------


async def spoilt(database: Database, content: bytes, random: Random, figures: Figures) -> None:
    """The rows are there, changed ones included, so nothing can be made: a good line changes nothing, a bad one is a
    problem.
    """
    before = await exported(database)
    lines = content.splitlines(keepends=True)
    cut = b"".join(lines[: random.randrange(1, len(lines))])
    figures.expect(
        len((await imported(database, cut)).problems) == 1, "a file without its end was taken for a whole one"
    )
    torn = content[: random.randrange(len(lines[0]), len(content) - 1)]
    figures.expect(
        (await imported(database, torn)).problems != [], "a file cut within a line was taken for a whole one"
    )
    for bad in SPOILT:
        lines.insert(random.randrange(1, len(lines) + 1), bad + b"\n")
    report = await imported(database, b'{"broadsheet": 1}\n' + b"".join(lines[1:]))
    figures.counts |= {"spoilt lines": len(SPOILT), "found": len(report.problems)}
    figures.expect(
        len(report.problems) == len(SPOILT), f"of {len(SPOILT)} spoilt lines {len(report.problems)} were found"
    )
    figures.expect(report.created == report.updated == 0, "a spoilt file made rows")
    figures.expect(body_of(await exported(database)) == body_of(before), "a spoilt file changed rows")


# ---- CSV ------------------------------------------------------------------------------------------------------------


async def as_csv(url: str, conditions: Conditions, figures: Figures) -> None:
    """Cells come out as they are, but for doubled backslashes, and go in again."""
    settings = Settings(data_dir=conditions.folder / "keys", database_url=url)
    secret = {"apikey": load_keys(settings.data_dir).secret}
    path = f"/rest/v1/posts?select=title,content,user_id&order=id&limit={CSV_ROWS}"
    async with client_of(create_app(settings)) as client:
        plain = (await client.get(path, headers=secret)).json()
        text = (await client.get(path, headers={**secret, "accept": "text/csv"})).text
        _, *rows = csv.reader(io.StringIO(text, newline=""))
        expected = [[row["title"].replace("\\", "\\\\"), row["content"].replace("\\", "\\\\")] for row in plain]
        figures.expect([row[:2] for row in rows] == expected, "cells of CSV are not the values of the rows")
        cells = [cell for row in rows for cell in row[:2]]
        figures.counts |= {"cells": len(cells), "formulas": sum(cell.startswith(tuple(FORMULAS)) for cell in cells)}
        back = [row for row in plain if "\\" not in row["title"] + row["content"]]
        answer = await client.post(
            "/rest/v1/posts?select=title,content,user_id&columns=title,content,user_id",
            content=_csv_of(back),
            headers={**secret, "content-type": "text/csv", "prefer": "return=representation"},
        )
        figures.expect(answer.status_code == 201, f"CSV was refused: {answer.text[:200]}")
        figures.expect(answer.json() == back, "rows made from CSV are not those that were exported")


def _csv_of(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO(newline="")
    writing = csv.writer(out, quoting=csv.QUOTE_ALL)
    writing.writerow(rows[0])
    writing.writerows(row.values() for row in rows)
    return out.getvalue().encode()


# ---- guards ---------------------------------------------------------------------------------------------------------


class Loose:
    """In place of a session of one moment: each read sees its own."""

    def __init__(self, database: Database, session: AppSession) -> None:
        self.database = database
        self.unit = session.unit

    async def execute(self, query: Any) -> Any:
        async with self.database.reading(SYSTEM) as session:
            return await session.execute(query)

    async def scalar(self, query: Any) -> Any:
        async with self.database.reading(SYSTEM) as session:
            return await session.scalar(query)


@contextmanager
def without_snapshot() -> Generator[None]:
    @asynccontextmanager
    async def loose(database: Database, who: Principal) -> AsyncGenerator[Any]:
        async with database.reading(who) as session:
            unit = session
        yield Loose(database, unit)

    with replaced(exporting, "snapshot", loose):
        yield


EXCHANGE = Trial(
    "T28",
    "exchange",
    work,
    {WHOLE: contextlib.nullcontext, MOMENT: without_snapshot},  # the first one is removed in the child process
)
