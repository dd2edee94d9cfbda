"""The check-up as a whole: all of it for `broadsheet doctor`, what is cheap for `broadsheet serve`, before it serves.

In production a refusal keeps the service from starting; elsewhere it is a warning in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from app.cli.checkup import configuration, databases, files
from app.cli.checkup.finding import Finding, Level, refusal, refused
from app.cli.checkup.policy import policy
from app.data import faults
from app.data.base import Base
from app.data.database import Database
from app.data.posture import file_facts, server_facts
from app.data.schema import newest_revision
from app.errors import BadSetting, BroadsheetError
from app.resources import CATALOG, open_database
from app.settings import Settings

APPEND_ONLY = ("revisions", "events", "transfers")  # what was written there stays as it was
READ_ONLY = ("alembic_version",)  # migrations alone write there

log = logging.getLogger("broadsheet.checkup")


async def examine(settings: Settings, grace: float) -> list[Finding]:
    """Everything; `grace` is how many seconds a stop waits for running requests. Makes no database."""
    findings = examine_settings(settings)
    path = files.sqlite_file(settings)
    if path is not None and not path.exists():
        found = f"there is no database at {path}"
        return [*findings, refusal("database", found, "run: broadsheet migrate (serve does it by itself)")]
    try:
        async with open_database(settings) as database:
            return [*findings, *await examine_database(database, settings, grace, thorough=True)]
    except (BadSetting, BroadsheetError, OSError, *faults.KINDS) as exc:
        reason = str(exc).partition("\n")[0]
        return [*findings, refusal("database", f"cannot be used: {reason}", "see BROADSHEET_DATABASE_URL")]


def examine_settings(settings: Settings) -> list[Finding]:
    """What needs no database: the settings, the files, the rules."""
    found = [check(settings) for check in (*configuration.CHECKS, *files.CHECKS)]
    return [*filter(None, found), policy(CATALOG, Base.metadata.tables)]


async def examine_database(
    database: Database, settings: Settings, grace: float, *, thorough: bool = False, migrates: bool = False
) -> list[Finding]:
    """`thorough` reads the whole of a SQLite file; `migrates` says that a migration comes next. Raises
    BroadsheetError, DBAPIError.
    """
    if database.name == "sqlite":
        facts = await file_facts(database, thorough=thorough)
        found = [*filter(None, (check(facts) for check in databases.FILE_CHECKS))]
        return [*found, databases.ladder(facts, settings, grace), await _schema(database, True, migrates)]
    server = await server_facts(
        database, append_only=APPEND_ONLY, read_only=READ_ONLY, needed=tuple(Base.metadata.tables)
    )
    found = [check(server, settings) for check in databases.SERVER_CHECKS]
    changes = bool(settings.migrate_url) or any(place.startswith("schema ") for place in server.creates)
    return [*found, databases.ladder(server, settings, grace), await _schema(database, changes, migrates)]


def refuse(findings: Iterable[Finding], settings: Settings) -> None:
    """Raises BadSetting in production, with a line for each refusal."""
    if settings.production and (worst := refused(findings)):
        raise BadSetting("\n".join(f"{finding.name}: {finding.sentence}." for finding in worst))


def warn(findings: Iterable[Finding]) -> None:
    for finding in findings:
        if finding.level is not Level.OK:
            log.warning("%s: %s", finding.name, finding.sentence)


async def _schema(database: Database, changes: bool, migrates: bool) -> Finding:
    revision = await database.revision()
    return databases.schema(revision, newest_revision(), changes=changes, migrates=migrates)
