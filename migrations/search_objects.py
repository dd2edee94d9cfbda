"""What full-text search stands on, outside the MetaData: made, dropped and recognised here.

PostgreSQL: a generated column `search` and its GIN index `{table}_search_idx`. SQLite: an FTS5 table `{table}_fts`,
which holds words but no text, and three triggers that keep it.

A migration that alters one of these tables in batch mode must call `drop` before and `create` after: on SQLite batch
mode makes the table anew, and its triggers are gone (`env.py` refuses such a migration), and a column that is indexed
cannot be altered on PostgreSQL.

    search_objects.drop("posts")
    with op.batch_alter_table("posts") as batch: ...
    search_objects.create("posts")
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

# The columns that are indexed, the weightier first.
INDEXED = {"posts": ("title", "content"), "users": ("username", "full_name")}

# As in app/query/fulltext.py, whose words must be parted like these; a test compares them.
SEPARATORS = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    r"\u02c2-\u02c5\u02d2-\u02df\u0589-\u058f\u05be\u05f3-\u060f\u061b-\u061f\u066a-\u066d\u06d4\u0964-\u0965"
    r"\u2000-\u206f\u207a-\u207e\u208a-\u208e\u20a0-\u20c0\u2190-\u244a\u249c-\u24e9\u2500-\u2775\u2794-\u2bff"
    r"\u2e00-\u2e2e\u2e30-\u3004\u3008-\u3020\u3030\u303d-\u303f\u30a0\u30fb\ue000-\uf8ff\ufe10-\ufe19\ufe30-\ufe6b"
    r"\ufeff-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffff\U0001f000-\U0001faff"
)
# FTS5's own tables of characters end with Unicode 6.1 and take what came later, above all emoji, for letters. Accents
# count, as they do on PostgreSQL, which has no folding of its own. U+E000 is the word that every row has.
EMOJI = "".join(map(chr, range(0x1F000, 0x1FB00)))
TOKENIZER = f"unicode61 remove_diacritics 0 categories 'L* N* Mn Mc' tokenchars '\ue000' separators '{EMOJI}'"
MOST = 200_000  # characters of a column that are indexed: PostgreSQL refuses a row with more than 1 MB of words

SHADOWS = ("", "_data", "_idx", "_docsize", "_config")
TRIGGERS = ("insert", "delete", "update")


def create(*tables: str) -> None:
    """Of rows that exist already too."""
    for table in tables:
        if op.get_context().dialect.name == "sqlite":
            _create_on_sqlite(table, *INDEXED[table])
        else:
            _create_on_postgresql(table, *INDEXED[table])


def drop(*tables: str) -> None:
    for table in tables:
        if op.get_context().dialect.name == "sqlite":
            for event in TRIGGERS:
                op.execute(f"DROP TRIGGER IF EXISTS {table}_fts_{event}")
            op.execute(f"DROP TABLE {table}_fts")
        else:
            op.drop_index(f"{table}_search_idx", table)
            op.drop_column(table, "search")


def owns(kind: str, name: str | None, table: str | None = None) -> bool:
    """Whether this table, column or index is one of these objects, so that autogenerate leaves it alone."""
    match kind:
        case "table":
            return name in {f"{indexed}_fts{shadow}" for indexed in INDEXED for shadow in SHADOWS}
        case "column":
            return name == "search" and table in INDEXED
        case "index":
            return name in {f"{indexed}_search_idx" for indexed in INDEXED}
        case _:
            return False


def untended(connection: sa.Connection) -> list[str]:
    """Tables on SQLite whose index stands without all of its triggers."""
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'trigger')"
    names = set(connection.exec_driver_sql(query).scalars())
    return [
        table
        for table in INDEXED
        if f"{table}_fts" in names and not {f"{table}_fts_{event}" for event in TRIGGERS} <= names
    ]


def _create_on_postgresql(table: str, *columns: str) -> None:
    weighted = " || ".join(
        f"setweight(to_tsvector('simple', regexp_replace(left(coalesce({column}, ''), {MOST}), "
        f"'[{SEPARATORS}]+', ' ', 'g')), '{weight}')"
        for column, weight in zip(columns, "AB", strict=True)
    )
    op.add_column(table, sa.Column("search", TSVECTOR(), sa.Computed(weighted, persisted=True)))
    op.create_index(f"{table}_search_idx", table, ["search"], postgresql_using="gin")


def _create_on_sqlite(table: str, *columns: str) -> None:
    """Without content: the words alone, half the size of the text."""
    names = ", ".join(columns)
    op.execute(f"CREATE VIRTUAL TABLE {table}_fts USING fts5({names}, every_row, content='', tokenize=\"{TOKENIZER}\")")
    fields = f"rowid, {names}, every_row"
    added = f"INSERT INTO {table}_fts ({fields}) VALUES ({_values('new', columns)})"
    removed = f"INSERT INTO {table}_fts ({table}_fts, {fields}) VALUES ('delete', {_values('old', columns)})"
    changed = " OR ".join(f"old.{column} IS NOT new.{column}" for column in columns)
    trigger = f"CREATE TRIGGER {table}_fts_{{}} AFTER {{}} ON {table}"
    op.execute(f"{trigger.format('insert', 'INSERT')} BEGIN {added}; END")
    op.execute(f"{trigger.format('delete', 'DELETE')} BEGIN {removed}; END")
    op.execute(
        f"{trigger.format('update', f'UPDATE OF {names}')} WHEN {changed} BEGIN {removed}; {added}; END",
    )
    op.execute(f"INSERT INTO {table}_fts ({fields}) SELECT {_values(table, columns)} FROM {table}")


def _values(row: str, columns: tuple[str, ...]) -> str:
    texts = ", ".join(f"substr({row}.{column}, 1, {MOST})" for column in columns)
    return f"{row}.id, {texts}, char(57344)"
