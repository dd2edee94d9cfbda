"""`broadsheet import markdown DIR` and `broadsheet import ghost FILE`: posts, tags and authors from elsewhere.

The report goes to standard output, the progress to standard error. Exit code 1 when something was skipped by error,
130 after Ctrl-C: whole batches stand, and the next run goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from app.data.database import Database
from app.errors import BadSetting, BroadsheetError
from app.importers import ghost, markdown
from app.importers.loader import load
from app.importers.records import Source
from app.importers.report import Report
from app.resources import CATALOG
from app.settings import Settings

EVERY = 2.0  # seconds between two lines of progress where there is no terminal


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("import", help="import posts from Markdown files or a Ghost export")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    command = kinds.add_parser("markdown", help="a folder of Markdown files with front matter (Zola, Hugo, Jekyll)")
    command.add_argument("path", type=Path, metavar="DIR")
    _add_options(command, import_markdown)
    command = kinds.add_parser("ghost", help="a JSON export of Ghost")
    command.add_argument("path", type=Path, metavar="FILE")
    _add_options(command, import_ghost)


def _add_options(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace, Settings], int]) -> None:
    command.add_argument("--update", action="store_true", help="change posts that exist and differ")
    command.add_argument("--dry-run", action="store_true", help="write nothing, report what would be done")
    command.add_argument("--verbose", action="store_true", help="name co-authors, and the files that are no posts")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.set_defaults(run=run)


def import_markdown(arguments: argparse.Namespace, settings: Settings) -> int:
    path: Path = arguments.path
    if not path.is_dir():
        raise BadSetting(f"{path} is no folder")
    return run_import(settings, functools.partial(markdown.read, path), arguments, Report(unit="files"))


def import_ghost(arguments: argparse.Namespace, settings: Settings) -> int:
    path: Path = arguments.path
    if not path.is_file():
        raise BadSetting(f"{path} is no file")
    return run_import(settings, functools.partial(ghost.read, path), arguments, Report(unit="posts and pages"))


def run_import(settings: Settings, read: Callable[[], Source], arguments: argparse.Namespace, report: Report) -> int:
    """Load what `read` opens, print the report, return the exit code."""
    failure = ""
    try:
        asyncio.run(_load(settings, read, arguments, report))
    except KeyboardInterrupt:
        report.interrupted = True
    except BroadsheetError as error:
        report.interrupted = True
        failure = f"broadsheet: {error.message}"
    if arguments.json:
        print(json.dumps(report.plain(), indent=2))
    else:
        print(*report.lines(verbose=arguments.verbose), sep="\n")
    if failure:
        print(failure, file=sys.stderr)
        return 1
    return report.exit_code


async def _load(settings: Settings, read: Callable[[], Source], arguments: argparse.Namespace, report: Report) -> None:
    database = Database(
        settings.url,
        CATALOG,
        limits=settings.limits,
        pooler=settings.pooler,
        migrate_url=settings.migrate_url,
    )
    async with database:
        await database.migrate()
        source = await asyncio.to_thread(read)
        with Progress(source, report.unit) as progress:
            await load(
                database,
                source,
                update=arguments.update,
                dry_run=arguments.dry_run,
                progress=progress,
                report=report,
            )


class Progress:
    """A bar with rate and remaining time on a terminal, else a line every few seconds."""

    def __init__(self, source: Source, unit: str) -> None:
        self.bar = tqdm(total=source.total, unit=f" {unit}", leave=False) if sys.stderr.isatty() else None
        self.unit = unit
        self.started = self.told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, report: Report) -> None:
        if self.bar is not None:
            self.bar.update(report.done - self.bar.n)
            return
        now = time.monotonic()
        if now - self.told >= EVERY:
            self.told = now
            print(progress_line(report, now - self.started), file=sys.stderr, flush=True)


def progress_line(report: Report, seconds: float) -> str:
    """`12500 of 100000 posts, 2431/s, 36 s left`; without a total only what is done."""
    rate = report.done / seconds
    if report.total is None or not rate:
        return f"{report.done} {report.unit}, {rate:.0f}/s"
    left = (report.total - report.done) / rate
    return f"{report.done} of {report.total} {report.unit}, {rate:.0f}/s, {left:.0f} s left"
