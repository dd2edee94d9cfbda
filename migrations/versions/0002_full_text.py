"""Full-text search in posts and users: what each database needs for it (`migrations/search_objects.py`)."""

from __future__ import annotations

from migrations import search_objects

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()


def upgrade() -> None:
    search_objects.create("posts", "users")


def downgrade() -> None:
    search_objects.drop("users", "posts")
