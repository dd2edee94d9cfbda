"""The documents that come out, on both databases: embeds, pages, orders, rules, masks, and how values are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.data.steps import Steps
from app.errors import BadQuery
from app.models import Post, PostTag, Revision, Tag, Transfer, User
from app.query.fetch import fetch
from app.query.reader import read
from tests.conftest import EPOCH, Statements
from tests.query.asking import LIMITS, Asker, plan
from tests.query.rows import DAY, a_post, a_revision, a_tag, a_transfer, a_user, fill, links

ADA, BOB, MIA, ROOT = user(1, "author"), user(2, "author"), user(3), user(4, "admin")
CALLERS = {
    "anonymous": ANONYMOUS,
    "member": MIA,
    "author": ADA,
    "other": BOB,
    "admin": ROOT,
    "service": SERVICE,
    "system": SYSTEM,
}


@pytest.fixture
async def ask(database: Database) -> Asker:
    """Ada (1) has posts in every state, Bob (2) one public and one deleted, and a deleted author (5) a public one."""
    posts = [
        a_post(1, 1, title="first", published_at=EPOCH - 3 * DAY),
        a_post(2, 1, title="second", published_at=EPOCH - 2 * DAY),
        a_post(3, 1, title="draft", status="draft", published_at=None),
        a_post(4, 1, title="scheduled", published_at=EPOCH + timedelta(microseconds=1)),
        a_post(5, 1, title="archived", status="archived"),
        a_post(6, 1, title="deleted", deleted_at=EPOCH),
        a_post(7, 2, title="bobs", published_at=EPOCH - 2 * DAY),
        a_post(8, 5, title="orphan", published_at=EPOCH),
        a_post(9, 2, title="bobs deleted", status="draft", deleted_at=EPOCH),
    ]
    users = [
        a_user(1, username="ada", role="author"),
        a_user(2, username="bob", role="author", email=None, full_name=None),
        a_user(3, username="mia", is_active=False),
        a_user(4, username="root", role="admin", full_name=None),
        a_user(5, username="gone", role="author", deleted_at=EPOCH),
    ]
    tags = [a_tag(1, "python"), a_tag(2, "async"), a_tag(3, "zebra"), a_tag(4, "unused")]
    joined = [
        *links(1, 1, 2),
        *links(2, 3, 1),
        *links(3, 1),
        *links(6, 2),
        *links(7, 1, 2, 3),
        *links(8, 3),
        *links(4, 4),
    ]
    changes = {"title": ["a", "b"], "created_by": [None, 1], "tags": [[], ["x"]], "hashed_password": ["no", "no"]}
    revisions = [
        a_revision(1, "posts", 1, changes),
        a_revision(2, "posts", 6, {"deleted_at": [None, "t"]}),
        a_revision(3, "posts", 7, changes),
        a_revision(4, "users", 1, {"email": ["a", "b"], "username": ["a", "b"], "password": [None, None]}),
        a_revision(5, "credentials", 1, {"hashed_password": ["a", "b"]}),
    ]
    transfers = [a_transfer(1, None, 1), a_transfer(2, 1, 3), a_transfer(3, 2, 3)]
    await fill(
        database, {User: users, Post: posts, Tag: tags, PostTag: joined, Revision: revisions, Transfer: transfers}
    )
    return Asker(database)


def ids(documents: Any) -> list[int]:
    return [document["id"] for document in documents]


# ---- the query that the service is for ------------------------------------------------------------------------------


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


# ---- embeds ---------------------------------------------------------------------------------------------------------


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


# ---- rules ----------------------------------------------------------------------------------------------------------

VISIBLE = {
    "anonymous": [1, 2, 7, 8],
    "member": [1, 2, 7, 8],
    "author": [1, 2, 3, 4, 5, 7, 8],
    "other": [1, 2, 7, 8],
    "admin": [1, 2, 3, 4, 5, 7, 8],
    "service": [1, 2, 3, 4, 5, 7, 8],
    "system": [1, 2, 3, 4, 5, 7, 8],
}
DELETED = {"author": [6], "other": [9], "admin": [6, 9], "service": [6, 9], "system": [6, 9]}


@pytest.mark.parametrize("name", CALLERS)
async def test_posts_that_each_caller_sees_at_every_place(ask: Asker, name: str) -> None:
    who, seen = CALLERS[name], VISIBLE[name]
    assert ids(await ask(who, "posts?select=id")) == seen
    assert ids(await ask(who, "posts?select=id&id=in.(3,4,5,6,9)")) == [id for id in seen if id in (3, 4, 5)]
    users = await ask(who, "users?select=id,posts(id)")
    assert {post["id"] for row in users for post in row["posts"]} == set(seen) - {8}  # its author is deleted
    tags = await ask(who, "tags?select=id,posts(id)")
    tagged = {1, 2, 3, 4, 6, 7, 8}
    assert {post["id"] for row in tags for post in row["posts"]} == tagged & set(seen)
    assert {row["post_id"] for row in await ask(who, "post_tags")} == tagged & set(seen)
    through = await ask(who, "tags?select=post_tags(post_id,post(id))")
    assert {link["post_id"] for row in through for link in row["post_tags"]} == tagged & set(seen)
    assert all(link["post"] == {"id": link["post_id"]} for row in through for link in row["post_tags"])


@pytest.mark.parametrize("name", DELETED)
async def test_deleted_rows_come_to_those_who_may_and_name_the_column(ask: Asker, name: str) -> None:
    who = CALLERS[name]
    every = sorted(VISIBLE[name] + DELETED[name])
    assert ids(await ask(who, "posts?select=id&deleted_at=not.in.()")) == every
    assert ids(await ask(who, "posts?select=id&deleted_at=eq.2026-01-01T12:00:00Z")) == DELETED[name]
    assert ids(await ask(who, "posts?select=id,deleted_at&order=deleted_at")) == VISIBLE[name]
    embedded = await ask(who, "users?select=posts(id)&posts.deleted_at=not.in.()")
    assert not {post["id"] for row in embedded for post in row["posts"]} & {6, 9}


async def test_deleted_users_come_to_admins_who_name_the_column(ask: Asker) -> None:
    assert ids(await ask(ROOT, "users?select=id&deleted_at=not.in.()")) == [1, 2, 3, 4, 5]
    assert ids(await ask(ROOT, "users?select=id,deleted_at")) == [1, 2, 3, 4]
    for who in (ANONYMOUS, MIA, ADA):
        assert ids(await ask(who, "users?select=id")) == [1, 2, 3, 4]


async def test_a_post_is_public_from_its_time(ask: Asker, database: Database) -> None:
    assert ids(await ask(ANONYMOUS, "posts?select=id&id=eq.4")) == []
    clock: Any = database.clock
    clock.advance(0.000001)
    assert ids(await ask(ANONYMOUS, "posts?select=id&id=eq.4")) == [4]


@pytest.mark.parametrize(
    ("who", "expected"), [(ADA, [1, 2]), (BOB, [3]), (MIA, [2, 3]), (ROOT, [1, 2, 3]), (ANONYMOUS, [])]
)
async def test_transfers_are_their_parties(ask: Asker, who: Principal, expected: list[int]) -> None:
    assert ids(await ask(who, "transfers?select=id")) == expected
    users = await ask(who, "users?select=sent(id),received(id)")
    assert {t["id"] for row in users for t in (*row["sent"], *row["received"])} == set(expected)


async def test_changes_in_revisions_show_the_readers_columns(ask: Asker) -> None:
    request = "revisions?select=id,changes"
    post = {"title": ["a", "b"], "tags": [[], ["x"]]}
    assert await ask(ADA, request) == [{"id": 1, "changes": post}, {"id": 2, "changes": {"deleted_at": [None, "t"]}}]
    assert await ask(BOB, request) == [{"id": 3, "changes": post}]
    assert await ask(ROOT, request) == [
        {"id": 1, "changes": {"title": ["a", "b"], "created_by": [None, 1], "tags": [[], ["x"]]}},
        {"id": 2, "changes": {"deleted_at": [None, "t"]}},
        {"id": 3, "changes": {"title": ["a", "b"], "created_by": [None, 1], "tags": [[], ["x"]]}},
        {"id": 4, "changes": {"email": ["a", "b"], "username": ["a", "b"], "password": [None, None]}},
        {"id": 5, "changes": {}},
    ]
    for who in (ANONYMOUS, MIA):
        with pytest.raises(Exception, match=r"Could not find the table 'public\.revisions'"):
            await ask(who, request)


# ---- masks ----------------------------------------------------------------------------------------------------------

EMAILS = {1: "u1@example.org", 2: None, 3: "u3@example.org", 4: "u4@example.org"}


@pytest.mark.parametrize(
    ("who", "own"),
    [(ANONYMOUS, set()), (MIA, {3}), (ADA, {1}), (BOB, {2}), (ROOT, {1, 2, 3, 4}), (SERVICE, {1, 2, 3, 4})],
)
async def test_masked_columns_are_null_at_every_use(ask: Asker, who: Principal, own: set[int]) -> None:
    expected = [
        {
            "id": id,
            "uid": str(UUID(int=id)) if id in own else None,
            "email": EMAILS[id] if id in own else None,
            "balance": 10 * id if id in own else None,
        }
        for id in (1, 2, 3, 4)
    ]
    assert await ask(who, "users?select=id,uid,email,balance") == expected
    embedded = await ask(who, "posts?select=author(id,uid,email,balance)&id=in.(1,7)")
    assert [post["author"] for post in embedded] == expected[:2]

    with_email = {id for id in own if EMAILS[id]}
    every = "u1@example.org,u2@example.org,u3@example.org,u4@example.org"
    assert set(ids(await ask(who, f"users?select=id&email=in.({every})"))) == with_email
    assert set(ids(await ask(who, f"users?select=id&email=not.in.({every})"))) == set()
    assert set(ids(await ask(who, "users?select=id&email=not.eq.x"))) == with_email
    assert set(ids(await ask(who, "users?select=id&email=eq.u1@example.org"))) == own & {1}
    assert set(ids(await ask(who, "users?select=id&balance=not.eq.10"))) == own - {1}
    assert set(ids(await ask(who, f"users?select=id&uid=eq.{UUID(int=3)}"))) == own & {3}
    assert set(ids(await ask(who, "users?select=id&balance=not.in.()"))) == {1, 2, 3, 4}

    known = sorted(own, reverse=True)
    others = sorted({1, 2, 3, 4} - own, reverse=True)
    assert ids(await ask(who, "users?select=id&order=balance.desc.nullslast,id.desc")) == known + others
    assert ids(await ask(who, "users?select=id&order=balance.desc,id.desc")) == others + known
    assert ids(await ask(who, "users?select=id&order=email.nullsfirst,id")) == [
        *sorted({1, 2, 3, 4} - with_email),
        *sorted(with_email),
    ]


# ---- order ----------------------------------------------------------------------------------------------------------

ORDERS = [
    ("posts", "published_at", [1, 2, 7, 5, 8, 4, 3]),
    ("posts", "published_at.desc", [3, 4, 8, 5, 7, 2, 1]),
    ("posts", "published_at.nullsfirst", [3, 1, 2, 7, 5, 8, 4]),
    ("posts", "published_at.desc.nullslast", [4, 8, 5, 7, 2, 1, 3]),
    ("posts", "published_at.asc.nullslast", [1, 2, 7, 5, 8, 4, 3]),
    ("posts", "published_at.desc.nullsfirst", [3, 4, 8, 5, 7, 2, 1]),
    ("posts", "published_at.desc,id", [3, 4, 8, 5, 2, 7, 1]),
    ("posts", "user_id.desc,published_at", [8, 7, 1, 2, 5, 4, 3]),
    ("posts", "user_id,user_id.desc", [5, 4, 3, 2, 1, 7, 8]),
    ("users", "full_name", [1, 3, 2, 4]),
    ("users", "full_name.desc", [4, 2, 3, 1]),
    ("users", "full_name.nullsfirst,username.desc", [4, 2, 1, 3]),
]


@pytest.mark.parametrize(("table", "order", "expected"), ORDERS)
async def test_order(ask: Asker, table: str, order: str, expected: list[int]) -> None:
    """NULLs last ascending, first descending; ties by the key in the last direction."""
    assert ids(await ask(ROOT, f"{table}?select=id&order={order}")) == expected
    if table == "users":
        return
    found = await ask(ROOT, f"users?select=posts(id)&id=in.(1)&posts.order={order}")
    assert ids(found[0]["posts"]) == [id for id in expected if id in (1, 2, 3, 4, 5)]
    paged = await ask(ROOT, f"users?select=posts(id)&id=in.(1)&posts.order={order}&posts.limit=3")
    assert ids(paged[0]["posts"]) == [id for id in expected if id in (1, 2, 3, 4, 5)][:3]


async def test_not_in_of_nothing_leaves_nulls_to_be_ordered(ask: Asker) -> None:
    request = "posts?select=id&published_at=not.in.()&order=published_at.desc.nullslast"
    assert ids(await ask(ROOT, request)) == [4, 8, 5, 7, 2, 1, 3]


# ---- filters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("id=eq.1", [1]),
        ("id=not.eq.1", [2, 3, 4]),
        ("id=eq.9223372036854775807", []),
        ("id=in.()", []),
        ("id=not.in.()", [1, 2, 3, 4]),
        ("id=in.(2,1,2)", [1, 2]),
        ("id=not.in.(2,1)", [3, 4]),
        ("id=in.(9223372036854775807,-9223372036854775808,4)", [4]),
        ("full_name=eq.User 1", [1]),
        ("full_name=not.eq.User 1", [3]),
        ("full_name=in.(User 1,User 2)", [1]),
        ("full_name=not.in.(User 1)", [3]),
        ("full_name=not.in.()", [1, 2, 3, 4]),
        ("is_active=eq.false", [3]),
        ("is_active=not.eq.f", [1, 2, 4]),
        ("is_active=in.(true,no)", [1, 2, 3, 4]),
        ("is_active=in.(off)", [3]),
        ("role=eq.author", [1, 2]),
        ("role=in.(admin,unheard)", [4]),
        ("role=eq.Author", []),
        ("username=eq.Ada", []),
        (f"uid=in.({UUID(int=2)},{UUID(int=4).hex})", [2, 4]),
        (f"uid=not.in.({UUID(int=2)})", [1, 3, 4]),
        ("created_at=eq.2025-12-23T12:00:00", [1, 2, 3, 4]),
        ("created_at=in.(2025-12-23T13:00:00%2B01:00)", [1, 2, 3, 4]),
        ("created_at=not.in.(2025-12-23 12:00)", []),
        ("id=in.(1,2)&id=in.(2,3)", [2]),
    ],
)
async def test_filter(ask: Asker, query: str, expected: list[int]) -> None:
    assert ids(await ask(ROOT, f"users?select=id&{query}")) == expected


@pytest.mark.parametrize("test", ["eq.{}", "in.({})"])
async def test_a_text_longer_than_its_column_matches_nothing(ask: Asker, database: Database, test: str) -> None:
    """PostgreSQL cuts a text that is cast to VARCHAR(200), silently."""
    await fill(database, {Post: [a_post(50, 1, title="x" * 200)]})
    assert ids(await ask(ROOT, f"posts?select=id&title={test.format('x' * 200)}")) == [50]
    assert ids(await ask(ROOT, f"posts?select=id&title={test.format('x' * 201)}")) == []


# ---- values ---------------------------------------------------------------------------------------------------------

TEXTS = [
    "",
    "é",
    "日本語",
    '"quoted", \\ back',
    "a'b;--",
    "\u2028\u2029",
    "\x01\x1f\x7f",
    "😀",
    "tab\tnew\nline",
    "%_*",
    "null",
    "5",
]


async def test_any_text_comes_back_and_is_found(ask: Asker, database: Database) -> None:
    await fill(database, {Post: [a_post(100 + i, 1, title=text, content=text) for i, text in enumerate(TEXTS)]})
    for i, text in enumerate(TEXTS):
        escaped = "".join(f"%{byte:02x}" for byte in text.encode())
        quoted = "".join(f"%{byte:02x}" for byte in text.replace("\\", "\\\\").replace('"', '\\"').encode())
        for query in (f"title=eq.{escaped}", f'title=in.("{quoted}")'):
            found = await ask(ANONYMOUS, f"posts?select=id,title,content&{query}")
            assert found == [{"id": 100 + i, "title": text, "content": text}]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05+00:00"),
        ((2024, 1, 2, 3, 4, 5, 500_000), "2024-01-02T03:04:05.5+00:00"),
        ((2024, 1, 2, 3, 4, 5, 1), "2024-01-02T03:04:05.000001+00:00"),
        ((2024, 1, 2, 3, 4, 5, 120), "2024-01-02T03:04:05.00012+00:00"),
        ((2024, 1, 2), "2024-01-02T00:00:00+00:00"),
        ((999, 1, 2, 10, 0, 0, 100), "0999-01-02T10:00:00.0001+00:00"),
    ],
)
async def test_times(ask: Asker, database: Database, parts: Sequence[int], text: str) -> None:
    await fill(database, {Post: [a_post(60, 1, published_at=an_instant(*parts))]})
    escaped = text.replace("+", "%2B")
    for query in (f"published_at=eq.{escaped}", f"published_at=in.({escaped})"):
        assert await ask(ANONYMOUS, f"posts?select=id,published_at&{query}") == [{"id": 60, "published_at": text}]


async def test_every_kind_of_value_in_its_json_form(ask: Asker) -> None:
    assert await ask.bytes(ROOT, "users?id=eq.2") == (
        b'[{"id":2,"uid":"00000000-0000-0000-0000-000000000002","email":null,"username":"bob","full_name":null,'
        b'"role":"author","is_active":true,"balance":20,"created_at":"2025-12-23T12:00:00+00:00",'
        b'"updated_at":"2025-12-23T12:00:00+00:00","created_by":null,"updated_by":null,"deleted_at":null,"version":1}]'
    )
    assert await ask.bytes(ROOT, "users?select=is_active&id=in.(1,3)") == b'[{"is_active":true},{"is_active":false}]'


async def test_keys_come_in_the_order_asked(ask: Asker) -> None:
    found = await ask.bytes(
        ANONYMOUS, "posts?select=f1:title,tags(f0:name),f0:id,f2:id,größe:status&id=eq.1&tags.limit=1"
    )
    assert found == '[{"f1":"first","tags":[{"f0":"python"}],"f0":1,"f2":1,"größe":"published"}]'.encode()


def an_instant(*parts: int) -> datetime:
    year, month, day, *rest = parts
    return datetime(year, month, day, *rest, tzinfo=UTC)  # type: ignore[misc, arg-type]  # rest has no zone


# ---- limits ---------------------------------------------------------------------------------------------------------


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
