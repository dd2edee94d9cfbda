"""Another domain on the same machinery: its catalog and its own way to say who asks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest
from starlette.datastructures import Headers

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, Principal, user
from app.http.app import create_app
from app.settings import Settings
from tests.http.conftest import client_of
from tests.library.catalog import LIBRARY

LIBRARIAN = {"x-reader": "librarian"}
READER = {"x-reader": "7"}
BOOK = {
    "title": "Middlemarch",
    "isbn": "1",
    "pages": 880,
    "price": "12.50",
    "printed_on": "1871-12-01",
    "extra": {"volumes": [1, 2, 1e22]},
}


async def by_reader(headers: Headers, database: Database) -> Principal:
    match headers.get("x-reader"):
        case None:
            return ANONYMOUS
        case "librarian":
            return SERVICE
        case number:
            return user(int(number))


@pytest.fixture
async def library(settings: Settings, spare_url: str) -> AsyncGenerator[httpx2.AsyncClient]:
    async with Database(spare_url, LIBRARY) as database:
        app = create_app(settings, catalog=LIBRARY, authenticate=by_reader, database=database)
        async with client_of(app) as client:
            yield client


async def make_book(library: httpx2.AsyncClient, **more: Any) -> dict[str, Any]:
    writer = await library.post("/writers", json={"name": "George Eliot"}, headers=LIBRARIAN)
    row = {**BOOK, "writer_id": writer.json()["id"], **more}
    response = await library.post("/books?select=*,genres(label)", json=row, headers=LIBRARIAN)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def test_other_catalog_is_served_with_its_own_rules(library: httpx2.AsyncClient) -> None:
    book = await make_book(library)
    assert book["price"] == 12.50
    assert book["printed_on"] == "1871-12-01"
    assert book["extra"] == {"volumes": [1, 2, 1e22]}
    assert (await library.get("/posts")).json()["code"] == "PGRST205"
    anonymous = (await library.get(f"/books/{book['id']}")).json()
    assert anonymous["title"] == "Middlemarch"
    assert "price" not in anonymous
    assert (await library.get(f"/books/{book['id']}?select=price", headers=READER)).json() == {"price": None}


async def test_signed_in_reader_writes_own_rows_alone(library: httpx2.AsyncClient) -> None:
    """The borrower is set by the rule, for those who may not set it."""
    book = await make_book(library)
    loan = {"book_id": book["id"], "due_on": "2026-02-01"}
    made = await library.post("/loans", json=loan, headers=READER)
    assert (made.status_code, made.json()["borrower"]) == (201, 7)
    path = made.headers["location"]
    assert (await library.get(path, headers={"x-reader": "8"})).status_code == 404
    assert (await library.patch(path, json={"due_on": "2026-03-01"}, headers={"x-reader": "8"})).status_code == 404
    assert (await library.patch(path, json={"due_on": "2026-03-01"}, headers=READER)).status_code == 200
    assert (await library.patch(f"/books/{book['id']}", json={"pages": 1}, headers=READER)).status_code == 403
    assert (await library.patch(f"/books/{book['id']}", json={"pages": 1})).status_code == 401


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_condition_on_a_table_without_versions_is_refused(library: httpx2.AsyncClient, method: str) -> None:
    made = await library.post("/genres", json={"label": "novel"}, headers=LIBRARIAN)
    assert made.headers["etag"].count("-") == 0
    path = made.headers["location"]
    response = await library.request(method, path, json={"label": "x"}, headers={**LIBRARIAN, "if-match": '"1"'})
    assert (response.status_code, response.json()["code"]) == (400, "PGRST127")
    response = await library.request(method, path, json={"label": "x"}, headers=LIBRARIAN)
    assert response.status_code in (200, 204)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"price": "1234567.00"}, "22003"),
        ({"price": "cheap"}, "22P02"),
        ({"pages": 2**31}, "22003"),
        ({"pages": 0}, "23514"),
        ({"printed_on": "1871-13-01"}, "22008"),
        ({"on_shelf": "perhaps"}, "22P02"),
    ],
)
async def test_values_of_other_types_are_checked(
    library: httpx2.AsyncClient, values: dict[str, Any], code: str
) -> None:
    book = await make_book(library)
    response = await library.patch(f"/books/{book['id']}", json=values, headers=LIBRARIAN)
    assert (response.status_code, response.json()["code"]) == (422, code), response.text
