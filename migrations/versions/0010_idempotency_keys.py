"""Keys under which requests are sent again, with the first answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("id", string(64), nullable=False),
        sa.Column("fingerprint", string(64), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("headers", json()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("expires_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index(op.f("idempotency_keys_expires_at_idx"), "idempotency_keys", ["expires_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")


def json() -> sa.Text:
    return sa.Text().with_variant(sa.JSON(), "postgresql")


def string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def time() -> sa.DateTime:
    return sa.DateTime(timezone=True)
