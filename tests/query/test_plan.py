"""The planner: shapes and values, literals, pages. Pure; no database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.data.rules import Role
from app.models import Post, User
from app.query.parser import parse
from app.query.plan import Cond, Embedded, Kid, Node, Order, Page
from app.query.planner import find, plan_keyed, plan_rows
from app.resources import CATALOG
from tests.query.asking import LIMITS, plan, plan_refused

# ---- what a plan is --------------------------------------------------------------------------------------------------


def test_a_plan_is_a_shape_and_its_values() -> None:
    found = plan(
        "posts?select=title,by:author(username)&id=in.(1,2)&by.username=not.eq.ada&order=id.desc&limit=5&offset=7"
    )
    author = Node(User, (("username", "username"),), where=(Cond("username", "eq", (0,), negated=True),))
    assert found.node == Node(
        Post,
        items=(("title", "title"), ("by", Embedded(0))),
        where=(Cond("id", "in", (1,)),),
        order=(Order("id", descending=True, nulls_first=True),),
        limit=2,
        offset=3,
        kids=(Kid("author", author),),
    )
    assert found.values == ("ada", (1, 2), 5, 7)


SAME_SHAPE = [
    ("posts?id=eq.1", "posts?id=eq.2"),
    ("posts?id=in.(1)", "posts?id=in.(1,2,3)"),
    ("posts?id=in.()", "posts?id=in.(1)"),
    ("posts?limit=1", "posts?limit=2"),
    ("posts", "posts?limit=2"),
    ("posts?select=*", "posts"),
    ("posts?offset=1", "posts?offset=2"),
    ("posts?published_at=eq.2024-01-01", "posts?published_at=eq.2025-01-01T00:00:00Z"),
    (
        "posts?select=id,tags(name)&tags.limit=1&tags.name=eq.a",
        "posts?select=id,tags(name)&tags.limit=2&tags.name=eq.b",
    ),
    ("posts?order=id.desc", "posts?order=id.desc.nullsfirst"),
    ("posts?title=like.a*", "posts?title=like.*b"),
    ("posts?id=gt(any).{1,2}", "posts?id=gt(any).{3,NULL}"),
    ("posts?or=(id.eq.1,title.eq.a)", "posts?or=(id.eq.2,title.eq.b)"),
    ("posts?published_at=lt.now()", "posts?published_at=lt.2024-01-01"),
]


@pytest.mark.parametrize(("one", "other"), SAME_SHAPE)
def test_requests_that_differ_only_in_values_have_equal_shapes(one: str, other: str) -> None:
    assert plan(one).node == plan(other).node
    assert hash(plan(one).node) == hash(plan(other).node)


OTHER_SHAPE = [
    ("posts?id=eq.1", "posts?id=not.eq.1"),
    ("posts?id=eq.1", "posts?id=in.(1)"),
    ("posts?id=eq.1", "posts?version=eq.1"),
    ("posts?select=id", "posts?select=i:id"),
    ("posts?order=id", "posts?order=id.desc"),
    ("posts?offset=0", "posts"),
    ("posts?select=id,tags(id)", "posts?select=id,tags(id)&tags.limit=1"),
    ("posts?select=id,tags(id)", "posts?select=id,tags!inner(id)"),
    ("posts?id=gt.1", "posts?id=gte.1"),
    ("posts?id=gt(any).{1,2}", "posts?id=gt(all).{1,2}"),
    ("posts?id=gt(any).{1,2}", "posts?id=gt(any).{1,2,3}"),
    ("posts?id=is.null", "posts?id=is.not_null"),
    ("posts?or=(id.eq.1,id.eq.2)", "posts?and=(id.eq.1,id.eq.2)"),
    ("posts?or=(id.eq.1,id.eq.2)", "posts?not.or=(id.eq.1,id.eq.2)"),
]


@pytest.mark.parametrize(("one", "other"), OTHER_SHAPE)
def test_requests_that_mean_another_statement_have_other_shapes(one: str, other: str) -> None:
    assert plan(one).node != plan(other).node


def test_a_shape_holds_no_value() -> None:
    found = plan(
        "posts?select=id,tags(name)&title=eq.MARKER&tags.name=in.(MARKER)&offset=31337&tags.limit=313"
        "&or=(title.like.MARKER,title.ilike(any).{MARKER,b},id.gt.31337)&content=match.MARKER"
    )
    assert "MARKER" not in repr(found.node)
    assert "313" not in repr(found.node)


# ---- literals --------------------------------------------------------------------------------------------------------

BAD_LITERALS = [
    ("posts?id=eq.x", 400, "22P02", 'invalid input syntax for type bigint: "x"'),
    ("posts?id=in.(1,x)", 400, "22P02", 'invalid input syntax for type bigint: "x"'),
    ("posts?id=in.(1,)", 400, "22P02", 'invalid input syntax for type bigint: ""'),
    ("posts?id=eq.null", 400, "22P02", 'invalid input syntax for type bigint: "null"'),
    ("posts?version=eq.2147483648", 400, "22003", 'value "2147483648" is out of range for type integer'),
    ("users?uid=eq.1", 400, "22P02", 'invalid input syntax for type uuid: "1"'),
    ("posts?published_at=eq.soon", 400, "22007", 'invalid input syntax for type timestamp with time zone: "soon"'),
    ("posts?published_at=eq.2024-13-01", 400, "22008", 'date/time field value out of range: "2024-13-01"'),
    ("posts?select=id,tags(id)&tags.id=eq.x", 400, "22P02", 'invalid input syntax for type bigint: "x"'),
    ("revisions?changes=eq.{}", 404, "42883", "operator does not exist: json = unknown"),
    ("revisions?changes=in.({})", 404, "42883", "operator does not exist: json = unknown"),
    ("revisions?order=changes", 404, "42883", "could not identify an ordering operator for type json"),
    ("revisions?changes=isdistinct.{}", 404, "42883", "operator does not exist: json IS DISTINCT FROM unknown"),
    ("revisions?changes=like.a", 404, "42883", "operator does not exist: json ~~ unknown"),
    ("posts?id=like.1*", 404, "42883", "operator does not exist: bigint ~~ unknown"),
    ("posts?id=ilike.1*", 404, "42883", "operator does not exist: bigint ~~* unknown"),
    ("posts?published_at=match.1", 404, "42883", "operator does not exist: timestamp with time zone ~ unknown"),
    ("users?uid=imatch(any).{1}", 404, "42883", "operator does not exist: uuid ~* unknown"),
    ("posts?title=is.true", 400, "42804", "argument of IS TRUE must be type boolean, not type character varying"),
    ("posts?id=not.is.unknown", 400, "42804", "argument of IS UNKNOWN must be type boolean, not type bigint"),
    ("posts?id=gt(any).{1,x}", 400, "22P02", 'invalid input syntax for type bigint: "x"'),
    ("posts?id=gt(any).1", 400, "22P02", 'malformed array literal: "1"'),
    ("posts?or=(id.eq.1,not.and(id.eq.x))", 400, "22P02", 'invalid input syntax for type bigint: "x"'),
    ("posts?title=like.a\\", 400, "22025", "LIKE pattern must not end with escape character"),
    ("posts?title=ilike(any).{b,a\\\\}", 400, "22025", "LIKE pattern must not end with escape character"),
    ("posts?title=match.(", 400, "2201B", "invalid regular expression: missing ): ("),
    (f"posts?title=like.{'a' * 257}", 400, "54000", "a pattern has at most 256 characters"),
    ("users?is_active=eq.maybe", 400, "22P02", 'invalid input syntax for type boolean: "maybe"'),
]


@pytest.mark.parametrize(("request_", "status", "code", "message"), BAD_LITERALS)
def test_bad_literal_in_a_filter(request_: str, status: int, code: str, message: str) -> None:
    found = plan_refused(request_, Role.ADMIN)
    assert (found["status"], found["code"], found["message"]) == (status, code, message)


# ---- page ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "page", "limit"),
    [
        ("", Page(20, 1000), 20),
        ("limit=5", Page(20, 1000), 5),
        ("limit=0", Page(20, 1000), 0),
        ("limit=1000", Page(20, 1000), 1000),
        ("limit=1001", Page(20, 1000), 1000),
        ("limit=999999999999999999", Page(20, 1000), 1000),
        ("", Page(1000, 10_000), 1000),
        ("limit=20000", Page(1000, 10_000), 10_000),
    ],
)
def test_page_of_the_root(query: str, page: Page, limit: int) -> None:
    found = plan(f"posts?{query}", page=page)
    assert found.values[found.node.limit] == limit


def test_limits_of_embeds_are_capped() -> None:
    (kid,) = plan("posts?select=tags(id)&tags.limit=5000").node.kids
    assert plan("posts?select=tags(id)&tags.limit=5000").values[kid.node.limit] == LIMITS.page


def test_offset_is_limited() -> None:
    limits = replace(LIMITS, offset=10)
    plan("posts?offset=10&select=tags(id)&tags.offset=10", limits=limits)
    for query in ("offset=11", "select=tags(id)&tags.offset=11"):
        assert plan_refused(f"posts?{query}", limits=limits)["message"] == "offset is at most 10"


def test_rows_given_by_their_keys_have_no_filter_order_or_page_but_embeds_do() -> None:
    query = parse(
        "select=id,tags(id)&id=eq.1&order=id&limit=1&offset=1&tags.name=eq.a&tags.order=name&tags.limit=2", LIMITS
    )
    found = plan_keyed(CATALOG, find(CATALOG, "posts", Role.ANONYMOUS), query, Role.ANONYMOUS, LIMITS)
    assert (found.node.where, found.node.limit, found.node.offset) == ((), -1, -1)
    (kid,) = found.node.kids
    assert (kid.node.where, kid.node.order, found.values) == ((Cond("name", "eq", (0,)),), (Order("name"),), ("a", 2))


def test_rows_to_change_are_named_by_the_roots_filters_alone() -> None:
    query = parse("select=id,tags!inner(id)&id=gt.1&tags.name=eq.a&order=id&limit=1&or=(id.lt.9,title.eq.b)", LIMITS)
    found = plan_rows(CATALOG, find(CATALOG, "posts", Role.ANONYMOUS), query, Role.ANONYMOUS, LIMITS)
    assert (found.node.kids, found.node.limit, found.node.items, found.node.order) == ((), -1, (), ())
    assert found.values == (1, 9, "b")


@pytest.mark.parametrize(
    ("query", "deleted"),
    [
        ("deleted_at=not.in.()", True),
        ("id=eq.1", False),
        ("or=(id.eq.1,not.and(deleted_at.is.null))", True),
        ("select=id,posts(id)&posts.deleted_at=not.in.()", False),
    ],
)
def test_only_the_roots_filters_ask_for_deleted_rows(query: str, deleted: bool) -> None:
    found = plan(f"users?{query}", Role.ADMIN)
    assert found.node.deleted is deleted
    assert not any(kid.node.deleted for kid in found.node.kids)
