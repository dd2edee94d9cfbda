"""The planner: columns, resources, relations, output keys; a hidden name is refused as an unknown one. No database."""

from __future__ import annotations

import pytest

from app.data.catalog import nearest
from app.data.rules import VIEWS, Role
from app.query.plan import Embedded, ReadPlan
from app.resources import CATALOG
from tests.query.asking import AGGREGATES, LIMITS, plan, plan_refused


def keys(found: ReadPlan) -> list[str]:
    return [key for key, _ in found.node.items]


# ---- columns ---------------------------------------------------------------------------------------------------------

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
    "{}=is.null",
    "or=(id.eq.1,not.and({}.eq.1,id.eq.2))",
    "{}=like(any).{{a}}",
    "select={}::text",
    "select=x:{}.max()",
]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(("table", "column", "view"), HIDDEN)
def test_a_hidden_column_is_refused_as_one_that_does_not_exist(table: str, column: str, view: Role, use: str) -> None:
    """The answer follows from the name asked for and the names that the view may know, and from nothing else."""
    resource = CATALOG.get(table)
    assert resource is not None
    for name in (column, f"{column}q"):  # hidden, and unknown to every view
        near = nearest(name, resource.rule.readable(view))
        assert plan_refused(f"{table}?{use.format(name)}", view, AGGREGATES) == {
            "code": "42703",
            "message": f"column {table}.{name} does not exist",
            "details": None,
            "hint": near and f'Perhaps you meant to reference the column "{table}.{near}".',
            "status": 400,
        }


@pytest.mark.parametrize(
    "use", ["select=author({})", "select=author(id)&author.{}=eq.1", "select=author(id)&author.order={}"]
)
def test_a_hidden_column_of_an_embed_is_refused_too(use: str) -> None:
    found = plan_refused("posts?" + use.format("role"), Role.AUTHOR)
    assert (found["code"], found["message"]) == ("42703", "column users.role does not exist")


def test_hints_name_the_nearest_column_or_the_relation() -> None:
    assert plan_refused("posts?select=titel")["hint"] == 'Perhaps you meant to reference the column "posts.title".'
    assert plan_refused("posts?select=author")["hint"] == '"author" is a relation: write author(*) to embed it.'
    assert plan_refused("posts?select=zzz")["hint"] is None


# ---- resources and relations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "name", ["credentials", "credentialsq", "alembic_version", "nothing", "", "Posts", "public.posts"]
)
def test_unknown_table(name: str, view: Role) -> None:
    found = plan_refused(name, view)
    assert (found["status"], found["code"]) == (404, "PGRST205")
    assert found["message"] == f"Could not find the table 'public.{name}' in the schema cache"


def test_a_table_that_the_view_may_not_read_does_not_exist() -> None:
    hidden, absent = plan_refused("revisions", Role.MEMBER), plan_refused("revisionsq", Role.MEMBER)
    assert hidden == {**absent, "message": hidden["message"]}
    assert hidden["hint"] is None
    assert plan_refused("revisionsq", Role.AUTHOR)["hint"] == "Perhaps you meant the table 'public.revisions'"
    assert plan_refused("post")["hint"] == "Perhaps you meant the table 'public.posts'"


def test_a_relation_goes_by_its_name_or_its_tables() -> None:
    for target in ("author", "users"):
        (kid,) = plan(f"posts?select=id,{target}(id)").node.kids
        assert kid.relation == "author"
    assert plan("posts?select=users(id)").node.items == (("users", Embedded(0)),)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("target", ["credentials", "hashed_password", "nothing", "revisions"])
def test_unknown_relation(target: str, view: Role) -> None:
    assert plan_refused(f"users?select=id,{target}(*)", view) == {
        "status": 400,
        "code": "PGRST200",
        "message": f"Could not find a relationship between 'users' and '{target}' in the schema cache",
        "details": f"Searched for a foreign key relationship between 'users' and '{target}' in the schema 'public', "
        "but no matches were found.",
        "hint": None,
    }


def test_unknown_relation_names_the_nearest() -> None:
    assert plan_refused("posts?select=tag(*)")["hint"] == "Perhaps you meant 'tags' instead of 'tag'."
    assert plan_refused("posts?select=autor(*)")["hint"] == "Perhaps you meant 'author' instead of 'autor'."


def test_ambiguous_relation() -> None:
    found = plan_refused("transfers?select=id,users(id)")
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
    assert found["hint"] == (
        "Try changing 'users' to one of the following: 'users!transfers_from_user_id_fkey', "
        "'users!transfers_to_user_id_fkey'. Find the desired relationship in the 'details' key."
    )
    plan("transfers?select=id,sender(id),receiver(id)")


def test_paths_must_be_embedded() -> None:
    for request in (
        "posts?tags.name=eq.a",
        "posts?tags.order=name",
        "posts?tags.limit=1",
        "posts?select=tags(id)&tags.posts.offset=1",
    ):
        found = plan_refused(request)
        name = "posts" if "posts.offset" in request else "tags"
        assert (found["status"], found["code"]) == (400, "PGRST108")
        assert found["message"] == f"'{name}' is not an embedded resource in this request"
        assert found["hint"] == f"Verify that '{name}' is included in the 'select' query parameter."


def test_a_path_goes_by_the_alias() -> None:
    plan("posts?select=id,t:tags(id)&t.name=eq.a")
    found = plan_refused("posts?select=id,t:tags(id)&tags.name=eq.a")
    assert (found["code"], found["message"]) == ("PGRST108", "'tags' is not an embedded resource in this request")
    assert found["details"] == "Target names are not allowed in filters if they have an alias"
    assert found["hint"] == "Change 'tags' to 't' in filters, orders or limits."
    plan("posts?select=id,t:tags(id),tags(id)&tags.name=eq.a")


def test_number_of_embeds_is_limited() -> None:
    embeds = [f"a{i}:tags(id)" for i in range(LIMITS.embeds + 1)]
    plan("posts?select=" + ",".join(embeds[:-1]))
    assert plan_refused("posts?select=" + ",".join(embeds))["message"] == "more than 12 embeds in one request"


# ---- output keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "select",
    [
        "a:id,a:title",
        "*,id:title",
        "id,id::text",
        "id:title,id",
        "tags(id),tags(name)",
        "t:tags(id),t:author(id)",
        "id,id:tags(id)",
    ],
)
def test_the_same_key_twice_is_refused(select: str) -> None:
    found = plan_refused(f"posts?select={select}")
    assert found["code"] == "PGRST100"
    assert "is asked for twice" in found["message"]


@pytest.mark.parametrize(("select", "shown"), [("id,id", ["id"]), ("*,id", POST), ("*,*", POST), ("i:id,i:id", ["i"])])
def test_the_same_column_under_the_same_key_is_asked_once(select: str, shown: list[str]) -> None:
    assert keys(plan(f"posts?select={select}")) == shown


@pytest.mark.parametrize("name", ['a\\"b', "a\\\\b", "a\nb", "a\u2028b", "a\x7fb", "a\u200bb"])
def test_keys_with_quotes_or_control_characters_are_refused(name: str) -> None:
    for item in (f'"{name}":id', f'"{name}":tags(id)'):
        found = plan_refused(f"posts?select={item}")
        assert found["code"] == "PGRST100"
        assert found["message"].startswith("the output key")
