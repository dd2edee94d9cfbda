"""`broadsheet import markdown DIR`, `ghost FILE` and `jsonl FILE`: posts, tags and authors from elsewhere.

The report goes to standard output, the progress to standard error. Exit code 1 when something was skipped by error,
130 after Ctrl-C: whole batches stand, and the next run goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.cli.progress import Progress
from app.errors import BadSetting, BroadsheetError
from app.importers import ghost, jsonl, markdown
from app.importers.loader import load
from app.importers.records import Source
from app.importers.report import Report
from app.importers.waiting import Waiting
from app.resources import open_database
from app.settings import Settings

STANDARD_INPUT = Path("-")


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("import", help="import posts from Markdown, Ghost or an export of ours")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    command = kinds.add_parser("markdown", help="a folder of Markdown files with front matter (Zola, Hugo, Jekyll)")
    command.add_argument("path", type=Path, metavar="DIR")
    _add_options(command, import_markdown)
    command = kinds.add_parser("ghost", help="a JSON export of Ghost")
    command.add_argument("path", type=Path, metavar="FILE")
    _add_options(command, import_ghost)
    command = kinds.add_parser("jsonl", help="JSON lines, as `broadsheet export` writes them")
    command.add_argument("path", type=Path, metavar="FILE", help="- is standard input")
    command.add_argument("--admins", action="store_true", help="let admins come in as admins, not as authors")
    _add_options(command, import_jsonl)


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


def import_jsonl(arguments: argparse.Namespace, settings: Settings) -> int:
    path: Path = arguments.path
    report = Report(unit="posts")
    if path == STANDARD_INPUT:
        return _import_standard_input(arguments, settings, report)
    if not path.is_file():
        raise BadSetting(f"{path} is no file")
    return run_import(settings, functools.partial(jsonl.read, path, admins=arguments.admins), arguments, report)


def _import_standard_input(arguments: argparse.Namespace, settings: Settings, report: Report) -> int:
    if sys.stdin is None:
        raise BadSetting("standard input is closed")
    with Waiting(sys.stdin.fileno()) as raw:
        stream = io.BufferedReader(raw)
        read = functools.partial(jsonl.read_stream, stream, "standard input", admins=arguments.admins)
        return run_import(settings, read, arguments, report, stop=raw.stop)


def run_import(
    settings: Settings,
    read: Callable[[], Source],
    arguments: argparse.Namespace,
    report: Report,
    stop: Callable[[], None] = lambda: None,
) -> int:
    """Load what `read` opens, print the report, return the exit code. `stop` ends a read that waits."""
    failure = ""
    try:
        asyncio.run(_load(settings, read, arguments, report, stop))
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


async def _load(
    settings: Settings,
    read: Callable[[], Source],
    arguments: argparse.Namespace,
    report: Report,
    stop: Callable[[], None],
) -> None:
    async with open_database(settings) as database:
        await database.migrate()
        try:
            source = await asyncio.to_thread(read)
            with Progress(source.total, report.unit) as progress:
                await load(
                    database,
                    source,
                    update=arguments.update,
                    dry_run=arguments.dry_run,
                    progress=lambda report: progress(report.done),
                    report=report,
                )
        finally:
            stop()
