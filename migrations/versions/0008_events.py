"""Events: what happened that is no change of a row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.Column("kind", string(40), nullable=False),
        sa.Column("actor_id", sa.BigInteger()),
        sa.Column("key_id", string(32)),
        sa.Column("address", string(45)),
        sa.Column("request_id", string(128)),
        sa.Column("subject", string(100)),
        sa.Column("details", json()),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("events_at_idx"), "events", ["at"])
    op.create_index(op.f("events_kind_idx"), "events", ["kind"])


def downgrade() -> None:
    op.drop_table("events")


def big_id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def json() -> sa.Text:
    return sa.Text().with_variant(sa.JSON(), "postgresql")


def time() -> sa.DateTime:
    return sa.DateTime(timezone=True)
