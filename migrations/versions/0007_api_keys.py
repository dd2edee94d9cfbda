"""Named API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()


KIND = sa.Enum("publishable", "secret", "user", name="kind", native_enum=False, create_constraint=True, length=16)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("name", string(100), nullable=False),
        sa.Column("kind", KIND, nullable=False),
        sa.Column("key_hash", string(64), nullable=False),
        sa.Column("user_id", big_id()),
        sa.Column("scopes", json()),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("created_by", sa.BigInteger()),
        sa.Column("expires_at", time()),
        sa.Column("revoked_at", time()),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("api_keys_user_id_fkey"), ondelete="CASCADE"),
        sa.UniqueConstraint("key_hash", name=op.f("api_keys_key_hash_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
    )
    op.create_index(op.f("api_keys_user_id_idx"), "api_keys", ["user_id"])


def downgrade() -> None:
    op.drop_table("api_keys")


def big_id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def json() -> sa.Text:
    return sa.Text().with_variant(sa.JSON(), "postgresql")


def time() -> sa.DateTime:
    return sa.DateTime(timezone=True)
