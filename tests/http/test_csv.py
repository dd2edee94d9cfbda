"""CSV out as PostgreSQL prints rows, CSV and forms in, and that what comes out goes in again."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from app.errors import BadBody
from app.http import csvtext
from tests.http.asking import REST, SURFACES, prefer
from tests.http.conftest import Blog, Headers

CSV = {"accept": "text/csv"}
IN_CSV = {"content-type": "text/csv"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


# ---- out ------------------------------------------------------------------------------------------------------------


@SURFACES
async def test_rows_as_csv(client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str) -> None:
    path = f"{prefix}/users?select=username,is_active,deleted_at,created_at,balance&order=id"
    response = await client.get(path, headers={**secret, **CSV})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.text == (
        "username,is_active,deleted_at,created_at,balance\n"
        'ada,t,,"2026-01-01 12:00:00+00",500\n'
        'bob,t,,"2026-01-01 12:00:00+00",0'
    )


async def test_embeds_are_json_text(client: httpx2.AsyncClient, blog: Blog) -> None:
    path = "/posts?select=title,author(username),tags(name)&tags.order=name"
    response = await client.get(path, headers=CSV)
    assert response.text == (
        'title,author,tags\nHello,"{""username"":""ada""}","[{""name"":""python""},{""name"":""sql""}]"'
    )


async def test_lifted_time_prints_as_a_time(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.get("/posts?select=title,...author(joined:created_at)", headers=CSV)
    assert response.text == 'title,joined\nHello,"2026-01-01 12:00:00+00"'


async def test_item_as_csv(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.get(f"/posts/{blog.post}?select=id,title", headers=CSV)
    assert response.text == f"id,title\n{blog.post},Hello"
    assert response.headers["etag"].startswith('"1-')


async def test_no_rows_are_a_line_end(client: httpx2.AsyncClient, blog: Blog) -> None:
    assert (await client.get("/posts?id=lt.0", headers=CSV)).text == "\n"


async def test_written_rows_as_csv(client: httpx2.AsyncClient, secret: Headers) -> None:
    headers = {**secret, **CSV, **prefer("return=representation")}
    response = await client.post(f"{REST}/tags?select=name,version", json=[{"name": "a b"}], headers=headers)
    assert (response.status_code, response.text) == (201, 'name,version\n"a b",1')


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("a,b", '"a,b"'),
        ('say "x"', '"say ""x"""'),
        ("back\\slash", '"back\\\\slash"'),
        ("(x)", '"(x)"'),
        ("two\nlines", '"two\nlines"'),
        ("NULL", "NULL"),
        ("=1+1", "=1+1"),
    ],
)
async def test_cells(client: httpx2.AsyncClient, blog: Blog, secret: Headers, text: str, cell: str) -> None:
    await client.patch(f"/posts/{blog.post}", json={"content": text}, headers=secret)
    response = await client.get(f"/posts?select=content&id=eq.{blog.post}", headers=CSV)
    assert response.text == f"content\n{cell}"


# ---- in -------------------------------------------------------------------------------------------------------------


@SURFACES
async def test_csv_makes_rows(client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str) -> None:
    body = f'title,user_id,content,published_at\n"One, two",{blog.ada},"a ""b""",NULL\r\nThree,{blog.bob},,2026-01-01'
    headers = {**secret, **IN_CSV, **prefer("return=representation")}
    path = f"{prefix}/posts?select=title,user_id,content,published_at,slug"
    response = await client.post(path, content=body, headers=headers)
    assert (response.status_code, response.json()) == (
        201,
        [
            {"title": "One, two", "user_id": blog.ada, "content": 'a "b"', "published_at": None, "slug": "one-two"},
            {
                "title": "Three",
                "user_id": blog.bob,
                "content": "",
                "published_at": "2026-01-01T00:00:00+00:00",
                "slug": "three",
            },
        ],
    )


async def test_one_line_of_csv_is_a_list_on_the_plain_surface(client: httpx2.AsyncClient, secret: Headers) -> None:
    response = await client.post("/tags?select=name", content="name\nx\n", headers={**secret, **IN_CSV})
    assert response.json() == [{"name": "x"}]


async def test_header_alone_makes_nothing(client: httpx2.AsyncClient, secret: Headers) -> None:
    response = await client.post("/tags", content="name\n", headers={**secret, **IN_CSV})
    assert (response.status_code, response.json()) == (201, [])


async def test_columns_choose_from_csv(client: httpx2.AsyncClient, secret: Headers) -> None:
    headers = {**secret, **IN_CSV}
    response = await client.post("/tags?select=name&columns=name", content="number,name\n1,x\n", headers=headers)
    assert (response.status_code, response.json()) == (201, [{"name": "x"}])
    response = await client.post("/tags", content="number,name\n1,y\n", headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "PGRST204")


async def test_what_comes_out_goes_in_again(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    """But for backslashes, which come out doubled as PostgreSQL prints them."""
    odd = 'x, "y"\n(z) ü'
    path = "/posts?select=title,user_id,content,status"
    await client.patch(f"/posts/{blog.post}", json={"content": odd}, headers=secret)
    out = await client.get(f"{path}&id=eq.{blog.post}", headers={**secret, **CSV})
    response = await client.post(path, content=out.content, headers={**secret, **IN_CSV})
    assert response.json()[0]["content"] == odd


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("\ufeffa\n1", [{"a": "1"}]),
        ("a,b\nNULL,\n", [{"a": None, "b": ""}]),
        ("a\nnull\n", [{"a": "null"}]),
        ("a,b\r\n\r\n1,2\r\n", [{"a": "1", "b": "2"}]),
        ('a\n"1\n2"', [{"a": "1\n2"}]),
    ],
)
def test_csv_is_read(text: str, rows: Any) -> None:
    assert csvtext.read(text) == rows


@pytest.mark.parametrize("text", ["", "\n\n", "a,b\n1\n", "a\n1,2\n", 'a\n"1', 'a\n"1"2', "a\n" + "x" * 140_000])
def test_bad_csv_is_refused(text: str) -> None:
    with pytest.raises(BadBody) as refusal:
        csvtext.read(text)
    assert refusal.value.code == "PGRST102"


# ---- forms ----------------------------------------------------------------------------------------------------------


async def test_form_makes_one_row(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    body = f"title=R%C3%A9sum%C3%A9+one&user_id={blog.ada}&content="
    response = await client.post("/posts?select=title,user_id,content", content=body, headers={**secret, **FORM})
    assert (response.status_code, response.json()) == (
        201,
        {"title": "Résumé one", "user_id": blog.ada, "content": ""},
    )


async def test_form_changes_an_item(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    path = f"/posts/{blog.post}?select=title"
    response = await client.patch(path, content="title=New", headers={**secret, **FORM})
    assert response.json() == {"title": "New"}


@pytest.mark.parametrize("body", [b"title=%ff", b"title=\xff", b"&".join([b"a=1"] * 1001)])
async def test_bad_form_is_refused(client: httpx2.AsyncClient, secret: Headers, body: bytes) -> None:
    response = await client.post("/posts", content=body, headers={**secret, **FORM})
    assert (response.status_code, response.json()["code"]) == (400, "PGRST102")
