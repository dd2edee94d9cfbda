"""The lists that are served most read an index on both databases: never a whole table, never a sort of one. A few
thousand rows with statistics; the planner's settings are as they come.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, Principal, user
from app.data.steps import Statement, Steps
from app.models import Post, PostTag, Tag, User
from app.query.reader import read
from app.resources import CATALOG
from tests.conftest import EPOCH, Clock
from tests.query.asking import Asker, plan
from tests.query.rows import a_post, a_tag, a_user, fill, links

POSTS, USERS, TAGS = 4000, 100, 200
BIG = ("posts", "post_tags")
FEW = 200  # rows that a sort may take: those of one author or one tag, and of a page

MEMBER, AUTHOR, ADMIN = user(7), user(7, "author"), user(1, "admin")


@pytest.fixture
async def large(spare_url: str) -> AsyncGenerator[Asker]:
    """A database of its own: statistics stay behind when rows are deleted."""
    states = ["published"] * 8 + ["draft", "archived"]
    posts = [
        a_post(
            id,
            id % USERS + 1,
            content="x" * 1500,  # as long as a short post: a table of a few pages would rightly be scanned
            status=states[id % 10],
            published_at=None if id % 10 == 8 else EPOCH - timedelta(minutes=id * 7919 % 100_003),
            deleted_at=EPOCH if id % 50 == 0 else None,
        )
        for id in range(1, POSTS + 1)
    ]
    async with Database(spare_url, CATALOG, clock=Clock()) as database:
        await fill(
            database,
            {
                User: [a_user(id) for id in range(1, USERS + 1)],
                Tag: [a_tag(id, f"tag{id}") for id in range(1, TAGS + 1)],
                Post: posts,
                PostTag: [row for id in range(1, POSTS + 1) for row in links(id, id % TAGS + 1, (id + 7) % TAGS + 1)],
            },
        )
        async with database.writer.begin() as connection:
            await connection.exec_driver_sql("ANALYZE")
        yield Asker(database)


FEED = "posts?select=title,author(username),tags(name)&order=published_at.desc&limit=20"
SERVED = [
    (ANONYMOUS, FEED),
    (MEMBER, FEED),
    (ADMIN, FEED),
    (ANONYMOUS, "posts?select=title,tags(name)&user_id=eq.7&order=published_at.desc&limit=20"),
    (AUTHOR, "posts?select=title,tags(name)&user_id=eq.7&order=published_at.desc&limit=20"),
    (ADMIN, "posts?select=title,tags(name)&user_id=eq.7&order=published_at.desc&limit=20"),
    (ANONYMOUS, "tags?select=posts(title,author(username))&name=eq.tag7&posts.order=published_at.desc&posts.limit=20"),
    (ANONYMOUS, "posts?id=eq.7"),
    (ANONYMOUS, "posts?slug=eq.post-7"),
    (ANONYMOUS, "users?select=username,posts(title)&username=eq.user7&posts.order=published_at.desc&posts.limit=5"),
]


async def test_served_lists_use_an_index(large: Asker) -> None:
    for who, request in SERVED:
        for sql, faults in await explained(large, who, request):
            assert not faults, (request, who.role, sql, faults)


async def test_a_filter_without_an_index_is_noticed(large: Asker) -> None:
    """The check can fail."""
    ((_, faults),) = await explained(large, ANONYMOUS, "posts?select=id&title=eq.x&order=title&limit=1000")
    assert faults


async def explained(asker: Asker, who: Principal, request: str) -> list[tuple[str, list[str]]]:
    """Each statement of a request, with the keys that it really gets, and what is wrong with its plan."""
    found = plan(request, who.view)
    sqlite = asker.database.name == "sqlite"
    prefix = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN (FORMAT JSON) "

    def steps() -> Steps[list[tuple[str, list[str]]]]:
        out = []
        inner = read(asker.compiler, found, who, EPOCH)
        statement = next(inner)
        while True:
            rows = yield Statement(prefix + statement.sql, statement.args)
            if sqlite:
                faults = faults_of_sqlite(statement.sql, [row[3] for row in rows])
            else:
                faults = faults_of_postgresql(rows[0][0][0]["Plan"])
            out.append((statement.sql, faults))
            try:
                statement = inner.send((yield statement))
            except StopIteration:
                return out

    return await asker.database.read(who, steps)


def faults_of_sqlite(sql: str, details: list[str]) -> list[str]:
    tables = {alias: name for name, alias in re.findall(r"(\w+) AS (t\d+)", sql)}
    scans = [d for d in details if (m := re.match(r"SCAN (t\d+)(?! USING)", d)) and tables[m[1]] in BIG]
    # of all posts; the few rows of an author or of a page's parents may be sorted
    sorts = [d for d in details if "ORDER BY" in d and "FROM posts" in sql and "user_id =" not in sql]
    return scans + sorts


def faults_of_postgresql(node: dict[str, Any]) -> list[str]:
    faults = [f for child in node.get("Plans", ()) for f in faults_of_postgresql(child)]
    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG:
        faults.append(f"Seq Scan on {node['Relation Name']}")
    if node["Node Type"].endswith("Sort") and max(n["Plan Rows"] for n in node["Plans"]) > FEW:
        faults.append(f"Sort of {node['Plans'][0]['Plan Rows']} rows")
    return faults
