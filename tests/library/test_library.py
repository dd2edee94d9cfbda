"""The second application: other classes, other rules, the same machinery, over HTTP on both databases."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, Principal, user
from app.http.app import create_app
from app.settings import Limits, Settings
from tests.conftest import Clock, delete_all_rows
from tests.http.conftest import client_of
from tests.library.catalog import LIBRARY

REST = "/rest/v1"
WHO = {"librarian": SERVICE, "member-1": user(1), "member-2": user(2)}


async def by_name(headers: Any, database: Database) -> Principal:
    """The authenticator of this application: a name is enough here."""
    return WHO.get(headers.get("x-name", ""), ANONYMOUS)


@pytest.fixture
async def library(database_url: str, settings: Settings, clock: Clock) -> AsyncGenerator[httpx2.AsyncClient]:
    small = replace(settings, limits=Limits(page=5))
    async with Database(database_url, LIBRARY, clock=clock, limits=small.limits) as database:
        app = create_app(small, catalog=LIBRARY, authenticate=by_name, database=database)
        async with client_of(app) as client:
            yield client
        await delete_all_rows(database)


async def make(client: httpx2.AsyncClient, path: str, body: Any, who: str = "librarian") -> Any:
    answer = await client.post(path, json=body, headers={"x-name": who})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def shelf(client: httpx2.AsyncClient) -> dict[str, Any]:
    """A writer, two genres and two books, one of them off the shelf."""
    writer = await make(client, "/writers", {"name": "Ursula"})
    genres = await make(client, "/genres", [{"label": "novel"}, {"label": "essay"}])
    ids = [genre["id"] for genre in genres]
    book = {"writer_id": writer["id"], "price": "12.50", "pages": 300, "printed_on": "1974-05-01", "extra": {"b": [1]}}
    first = await make(client, "/books", {**book, "title": "The Dispossessed", "isbn": "1", "genres": [ids[0]]})
    second = await make(client, "/books", {**book, "title": "In Repair", "on_shelf": False, "genres": ids})
    return {"writer": writer, "genres": genres, "first": first, "second": second}


async def test_all_column_types_come_back(library: httpx2.AsyncClient) -> None:
    book = (await shelf(library))["first"]
    assert book == {
        "id": book["id"],
        "writer_id": book["writer_id"],
        "isbn": "1",
        "title": "The Dispossessed",
        "blurb": None,
        "pages": 300,
        "price": 12.5,
        "printed_on": "1974-05-01",
        "on_shelf": True,
        "extra": {"b": [1]},
        "created_at": "2026-01-01T12:00:00+00:00",
        "updated_at": "2026-01-01T12:00:00+00:00",
        "created_by": None,
        "updated_by": None,
        "deleted_at": None,
        "version": 1,
    }
    answer = await library.get(f"/books/{book['id']}?select=price", headers={"x-name": "librarian"})
    assert answer.text == '{"price":12.50}', "a numeric keeps its scale"


async def test_rows_are_those_of_the_rule(library: httpx2.AsyncClient) -> None:
    await shelf(library)
    query = "/books?select=title,writer(name),genres(label)&genres.order=label"
    shown = (await library.get(query)).json()
    assert shown == [{"title": "The Dispossessed", "writer": {"name": "Ursula"}, "genres": [{"label": "novel"}]}]
    assert len((await library.get(query, headers={"x-name": "librarian"})).json()) == 2
    embedded = (await library.get("/writers?select=name,books(title)")).json()
    assert embedded == [{"name": "Ursula", "books": [{"title": "The Dispossessed"}]}]
    through = (await library.get("/genres?select=label,books(title)&order=label")).json()
    assert through == [{"label": "essay", "books": []}, {"label": "novel", "books": [{"title": "The Dispossessed"}]}]


async def test_columns_are_those_of_the_rule(library: httpx2.AsyncClient) -> None:
    await shelf(library)
    for path in ("/books?select=on_shelf", "/books?on_shelf=eq.true", "/books?order=on_shelf"):
        hidden, unknown = await library.get(path), await library.get(path.replace("on_shelf", "no_shelf"))
        assert hidden.status_code == unknown.status_code == 400
        assert hidden.text.replace("on_shelf", "no_shelf") == unknown.text
    assert (await library.get("/books?select=price")).status_code == 400, "anonymous visitors have no price"
    masked = await library.get("/books?select=price", headers={"x-name": "member-1"})
    assert masked.json() == [{"price": None}]
    assert (await library.get("/books?price=eq.12.50", headers={"x-name": "member-1"})).json() == []
    assert (await library.get("/loans")).status_code == 404, "a table without a readable column does not exist"


async def test_members_lend_and_see_their_own_loans(library: httpx2.AsyncClient) -> None:
    book = (await shelf(library))["first"]
    loan = await make(library, "/loans", {"book_id": book["id"], "due_on": "2026-02-01"}, "member-1")
    assert loan["borrower"] == 1
    query = "/loans?select=borrower,book(title)"
    assert (await library.get(query, headers={"x-name": "member-1"})).json() == [
        {"borrower": 1, "book": {"title": "The Dispossessed"}}
    ]
    assert (await library.get(query, headers={"x-name": "member-2"})).json() == []
    other = await library.patch(f"/loans/{loan['id']}", json={"due_on": "2026-03-01"}, headers={"x-name": "member-2"})
    absent = await library.patch("/loans/9999", json={"due_on": "2026-03-01"}, headers={"x-name": "member-2"})
    assert (other.status_code, absent.status_code) == (404, 404)
    own = await library.patch(f"/loans/{loan['id']}", json={"due_on": "2026-03-01"}, headers={"x-name": "member-1"})
    assert (own.json()["due_on"], own.json()["version"]) == ("2026-03-01", 2)
    gone = await library.delete(f"/loans/{loan['id']}", headers={"x-name": "member-1"})
    assert gone.status_code == 204
    assert (await library.get(query, headers={"x-name": "librarian"})).json() == []


async def test_history_and_cascades(library: httpx2.AsyncClient) -> None:
    rows = await shelf(library)
    book, novel = rows["first"], rows["genres"][0]
    await make(library, "/loans", {"book_id": book["id"], "borrower": 1, "due_on": "2026-02-01"})
    headers = {"x-name": "librarian"}
    assert (await library.delete(f"/genres/{novel['id']}", headers=headers)).status_code == 204
    assert (await library.delete(f"/books/{book['id']}", headers=headers)).status_code == 204
    assert (await library.get("/loans", headers=headers)).json() == [], "loans go with their book"
    path = f"/revisions?select=operation,version,changes&row_id=eq.{book['id']}&order=id"
    first, second, third = (await library.get(path, headers=headers)).json()
    assert (first["operation"], first["changes"]["genres"]) == ("insert", [None, ["novel"]])
    assert (second["version"], second["changes"]) == (2, {"genres": [["novel"], []]})
    assert (third["operation"], third["version"]) == ("delete", 3)
    assert (await library.get("/revisions")).status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"title": "T"}, "23502"),
        ({"writer_id": 99_999, "title": "T"}, "23503"),
        ({"title": " ", "writer_id": 1}, "22023"),
        ({"title": "T", "pages": 0}, "23514"),
        ({"title": "T", "pages": 2**31}, "22003"),
        ({"title": "T", "pages": 1.5}, "22P02"),
        ({"title": "T", "price": 1234567.1}, "22003"),
        ({"title": "T", "price": "NaN"}, "22P02"),
        ({"title": "T", "printed_on": "1974-13-01"}, "22008"),
        ({"title": "T", "printed_on": "yesterday-ish"}, "22007"),
        ({"title": "T", "on_shelf": "perhaps"}, "22P02"),
        ({"title": "T", "shelf": 3}, "PGRST204"),
        ({"title": "T", "genres": ["novel"]}, "22P02"),
    ],
)
async def test_bad_bodies(library: httpx2.AsyncClient, body: dict[str, Any], code: str) -> None:
    writer = await make(library, "/writers", {"name": "Ursula"})
    body = {"writer_id": writer["id"], **body} if code != "23502" else body
    for prefix in ("", REST):
        answer = await library.post(f"{prefix}/books", json=body, headers={"x-name": "librarian"})
        assert answer.json()["code"] == code, answer.text
        assert answer.status_code == {"23503": 409}.get(code, 400 if prefix else 422)
    assert (await library.get("/books", headers={"x-name": "librarian"})).json() == []


async def test_page_limits_are_this_applications_own(library: httpx2.AsyncClient) -> None:
    await make(library, "/genres", [{"label": f"genre {i}"} for i in range(8)])
    assert len((await library.get(f"{REST}/genres")).json()) == 5
    assert len((await library.get("/genres?limit=100")).json()) == 5


async def test_nothing_of_the_first_application_is_here(library: httpx2.AsyncClient) -> None:
    assert sorted((await library.get("/", headers={"x-name": "librarian"})).json()["links"]) == [
        "books",
        "genres",
        "loans",
        "revisions",
        "writers",
    ]
    for name in ("posts", "users", "tags"):
        assert (await library.get(f"/{name}")).status_code == 404
