"""The database as commands open it."""

from __future__ import annotations

from app.data.database import Database, newest_revision
from app.errors import BadSetting
from app.resources import CATALOG
from app.settings import Settings


def open_database(settings: Settings) -> Database:
    """To be entered."""
    return Database(
        settings.url,
        CATALOG,
        limits=settings.limits,
        pooler=settings.pooler,
        migrate_url=settings.migrate_url,
    )


async def require_schema(database: Database) -> None:
    """Raises BadSetting where the schema is not that of this program: for commands that change no schema."""
    found = await database.revision()
    if found != newest_revision():
        state = "is empty" if found is None else f"is at revision {found}"
        raise BadSetting(
            f"the database {state}, this program needs {newest_revision()}: run `broadsheet migrate` first"
        )
