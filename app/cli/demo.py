"""`broadsheet demo`: sample content, the same for the same options, through the loader of the imports."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

from app.cli.importing import run_import
from app.importers import demo
from app.importers.report import Report
from app.settings import Settings


def register(subparsers: Any) -> None:
    command = subparsers.add_parser("demo", help="fill the database with sample content; a second run adds nothing")
    command.add_argument("--users", type=number(100_000), default=20, metavar="N", help="default 20")
    command.add_argument("--posts", type=number(10_000_000), default=200, metavar="N", help="default 200")
    command.add_argument("--tags", type=number(100_000), default=30, metavar="N", help="default 30")
    command.add_argument("--seed", type=number(2**31 - 1), default=1, metavar="N", help="other content; default 1")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.set_defaults(run=make_demo, update=False, dry_run=False, verbose=False)


def make_demo(arguments: argparse.Namespace, settings: Settings) -> int:
    source = functools.partial(demo.source, arguments.users, arguments.posts, arguments.tags, arguments.seed)
    return run_import(settings, source, arguments, Report(unit="posts"))


def number(most: int) -> Callable[[str], int]:
    """An argument type: a number from 0 to `most`."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > most:
            raise argparse.ArgumentTypeError(f"a number from 0 to {most} is expected, not {text[:40]!r}")
        return int(text)

    return parse
