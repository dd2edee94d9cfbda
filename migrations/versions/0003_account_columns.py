"""What the account API keeps of users. Nullable: no row is written anew, and on SQLite the table stays as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()


COLUMNS = ("user_metadata", "app_metadata", "is_anonymous", "email_confirmed_at", "last_sign_in_at", "banned_until")


def upgrade() -> None:
    """Addresses that are known already count as confirmed."""
    for name, type_ in zip(COLUMNS, (text(), text(), sa.Boolean(), time(), time(), time()), strict=True):
        op.add_column("users", sa.Column(name, type_))
    op.execute("UPDATE users SET email_confirmed_at = created_at WHERE email IS NOT NULL")


def downgrade() -> None:
    for name in reversed(COLUMNS):
        op.drop_column("users", name)


def text() -> sa.Text:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def time() -> sa.DateTime:
    return sa.DateTime(timezone=True)
