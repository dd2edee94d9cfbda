"""`broadsheet purge --older-than 30d`: delete for good what was deleted longer ago, and what has expired.

Batches are units of work of their own: what was done stands when the command is interrupted, and the next run goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.accounts.expiry import purge_sessions, purge_tokens
from app.cli.database import require_schema
from app.cli.progress import Progress
from app.data import idempotency
from app.data.audit import json_form
from app.data.database import Database
from app.data.rules import SYSTEM
from app.errors import BadSetting, BroadsheetError
from app.query.purging import Purged, children_first, due, purge_due
from app.resources import open_database
from app.settings import Settings

AGE = re.compile(r"([0-9]{1,5})([dh])", re.ASCII)
HASTY = timedelta(hours=1)  # a shorter time may be a slip, and nothing brings the rows back
CROWD = 1000  # expired rows that one unit of work removes
ALL = 10**9


@dataclass(slots=True)
class Report:
    """What was done so far, by table."""

    older_than: str
    dry_run: bool
    before: datetime | None = None
    interrupted: bool = False
    purged: dict[str, Purged] = field(default_factory=dict)
    expired: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> int:
        return sum(one.deleted + one.retired + one.left for one in self.purged.values())

    def line(self) -> str:
        """`purged: 12 posts, 3 users, 1 users anonymised; expired: 5 sessions`"""
        words = {"deleted": "", "retired": " anonymised", "left": " left"}
        counts = [(name, key, count) for name, one in self.purged.items() for key, count in asdict(one).items()]
        said = [f"{count} {name}{words[key]}" for name, key, count in counts if count or key == "deleted"]
        expired = [f"{count} {name}" for name, count in self.expired.items()]
        return f"purged: {', '.join(said) or 'nothing'}; expired: {', '.join(expired) or 'nothing'}"

    def plain(self) -> dict[str, Any]:
        """The machine form, ready for JSON."""
        return {**asdict(self), "before": json_form(self.before)}


def register(subparsers: Any) -> None:
    command = subparsers.add_parser("purge", help="delete for good what was deleted long ago, and what has expired")
    command.add_argument("--older-than", type=age, required=True, metavar="AGE", help="days or hours: 30d, 12h")
    command.add_argument("--dry-run", action="store_true", help="delete nothing, say what would be deleted")
    command.add_argument("--yes", action="store_true", help="go on although AGE is less than an hour")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.set_defaults(run=run)


def age(text: str) -> tuple[str, timedelta]:
    """An argument type: the text, and what it means."""
    match = AGE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"days or hours are expected, such as 30d or 12h, not {text[:40]!r}")
    number = int(match[1])
    return text, timedelta(days=number) if match[2] == "d" else timedelta(hours=number)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    text, length = arguments.older_than
    if length < HASTY and not arguments.yes and not arguments.dry_run:
        raise BadSetting(f"what was deleted {text} ago may still be wanted: say --yes to delete it for good")
    report = Report(text, arguments.dry_run)
    failure = ""
    try:
        asyncio.run(_purge(settings, length, report))
    except KeyboardInterrupt:
        report.interrupted = True
    except BroadsheetError as error:
        report.interrupted = True
        failure = f"broadsheet: {error.message}"
    _show(report, as_json=arguments.json)
    if failure:
        print(failure, file=sys.stderr)
        return 1
    return 130 if report.interrupted else 0


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.plain(), indent=2))
        return
    if report.interrupted:
        print("interrupted; what was done until then stands:")
    print(report.line())
    if report.dry_run:
        print("nothing was deleted: this was a dry run")


async def _purge(settings: Settings, length: timedelta, report: Report) -> None:
    async with open_database(settings) as database:
        await require_schema(database)
        report.before = database.clock() - length
        with Progress(None, "rows") as progress:
            await _purge_rows(database, report, report.before, lambda: progress(report.done))
        await _purge_expired(database, settings, report)


async def _purge_rows(database: Database, report: Report, before: datetime, tell: Callable[[], None]) -> None:
    for resource in children_first(database.catalog):
        report.purged[resource.name] = Purged()
        async for keys in due(database, resource, before):
            work = partial(purge_due, resource=resource, keys=keys, before=before)
            report.purged[resource.name] += await database.transact(SYSTEM, work, keep=not report.dry_run)
            tell()


async def _purge_expired(database: Database, settings: Settings, report: Report) -> None:
    removers: dict[str, Callable[..., Awaitable[int]]] = {
        "idempotency_keys": idempotency.purge_expired,
        "one_time_tokens": purge_tokens,
        "sessions": partial(purge_sessions, settings=settings.accounts),
    }
    for name, remove in removers.items():
        report.expired[name] = 0
        most = ALL if report.dry_run else CROWD
        while count := await database.transact(SYSTEM, partial(remove, most=most), keep=not report.dry_run):
            report.expired[name] += count
            if count < most:
                break
