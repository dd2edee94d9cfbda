"""`broadsheet keys`: the two keys of this data directory, made if there are none; `keys list`, `create`, `revoke` and
`rotate` for named keys in the database.

A new key is printed once, alone on standard output. Refuses what no key can be made of before anything is opened.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.accounts import api_keys, scopes, signing
from app.accounts.api_keys import KeyInfo
from app.accounts.keys import KINDS, load_keys, vars_of
from app.accounts.vault import load_vault
from app.actions import ACTIONS
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.errors import BadSetting, NotFound
from app.models import KeyKind
from app.repositories import Users
from app.resources import CATALOG
from app.settings import Settings

ONCE = "This key is not shown again: keep it now."
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LONGEST = timedelta(days=3650)
COLUMNS = ("id", "name", "kind", "scopes", "user", "fingerprint", "created_at", "expires_at", "revoked_at", "state")

Command = Callable[[argparse.Namespace, Settings], int]


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("keys", help="print the publishable and the secret key; make and revoke others")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run)
    verbs = parser.add_subparsers(metavar="VERB")
    _add_list(verbs)
    _add_create(verbs)
    command = verbs.add_parser("revoke", help="end a named key")
    command.add_argument("key", metavar="NAME|ID")
    command.set_defaults(run=revoke)
    command = verbs.add_parser("rotate", help="make a new key in place of one")
    command.add_argument("key", metavar="|".join(("NAME", *ROTATIONS)))
    command.add_argument("--grace", type=grace, default=timedelta(0), metavar="TIME", help="how long the old one works")
    command.add_argument("--now", action="store_true", help="signing alone: end every access token at once")
    command.set_defaults(run=rotate)


def _add_list(verbs: Any) -> None:
    command = verbs.add_parser("list", help="show the named keys, never the keys themselves")
    command.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print them as JSON")
    command.set_defaults(run=show)


def _add_create(verbs: Any) -> None:
    command = verbs.add_parser("create", help="make a named key")
    command.add_argument("name", metavar="NAME")
    of = command.add_mutually_exclusive_group(required=True)
    of.add_argument("--kind", choices=KINDS, help="publishable: a visitor; secret: the service")
    of.add_argument("--user", metavar="USERNAME", help="a key that acts as this user")
    command.add_argument("--scope", action="append", metavar="S", help=f"once or more, of {scopes.FORMS}")
    command.add_argument("--expires", type=lifetime, metavar="TIME", help="such as 15m, 24h, 90d; else never")
    command.set_defaults(run=create)


def duration(text: str) -> timedelta:
    """An argument type: `90s`, `15m`, `24h`, `90d`."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    found = timedelta(**{UNITS[match[2]]: int(match[1])}) if match else None
    if found is None or found > LONGEST:
        most = f"at most {LONGEST.days}d"
        raise argparse.ArgumentTypeError(f"a time such as 15m, 24h or 90d is expected, {most}, not {text[:40]!r}")
    return found


def lifetime(text: str) -> timedelta:
    found = duration(text)
    if not found:
        raise argparse.ArgumentTypeError("a key lives longer than no time at all")
    return found


def grace(text: str) -> timedelta:
    """A bare number is seconds."""
    return duration(f"{text}s" if text.isdigit() else text)


# ---- the commands ---------------------------------------------------------------------------------------------------


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    keys = vars_of(load_keys(settings.data_dir))
    if arguments.json:
        print(json.dumps(keys))
    else:
        print(*(f"{kind:<12} {key}" for kind, key in keys.items()), sep="\n")
    return 0


def show(arguments: argparse.Namespace, settings: Settings) -> int:
    found = _in_database(settings, api_keys.present)
    rows = [{name: _plain(value) for name, value in asdict(key).items()} for key in found]
    if arguments.json:
        print(json.dumps([{name: row[name] for name in COLUMNS} for row in rows], indent=2))
    else:
        print(*_table([_cells(key) for key in found]), sep="\n")
    return 0


def create(arguments: argparse.Namespace, settings: Settings) -> int:
    granted = None if arguments.scope is None else scopes.checked(arguments.scope, CATALOG, ACTIONS)
    kind = KeyKind.USER if arguments.user is not None else KeyKind(arguments.kind)

    async def work(session: AppSession) -> str:
        user_id = None if arguments.user is None else await _user(session, arguments.user)
        expires_at = None if arguments.expires is None else session.unit.now + arguments.expires
        return await api_keys.create(
            session, arguments.name, kind, user_id=user_id, scopes=granted, expires_at=expires_at
        )

    return _print_once(_in_database(settings, work))


def revoke(arguments: argparse.Namespace, settings: Settings) -> int:
    ids = _in_database(settings, partial(api_keys.revoke, name_or_id=arguments.key))
    print(f"revoked: {', '.join(f'key {id}' for id in ids)}; a running service notices within 5 seconds")
    return 0


def rotate(arguments: argparse.Namespace, settings: Settings) -> int:
    is_signing = arguments.key == "signing"
    if (arguments.now and not is_signing) or (arguments.grace and is_signing):
        raise BadSetting("--grace is for keys, --now for `keys rotate signing`")
    return ROTATIONS.get(arguments.key, rotate_named)(arguments, settings)


# ---- what is rotated ------------------------------------------------------------------------------------------------


def rotate_first(arguments: argparse.Namespace, settings: Settings) -> int:
    work = partial(api_keys.rotate_first, data_dir=settings.data_dir, kind=arguments.key, grace=arguments.grace)
    return _print_once(_in_database(settings, work))


def rotate_named(arguments: argparse.Namespace, settings: Settings) -> int:
    work = partial(api_keys.rotate, name=arguments.key, grace=arguments.grace)
    return _print_once(_in_database(settings, work))


def rotate_signing(arguments: argparse.Namespace, settings: Settings) -> int:
    vault = load_vault(settings)
    life = timedelta(seconds=settings.accounts.access_seconds)
    kid = _in_database(settings, partial(signing.rotate, vault=vault, life=life, now=arguments.now))
    if arguments.now:
        print(f"{kid} signs within seconds, and no older access token is good any more")
    else:
        print(f"{kid} is published, and signs in 10 minutes; tokens that are out stay good")
    return 0


# Keys that `rotate` knows by a word of their own; any other word is the name of a key.
ROTATIONS: dict[str, Command] = {"publishable": rotate_first, "secret": rotate_first, "signing": rotate_signing}


# ---- parts ----------------------------------------------------------------------------------------------------------


def _in_database(settings: Settings, work: Callable[[AppSession], Awaitable[Any]]) -> Any:
    """One unit of work of the system, in a database that is migrated first."""

    async def whole() -> Any:
        async with _opened(settings) as database, database.writing(SYSTEM) as session:
            return await work(session)

    return asyncio.run(whole())


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[Database]:
    async with Database(settings.url, CATALOG, pooler=settings.pooler, migrate_url=settings.migrate_url) as database:
        await database.migrate()
        yield database


async def _user(session: AppSession, username: str) -> int:
    """Raises NotFound, BadValue."""
    found = await Users(session).by_username(username)
    if found is None:
        raise NotFound(f"there is no user called {username}", code="BRD404")
    return found.id


def _print_once(key: str) -> int:
    print(key)
    print(ONCE, file=sys.stderr)
    return 0


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _cells(key: KeyInfo) -> list[str]:
    granted = "all" if key.scopes is None else ",".join(key.scopes)
    times = (key.created_at, key.expires_at, key.revoked_at)
    shown = ["-" if time is None else time.strftime("%Y-%m-%d %H:%MZ") for time in times]
    return [str(key.id), key.name, key.kind, granted, key.user or "-", key.fingerprint, *shown, key.state]


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Columns as wide as they need to be."""
    lines = [[name.removesuffix("_at") for name in COLUMNS], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
