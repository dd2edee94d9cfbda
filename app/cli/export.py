"""`broadsheet export [FILE]`: users, tags and posts as JSON lines, for `broadsheet import jsonl`.

FILE appears when it is whole, readable by its owner alone. Standard output gets nothing before everything is read
either, so that the database waits for nobody who takes it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

from app.cli.database import require_schema
from app.cli.progress import Progress
from app.errors import BadSetting
from app.importers.exporting import Extent, export
from app.resources import open_database
from app.settings import Settings

STANDARD_OUTPUT = Path("-")


def register(subparsers: Any) -> None:
    command = subparsers.add_parser("export", help="write users, tags and posts as JSON lines")
    command.add_argument("path", type=Path, nargs="?", default=STANDARD_OUTPUT, metavar="FILE")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    path: Path = arguments.path
    with _spool() if path == STANDARD_OUTPUT else _beside(path) as file:
        extent = asyncio.run(_export(settings, file))
    print(f"{extent.users} users, {extent.tags} tags, {extent.posts} posts exported", file=sys.stderr)
    return 0


async def _export(settings: Settings, file: BinaryIO) -> Extent:
    async with open_database(settings) as database:
        await require_schema(database)
        with Progress(None, "posts") as progress:
            return await export(database, file.write, progress=lambda extent: progress(extent.done, extent.posts))


@contextlib.contextmanager
def _beside(path: Path) -> Generator[BinaryIO]:
    """A file that takes the place of `path` when the block ends well. Raises BadSetting where that is no file."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise BadSetting(f"{path} is no file")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise BadSetting(f"{path} cannot be written: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


@contextlib.contextmanager
def _spool() -> Generator[BinaryIO]:
    """A file without a name, copied to standard output when the block ends well."""
    if sys.stdout is None:
        raise BadSetting("standard output is closed: name a file")
    with tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        with open(sys.stdout.fileno(), "wb", closefd=False) as out:
            shutil.copyfileobj(file, out)
