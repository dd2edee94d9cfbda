"""What commands ask of a database before they use it."""

from __future__ import annotations

from app.data.database import Database
from app.data.schema import newest_revision
from app.errors import BadSetting


async def require_schema(database: Database) -> None:
    """Raises BadSetting where the schema is not that of this program: for commands that change no schema."""
    found = await database.revision()
    if found != newest_revision():
        state = "is empty" if found is None else f"is at revision {found}"
        raise BadSetting(
            f"the database {state}, this program needs {newest_revision()}: run `broadsheet migrate` first"
        )
