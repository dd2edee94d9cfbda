"""`broadsheet migrate`: bring the database to the newest revision, or to another; or print the SQL of it."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from app.data.database import Database
from app.resources import CATALOG
from app.settings import Settings


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("migrate", help="bring the database to the newest revision")
    parser.add_argument("--to", metavar="REVISION", default="head", help="a revision, base, or -1 for one step back")
    parser.add_argument(
        "--sql", action="store_true", help="print the statements from an empty database, change nothing"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    database = Database(settings.url, CATALOG, pooler=settings.pooler, migrate_url=settings.migrate_url)
    if arguments.sql:
        print(database.sql(arguments.to))
        return 0
    asyncio.run(_migrate(database, arguments.to))
    print(f"the database is at revision {arguments.to}")
    return 0


async def _migrate(database: Database, target: str) -> None:
    async with database:
        await database.migrate(target)
