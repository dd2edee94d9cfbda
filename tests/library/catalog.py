"""Rules of the library: librarians (admins) see and change all; members see books on the shelf and their own loans;
prices are the librarians'.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, literal

from app.data.audit import Revision
from app.data.catalog import Catalog, Resource
from app.data.rules import ADMINS, EVERYONE, NOBODY, SIGNED_IN, Column, Links, Principal, Role, Row, Rule, Scope, Values
from app.errors import BadValue
from tests.library.models import Book, Genre, Loan, Writer


def on_shelf(book: Any, scope: Scope) -> ColumnElement[bool] | None:
    return None if scope.view is Role.ADMIN else book.on_shelf.is_(True)


def own_loan(loan: Any, scope: Scope) -> ColumnElement[bool] | None:
    if scope.view is Role.ANONYMOUS:
        return literal(value=False)
    return None if scope.view is Role.ADMIN else loan.borrower == scope.me


def nobodys(book: Any, scope: Scope) -> ColumnElement[bool]:
    return literal(value=False)


def prepare_book(old: Row | None, values: Values, who: Principal, now: datetime) -> Values:
    if isinstance(values.get("title"), str) and not values["title"].strip():
        raise BadValue("a book needs a title", code="22023")
    return values


def prepare_loan(old: Row | None, values: Values, who: Principal, now: datetime) -> Values:
    return values if who.view is Role.ADMIN else {**values, "borrower": who.user_id}


def stamps(*, read: frozenset[Role] = EVERYONE) -> dict[str, Column]:
    return {name: Column(read) for name in ("created_at", "updated_at", "version")}


WRITERS = Rule(
    columns={"id": Column(EVERYONE), "name": Column(EVERYONE, ADMINS), **stamps()}, inserts=ADMINS, removes=ADMINS
)
GENRES = Rule(
    columns={"id": Column(EVERYONE), "label": Column(EVERYONE, ADMINS)},
    inserts=ADMINS,
    removes=ADMINS,
    touches=("books",),
)
BOOKS = Rule(
    columns={
        "id": Column(EVERYONE),
        "writer_id": Column(EVERYONE, ADMINS),
        "isbn": Column(EVERYONE, ADMINS),
        "title": Column(EVERYONE, ADMINS),
        "blurb": Column(EVERYONE, ADMINS),
        "pages": Column(EVERYONE, ADMINS),
        "price": Column(SIGNED_IN, ADMINS, unmasked=nobodys),
        "printed_on": Column(EVERYONE, ADMINS),
        "on_shelf": Column(ADMINS, ADMINS),
        "extra": Column(EVERYONE, ADMINS),
        "created_by": Column(ADMINS),
        "updated_by": Column(ADMINS),
        "deleted_at": Column(ADMINS),
        **stamps(),
    },
    extra={"genres": (Links("genres", shown="label"), ADMINS)},
    visible=on_shelf,
    inserts=ADMINS,
    removes=ADMINS,
    prepare=prepare_book,
    cascades=("loans",),
    revised=True,
)
LOANS = Rule(
    columns={
        "id": Column(SIGNED_IN),
        "book_id": Column(SIGNED_IN, SIGNED_IN),
        "borrower": Column(SIGNED_IN, ADMINS),
        "due_on": Column(SIGNED_IN, SIGNED_IN),
        "deleted_at": Column(ADMINS),
        **stamps(read=SIGNED_IN),
    },
    visible=own_loan,
    writable=own_loan,
    owned=own_loan,
    admits=lambda who, row: who.view is Role.ADMIN or row.get("borrower") == who.user_id,
    inserts=SIGNED_IN,
    removes=SIGNED_IN,
    prepare=prepare_loan,
)
HISTORY = Rule(
    columns={
        name: Column(ADMINS)
        for name in (
            "id",
            "at",
            "actor_id",
            "key_id",
            "request_id",
            "table_name",
            "row_id",
            "version",
            "operation",
            "changes",
        )
    },
    admits=lambda who, row: False,
    inserts=NOBODY,
    maps_columns=("changes", "table_name"),
)

LIBRARY = Catalog(
    [
        Resource(Writer, WRITERS),
        Resource(Genre, GENRES),
        Resource(Book, BOOKS),
        Resource(Loan, LOANS),
        Resource(Revision, HISTORY),
    ]
)
