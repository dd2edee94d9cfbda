"""Sessions: one row for each sign-in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("user_id", big_id(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("refreshed_at", time(), nullable=False),
        sa.Column("counter", sa.Integer(), nullable=False),
        sa.Column("token_hash", string(64), nullable=False),
        sa.Column("method", string(32), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sessions_user_id_fkey"), ondelete="CASCADE"),
        sa.UniqueConstraint("uid", name=op.f("sessions_uid_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
    )
    op.create_index(op.f("sessions_user_id_idx"), "sessions", ["user_id"])


def downgrade() -> None:
    op.drop_table("sessions")


def big_id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def time() -> sa.DateTime:
    return sa.DateTime(timezone=True)
