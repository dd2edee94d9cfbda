"""Base of all mapped classes: naming convention, column types, mixins.

Column types keep the same value on SQLite and PostgreSQL: text compares byte by byte, times are aware UTC with
microseconds, JSON keeps its text.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Dialect,
    Enum,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    literal_column,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.dialects.sqlite import DATETIME
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import DateTime, TypeEngine

# PostgreSQL's own names, so that errors and hints read alike on both databases.
NAMES = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


# An INTEGER primary key is SQLite's row id; BIGINT there would not number itself.
BigId = BigInteger().with_variant(Integer(), "sqlite")

# Ids of removed rows are never given out again: revisions name rows by id.
NEVER_REUSE_IDS = {"sqlite_autoincrement": True}


def string(length: int) -> String:
    """Text of at most `length` characters, compared byte by byte on every server."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def text() -> Text:
    """Text without a limit, compared byte by byte on every server."""
    return Text().with_variant(Text(collation="C"), "postgresql")


def choice(of: type[enum.StrEnum], name: str) -> Enum:
    """One of the values of a StrEnum, kept as text with a CHECK called `{table}_{name}_check`.

    Lower-case ASCII words: they compare alike in every collation, so none is set.
    """
    return Enum(of, native_enum=False, create_constraint=True, name=name, length=16, values_callable=_values)


def _values(of: type[enum.StrEnum]) -> list[str]:
    return [member.value for member in of]


class UtcTime(TypeDecorator[datetime]):
    """An instant: aware UTC with microseconds. On SQLite TEXT `YYYY-MM-DD HH:MM:SS.ffffff`, which sorts like time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(DATETIME())  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
        return dialect.type_descriptor(TIMESTAMP(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored: give an aware datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None or value.tzinfo is not None else value.replace(tzinfo=UTC)


class Json(TypeDecorator[Any]):
    """Any JSON value, kept as the text we encoded. SQLite gives it a TEXT column: one declared JSON has NUMERIC
    affinity and turns `1e22` into a float.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else JSON(none_as_null=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return dumps(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return msgspec.json.decode(value) if isinstance(value, str) and dialect.name == "sqlite" else value


_ENCODER = msgspec.json.Encoder()


def dumps(value: Any) -> str:
    """Compact JSON text: the form that both databases store and that the engines' serializer uses."""
    return _ENCODER.encode(value).decode()


def unique_among_present(table: str, *columns: str) -> Index:
    """A unique index over the rows that are not soft-deleted, named as PostgreSQL names a unique constraint."""
    present = literal_column("deleted_at").is_(None)
    return Index(
        f"{table}_{'_'.join(columns)}_key", *columns, unique=True, postgresql_where=present, sqlite_where=present
    )


class Timestamps:
    """Set from the unit of work's clock; there are no server defaults."""

    created_at: Mapped[datetime] = mapped_column(UtcTime, sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, sort_order=91)


class Audited:
    """Ids of the users who made and last changed the row; NULL for keys and the system. Plain numbers, no foreign
    keys.
    """

    created_by: Mapped[int | None] = mapped_column(BigInteger, sort_order=92)
    updated_by: Mapped[int | None] = mapped_column(BigInteger, sort_order=93)


class SoftDeleted:
    """A set `deleted_at` makes the row absent for everybody who does not ask for deleted rows and may."""

    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime, sort_order=94)


class Versioned:
    """`version` counts the changes of a row from 1; a change must name the version that it read."""

    version: Mapped[int] = mapped_column(Integer, sort_order=95)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}
