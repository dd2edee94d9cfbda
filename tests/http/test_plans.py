"""Requests whose shape was asked before: their answers are those of a service that never heard of it."""

from __future__ import annotations

import re

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS
from app.settings import Settings
from tests.http.asking import client_as
from tests.http.conftest import Blog

OWN = ("x-request-id", "date")

# a shape, and requests that differ from it in their values
SHAPES = {
    "/posts?select=id,title&id=gt.0&order=id.desc&limit=1": [
        "/posts?select=id,title&id=gt.1&order=id.desc&limit=1",
        "/posts?select=id,title&id=gt.x&order=id.desc&limit=1",
        "/posts?select=id,title&id=gt.0&order=id.desc&limit=2",
        "/posts?select=id,title&id=gt.0&order=id.desc&limit=2000",
        "/posts?select=id,title&id=gt.0&order=id.desc&limit=x",
    ],
    "/posts?limit=1&offset=1": ["/posts?limit=1&offset=2", "/posts?limit=1&offset=999999"],
    "/posts/1?select=title,tags(name)&tags.name=eq.sql": [
        "/posts/{post}?select=title,tags(name)&tags.name=eq.sql",
        "/posts/{post}?select=title,tags(name)&tags.name=eq.python",
        "/posts/x?select=title,tags(name)&tags.name=eq.python",
    ],
    "/rest/v1/posts?or=(title.eq.a,id.in.(1,2))": ["/rest/v1/posts?or=(title.eq.Hello,id.in.())"],
    "/posts?search=wfts.nothing": ["/posts?search=wfts.hello", '/posts?search=wfts."hello'],
    "/posts?published_at=gt.2030-01-01": ["/posts?published_at=gt.yesterday", "/posts?published_at=gt.never"],
    "/users?username=like.z*": ["/users?username=like.a*", f"/users?username=like.{'a' * 300}"],
}


def told(answer: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    return answer.status_code, answer.content, {k: v for k, v in answer.headers.items() if k not in OWN}


@pytest.mark.parametrize("shape", SHAPES)
async def test_known_shape_is_answered_as_a_new_one(
    settings: Settings, database: Database, blog: Blog, shape: str
) -> None:
    async with client_as(ANONYMOUS, settings, database) as knowing:
        await knowing.get(shape)
        for path in (path.replace("{post}", str(blog.post)) for path in SHAPES[shape]):
            async with client_as(ANONYMOUS, settings, database) as fresh:
                expected = told(await fresh.get(path))
            assert [told(await knowing.get(path)) for _ in range(4)] == [expected] * 4, path


async def test_range_is_part_of_what_is_asked(settings: Settings, database: Database, blog: Blog) -> None:
    async with client_as(ANONYMOUS, settings, database) as client:
        for _ in range(4):
            all_of_them = await client.get("/users?order=id&select=id")
            second = await client.get("/users?order=id&select=id", headers={"range": "1-1"})
            assert [row["id"] for row in all_of_them.json()] == [blog.ada, blog.bob]
            assert [row["id"] for row in second.json()] == [blog.bob]
            assert second.headers["content-range"] == "1-1/*"


async def test_pages_behind_cursors_of_one_shape(settings: Settings, database: Database, blog: Blog) -> None:
    async with client_as(ANONYMOUS, settings, database) as client:
        for start in (blog.ada, blog.bob):  # the second walk knows the shapes of the first
            seen, path = [], f"/users?select=id&id=gte.{start}&order=id&limit=1"
            while path:
                answer = await client.get(path)
                seen += [row["id"] for row in answer.json()]
                found = re.match(r"<([^>]+)>", answer.headers.get("link", ""))
                path = found[1] if found else ""
            assert seen == [id for id in (blog.ada, blog.bob) if id >= start]


async def test_cursor_of_other_values_is_refused_in_a_known_shape(
    settings: Settings, database: Database, blog: Blog
) -> None:
    async with client_as(ANONYMOUS, settings, database) as client:
        await client.get("/users?id=gt.1&limit=1")
        first = await client.get("/users?id=gt.0&limit=1")
        found = re.match(r"<([^>]+)>", first.headers["link"])
        assert found is not None
        answer = await client.get(found[1].replace("gt.0", "gt.1"))
        assert (answer.status_code, answer.json()["message"]) == (400, "the cursor belongs to another query")
