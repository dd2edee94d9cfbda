"""Every column type of the machinery, on both databases, with the tables of the suite's second application: the same
bytes, found again by filters, in the same order.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from app.data.database import Database
from app.data.rules import SERVICE, user
from tests.conftest import EPOCH
from tests.library.catalog import LIBRARY
from tests.library.models import Book, Loan, Writer
from tests.query.asking import Asker
from tests.query.rows import Row, fill

STAMPS = {"created_at": EPOCH, "updated_at": EPOCH, "version": 1}


def a_book(id: int, **values: Any) -> Row:
    row: Row = {"id": id, "writer_id": 1, "title": f"Book {id}", "on_shelf": True}
    nothing = ("isbn", "blurb", "pages", "price", "printed_on", "extra", "created_by", "updated_by", "deleted_at")
    row |= dict.fromkeys(nothing)
    return row | STAMPS | values


JSONS = [
    {"b": 1, "a": [1.0, None, "é\u2028"]},
    [],
    "text",
    1e22,
    5,
    True,
    {"": {"\"'\\": 0}},
    "",
    -0.5,
    {"n": 2**53 + 1},
]


@pytest.fixture
async def ask(database: Database) -> Asker:
    books = [
        a_book(1, price=Decimal("10.50"), pages=300, printed_on=date(2024, 2, 29), isbn="x", blurb="é"),
        a_book(2, price=Decimal("0.00"), on_shelf=False, printed_on=date(999, 1, 1), deleted_at=EPOCH),
        a_book(3, price=Decimal("999999.99"), pages=2**31 - 1, on_shelf=False),
        a_book(4, price=Decimal("-0.01"), pages=1),
        *(a_book(10 + i, extra=value, writer_id=2) for i, value in enumerate(JSONS)),
    ]
    writers = [{"id": 1, "name": "Ada"} | STAMPS, {"id": 2, "name": "Bob"} | STAMPS]
    loan = {"id": 1, "book_id": 1, "borrower": 7, "due_on": date(2026, 1, 2), "deleted_at": None} | STAMPS
    await fill(database, {Writer: writers, Book: books, Loan: [loan]})
    return Asker(database, LIBRARY)


async def test_numbers_dates_and_flags_have_one_json_form(ask: Asker) -> None:
    found = await ask.bytes(SERVICE, "books?select=id,price,pages,printed_on,on_shelf,isbn,blurb&id=in.(1,3,4)")
    assert found.decode() == (
        '[{"id":1,"price":10.50,"pages":300,"printed_on":"2024-02-29","on_shelf":true,"isbn":"x","blurb":"é"},'
        '{"id":3,"price":999999.99,"pages":2147483647,"printed_on":null,"on_shelf":false,"isbn":null,"blurb":null},'
        '{"id":4,"price":-0.01,"pages":1,"printed_on":null,"on_shelf":true,"isbn":null,"blurb":null}]'
    )


async def test_json_comes_back_as_it_was_written(ask: Asker) -> None:
    found = await ask(SERVICE, "books?select=extra&writer_id=eq.2")
    assert [book["extra"] for book in found] == JSONS
    assert b'{"extra":{"b":1,"a":[1.0,null,' in await ask.bytes(SERVICE, "books?select=extra&id=eq.10")


FILTERS = [
    ("price=eq.10.5", [1]),
    ("price=eq.10.500", [1]),
    ("price=eq.10.504", []),
    ("price=in.(10.504,0)", []),
    ("price=in.(-0.01,999999.99)", [3, 4]),
    ("price=not.eq.0", [1, 3, 4]),
    ("pages=eq.2147483647", [3]),
    ("pages=not.in.(1)", [1, 3]),
    ("printed_on=eq.2024-02-29", [1]),
    ("printed_on=in.(2024-02-29,2024-03-01)", [1]),
    ("printed_on=not.in.(2024-02-29)", []),
    ("on_shelf=eq.false", [3]),
    ("on_shelf=in.(t)", [1, 4]),
    ("isbn=in.(x)", [1]),
    ("blurb=eq.é", [1]),
    ("deleted_at=not.in.()&on_shelf=eq.f", [2, 3]),
]


@pytest.mark.parametrize(("query", "expected"), FILTERS)
async def test_filters_find_values_of_every_type(ask: Asker, query: str, expected: list[int]) -> None:
    found = await ask(SERVICE, f"books?select=id&writer_id=eq.1&{query}")
    assert [book["id"] for book in found] == expected


ORDERS = [
    ("price", [4, 1, 3]),
    ("price.desc", [3, 1, 4]),
    ("printed_on", [1, 3, 4]),
    ("printed_on.desc", [4, 3, 1]),
    ("on_shelf,id.desc", [3, 4, 1]),
    ("pages.desc.nullslast", [3, 1, 4]),
]


@pytest.mark.parametrize(("order", "expected"), ORDERS)
async def test_order_of_every_type(ask: Asker, order: str, expected: list[int]) -> None:
    found = await ask(SERVICE, f"books?select=id&writer_id=eq.1&order={order}")
    assert [book["id"] for book in found] == expected


async def test_the_machinery_serves_another_domain(ask: Asker) -> None:
    found = await ask(user(7), "writers?select=name,books(id,loans(due_on))&id=eq.1")
    assert found == [{"name": "Ada", "books": [{"id": 1, "loans": [{"due_on": "2026-01-02"}]}, {"id": 4, "loans": []}]}]
    found = await ask(user(8), "writers?select=books(loans(id))&id=eq.1&books.id=eq.1")
    assert found == [{"books": [{"loans": []}]}]
    assert await ask(user(7), "books?select=price&id=eq.1") == [{"price": None}]
    assert await ask(user(7), "books?select=id&price=not.in.()&order=price.desc&writer_id=eq.1") == [
        {"id": 4},
        {"id": 1},
    ]
    assert await ask(user(7), "books?select=id&price=eq.10.50") == []
