"""A row as it was: each version is what the item answered at that time, in every form and of every type of column."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from random import Random
from typing import Any

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import SERVICE
from app.settings import Settings
from tests.conftest import Clock, Statements
from tests.http.asking import OBJECT
from tests.http.conftest import Blog
from tests.http.persons import Ask, edited, librarian, persons
from tests.writes.support import purge


@pytest.fixture
async def ask(settings: Settings, database: Database, blog: Blog) -> AsyncGenerator[Ask]:
    async with persons(settings, database, blog) as ask:
        yield ask


# ---- one version ----------------------------------------------------------------------------------------------------


async def test_version_is_the_row_as_it_was(ask: Ask, blog: Blog, clock: Clock) -> None:
    before = await ask.one("ada", f"/posts/{blog.post}")
    path = await edited(ask, blog, clock)
    now = await ask.one("ada", path)
    assert await ask.one("ada", f"{path}/revisions/1") == before | {"tags": ["python", "sql"]}
    assert await ask.one("ada", f"{path}/revisions/3") == now | {"tags": ["new", "sql"]}
    second = await ask.one("ada", f"{path}/revisions/2")
    assert (second["title"], second["content"], second["slug"]) == ("Again", "Text", "hello")
    assert (second["updated_at"], second["version"]) == ("2026-01-01T12:01:00+00:00", 2)


async def test_version_has_the_columns_that_the_caller_reads(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    for who in ("ada", "root"):
        columns = list(await ask.one(who, path))
        assert list(await ask.one(who, f"{path}/revisions/2")) == [*columns, "tags"]
    assert (await ask.one("root", f"{path}/revisions/2"))["updated_by"] == blog.ada


async def test_version_has_no_guarded_column(ask: Ask, blog: Blog) -> None:
    row = await ask.one("root", f"/users/{blog.ada}/revisions/1")
    now = await ask.one("root", f"/users/{blog.ada}")
    assert {name: row[name] for name in row} == {name: value for name, value in now.items() if name != "balance"}


async def test_version_is_tagged_by_its_bytes(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    found = await ask("ada", "GET", f"{path}/revisions/2")
    assert found.headers["etag"].count("-") == 0
    again = await ask("ada", "GET", f"{path}/revisions/2", if_none_match=found.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


async def test_version_comes_in_every_form(ask: Ask, blog: Blog) -> None:
    path = f"/posts/{blog.post}/revisions/1"
    one = await ask("ada", "GET", path, accept=OBJECT)
    assert one.headers["content-type"] == f"{OBJECT}; charset=utf-8"
    stripped = await ask("ada", "GET", path, accept="application/vnd.pgrst.object+json;nulls=stripped")
    assert one.json().keys() - stripped.json().keys() == {"deleted_at"}
    csv = (await ask("ada", "GET", path, accept="text/csv")).text
    assert csv.splitlines()[0].endswith(",version,tags")
    assert "2026-01-01 12:00:00+00" in csv
    paris = await ask.one("ada", path, prefer="timezone=Europe/Paris")
    assert paris["created_at"] == "2026-01-01T13:00:00+01:00"
    assert (await ask("ada", "GET", path, accept="image/png")).json()["code"] == "PGRST107"


async def test_soft_delete_is_a_version(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    clock.advance(60)
    await ask("ada", "DELETE", path)
    assert (await ask.one("ada", f"{path}/revisions/4"))["deleted_at"] == "2026-01-01T12:03:00+00:00"
    assert (await ask("ada", "GET", path)).status_code == 404


async def test_purge_is_no_version(ask: Ask, blog: Blog, database: Database) -> None:
    """What was remains for admins."""
    await purge(database, SERVICE, "posts", blog.post)
    operations = [row["operation"] for row in await ask.one("root", f"/posts/{blog.post}/revisions")]
    assert operations == ["purge", "insert"]
    assert (await ask.one("root", f"/posts/{blog.post}/revisions/1"))["title"] == "Hello"
    assert (await ask("ada", "GET", f"/posts/{blog.post}/revisions/1")).status_code == 404


async def test_anonymised_user_is_blank_from_then_on(ask: Ask, blog: Blog, database: Database) -> None:
    """What it was before is in its former versions still."""
    await purge(database, SERVICE, "users", blog.bob)
    former, last = [await ask.one("root", f"/users/{blog.bob}/revisions/{n}") for n in (1, 2)]
    assert (former["username"], former["email"]) == ("bob", "bob@example.org")
    assert (last["username"], last["full_name"], last["is_active"]) == (f"purged-{blog.bob}", None, False)
    assert last["deleted_at"] is not None


async def test_number_of_no_version_is_missing(ask: Ask, blog: Blog, clock: Clock) -> None:
    path = await edited(ask, blog, clock)
    for number in ("0", "4", "01", "+1", "1.0", "x", "2147483648", "9" * 40, "%20", "-1", "%EF%BC%91"):
        for method, tail in (("GET", ""), ("POST", "/restore")):
            missing = await ask("ada", method, f"{path}/revisions/{number}{tail}")
            assert (missing.status_code, missing.json()["code"]) == (404, "BRD404"), number


async def test_version_takes_no_parameters(ask: Ask, blog: Blog) -> None:
    for query in ("select=title", "id=eq.1", "nothing"):
        refused = await ask("ada", "GET", f"/posts/{blog.post}/revisions/1?{query}")
        assert (refused.status_code, refused.json()["code"]) == (400, "PGRST100")
        assert refused.json()["hint"]


async def test_version_takes_two_statements_however_long_the_history_is(
    ask: Ask, blog: Blog, statements: Statements
) -> None:
    for number in range(30):
        await ask("ada", "PATCH", f"/posts/{blog.post}", {"content": f"{number}" * 1000})
    for number in (1, 15, 31):
        statements.clear()
        row = await ask.one("ada", f"/posts/{blog.post}/revisions/{number}")
        assert (row["version"], statements.count) == (number, 2)  # where the version begins and ends, its values


async def test_only_the_last_value_of_a_column_is_fetched(ask: Ask, blog: Blog) -> None:
    """A history larger than what one answer may hold is no hindrance."""
    for digit in "0123456789ab":
        await ask("ada", "PATCH", f"/posts/{blog.post}", {"content": digit * 900_000})
    assert (await ask("ada", "GET", f"/posts/{blog.post}/revisions")).json()["code"] == "54000"
    row = await ask.one("ada", f"/posts/{blog.post}/revisions/12")
    assert (row["content"], row["title"]) == ("a" * 900_000, "Hello")


# ---- every version is what was shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_each_version_is_what_the_item_answered_at_that_time(
    ask: Ask, blog: Blog, clock: Clock, seed: int
) -> None:
    """After random changes of a post by its author and an admin."""
    r = Random(seed)
    path = f"/posts/{blog.draft}"
    seen: dict[int, dict[str, dict[str, Any]]] = {}

    async def look() -> None:
        whole = f"/posts?id=eq.{blog.draft}&or=(deleted_at.is.null,deleted_at.not.is.null)&select=*,tags(name)"
        rows = {who: (await ask.one(who, whole))[0] for who in ("ada", "root")}
        seen[rows["root"]["version"]] = rows

    await look()
    for _ in range(25):
        clock.advance(r.choice([1, 60, 86_400.5]))
        await change(ask, r, path)
        await look()
    assert len(seen) > 10
    for number, rows in seen.items():
        for who, row in rows.items():
            names = sorted(tag["name"] for tag in row["tags"])
            assert await ask.one(who, f"{path}/revisions/{number}") == row | {"tags": names}


async def change(ask: Ask, r: Random, path: str) -> None:
    who = r.choice(["ada", "ada", "root"])
    now = await ask(who, "GET", path)
    if now.status_code == 404:
        answer = await ask(who, "POST", f"{path}/restore")
    elif r.random() < 0.15:
        answer = await ask(who, "DELETE", path)
    elif r.random() < 0.2:
        answer = await ask(who, "POST", f"{path}/revisions/{r.randint(1, now.json()['version'])}/restore")
    else:
        answer = await ask(who, "PATCH", path, some_values(r))
    assert answer.status_code in (200, 204), answer.text


def some_values(r: Random) -> dict[str, Any]:
    values = {
        "title": r.choice(["a", "é", '"q"', "日本"]),
        "content": r.choice(["", "x\ny", "\u2028", "null", "[1]"]),
        "status": r.choice(["draft", "published", "archived"]),
        "published_at": r.choice([None, "2026-01-01T00:00:00.5Z", "1999-12-31T23:59:59.999999+02:00"]),
        "tags": r.sample(["a", "b", "c", "ü"], r.randint(0, 3)),
    }
    return {name: values[name] for name in r.sample(sorted(values), r.randint(1, 4))}


# ---- another application --------------------------------------------------------------------------------------------


@pytest.fixture
async def library(settings: Settings, spare_url: str) -> AsyncGenerator[httpx2.AsyncClient]:
    async with librarian(settings, spare_url) as client:
        yield client


async def a_book(library: httpx2.AsyncClient) -> str:
    writer = (await library.post("/writers", json={"name": "Ann"})).json()["id"]
    genres = [(await library.post("/genres", json={"label": label})).json()["id"] for label in ("novel", "essay")]
    book = {"writer_id": writer, "title": "One", "price": "12.5", "printed_on": "1871-12-01", "genres": genres}
    made = await library.post("/books", json={**book, "extra": {"b": [1, 1e22, None]}, "on_shelf": False})
    assert made.status_code == 201, made.text
    path: str = made.headers["location"]
    return path


async def test_every_type_of_column_comes_back_as_it_was(library: httpx2.AsyncClient) -> None:
    path = await a_book(library)
    before = (await library.get(path)).text
    values: dict[str, Any] = {
        "price": None,
        "printed_on": "2000-01-01",
        "extra": None,
        "on_shelf": True,
        "genres": [],
        "pages": 3,
    }
    assert (await library.patch(path, json=values)).status_code == 200
    was = (await library.get(f"{path}/revisions/1")).text
    assert was == before.removesuffix("}") + ',"genres":["essay","novel"]}'
    assert '"price":12.50' in was


async def test_links_come_back_by_name_where_the_rule_does_not_resolve_them(library: httpx2.AsyncClient) -> None:
    path = await a_book(library)
    await library.patch(path, json={"genres": [], "title": "Two"})
    back = await library.post(f"{path}/revisions/1/restore?select=title,price,genres(label)&genres.order=label")
    assert back.json() == {"title": "One", "price": 12.5, "genres": [{"label": "essay"}, {"label": "novel"}]}


async def test_link_to_a_row_that_has_gone_is_a_conflict(library: httpx2.AsyncClient) -> None:
    path = await a_book(library)
    novel = (await library.get("/genres?label=eq.novel")).json()[0]["id"]
    assert (await library.delete(f"/genres/{novel}")).status_code == 204
    refused = await library.post(f"{path}/revisions/1/restore")
    assert (refused.status_code, refused.json()["code"]) == (409, "23503")
    assert "(novel)" in refused.json()["details"]
