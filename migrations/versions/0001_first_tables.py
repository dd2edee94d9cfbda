"""The first tables: users, credentials, posts, tags, post_tags, transfers, revisions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Tables whose number of rows this migration changes on purpose; on SQLite a change of any other undoes the migration.
changes_rows: tuple[str, ...] = ()

PRESENT = {"postgresql_where": sa.text("deleted_at IS NULL"), "sqlite_where": sa.text("deleted_at IS NULL")}


def upgrade() -> None:
    create_users()
    create_credentials()
    create_posts()
    create_tags()
    create_post_tags()
    create_transfers()
    create_revisions()


def downgrade() -> None:
    for table in ("revisions", "transfers", "post_tags", "tags", "posts", "credentials", "users"):
        op.drop_table(table)


def create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("email", string(254)),
        sa.Column("username", string(50), nullable=False),
        sa.Column("full_name", string(100)),
        sa.Column("role", choice("role", "member", "author", "admin"), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        *stamps(),
        *audited(),
        sa.CheckConstraint("balance >= 0", name=op.f("users_balance_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("uid", name=op.f("users_uid_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("users_email_key", "users", ["email"], unique=True, **PRESENT)
    op.create_index("users_username_key", "users", ["username"], unique=True, **PRESENT)


def create_credentials() -> None:
    op.create_table(
        "credentials",
        sa.Column("user_id", big_id(), nullable=False),
        sa.Column("hashed_password", string(255), nullable=False),
        sa.Column("changed_at", time(), nullable=False),
        reference("credentials", "user_id", "users", "CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("credentials_pkey")),
    )


def create_posts() -> None:
    op.create_table(
        "posts",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("user_id", big_id(), nullable=False),
        sa.Column("title", string(200), nullable=False),
        sa.Column("slug", string(200), nullable=False),
        sa.Column("content", text(), nullable=False),
        sa.Column("status", choice("status", "draft", "published", "archived"), nullable=False),
        sa.Column("published_at", time()),
        *stamps(),
        *audited(),
        reference("posts", "user_id", "users", "RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("posts_pkey")),
        sqlite_autoincrement=True,
    )
    op.create_index("posts_slug_key", "posts", ["slug"], unique=True, **PRESENT)
    index("posts", "status", "published_at", "id")
    index("posts", "published_at", "id")
    index("posts", "user_id", "published_at", "id")


def create_tags() -> None:
    op.create_table(
        "tags",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("name", string(100), nullable=False),
        *stamps(),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("tags_pkey")),
        sa.UniqueConstraint("name", name=op.f("tags_name_key")),
        sqlite_autoincrement=True,
    )


def create_post_tags() -> None:
    op.create_table(
        "post_tags",
        sa.Column("post_id", big_id(), nullable=False),
        sa.Column("tag_id", big_id(), nullable=False),
        reference("post_tags", "post_id", "posts", "CASCADE"),
        reference("post_tags", "tag_id", "tags", "CASCADE"),
        sa.PrimaryKeyConstraint("post_id", "tag_id", name=op.f("post_tags_pkey")),
    )
    index("post_tags", "tag_id")


def create_transfers() -> None:
    op.create_table(
        "transfers",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("from_user_id", big_id()),
        sa.Column("to_user_id", big_id(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("note", string(500)),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("created_by", sa.BigInteger()),
        sa.CheckConstraint("amount > 0", name=op.f("transfers_amount_check")),
        reference("transfers", "from_user_id", "users", "RESTRICT"),
        reference("transfers", "to_user_id", "users", "RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("transfers_pkey")),
        sqlite_autoincrement=True,
    )
    index("transfers", "from_user_id")
    index("transfers", "to_user_id")


def create_revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.Column("actor_id", sa.BigInteger()),
        sa.Column("key_id", string(32)),
        sa.Column("request_id", string(128)),
        sa.Column("table_name", string(63), nullable=False),
        sa.Column("row_id", string(100), nullable=False),
        sa.Column("version", sa.Integer()),
        sa.Column("operation", string(16), nullable=False),
        sa.Column("changes", sa.Text().with_variant(sa.JSON(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("revisions_pkey")),
    )
    index("revisions", "table_name", "row_id")


# ---- column types as they were on the day of this migration ----


def big_id() -> Any:
    """BIGINT; on SQLite INTEGER, which numbers its rows itself."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def string(length: int) -> Any:
    """Compared byte by byte on every server."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def text() -> Any:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def choice(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)


def time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def stamps() -> list[sa.Column[Any]]:
    return [sa.Column(name, time(), nullable=False) for name in ("created_at", "updated_at")]


def audited() -> list[sa.Column[Any]]:
    return [
        sa.Column("created_by", sa.BigInteger()),
        sa.Column("updated_by", sa.BigInteger()),
        sa.Column("deleted_at", time()),
        sa.Column("version", sa.Integer(), nullable=False),
    ]


def reference(table: str, column: str, target: str, on_delete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"{table}_{column}_fkey"), ondelete=on_delete)


def index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"{table}_{'_'.join(columns)}_idx"), table, list(columns))
