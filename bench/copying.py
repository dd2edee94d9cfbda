"""`python -m bench.copying SOURCE TARGET`: COPY by asyncpg of posts, links and revisions that an import made, into the
same tables of another database, in one transaction. What an import can reach at most.

Reading the source is not measured. Prints seconds and CPU as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import perf_counter, process_time
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # the package ships no types

TABLES = ("posts", "post_tags", "revisions")
COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position
"""


async def copy(source: str, target: str) -> dict[str, float]:
    connection = await asyncpg.connect(source)
    tables = {table: await _read(connection, table) for table in TABLES}
    await connection.close()
    connection = await asyncpg.connect(target)
    began, used = perf_counter(), process_time()
    async with connection.transaction():
        for table, (names, rows) in tables.items():
            await connection.copy_records_to_table(table, columns=names, records=rows)
    spent = {"seconds": perf_counter() - began, "cpu": process_time() - used}
    await connection.close()
    return spent


async def _read(connection: Any, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    names = [row[0] for row in await connection.fetch(COLUMNS, table)]
    rows = await connection.fetch(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1")
    return names, [tuple(row) for row in rows]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(copy(sys.argv[1], sys.argv[2]))))
