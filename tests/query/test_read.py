"""The feed, embeds, pages, and the limits of an answer, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS
from app.data.steps import Steps
from app.errors import BadQuery
from app.query.fetch import fetch
from app.query.reader import read
from tests.conftest import EPOCH, Statements
from tests.query.asking import LIMITS, Asker, plan
from tests.query.callers import ADA, CALLERS, ROOT, ids

# ---- the query that the service is for -------------------------------------------------------------------------------


FEED = "posts?select=title,published_at,author(username),tags(name)&order=published_at.desc&limit=3"


async def test_the_feed_is_three_statements(ask: Asker, statements: Statements) -> None:
    found = await ask.bytes(ANONYMOUS, FEED)
    assert found == (
        b'[{"title":"orphan","published_at":"2026-01-01T12:00:00+00:00","author":null,"tags":[{"name":"zebra"}]},'
        b'{"title":"bobs","published_at":"2025-12-30T12:00:00+00:00","author":{"username":"bob"},'
        b'"tags":[{"name":"python"},{"name":"async"},{"name":"zebra"}]},'
        b'{"title":"second","published_at":"2025-12-30T12:00:00+00:00","author":{"username":"ada"},'
        b'"tags":[{"name":"python"},{"name":"zebra"}]}]'
    )
    assert statements.count == 3  # posts + author + tags


async def test_python_gets_the_same_bytes_in_its_session(
    ask: Asker, database: Database, statements: Statements
) -> None:
    expected = await ask.bytes(ANONYMOUS, FEED)
    for session_of in (database.reading, database.writing):
        statements.clear()
        async with session_of(ANONYMOUS) as session:
            assert await fetch(session, FEED) == expected
        assert statements.count == 3


@pytest.mark.parametrize("request_", ["", "?select=id", "posts?"])
async def test_fetch_refuses_what_is_no_query(database: Database, request_: str) -> None:
    async with database.reading(ANONYMOUS) as session:
        with pytest.raises(BadQuery, match="is no query"):
            await fetch(session, request_)


async def test_no_rows_need_no_statements_for_embeds(ask: Asker, statements: Statements) -> None:
    assert await ask.bytes(ANONYMOUS, f"{FEED}&id=in.()") == b"[]"
    assert statements.count == 1
    assert await ask(ANONYMOUS, "posts?select=id,author(username)&id=eq.8") == [{"id": 8, "author": None}]


# ---- embeds ----------------------------------------------------------------------------------------------------------


async def test_embeds_of_embeds(ask: Asker, statements: Statements) -> None:
    found = await ask(ANONYMOUS, "users?select=username,posts(id,tags(name,posts(id)))&id=in.(1,3)")
    tags = {"python": [1, 2, 7], "async": [1, 7], "zebra": [2, 7, 8]}

    def tag(name: str) -> dict[str, Any]:
        return {"name": name, "posts": [{"id": id} for id in tags[name]]}

    ada = [{"id": 1, "tags": [tag("python"), tag("async")]}, {"id": 2, "tags": [tag("python"), tag("zebra")]}]
    assert found == [{"username": "ada", "posts": ada}, {"username": "mia", "posts": []}]
    assert statements.count == 4  # users + posts + tags + posts


async def test_many_to_many_goes_both_ways(ask: Asker) -> None:
    assert await ask(ANONYMOUS, "posts?select=tags(name)&id=eq.2&tags.order=name.desc") == [
        {"tags": [{"name": "zebra"}, {"name": "python"}]}
    ]
    assert await ask(ANONYMOUS, "tags?select=name,posts(id)&name=in.(async,unused)") == [
        {"name": "async", "posts": [{"id": 1}, {"id": 7}]},
        {"name": "unused", "posts": []},
    ]


async def test_a_hidden_to_one_row_is_null_and_its_key_stays(ask: Asker) -> None:
    request = "posts?select=user_id,author(username)&id=eq.8"
    for caller in CALLERS.values():
        assert await ask(caller, request) == [{"user_id": 5, "author": None}]
    assert await ask(ROOT, "users?select=id&id=eq.5") == []


async def test_a_null_foreign_key_embeds_null(ask: Asker) -> None:
    found = await ask(ADA, "transfers?select=id,sender(username),receiver(username)")
    assert found == [
        {"id": 1, "sender": None, "receiver": {"username": "ada"}},
        {"id": 2, "sender": {"username": "ada"}, "receiver": {"username": "mia"}},
    ]


async def test_one_relation_under_several_names(ask: Asker, statements: Statements) -> None:
    found = await ask(ADA, "posts?select=id,a:author(username),b:author(id),t:tags(name)&id=eq.1&t.name=eq.async")
    assert found == [{"id": 1, "a": {"username": "ada"}, "b": {"id": 1}, "t": [{"name": "async"}]}]
    assert statements.count == 4


async def test_filters_of_an_embed_trim_the_embed_only(ask: Asker) -> None:
    found = await ask(
        ANONYMOUS, "posts?select=id,tags(name),author(id)&tags.name=in.(zebra)&author.username=not.eq.ada"
    )
    assert [(post["id"], [t["name"] for t in post["tags"]], post["author"]) for post in found] == [
        (1, [], None),
        (2, ["zebra"], None),
        (7, ["zebra"], {"id": 2}),
        (8, ["zebra"], None),
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [[1, 2], [1, 3], [1, 2, 3]]),
        ("tags.limit=1", [[1], [1], [1]]),
        ("tags.limit=0", [[], [], []]),
        ("tags.offset=1", [[2], [3], [2, 3]]),
        ("tags.offset=1&tags.limit=1", [[2], [3], [2]]),
        ("tags.limit=2&tags.order=name", [[2, 1], [1, 3], [2, 1]]),
        ("tags.limit=1&tags.order=name.desc", [[1], [3], [3]]),
        ("tags.limit=1&tags.name=eq.zebra", [[], [3], [3]]),
        ("tags.offset=9", [[], [], []]),
        ("tags.offset=100000&tags.limit=1000", [[], [], []]),
    ],
)
async def test_pages_of_an_embed_are_per_parent(ask: Asker, query: str, expected: list[list[int]]) -> None:
    found = await ask(ANONYMOUS, f"posts?select=tags(id)&id=in.(1,2,7)&{query}")
    assert [ids(post["tags"]) for post in found] == expected


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("author.limit=1", True),
        ("author.limit=5&author.offset=0", True),
        ("author.order=username.desc", True),
        ("author.limit=0", False),
        ("author.offset=1", False),
        ("author.limit=5&author.offset=1", False),
    ],
)
async def test_a_page_of_a_to_one_embed_holds_one_row(ask: Asker, query: str, shown: bool) -> None:
    found = await ask(ANONYMOUS, f"posts?select=author(username)&id=in.(1,2)&{query}")
    assert found == [{"author": {"username": "ada"} if shown else None}] * 2


# ---- limits ----------------------------------------------------------------------------------------------------------


async def test_a_list_of_more_than_a_page_is_cut(ask: Asker, database: Database) -> None:
    """A thousand rows a parent by default; here two, on both ways to read them."""
    asker = Asker(database, limits=replace(LIMITS, page=2))
    request = "posts?select=tags(id)&id=in.(1,7)"
    assert [ids(p["tags"]) for p in await asker(ANONYMOUS, request)] == [[1, 2], [1, 2]]
    assert [ids(p["tags"]) for p in await asker(ANONYMOUS, f"{request}&tags.order=id.desc")] == [[2, 1], [3, 2]]
    assert [ids(p["tags"]) for p in await asker(ANONYMOUS, f"{request}&tags.limit=3")] == [[1, 2], [1, 2]]
    assert [ids(p["tags"]) for p in await asker(ANONYMOUS, f"{request}&tags.offset=0")] == [[1, 2], [1, 2]]
    assert [ids(p["tags"]) for p in await asker(ANONYMOUS, f"{request}&tags.offset=1")] == [[2], [2, 3]]


@pytest.mark.parametrize("page", ["", "&tags.offset=0", "&tags.limit=1000"])
async def test_an_answer_of_too_many_rows_is_refused(ask: Asker, database: Database, page: str) -> None:
    """All levels together; and no statement fetches more than one row beyond."""
    request = f"posts?select=id,tags(id)&id=in.(1,2,7){page}"  # 3 posts + 7 tags
    assert len(await Asker(database, limits=replace(LIMITS, answer_rows=10))(ANONYMOUS, request)) == 3
    for rows in (9, 4, 3, 2):
        asker = Asker(database, limits=replace(LIMITS, answer_rows=rows))
        steps = Counted(asker, request)
        with pytest.raises(BadQuery) as caught:
            await database.read(ANONYMOUS, steps)
        assert (caught.value.code, caught.value.status) == ("54000", 400)
        assert max(steps.rows) <= rows + 1


class Counted:
    """The steps of a read that notes how many rows each statement brought."""

    def __init__(self, asker: Asker, request: str) -> None:
        self.asker, self.plan, self.rows = asker, plan(request, ANONYMOUS.view), list[int]()

    def __call__(self) -> Steps[Any]:
        steps = read(self.asker.compiler, self.plan, ANONYMOUS, EPOCH)
        try:
            statement = next(steps)
            while True:
                rows: Sequence[Any] = yield statement
                self.rows.append(len(rows))
                statement = steps.send(rows)
        except StopIteration as stop:
            return stop.value
