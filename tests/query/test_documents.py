"""Order, filters, and how values are written, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS
from app.models import Post
from tests.query.asking import Asker
from tests.query.callers import ROOT, ids
from tests.query.rows import a_post, fill

# ---- order -----------------------------------------------------------------------------------------------------------

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


# ---- filters ---------------------------------------------------------------------------------------------------------


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


# ---- values ----------------------------------------------------------------------------------------------------------

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
