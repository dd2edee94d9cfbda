"""`broadsheet create-admin NAME`: make a user who may do everything. The password never stands on the command line."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from typing import Any

from app.accounts.passwords import hash_password
from app.data.database import Database
from app.data.rules import SYSTEM, Values
from app.errors import BadSetting
from app.models import User, UserRole
from app.query.writer import insert
from app.resources import CATALOG
from app.settings import Settings


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("create-admin", help="make a user who may do everything")
    parser.add_argument("username")
    parser.add_argument("--email")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    values: Values = {
        "username": arguments.username,
        "email": arguments.email,
        "role": UserRole.ADMIN,
        "password": read_password(),
    }
    made = asyncio.run(_create(settings, values))
    print(f"{made['username']} is an admin, with the id {made['id']}")
    return 0


def read_password() -> str:
    """Twice from the terminal, or the first line of a standard input that is none. Raises BadSetting."""
    if sys.stdin is None:  # closed
        password = ""
    elif not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise BadSetting("the two passwords differ")
    if not password:
        raise BadSetting("no password was given: type it, or send it as the first line of standard input")
    return password


async def _create(settings: Settings, values: Values) -> Values:
    values["password"] = await hash_password(values["password"], settings.accounts.password_bytes)
    async with Database(settings.url, CATALOG, pooler=settings.pooler, migrate_url=settings.migrate_url) as database:
        await database.migrate()
        async with database.writing(SYSTEM) as session:
            (made,) = await insert(session, CATALOG.of(User), [values])
            return made
