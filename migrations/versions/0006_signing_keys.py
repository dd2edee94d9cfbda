"""Signing keys of access tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()


def upgrade() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("kid", string(64), nullable=False),
        sa.Column("algorithm", string(8), nullable=False),
        sa.Column("public_key", json(), nullable=False),
        sa.Column("private_key", text(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("retired_at", time()),
        sa.UniqueConstraint("kid", name=op.f("signing_keys_kid_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("signing_keys_pkey")),
    )


def downgrade() -> None:
    op.drop_table("signing_keys")


def big_id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def text() -> sa.Text:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def json() -> sa.Text:
    return sa.Text().with_variant(sa.JSON(), "postgresql")


def time() -> sa.DateTime:
    return sa.DateTime(timezone=True)
