"""Counters of rates, for limits that several processes share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()


def upgrade() -> None:
    op.create_table(
        "rate_counters",
        sa.Column("key", text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.Integer(), nullable=False),
        sa.Column("spent_before", sa.Integer(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("rate_counters_pkey")),
    )
    op.create_index(op.f("rate_counters_expires_idx"), "rate_counters", ["expires"])


def downgrade() -> None:
    op.drop_table("rate_counters")


def text() -> sa.Text:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
