"""One-time tokens: links and codes for recovery, confirmation and sign-in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()


def upgrade() -> None:
    op.create_table(
        "one_time_tokens",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("user_id", big_id(), nullable=False),
        sa.Column("kind", string(16), nullable=False),
        sa.Column("token_hash", string(64), nullable=False),
        sa.Column("otp_hash", string(64)),
        sa.Column("email", string(254)),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("challenge", string(128)),
        sa.Column("challenge_method", string(8)),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("expires_at", time(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("one_time_tokens_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("token_hash", name=op.f("one_time_tokens_token_hash_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("one_time_tokens_pkey")),
    )
    op.create_index(op.f("one_time_tokens_email_idx"), "one_time_tokens", ["email"])
    op.create_index(op.f("one_time_tokens_user_id_idx"), "one_time_tokens", ["user_id"])


def downgrade() -> None:
    op.drop_table("one_time_tokens")


def big_id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def time() -> sa.DateTime:
    return sa.DateTime(timezone=True)
