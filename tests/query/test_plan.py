"""The planner: names are looked up, literals typed, limits applied. Pure; no database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.data.rules import Role
from app.errors import BroadsheetError
from app.models import Post, User
from app.query.parser import parse
from app.query.plan import Cond, Kid, Node, Order, Page, ReadPlan, find, plan_keyed, plan_read
from app.resources import CATALOG
from app.settings import Limits

LIMITS = Limits()
PAGE = Page(20, 1000)
VIEWS = [Role.ANONYMOUS, Role.MEMBER, Role.AUTHOR, Role.ADMIN]


def plan(request: str, view: Role = Role.ANONYMOUS, page: Page | None = PAGE, limits: Limits = LIMITS) -> ReadPlan:
    name, _, query = request.partition("?")
    return plan_read(CATALOG, find(CATALOG, name, view), parse(query, limits), view, limits, page)


def refusal(request: str, view: Role = Role.ANONYMOUS, limits: Limits = LIMITS) -> dict[str, Any]:
    with pytest.raises(BroadsheetError) as caught:
        plan(request, view, limits=limits)
    assert caught.value.plain_status is None, "a bad query string has one status on every surface"
    return caught.value.body() | {"status": caught.value.status}


def keys(found: ReadPlan) -> list[str]:
    return [key for key, _ in found.node.items]


# ---- what a plan is -------------------------------------------------------------------------------------------------


def test_a_plan_is_a_shape_and_its_values() -> None:
    found = plan(
        "posts?select=title,by:author(username)&id=in.(1,2)&by.username=not.eq.ada&order=id.desc&limit=5&offset=7"
    )
    author = Node(User, (("username", "username"),), where=(Cond("username", "eq", 0, negated=True),))
    assert found.node == Node(
        Post,
        items=(("title", "title"), ("by", 0)),
        where=(Cond("id", "in", 1),),
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
]


@pytest.mark.parametrize(("one", "other"), OTHER_SHAPE)
def test_requests_that_mean_another_statement_have_other_shapes(one: str, other: str) -> None:
    assert plan(one).node != plan(other).node


def test_a_shape_holds_no_value() -> None:
    found = plan("posts?select=id,tags(name)&title=eq.MARKER&tags.name=in.(MARKER)&offset=31337&tags.limit=313")
    assert "MARKER" not in repr(found.node)
    assert "313" not in repr(found.node)


# ---- columns --------------------------------------------------------------------------------------------------------

COMMON_USER = ["id", "uid", "email", "username", "full_name", "balance", "created_at", "updated_at", "version"]
POST = ["id", "user_id", "title", "slug", "content", "status", "published_at", "created_at", "updated_at", "version"]
STARS = {
    ("users", Role.ANONYMOUS): COMMON_USER,
    ("users", Role.MEMBER): COMMON_USER,
    ("users", Role.AUTHOR): COMMON_USER,
    ("users", Role.ADMIN): [
        *COMMON_USER[:5], "role", "is_active", "balance", "created_at", "updated_at",
        "created_by", "updated_by", "deleted_at", "version",
    ],
    ("posts", Role.ANONYMOUS): POST,
    ("posts", Role.MEMBER): POST,
    ("posts", Role.AUTHOR): [*POST[:-1], "deleted_at", "version"],
    ("posts", Role.ADMIN): [*POST[:-1], "created_by", "updated_by", "deleted_at", "version"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "view"), STARS)
def test_star_is_every_column_that_exists_for_the_view(name: str, view: Role) -> None:
    assert keys(plan(name, view)) == STARS[name, view]
    assert keys(plan(f"{name}?select=*", view)) == STARS[name, view]


HIDDEN = [
    ("users", "role", Role.ANONYMOUS),
    ("users", "is_active", Role.MEMBER),
    ("users", "deleted_at", Role.AUTHOR),
    ("users", "created_by", Role.AUTHOR),
    ("posts", "deleted_at", Role.ANONYMOUS),
    ("posts", "deleted_at", Role.MEMBER),
    ("posts", "created_by", Role.AUTHOR),
    ("posts", "updated_by", Role.MEMBER),
    ("transfers", "created_by", Role.MEMBER),
    ("revisions", "key_id", Role.AUTHOR),
    ("revisions", "request_id", Role.AUTHOR),
    ("users", "hashed_password", Role.ADMIN),
    ("users", "password", Role.ADMIN),
]
USES = [
    "select={}",
    "select=x:{}",
    "{}=eq.1",
    "{}=not.in.(1)",
    "order={}",
    "order=id,{}.desc",
    "select=id,{}",
    "{}[0]=eq.1",
]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(("table", "column", "view"), HIDDEN)
def test_a_hidden_column_is_refused_as_one_that_does_not_exist(table: str, column: str, view: Role, use: str) -> None:
    """Byte by byte, but for the name that was asked for: a letter more makes a name that no table has."""
    unknown = f"{column}q"
    hidden, absent = (refusal(f"{table}?{use.format(name)}", view) for name in (column, unknown))
    assert hidden["code"] == "42703"
    assert hidden["status"] == 400
    assert hidden["message"] == f"column {table}.{column} does not exist"
    assert {**hidden, "message": ""} == {**absent, "message": "", "hint": hidden["hint"]}
    named = f'column "{table}.'
    readable = {f'Perhaps you meant to reference the column "{table}.{c}".' for c in CATALOG_COLUMNS(table, view)}
    assert hidden["hint"] is None or (named in hidden["hint"] and hidden["hint"] in readable)


def CATALOG_COLUMNS(table: str, view: Role) -> tuple[str, ...]:
    resource = CATALOG.get(table)
    assert resource is not None
    return resource.rule.readable(view)


@pytest.mark.parametrize(
    "use", ["select=author({})", "select=author(id)&author.{}=eq.1", "select=author(id)&author.order={}"]
)
def test_a_hidden_column_of_an_embed_is_refused_too(use: str) -> None:
    found = refusal("posts?" + use.format("role"), Role.AUTHOR)
    assert (found["code"], found["message"]) == ("42703", "column users.role does not exist")


def test_hints_name_the_nearest_column_or_the_relation() -> None:
    assert refusal("posts?select=titel")["hint"] == 'Perhaps you meant to reference the column "posts.title".'
    assert refusal("posts?select=author")["hint"] == '"author" is a relation: write author(*) to embed it.'
    assert refusal("posts?select=zzz")["hint"] is None


def test_a_bare_count_is_not_available_yet() -> None:
    for request in ("posts?select=count", "posts?select=id,tags(count)", "posts?select=id,tags(n:count)"):
        found = refusal(request)
        assert (found["code"], found["details"]) == ("PGRST127", "an aggregate is not available")
    assert refusal("posts?count=eq.1")["code"] == "42703"


# ---- literals -------------------------------------------------------------------------------------------------------

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
    ("users?is_active=eq.maybe", 400, "22P02", 'invalid input syntax for type boolean: "maybe"'),
]


@pytest.mark.parametrize(("request_", "status", "code", "message"), BAD_LITERALS)
def test_bad_literal_in_a_filter(request_: str, status: int, code: str, message: str) -> None:
    found = refusal(request_, Role.ADMIN)
    assert (found["status"], found["code"], found["message"]) == (status, code, message)


# ---- resources and relations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "name", ["credentials", "credentialsq", "alembic_version", "nothing", "", "Posts", "public.posts"]
)
def test_unknown_table(name: str, view: Role) -> None:
    found = refusal(name, view)
    assert (found["status"], found["code"]) == (404, "PGRST205")
    assert found["message"] == f"Could not find the table 'public.{name}' in the schema cache"


def test_a_table_that_the_view_may_not_read_does_not_exist() -> None:
    hidden, absent = refusal("revisions", Role.MEMBER), refusal("revisionsq", Role.MEMBER)
    assert hidden == {**absent, "message": hidden["message"]}
    assert hidden["hint"] is None
    assert refusal("revisionsq", Role.AUTHOR)["hint"] == "Perhaps you meant the table 'public.revisions'"
    assert refusal("post")["hint"] == "Perhaps you meant the table 'public.posts'"


def test_a_relation_goes_by_its_name_or_its_tables() -> None:
    for target in ("author", "users"):
        (kid,) = plan(f"posts?select=id,{target}(id)").node.kids
        assert kid.relation == "author"
    assert plan("posts?select=users(id)").node.items == (("users", 0),)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("target", ["credentials", "hashed_password", "nothing", "revisions"])
def test_unknown_relation(target: str, view: Role) -> None:
    assert refusal(f"users?select=id,{target}(*)", view) == {
        "status": 400,
        "code": "PGRST200",
        "message": f"Could not find a relationship between 'users' and '{target}' in the schema cache",
        "details": f"Searched for a foreign key relationship between 'users' and '{target}' in the schema 'public', "
        "but no matches were found.",
        "hint": None,
    }


def test_unknown_relation_names_the_nearest() -> None:
    assert refusal("posts?select=tag(*)")["hint"] == "Perhaps you meant 'tags' instead of 'tag'."
    assert refusal("posts?select=autor(*)")["hint"] == "Perhaps you meant 'author' instead of 'autor'."


def test_ambiguous_relation() -> None:
    found = refusal("transfers?select=id,users(id)")
    assert (found["status"], found["code"]) == (300, "PGRST201")
    assert (
        found["message"] == "Could not embed because more than one relationship was found for 'transfers' and 'users'"
    )
    assert found["details"] == [
        {
            "cardinality": "many-to-one",
            "embedding": "transfers with users",
            "relationship": f"transfers_{column}_fkey using transfers({column}) and users(id)",
        }
        for column in ("from_user_id", "to_user_id")
    ]
    assert "'sender', 'receiver'" in found["hint"]
    plan("transfers?select=id,sender(id),receiver(id)")


def test_paths_must_be_embedded() -> None:
    for request in (
        "posts?tags.name=eq.a",
        "posts?tags.order=name",
        "posts?tags.limit=1",
        "posts?select=tags(id)&tags.posts.offset=1",
    ):
        found = refusal(request)
        name = "posts" if "posts.offset" in request else "tags"
        assert (found["status"], found["code"]) == (400, "PGRST108")
        assert found["message"] == f"'{name}' is not an embedded resource in this request"
        assert found["hint"] == f"Verify that '{name}' is included in the 'select' query parameter."


def test_a_path_goes_by_the_alias() -> None:
    plan("posts?select=id,t:tags(id)&t.name=eq.a")
    found = refusal("posts?select=id,t:tags(id)&tags.name=eq.a")
    assert (found["code"], found["message"]) == ("PGRST108", "'tags' is not an embedded resource in this request")
    assert found["details"] == "Target names are not allowed in filters if they have an alias"
    assert found["hint"] == "Change 'tags' to 't' in filters, orders or limits."
    plan("posts?select=id,t:tags(id),tags(id)&tags.name=eq.a")


def test_number_of_embeds_is_limited() -> None:
    embeds = [f"a{i}:tags(id)" for i in range(LIMITS.embeds + 1)]
    plan("posts?select=" + ",".join(embeds[:-1]))
    assert refusal("posts?select=" + ",".join(embeds))["message"] == "more than 12 embeds in one request"


# ---- output keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "select",
    [
        "id,id",
        "*,id",
        "*,*",
        "a:id,a:title",
        "id:title,id",
        "tags(id),tags(name)",
        "t:tags(id),t:author(id)",
        "id,id:tags(id)",
    ],
)
def test_the_same_key_twice_is_refused(select: str) -> None:
    found = refusal(f"posts?select={select}")
    assert found["code"] == "PGRST100"
    assert "is asked for twice" in found["message"]


@pytest.mark.parametrize("name", ['a\\"b', "a\\\\b", "a\nb", "a\u2028b", "a\x7fb", "a\u200bb"])
def test_keys_with_quotes_or_control_characters_are_refused(name: str) -> None:
    for item in (f'"{name}":id', f'"{name}":tags(id)'):
        found = refusal(f"posts?select={item}")
        assert found["code"] == "PGRST100"
        assert found["message"].startswith("the output key")


# ---- page -----------------------------------------------------------------------------------------------------------


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
        assert refusal(f"posts?{query}", limits=limits)["message"] == "offset is at most 10"


def test_rows_given_by_their_keys_have_no_filter_order_or_page_but_embeds_do() -> None:
    query = parse(
        "select=id,tags(id)&id=eq.1&order=id&limit=1&offset=1&tags.name=eq.a&tags.order=name&tags.limit=2", LIMITS
    )
    found = plan_keyed(CATALOG, find(CATALOG, "posts", Role.ANONYMOUS), query, Role.ANONYMOUS, LIMITS)
    assert (found.node.where, found.node.limit, found.node.offset) == ((), -1, -1)
    (kid,) = found.node.kids
    assert (kid.node.where, kid.node.order, found.values) == ((Cond("name", "eq", 0),), (Order("name"),), ("a", 2))


@pytest.mark.parametrize(
    ("query", "deleted"),
    [("deleted_at=not.in.()", True), ("id=eq.1", False), ("select=id,posts(id)&posts.deleted_at=not.in.()", False)],
)
def test_only_the_roots_filters_ask_for_deleted_rows(query: str, deleted: bool) -> None:
    found = plan(f"users?{query}", Role.ADMIN)
    assert found.node.deleted is deleted
    assert not any(kid.node.deleted for kid in found.node.kids)
