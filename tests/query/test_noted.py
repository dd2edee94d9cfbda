"""What a person with the admin's view reads of others is noted, level by level, and changes nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.data.catalog import Catalog, Resource
from app.data.database import Database
from app.data.rules import Principal, Role, user
from app.http.context import Trace
from app.query.compiler import Compiler
from app.query.outputs import Note
from app.query.reader import Noted, read, read_keyed
from app.resources import CATALOG
from tests.conftest import Statements
from tests.query.asking import AGGREGATES, LIMITS, Asker, plan, texts
from tests.query.callers import CALLERS, ROOT

ADA, MIA = user(1, "admin"), user(3, "admin")  # admins with posts and transfers of their own

# The ids that are noted of each table, in the order of reading.
READS = {
    "posts?select=id&order=id": {"posts": [3, 4, 5]},
    "posts?select=id&order=id.desc&limit=6": {"posts": [5, 4, 3]},
    "posts?select=id&order=id&limit=2&offset=3": {"posts": [4, 5]},
    "posts?select=tags(name)&id=eq.3": {"posts": [3]},
    "posts?select=id,deleted_at&deleted_at=not.is.null&order=id": {"posts": [6, 9]},
    "posts?select=title&status=eq.published&published_at=lt.2026-01-01": {},
    "posts?select=title&limit=0": {},
    "posts?order=id": {"posts": [3, 4, 5]},
    "posts?select=count": {},
    "users?select=username,posts(title)&posts.order=id": {"posts": [3, 4, 5]},
    "users?select=username,posts(title)&posts.order=id.desc&posts.limit=1": {"posts": [5]},
    "users?select=username,posts(title)&posts.order=id&posts.offset=3&posts.limit=5": {"posts": [4, 5]},
    "users?select=username,...posts(title)&posts.order=id": {"posts": [3, 4, 5]},
    "users?select=username,posts(count)": {},
    "users?select=username,posts()&posts=not.is.null": {},
    "users?select=username,posts!inner()": {},
    "tags?select=name,posts(id)&name=in.(python,unused)&posts.order=id": {"posts": [3, 4]},
    "posts?select=id,author(posts(id))&id=in.(3,4,7)&order=id&author.posts.order=id": {"posts": [3, 4, 5]},
    "post_tags?select=post_id,tag_id": {},
    "transfers?select=amount&order=id": {"transfers": [1, 2, 3]},
    "users?select=sent(amount),received(amount),posts(id)&id=eq.2": {"transfers": [3]},
    "users?select=sent(amount),received(amount),posts(id)&id=eq.1&posts.order=id": {
        "transfers": [2, 1],
        "posts": [3, 4, 5],
    },
    "transfers?select=receiver(username)&to_user_id=eq.1": {"transfers": [1]},
    "revisions?select=id": {},
}


async def noted_of(ask: Asker, who: Principal, request: str) -> dict[str, Noted]:
    """What a runner of the steps collects."""
    trace, found, now = Trace("test"), ask.plan(who, request), ask.database.clock()
    await ask.database.read(who, lambda: trace.counted(read(ask.compiler, found, who, now)))
    return trace.noted


def keys_of(noted: dict[str, Noted]) -> dict[str, list[int]]:
    return {name: list(table.keys) for name, table in noted.items()}


@pytest.mark.parametrize("request_", READS)
async def test_rows_that_only_the_admins_view_shows_are_noted(ask: Asker, request_: str) -> None:
    noted = await noted_of(ask, ROOT, request_)
    assert keys_of(noted) == READS[request_]
    assert {name: table.rows for name, table in noted.items()} == {
        name: len(ids) for name, ids in READS[request_].items()
    }


@pytest.mark.parametrize(
    ("who", "request_", "expected"),
    [
        (ADA, "posts?select=id", {}),
        (ADA, "posts?select=id&deleted_at=not.is.null", {"posts": [9]}),
        (ADA, "transfers?select=id", {"transfers": [3]}),
        (MIA, "transfers?select=id", {"transfers": [1]}),
        (MIA, "users?select=received(id)&id=in.(1,3)", {"transfers": [1]}),
    ],
)
async def test_what_is_the_admins_own_is_not_noted(
    ask: Asker, who: Principal, request_: str, expected: dict[str, list[int]]
) -> None:
    """A grant has no sender: only its receiver is a party."""
    assert keys_of(await noted_of(ask, who, request_)) == expected


@pytest.mark.parametrize("caller", [name for name in CALLERS if name != "admin"])
@pytest.mark.parametrize("request_", ["posts?select=id", "users?select=id,posts(id),sent(id)", "transfers?select=id"])
async def test_nobody_else_is_noted(ask: Asker, caller: str, request_: str) -> None:
    assert await noted_of(ask, CALLERS[caller], request_) == {}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("transfers?select=to_user_id,amount.sum()", {"transfers": 3}),
        ("transfers?select=amount.max()", {"transfers": 3}),
        ("posts?select=status,count()", {"posts": 3}),
        ("posts?select=title,count()&status=eq.draft", {"posts": 1}),
        ("posts?select=count(),author(username)", {"posts": 3}),
        ("users?select=username,posts(id.max())", {"posts": 3}),
        ("posts?select=title,count()&id=eq.1", {}),
        ("posts?select=title.max()&id=in.()", {}),
        ("posts?select=count(),titles:title.count()", {}),
    ],
)
async def test_aggregates_note_how_many_rows_they_took_in(
    database: Database, ask: Asker, request_: str, expected: dict[str, int]
) -> None:
    """But for those that only count."""
    noted = await noted_of(Asker(database, limits=AGGREGATES), ROOT, request_)
    assert {name: table.rows for name, table in noted.items()} == expected
    assert not any(table.keys for table in noted.values())


async def test_rows_by_their_keys_are_noted(ask: Asker) -> None:
    trace, found, now = Trace("test"), plan("posts?select=title", Role.ADMIN, page=None), ask.database.clock()
    steps = read_keyed(ask.compiler, found, ROOT, now, [7, 5, 99, 3])
    await ask.database.read(ROOT, lambda: trace.counted(steps))
    assert {name: set(ids) for name, ids in keys_of(trace.noted).items()} == {"posts": {3, 5}}


async def test_rows_that_are_not_shown_are_not_noted(ask: Asker) -> None:
    trace, found, now = Trace("test"), ask.plan(ROOT, "posts?select=id"), ask.database.clock()
    await ask.database.read(ROOT, lambda: trace.counted(read(ask.compiler, found, ROOT, now, shown=False)))
    assert trace.noted == {}
    assert trace.statements == 1


# ---- what stays as it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", READS)
async def test_noting_changes_no_byte_and_no_cursor(ask: Asker, statements: Statements, request_: str) -> None:
    noting, plain = await ask.page(ROOT, request_, count=True), await ask.page(CALLERS["service"], request_, count=True)
    assert (noting.cursor, noting.total) == (plain.cursor, plain.total)
    statements.clear()
    body = await ask.bytes(ROOT, request_)
    sent = statements.count
    assert body == await ask.bytes(CALLERS["service"], request_)
    assert statements.count == 2 * sent


@pytest.mark.parametrize("request_", READS)
async def test_others_statements_are_those_of_rules_that_note_nothing(database: Database, request_: str) -> None:
    silent = Catalog([Resource(r.model, replace(r.rule, noted=None), r.repository) for r in CATALOG])
    ours, theirs = Compiler(CATALOG, database.dialect, LIMITS), Compiler(silent, database.dialect, LIMITS)
    node = plan(request_, Role.ADMIN).node
    ours.read(node, Role.ADMIN, noting=True)
    assert texts(ours.read(node, Role.ADMIN)) == texts(theirs.read(node, Role.ADMIN))
    assert texts(theirs.read(node, Role.ADMIN, noting=True)) == texts(theirs.read(node, Role.ADMIN))


async def test_noting_costs_one_column_a_level(database: Database) -> None:
    compiler = Compiler(CATALOG, database.dialect, LIMITS)
    node = plan("posts?select=title,author(username,posts(id))", Role.ADMIN).node
    plain, noting = compiler.read(node, Role.ADMIN), compiler.read(node, Role.ADMIN, noting=True)
    assert (plain.note, plain.kids[0][0].note) == (None, None)
    assert noting.note == Note("posts", 2, grouped=False)  # behind the title and the key of the author
    ((author, _),) = noting.kids
    ((posts, _),) = author.kids
    assert (author.note, posts.note) == (None, Note("posts", 1, grouped=False))
    assert [text.count("CASE WHEN") for text in texts(plain)] == [0, 0, 0]
    assert [text.count("CASE WHEN") for text in texts(noting)] == [1, 0, 1]
