"""The async Python client: every filter, by the ids of the rows that it finds, and the filters that are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from postgrest import AsyncPostgrestClient

from tests.clients.asking import data, refused


@dataclass(frozen=True, slots=True)
class Case:
    """`query.method(*arguments)` finds the rows with these ids, or is refused with this code."""

    method: str
    arguments: tuple[Any, ...]
    expected: list[int] | str
    table: str = "posts"

    def __str__(self) -> str:
        return f"{self.table}.{self.method}{self.arguments}"

    def applied(self, query: Any) -> Any:
        for name in self.method.split("."):
            query = getattr(query, name)
        return query(*self.arguments)


POSTS = [
    Case("eq", ("id", 1), [1]),
    Case("eq", ("title", "Hello, World"), [1]),
    Case("eq", ("title", None), []),
    Case("neq", ("status", "draft"), [1, 2, 3, 5, 6]),
    Case("gt", ("id", 4), [5, 6]),
    Case("gte", ("published_at", "2025-12-03T09:30:00Z"), [3, 5, 6]),
    Case("lt", ("id", 2), [1]),
    Case("lte", ("published_at", "now()"), [1, 2, 3, 5]),
    Case("like", ("title", "%joins"), [2]),
    Case("like", ("title", "*JOINS"), []),
    Case("ilike", ("title", "%ÄRGER%"), [5]),
    Case("like_all_of", ("title", "%A%,%P%"), [3]),
    Case("like_any_of", ("title", "Hello%,SQL%"), [1, 2]),
    Case("ilike_all_of", ("title", "%S%,%j%"), [2]),
    Case("ilike_any_of", ("title", "later,draft%"), [4, 6]),
    Case("is_", ("published_at", None), [4]),
    Case("is_", ("published_at", "null"), [4]),
    Case("is_", ("published_at", "not_null"), [1, 2, 3, 5, 6]),
    Case("in_", ("id", [1, 3]), [1, 3]),
    Case("in_", ("title", ["Hello, World", "Later"]), [1, 6]),
    Case("in_", ("id", []), []),
    Case("not_.in_", ("id", [1, 2, 3]), [4, 5, 6]),
    Case("not_.is_", ("published_at", None), [1, 2, 3, 5, 6]),
    Case("not_.eq", ("status", "published"), [4]),
    Case("not_.ilike", ("title", "*a*"), [1, 2, 5]),
    Case("or_", ("id.eq.1,status.eq.draft",), [1, 4]),
    Case("or_", ('title.eq."Hello, World",and(id.gt.4,user_id.eq.1)',), [1, 5]),
    Case("not_.or_", ("id.eq.1,status.eq.draft",), [2, 3, 5, 6]),
    Case("filter", ("title", "eq", "Later"), [6]),
    Case("filter", ("title", "not.in", '("Later","SQL joins")'), [1, 3, 4, 5]),
    Case("filter", ("id", "gte(any)", "{5,6}"), [5, 6]),
    Case("filter", ("title", "match", "^[AL]"), [3, 6]),
    Case("filter", ("title", "imatch", "^[al]"), [3, 6]),
    Case("filter", ("published_at", "isdistinct", "2025-12-01T09:30:00Z"), [2, 3, 4, 5, 6]),
    Case("match", ({"user_id": 1, "status": "published"},), [1, 2, 5]),
    Case("fts", ("search", "quick & fox"), [1]),
    Case("plfts", ("search", "joins quick"), [2]),
    Case("phfts", ("search", "quick brown"), [1]),
    Case("wfts", ("search", "quick -fox"), [2]),
    Case("text_search", ("search", "fox | loops"), [1, 3]),
    Case("text_search", ("search", "joins quick", {"type": "plain", "config": "english"}), [2]),
    Case("text_search", ("search", "brown fox", {"type": "phrase"}), [1]),
    Case("text_search", ("search", '"lazy dog" or loops', {"type": "web_search"}), [1, 3]),
    Case("not_.fts", ("search", "quick"), [3, 4, 5, 6]),
]

OTHERS = [
    Case("eq", ("is_active", True), [1, 2], "users"),
    Case("is_", ("is_active", True), [1, 2], "users"),
    Case("is_", ("is_active", False), [3], "users"),
    Case("is_", ("full_name", None), [3], "users"),
    Case("eq", ("full_name", "Ada Lovelace"), [1], "users"),
    Case("fts", ("search", "stone"), [2], "users"),
    Case("in_", ("name", ["python", "C, the language"]), [1, 4], "tags"),
    Case("eq", ("name", "C, the language"), [4], "tags"),
]


@pytest.mark.parametrize("case", [*POSTS, *OTHERS], ids=str)
async def test_filter_finds(client: AsyncPostgrestClient, case: Case) -> None:
    found = await data(case.applied(client.from_(case.table).select("id").order("id")))
    assert [row["id"] for row in found] == case.expected


async def test_filters_add_up(client: AsyncPostgrestClient) -> None:
    assert await data(client.from_("posts").select("id").order("id").gt("id", 1).lt("id", 4)) == [{"id": 2}, {"id": 3}]
    assert await data(client.from_("posts").select("id").gt("id", 1).gt("id", 5)) == [{"id": 6}]


REFUSED = [
    Case("cs", ("title", ["a", "b c"]), "PGRST127"),
    Case("cd", ("title", ["a"]), "PGRST127"),
    Case("ov", ("title", ["a"]), "PGRST127"),
    Case("contains", ("title", ["a"]), "PGRST127"),
    Case("contains", ("title", {"a": 1}), "PGRST127"),
    Case("contained_by", ("title", ["a"]), "PGRST127"),
    Case("overlaps", ("title", ["a"]), "PGRST127"),
    Case("sl", ("id", (1, 2)), "PGRST127"),
    Case("sr", ("id", (1, 2)), "PGRST127"),
    Case("nxl", ("id", (1, 2)), "PGRST127"),
    Case("nxr", ("id", (1, 2)), "PGRST127"),
    Case("adj", ("id", (1, 2)), "PGRST127"),
    Case("range_lt", ("id", (1, 2)), "PGRST127"),
    Case("range_gt", ("id", (1, 2)), "PGRST127"),
    Case("range_gte", ("id", (1, 2)), "PGRST127"),
    Case("range_lte", ("id", (1, 2)), "PGRST127"),
    Case("range_adjacent", ("id", (1, 2)), "PGRST127"),
    Case("eq", ("id", None), "22P02"),
    Case("eq", ("id", "one"), "22P02"),
    Case("eq", ("nothing", 1), "42703"),
    Case("eq", ("hashed_password", 1), "42703"),
    Case("like", ("id", "1%"), "42883"),
    Case("is_", ("title", True), "42804"),
    Case("is_", ("title", "empty"), "PGRST100"),
    Case("or_", ("id.eq.1,",), "PGRST100"),
    Case("or_", ("author.username.eq.ada",), "PGRST100"),
    Case("filter", ("id", "similar", "1"), "PGRST100"),
    Case("filter", ("title", "match", "("), "2201B"),
    Case("fts", ("search", "fox &"), "42601"),
    Case("fts", ("title", "fox"), "PGRST127"),
    Case("text_search", ("search", "fox", {"config": "klingon"}), "42704"),
]


@pytest.mark.parametrize("case", REFUSED, ids=str)
async def test_filter_is_refused(client: AsyncPostgrestClient, case: Case) -> None:
    error = await refused(case.applied(client.from_("posts").select("id")), str(case.expected))
    assert error.message
    assert set(error.json()) == {"code", "message", "details", "hint"}
