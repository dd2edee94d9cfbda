"""`broadsheet doctor`: one line for each check of settings, files, database and rules; with `--ledger` of balances too.
Changes nothing.

Exit code 1 where something would keep a service in production from starting or a balance is wrong, else 0.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
from typing import Any

from app.cli.checkup.examine import examine
from app.cli.checkup.finding import Finding, refusal, refused
from app.cli.checkup.ledger import ledger, read_ledger
from app.cli.serve import GRACE
from app.data import faults
from app.errors import BroadsheetError
from app.resources import open_database
from app.settings import Settings


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("doctor", help="check settings, files, database and rules")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--ledger", action="store_true", help="recompute every balance from the transfers, too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    findings = asyncio.run(findings_of(settings, books=arguments.ledger))
    if arguments.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        print(*map(line, findings), sep="\n")
    return 1 if refused(findings) else 0


async def findings_of(settings: Settings, *, books: bool) -> list[Finding]:
    findings = await examine(settings, GRACE)
    if not books or any(finding.name == "database" for finding in refused(findings)):
        return findings
    try:
        async with open_database(settings) as database:
            return [*findings, ledger(await read_ledger(database))]
    except (BroadsheetError, *faults.KINDS) as exc:
        reason = str(exc).partition("\n")[0]
        return [*findings, refusal("ledger", f"cannot be read: {reason}", "mend what is refused above")]


def line(finding: Finding) -> str:
    return f"{finding.level:<6}  {finding.name:<12}  {finding.sentence}"
