"""A Ghost export as plain rows: only the tables and fields that are imported.

An export also holds password hashes, API keys, sessions and settings. They are dropped right after decoding, and no
value of theirs is ever shown. Rejects files that are no export; the fields themselves are checked by `ghost.py`.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from app.importers.records import Refused
from app.importers.text import shown
from app.importers.times import utc_from, utc_from_milliseconds

Row = Mapping[str, object]
Tables = Mapping[str, list[Row]]

_FIELDS = {
    "users": ("id", "name", "slug", "email", "status"),
    "tags": ("id", "name", "visibility"),
    "posts": (
        *("id", "title", "slug", "html", "plaintext", "type", "page", "status", "visibility", "author_id"),
        *("created_at", "updated_at", "published_at"),
    ),
    "posts_authors": ("post_id", "author_id", "sort_order"),
    "posts_tags": ("post_id", "tag_id", "sort_order"),
}
_EXPECTED = 'the file is no Ghost export: {"db": [{"meta": {...}, "data": {"posts": [...], ...}}]} is expected'


def tables_from(text: str) -> Tables:
    """The rows and fields that are imported. Raises Refused for a file that is no export."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise Refused(f"the file is no JSON: {error.msg}", error.lineno) from error
    except (RecursionError, ValueError) as error:  # deep nesting; an integer of more than 4,300 digits
        raise Refused("the file is no usable JSON: it is nested too deeply or a number is too long") from error
    match document:
        case {"db": [{"data": {"posts": list()} as data}, *_]} | {"data": {"posts": list()} as data}:
            return {table: _rows(data.get(table), fields) for table, fields in _FIELDS.items()}
        case _:
            raise Refused(_EXPECTED)


def _rows(table: object, fields: tuple[str, ...]) -> list[Row]:
    """Rows that are no objects become empty ones, which are refused one by one."""
    rows = table if isinstance(table, list) else []
    return [{name: row.get(name) for name in fields} if isinstance(row, dict) else {} for row in rows]


def required_id(row: Row) -> str:
    """The id of a row. Raises Refused where it has none: nothing could refer to it."""
    found = id_of(row, "id")
    if not found:
        raise Refused("it has no id")
    return found


def id_of(row: Row, key: str) -> str:
    """Ids are 24 hexadecimal digits, before Ghost 1 integers; "" where there is none."""
    value = row.get(key)
    return str(value) if isinstance(value, str | int) else ""


def time_of(row: Row, key: str) -> datetime | None:
    """ISO 8601, `YYYY-MM-DD HH:MM:SS`, or milliseconds since 1970."""
    value = row.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, int | float):
        return utc_from_milliseconds(value)
    return utc_from(value)


def text_of(row: Row, key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def label(row: Row) -> str:
    """What a message calls a row: never an e-mail address."""
    return shown(text_of(row, "slug") or text_of(row, "title") or text_of(row, "name") or id_of(row, "id"))
