"""Books, their authors and genres, and loans. Between them they use the column types that the first application does
not.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Date, ForeignKey, Integer, Numeric
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.base import (
    NEVER_REUSE_IDS,
    Audited,
    Base,
    BigId,
    Json,
    SoftDeleted,
    Timestamps,
    Versioned,
    string,
    text,
    unique_among_present,
)


class Writer(Timestamps, Versioned, Base):
    __tablename__ = "writers"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(string(80), unique=True)

    books: Mapped[list[Book]] = relationship(back_populates="writer", lazy="raise", passive_deletes="all")


class Genre(Base):
    __tablename__ = "genres"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    label: Mapped[str] = mapped_column(string(40), unique=True)

    books: Mapped[list[Book]] = relationship(
        secondary="book_genres", back_populates="genres", lazy="raise", passive_deletes=True
    )


class BookGenre(Base):
    __tablename__ = "book_genres"

    book_id: Mapped[int] = mapped_column(BigId, ForeignKey("books.id", ondelete="CASCADE"), primary_key=True)
    genre_id: Mapped[int] = mapped_column(BigId, ForeignKey("genres.id", ondelete="CASCADE"), primary_key=True)


class Book(Timestamps, Audited, SoftDeleted, Versioned, Base):
    __tablename__ = "books"
    __table_args__ = (
        CheckConstraint("pages > 0", name="pages"),
        unique_among_present("books", "isbn"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    writer_id: Mapped[int] = mapped_column(BigId, ForeignKey("writers.id", ondelete="RESTRICT"), index=True)
    isbn: Mapped[str | None] = mapped_column(string(20))
    title: Mapped[str] = mapped_column(string(120))
    blurb: Mapped[str | None] = mapped_column(text())
    pages: Mapped[int | None] = mapped_column(Integer)
    price: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))
    printed_on: Mapped[date | None] = mapped_column(Date)
    on_shelf: Mapped[bool] = mapped_column(Boolean, default=True)
    extra: Mapped[Any] = mapped_column(Json, nullable=True)

    writer: Mapped[Writer] = relationship(back_populates="books", lazy="raise")
    genres: Mapped[list[Genre]] = relationship(
        secondary="book_genres", back_populates="books", lazy="raise", passive_deletes=True
    )
    loans: Mapped[list[Loan]] = relationship(back_populates="book", lazy="raise", passive_deletes="all")


class Loan(Timestamps, SoftDeleted, Versioned, Base):
    """`borrower` is a user's id; whoever the authenticator says that is."""

    __tablename__ = "loans"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    book_id: Mapped[int] = mapped_column(BigId, ForeignKey("books.id", ondelete="RESTRICT"), index=True)
    borrower: Mapped[int] = mapped_column(BigInteger)
    due_on: Mapped[date] = mapped_column(Date)

    book: Mapped[Book] = relationship(back_populates="loans", lazy="raise")


TABLES = [model.__table__ for model in (Writer, Genre, Book, BookGenre, Loan)]
