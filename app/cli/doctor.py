"""`broadsheet doctor`: one line for each check of settings, files, database and rules. Changes nothing.

Exit code 1 where something would keep a service in production from starting, else 0.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
from typing import Any

from app.cli.checkup.examine import examine
from app.cli.checkup.finding import Finding, refused
from app.cli.serve import GRACE
from app.settings import Settings


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("doctor", help="check settings, files, database and rules")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    findings = asyncio.run(examine(settings, GRACE))
    if arguments.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        print(*map(line, findings), sep="\n")
    return 1 if refused(findings) else 0


def line(finding: Finding) -> str:
    return f"{finding.level:<6}  {finding.name:<12}  {finding.sentence}"
