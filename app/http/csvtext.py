"""CSV, both ways: documents -> lines as PostgreSQL prints rows, and a body -> rows of texts. Source: dialect 1.12 and
1.13.

No cell is changed to be safe in a spreadsheet, so that what is exported can be imported again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from app.data.catalog import Catalog
from app.errors import BadBody
from app.http.zones import is_time
from app.query.encoder import encode
from app.query.plan import Node, ReadPlan, Source

WHOLE_HOURS = re.compile(r"([+-]\d{2}):00$")
QUOTED = re.compile(r'[\s,"\\()]')
RAGGED = "All lines must have same number of fields"

# ---- documents -> CSV -----------------------------------------------------------------------------------------------


def write(catalog: Catalog, plan: ReadPlan, documents: Sequence[Any]) -> bytes:
    """A line of names, then one for each document; without a final line end. No documents are a line end alone."""
    if not documents:
        return b"\n"
    first = documents[0]
    shown = [i for i, value in enumerate(msgspec.structs.astuple(first)) if value is not msgspec.UNSET]
    names = [first.__struct_encode_fields__[i] for i in shown]
    items = dict(plan.node.items)
    columns = [(i, _printer(catalog, plan.node, items.get(name))) for i, name in zip(shown, names, strict=True)]
    lines = [",".join(map(_quoted, names))]
    for document in documents:
        values = msgspec.structs.astuple(document)
        lines.append(",".join(print_(values[i]) for i, print_ in columns))
    return "\n".join(lines).encode()


def _printer(catalog: Catalog, node: Node, source: Source | None) -> Callable[[Any], str]:
    return _time if is_time(catalog, catalog.of(node.model), node, source) else _cell


def _time(value: Any) -> str:
    """`2026-01-31T12:00:00+00:00` as PostgreSQL prints it outside JSON: `2026-01-31 12:00:00+00`."""
    if not isinstance(value, str):  # NULL, or the times that a spread lifts from many rows
        return _cell(value)
    clock = WHOLE_HOURS.sub(r"\1", value[11:])
    return _quoted(f"{value[:10]} {clock}")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "t" if value else "f"
        case str():
            return _quoted(value)
        case msgspec.Raw():
            return _quoted(bytes(value).decode())
        case _:  # numbers, embeds, and what the encoder prints in quotes: dates, ids
            return _quoted(encode(value).decode().strip('"'))


def _quoted(text: str) -> str:
    if text and not QUOTED.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


# ---- CSV -> rows ----------------------------------------------------------------------------------------------------


def read(text: str) -> list[dict[str, str | None]]:
    """Rows by the names of the first line. `NULL` is null, an empty cell the empty text. Raises PGRST102."""
    try:
        lines = [line for line in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True) if line]
    except csv.Error as exc:
        raise BadBody("the CSV cannot be read", details=str(exc)) from None
    if not lines:
        raise BadBody("Empty or invalid csv", hint="The first line names the columns.")
    names = lines[0]
    if any(len(line) != len(names) for line in lines):
        raise BadBody(RAGGED)
    cells = ((None if cell == "NULL" else cell for cell in line) for line in lines[1:])
    return [dict(zip(names, line, strict=True)) for line in cells]
