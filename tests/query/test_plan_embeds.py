"""The planner: hints, joins, spreads, related orders, NULL tests, casts, aggregates, and which refusal comes first. No
database.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.data.rules import VIEWS, Role
from app.query.plan import Aggregate, Cast, Cond, Embedded, Group, Has, Kid, Lifted, Node, Order
from app.resources import CATALOG
from tests.query.asking import AGGREGATES, LIMITS, plan, plan_refused


def kids(request: str, view: Role = Role.ADMIN) -> tuple[Kid, ...]:
    return plan(request, view).node.kids


# ---- which relation --------------------------------------------------------------------------------------------------

TARGETS = [
    ("posts", "author", "author"),
    ("posts", "users", "author"),
    ("posts", "user_id", "author"),
    ("posts", "posts_user_id_fkey", "author"),
    ("posts", "users!user_id", "author"),
    ("posts", "users!posts_user_id_fkey", "author"),
    ("posts", "users!author", "author"),
    ("posts", "tags!post_tags", "tags"),
    ("posts", "tags!post_tags_tag_id_fkey", "tags"),
    ("posts", "post_tags", "post_tags"),
    ("users", "posts!user_id", "posts"),
    ("users", "transfers!from_user_id", "sent"),
    ("users", "transfers!transfers_to_user_id_fkey", "received"),
    ("users", "transfers!sent", "sent"),
    ("users", "from_user_id", "sent"),
    ("transfers", "users!from_user_id", "sender"),
    ("transfers", "users!transfers_to_user_id_fkey", "receiver"),
    ("transfers", "to_user_id", "receiver"),
    ("transfers", "sender", "sender"),
]


@pytest.mark.parametrize(("table", "target", "relation"), TARGETS)
def test_a_relation_goes_by_name_table_constraint_column_or_junction(table: str, target: str, relation: str) -> None:
    (kid,) = kids(f"{table}?select=id,{target}(id)" if target != "post_tags" else f"{table}?select=post_tags(tag_id)")
    assert (kid.relation, kid.inner) == (relation, False)
    assert kids(f"{table}?select=x:{target}!inner()")[0].inner is True
    assert kids(f"{table}?select=x:{target}!left()")[0].inner is False


@pytest.mark.parametrize(
    ("request_", "hint"),
    [
        ("posts?select=users!nothing(id)", "nothing"),
        ("posts?select=user_id!author(id)", "author"),
        ("transfers?select=users!amount(id)", "amount"),
        ("posts?select=tags!user_id(id)", "user_id"),
    ],
)
def test_a_hint_that_names_nothing(request_: str, hint: str) -> None:
    found = plan_refused(request_)
    table, _, rest = request_.partition("?select=")
    target = rest.partition("!")[0]
    assert (found["status"], found["code"]) == (400, "PGRST200")
    assert found["details"] == (
        f"Searched for a foreign key relationship between '{table}' and '{target}' using the hint '{hint}' in the "
        "schema 'public', but no matches were found."
    )


def test_ambiguous_from_the_other_side_and_by_every_hint_told_apart() -> None:
    found = plan_refused("users?select=transfers(id)", Role.MEMBER)
    assert (found["status"], found["code"]) == (300, "PGRST201")
    assert [d["cardinality"] for d in found["details"]] == ["one-to-many", "one-to-many"]
    for hint in ("from_user_id", "to_user_id"):
        assert f"'transfers!transfers_{hint}_fkey'" in found["hint"]
        plan(f"users?select=transfers!transfers_{hint}_fkey(id)", Role.MEMBER)


EMBEDS = {
    "users": {"posts": "posts", "sent": "transfers", "received": "transfers"},
    "posts": {"author": "users", "tags": "tags", "post_tags": "post_tags"},
    "tags": {"posts": "posts", "post_tags": "post_tags"},
    "post_tags": {"post": "posts", "tag": "tags"},
    "transfers": {"sender": "users", "receiver": "users"},
    "revisions": {},
    "events": {},
}
AMBIGUOUS = {("users", "transfers"), ("transfers", "users")}


def test_no_change_of_a_model_makes_an_embed_ambiguous() -> None:
    """Clients embed by table name. A new foreign key to users must not break `posts?select=users(*)` overnight."""
    for resource in CATALOG:
        relations = CATALOG.embeddable(resource, Role.ADMIN)
        assert {n: CATALOG.of(r.target).name for n, r in relations.items()} == EMBEDS[resource.name]
        for target in set(EMBEDS[resource.name].values()):
            found = CATALOG.named(resource, target, Role.ADMIN)
            assert (len(found) > 1) is ((resource.name, target) in AMBIGUOUS), (resource.name, target)
    assert {r.name for r in CATALOG} == EMBEDS.keys()


# ---- what is shown ---------------------------------------------------------------------------------------------------


def items(request: str, view: Role = Role.ADMIN) -> tuple[Any, ...]:
    return plan(request, view, limits=AGGREGATES).node.items


def test_items_of_every_kind() -> None:
    assert items("posts?select=id::text,t:title::json,i:id::int8") == (
        ("id", Cast("id", "text")),
        ("t", Cast("title", "json")),
        ("i", Cast("id", "bigint")),
    )
    assert items("posts?select=x:author(),tags(name),...users(u:username,id)") == (
        ("tags", Embedded(1)),
        ("u", Lifted(2, 0)),
        ("id", Lifted(2, 1)),
    )
    assert items("posts?select=id.sum(),n:count(),id.avg()::text,user_id") == (
        ("sum", Aggregate("sum", "id")),
        ("n", Aggregate("count")),
        ("avg", Aggregate("avg", "id", "text")),
        ("user_id", "user_id"),
    )


@pytest.mark.parametrize("view", VIEWS)
def test_a_bare_count_is_always_allowed_alone(view: Role) -> None:
    assert plan("posts?select=count", view).node.items == (("count", Aggregate("count")),)
    assert plan("posts?select=n:count", view).node.items == (("n", Aggregate("count")),)
    for embed in ("tags(count)", "author(n:count)"):
        (kid,) = plan(f"posts?select=id,{embed}", view).node.kids
        assert (kid.node.grouped, kid.node.items[0][1]) == (True, Aggregate("count"))


@pytest.mark.parametrize("select", ["count,id", "id,count", "count,*", "count,tags(id)", "n:count,m:count"])
def test_a_bare_count_stands_beside_nothing(select: str) -> None:
    found = plan_refused(f"posts?select={select}", limits=AGGREGATES)
    assert (found["status"], found["code"]) == (400, "42803")
    assert plan_refused(f"users?select=id,posts({select})", limits=AGGREGATES)["code"] == "42803"


REFUSED = [
    ("posts?select=id::text.max()", "PGRST127", "a cast of a column inside an aggregate is not available"),
    (
        "posts?select=...author(count)",
        "PGRST127",
        "Aggregates are not implemented for many-to-one or one-to-one spreads.",
    ),
    (
        "users?select=...posts(id.max())",
        "PGRST127",
        "Aggregates are not implemented for one-to-many or many-to-many spreads.",
    ),
    ("posts?select=title.sum()", "42883", "function sum(character varying) does not exist"),
    ("posts?select=published_at.avg()", "42883", "function avg(timestamp with time zone) does not exist"),
    ("users?select=is_active.max()", "42883", "function max(boolean) does not exist"),
    ("users?select=uid.min()", "42883", "function min(uuid) does not exist"),
    ("revisions?select=changes.max()", "42883", "function max(json) does not exist"),
    ("revisions?select=changes,count()", "42883", "could not identify an equality operator for type json"),
    ("posts?select=published_at::date,count()", "PGRST127", "a cast to date beside an aggregate is not available"),
    ("posts?select=id.count(),tags(id)", "42803", None),
    ("posts?select=id.count(),...tags(id)", "42803", None),
    ("posts?select=id.count()&order=id", "42803", None),
    ("posts?select=id.count(),author()&order=author(username)", "42803", None),
    ("posts?select=id.count()::date", "42846", "cannot cast type bigint to date"),
    ("posts?select=id::nothing", "42704", 'type "nothing" does not exist'),
    ("posts?select=id::date", "42846", "cannot cast type bigint to date"),
    ("posts?select=id::uuid", "42846", "cannot cast type bigint to uuid"),
    ("users?select=uid::int", "42846", "cannot cast type uuid to integer"),
    ("posts?select=published_at::int", "42846", "cannot cast type timestamp with time zone to integer"),
]


@pytest.mark.parametrize(("request_", "code", "text"), REFUSED)
def test_refused_items(request_: str, code: str, text: str | None) -> None:
    found = plan_refused(request_, Role.ADMIN, AGGREGATES)
    assert found["code"] == code, found
    assert found["status"] == (404 if code == "42883" else 400)
    assert text is None or text in (found["message"], found["details"])


# ---- terms -----------------------------------------------------------------------------------------------------------


def test_null_tests_concern_the_embed_and_other_tests_the_column() -> None:
    select = "posts?select=id,title:author(id),t:tags()"
    assert plan(f"{select}&title=is.null&t=not.is.null").node.where == (Has(0, False), Has(1, True))
    assert plan(f"{select}&t=is.not_null&title=not.is.not_null").node.where == (Has(1, True), Has(0, False))
    assert plan(f"{select}&title=eq.a").node.where == (Cond("title", "eq", (0,)),)
    tree = plan(f"{select}&or=(title.is.null,t.not.is.null,id.eq.1)").node.where
    assert tree == (Group("or", (Has(0, False), Has(1, True), Cond("id", "eq", (0,)))),)
    assert plan("posts?title=is.null").node.where == (Cond("title", "is", word="null"),)
    below = kids("users?select=posts(tags())&posts.tags=is.null")
    assert below[0].node.where == (Has(0, False),)
    for test in ("is.true", "eq.1", "in.()", "like.a"):
        assert plan_refused(f"posts?select=tags()&tags={test}")["code"] == "42703"


def test_related_orders() -> None:
    found = plan("posts?select=id,a:author()&order=a(username).desc,id").node
    assert found.order == (Order("username", True, True, 0), Order("id"))
    (kid,) = kids("users?select=posts(id,author())&posts.order=author(full_name).nullsfirst")
    assert kid.node.order == (Order("full_name", False, True, 0),)
    found_ = plan_refused("posts?select=id,tags(id)&order=tags(name)")
    assert (found_["code"], found_["message"]) == ("PGRST118", "A related order on 'tags' is not possible")
    assert found_["details"] == "'posts' and 'tags' do not form a many-to-one or one-to-one relationship"
    assert plan_refused("posts?select=author(id)&order=author(role)", Role.AUTHOR)["code"] == "42703"


def test_an_inner_embed_that_shows_nothing_is_still_one() -> None:
    assert plan("posts?select=id,tags!inner()&tags.name=eq.a", Role.ADMIN).node == Node(
        model=plan("posts").node.model,
        items=(("id", "id"),),
        limit=1,
        kids=(
            Kid("tags", Node(kids("posts?select=tags()")[0].node.model, (), (Cond("name", "eq", (0,)),)), inner=True),
        ),
    )


# ---- which refusal comes first ---------------------------------------------------------------------------------------

FAULTS = [  # (part of select, part of the query string, code), first to last
    ("", "author.nothing.id=eq.1", "PGRST108"),
    ("nothing(id)", "", "PGRST200"),
    ("", "order=tags(name)", "PGRST118"),
    ("id.sum()", "", "PGRST123"),
    ("nothing", "", "42703"),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_the_order_of_refusals(first: int) -> None:
    """Paths, relations, related orders, aggregates, columns, whatever stands first in the request."""
    for second in range(first + 1, len(FAULTS)):
        for one, other in ((first, second), (second, first)):
            select = ",".join(filter(None, [FAULTS[one][0], FAULTS[other][0], "author(id),tags(id)"]))
            rest = "&".join(filter(None, [FAULTS[one][1], FAULTS[other][1], "nothing=eq.1"]))
            assert plan_refused(f"posts?{rest}&select={select}")["code"] == FAULTS[first][2]


def test_the_first_unknown_part_of_a_path_is_named() -> None:
    found = plan_refused("posts?select=id,a:author(id)&author.posts.id=eq.1")
    assert found["message"] == "'author' is not an embedded resource in this request"
    assert found["hint"] == "Change 'author' to 'a' in filters, orders or limits."
    found = plan_refused("posts?select=id,a:author(id)&order=author(id)")
    assert (found["code"], found["hint"]) == ("PGRST108", "Change 'author' to 'a' in filters, orders or limits.")


def test_embeds_are_counted_before_anything_is_looked_up() -> None:
    embeds = ",".join(f"a{i}:nothing(id)" for i in range(LIMITS.embeds + 1))
    assert plan_refused(f"posts?select={embeds}")["message"] == "more than 12 embeds in one request"


def test_tests_of_embeds_may_not_multiply() -> None:
    """Ten NULL tests on each of three levels are a thousand times the innermost filter."""
    select = "select=a:tags(b:posts(c:tags()))"
    tests = "&".join(
        f"{path}or=({','.join([f'{key}.is.null'] * 10)})" for path, key in (("", "a"), ("a.", "b"), ("a.b.", "c"))
    )
    assert plan_refused(f"posts?{select}&{tests}")["message"] == "more than 300 terms in tests of embeds in one request"
    plan(f"posts?{select}&or=({','.join(['a.is.null'] * 99)})")
    orders = ",".join(["a(id)"] * LIMITS.order_terms)
    filters = "&".join(["a.id=gt.0"] * 40)
    assert plan_refused(f"posts?select=id,a:author()&order={orders}&{filters}")["code"] == "PGRST100"
    plan("posts?select=id,a:tags!inner(b:posts!inner(c:tags!inner(d:posts!inner(id))))&a.b.c.d.id=gt.1&a=not.is.null")
