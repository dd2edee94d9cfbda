"""The header Accept: which form is chosen, and how each form looks."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.datastructures import Headers as Given

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM
from app.errors import BroadsheetError
from app.http.app import create_app
from app.http.media import media_of
from app.query import writer
from app.settings import Settings
from tests.http.asking import OBJECT, REST, SURFACES
from tests.http.conftest import Blog, Headers, client_of
from tests.library.catalog import LIBRARY

ARRAY = "application/vnd.pgrst.array+json"
STRIPPED = ";nulls=stripped"
JSON = "application/json; charset=utf-8"


def chosen(accept: str) -> str:
    return media_of(Given({"accept": accept})).content_type


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("text/csv", "text/csv"),
        ("text/csv;q=0.5, application/json;q=0.9", "application/json"),
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("application/json;q=0, text/csv;q=0.1", "text/csv"),
        ("application/json, text/csv", "application/json"),
        (f"application/json, {OBJECT}{STRIPPED}", f"{OBJECT};nulls=stripped"),
        (OBJECT, OBJECT),
        ("application/vnd.pgrst.object", OBJECT),
        (f"{OBJECT} ; nulls=stripped", f"{OBJECT};nulls=stripped"),
        (f"{ARRAY}{STRIPPED}", f"{ARRAY};nulls=stripped"),
        (ARRAY, "application/json"),
        ("image/png, application/vnd.pgrst.object;q=0.2", OBJECT),
    ],
)
def test_choice(accept: str, name: str) -> None:
    assert chosen(accept) == f"{name}; charset=utf-8"


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/geo+json",
        'application/vnd.pgrst.plan+text; for="application/json"; options=;',
        "application/json;q=0",
        "nonsense",
        ",;,",
        "application/openapi+json",
    ],
)
def test_nothing_available(accept: str) -> None:
    with pytest.raises(BroadsheetError) as refusal:
        chosen(accept)
    assert (refusal.value.code, refusal.value.status) == ("PGRST107", 406)


async def test_refusal_names_what_was_asked(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.get("/posts", headers={"accept": "image/png, text/html;q=0.5"})
    assert response.json()["message"] == "None of these media types are available: image/png, text/html"


# ---- one object -----------------------------------------------------------------------------------------------------


@SURFACES
async def test_one_row_as_an_object(client: httpx2.AsyncClient, blog: Blog, prefix: str) -> None:
    response = await client.get(f"{prefix}/posts?select=title,author(username)", headers={"accept": OBJECT})
    assert (response.status_code, response.json()) == (200, {"title": "Hello", "author": {"username": "ada"}})
    assert response.headers["content-type"] == f"{OBJECT}; charset=utf-8"
    assert response.headers["content-range"] == "0-0/*"


@SURFACES
@pytest.mark.parametrize(("query", "rows"), [("id=lt.0", 0), ("", 2)])
async def test_not_one_row(client: httpx2.AsyncClient, blog: Blog, prefix: str, query: str, rows: int) -> None:
    response = await client.get(f"{prefix}/users?{query}", headers={"accept": OBJECT})
    assert (response.status_code, response.json()) == (
        406,
        {
            "code": "PGRST116",
            "message": "Cannot coerce the result to a single JSON object",
            "details": f"The result contains {rows} rows",
            "hint": None,
        },
    )


async def test_item_is_one_object_already(client: httpx2.AsyncClient, blog: Blog) -> None:
    path = f"/posts/{blog.post}?select=title"
    plain = await client.get(path)
    response = await client.get(path, headers={"accept": OBJECT})
    assert (response.content, response.headers["etag"]) == (plain.content, plain.headers["etag"])
    assert response.headers["content-type"] == f"{OBJECT}; charset=utf-8"


# ---- without nulls --------------------------------------------------------------------------------------------------


async def test_null_keys_are_left_out_at_every_level(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    path = f"{REST}/users?select=username,deleted_at,posts(title,published_at)&order=id&posts.order=id&username=eq.ada"
    response = await client.get(path, headers={**secret, "accept": f"{ARRAY}{STRIPPED}"})
    (row,) = response.json()
    assert "deleted_at" not in row
    assert row["posts"][1] == {"title": "Draft"}
    assert set(row["posts"][0]) == {"title", "published_at"}
    assert response.headers["content-type"] == f"{ARRAY};nulls=stripped; charset=utf-8"
    one = await client.get(path, headers={**secret, "accept": f"{OBJECT}{STRIPPED}"})
    assert one.json() == row


async def test_numbers_keep_their_digits_without_nulls(settings: Settings, database: Database) -> None:
    async with Database(database.url.render_as_string(hide_password=False), LIBRARY) as library:
        async with library.writing(SYSTEM) as session:
            (author,) = await writer.insert(session, resource("writers"), [{"name": "Le Guin"}])
            book = {"writer_id": author["id"], "title": "Always", "price": "12.50", "extra": {"a": None, "b": 1.10}}
            await writer.insert(session, resource("books"), [book])

        async def authenticate(headers: Any, database: Any) -> Any:
            return SERVICE if "apikey" in headers else ANONYMOUS

        app = create_app(settings, catalog=LIBRARY, authenticate=authenticate, database=library)
        async with client_of(app) as client:
            path = "/books?select=price,extra,isbn"
            response = await client.get(path, headers={"apikey": "x", "accept": f"{ARRAY}{STRIPPED}"})
            assert response.text == '[{"price":12.50,"extra":{"b":1.1}}]'
            csv = await client.get(path, headers={"apikey": "x", "accept": "text/csv"})
            assert csv.text == 'price,extra,isbn\n12.50,"{""a"":null,""b"":1.1}",'


def resource(name: str) -> Any:
    found = LIBRARY.get(name)
    assert found is not None
    return found


# ---- bytes and tags -------------------------------------------------------------------------------------------------


async def test_each_form_has_a_tag_of_its_own(client: httpx2.AsyncClient, blog: Blog) -> None:
    forms = ["application/json", OBJECT, "text/csv"]
    tags = [(await client.get("/posts?select=title", headers={"accept": form})).headers["etag"] for form in forms]
    assert len(set(tags)) == 3
    again = await client.get("/posts?select=title", headers={"accept": "text/csv", "if-none-match": tags[2]})
    assert again.status_code == 304


async def test_errors_are_json_whatever_was_asked(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.get("/posts?select=titel", headers={"accept": "text/csv"})
    assert (response.status_code, response.headers["content-type"]) == (400, JSON)
