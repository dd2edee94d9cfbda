"""The parser: `select`, what is never available, and the limits of a request. No database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.query.operators import OPERATORS, REFUSED
from app.query.parser import parse
from app.query.syntax import ALL, Aggregate, Embed, Field, Query, SelectItem, Star
from tests.query.asking import LIMITS, refused

# ---- select ----------------------------------------------------------------------------------------------------------

TITLE = Field("title")
TAGS = Embed("tags", (Field("name"),))

SELECTS = [
    ("", ALL),
    ("   ", ALL),
    ("*", (Star(),)),
    ("title", (TITLE,)),
    ("title,id", (TITLE, Field("id"))),
    ("*,title", (Star(), TITLE)),
    (" title , id ", (TITLE, Field("id"))),
    ("\ttitle\n,\nid", (TITLE, Field("id"))),
    ("head:title", (Field("title", "head"),)),
    ("head : title", (Field("title", "head"),)),
    ("tags(name)", (TAGS,)),
    ("tags( name )", (TAGS,)),
    ("tags (name)", (TAGS,)),
    ("t:tags(name)", (Embed("tags", (Field("name"),), "t"),)),
    ("tags(*)", (Embed("tags", (Star(),)),)),
    ("title,tags(name),id", (TITLE, TAGS, Field("id"))),
    ("author(id,posts(tags(name)))", (Embed("author", (Field("id"), Embed("posts", (TAGS,)))),)),
    ("a:author(n:username),tags(name)", (Embed("author", (Field("username", "n"),), "a"), TAGS)),
    ('"title"', (TITLE,)),
    ('"ti,t(l)e":title', (Field("title", "ti,t(l)e"),)),
    ('"a\\"b\\\\c"', (Field('a"b\\c'),)),
    ('"tags"("name")', (TAGS,)),
    ("first name", (Field("first name"),)),
    ("e-mail", (Field("e-mail"),)),
    ("größe", (Field("größe"),)),
    ("日本:title", (Field("title", "日本"),)),
    ("a$b_1", (Field("a$b_1"),)),
    ("id::text", (Field("id", None, "text"),)),
    ("i:id::double precision", (Field("id", "i", "double precision"),)),
    ("id:: TEXT ,title", (Field("id", None, "text"), TITLE)),
    ("tags!inner(name)", (replace(TAGS, inner=True),)),
    ("tags!left(name)", (TAGS,)),
    ("tags!post_tags(name)", (replace(TAGS, hint="post_tags"),)),
    ("t:tags!post_tags!inner(name)", (replace(TAGS, alias="t", hint="post_tags", inner=True),)),
    ("tags!inner!post_tags(name)", (replace(TAGS, hint="post_tags", inner=True),)),
    ('tags ! "post_tags" ! inner (name)', (replace(TAGS, hint="post_tags", inner=True),)),
    ("tags!inner!left(name)", (replace(TAGS, hint="left", inner=True),)),
    ("...tags(name)", (replace(TAGS, spread=True),)),
    ("id,... tags!inner(name)", (Field("id"), replace(TAGS, spread=True, inner=True))),
    ("tags()", (Embed("tags", ()),)),
    ("tags( ),id", (Embed("tags", ()), Field("id"))),
    ("author(posts())", (Embed("author", (Embed("posts", ()),)),)),
    ("count", (Field("count"),)),
    ("n:count", (Field("count", "n"),)),
    ("tags(count)", (Embed("tags", (Field("count"),)),)),
    ("count()", (Aggregate("count"),)),
    ("n:count()::text", (Aggregate("count", None, "n", None, "text"),)),
    ("id.sum()", (Aggregate("sum", "id"),)),
    ("t:id.sum()::int", (Aggregate("sum", "id", "t", None, "int"),)),
    ("id::text.max()", (Aggregate("max", "id", None, "text"),)),
    ("id.avg(),id.min(),id.count()", tuple(Aggregate(f, "id") for f in ("avg", "min", "count"))),
    ("title,title", (TITLE, TITLE)),  # refused by the planner, which knows the keys that `*` gives
]


@pytest.mark.parametrize(("text", "items"), SELECTS)
def test_select(text: str, items: tuple[SelectItem, ...]) -> None:
    assert parse(f"select={text}", LIMITS) == Query(items)


FAULTY_SELECTS = [
    ("title,", 7, "end of input"),
    (",title", 1, '","'),
    ("title,,id", 7, '","'),
    ("title)", 6, '")"'),
    ("tags(name", 10, "end of input"),
    ("tags(name))", 11, '")"'),
    ("tags(name,)", 11, '")"'),
    ("tags(name)x", 11, '"x"'),
    ("tags(", 6, "end of input"),
    ("tags(,name)", 6, '","'),
    ("(title)", 1, '"("'),
    ("a:", 3, "end of input"),
    (":title", 1, '":"'),
    ("a:b:c", 4, '":"'),
    ("a:*", 3, '"*"'),
    ("*title", 2, '"t"'),
    ('"title', 7, "end of input"),
    ('"title"x', 8, '"x"'),
    ("title;id", 6, '";"'),
    ("ti'tle", 3, '"\'"'),
    ("a:...tags(name)", 3, '"."'),
    ("...tags", 8, "end of input"),
    ("...(name)", 4, '"("'),
    ("...a:tags(name)", 5, '":"'),
    ("id::", 3, '":"'),
    ("id::text!", 9, '"!"'),
    ("id.sum", 4, '"s"'),
    ("id.sum(", 4, '"s"'),
    ("id.sum(1)", 4, '"s"'),
    ("id.SUM()", 4, '"S"'),
    ("id.median()", 4, '"m"'),
    ("id.", 4, "end of input"),
    ("id::text.x", 10, '"x"'),
    ("tags!(name)", 6, '"("'),
    ("tags!inner", 11, "end of input"),
    ("tags!a!b(name)", 9, '"("'),
    ("tags!a!b!inner(name)", 9, '"!"'),
    ("tags!inner!a!left(name)", 18, '"("'),
    ("tags(*)::text", 8, '":"'),
    ("*::text", 2, '":"'),
    ("tags()()", 7, '"("'),
    ("tags(),", 8, "end of input"),
]


@pytest.mark.parametrize(("text", "column", "found"), FAULTY_SELECTS)
def test_faulty_select_names_the_place(text: str, column: int, found: str) -> None:
    exc = refused(f"select={text.replace(';', '%3B')}")
    assert exc.code == "PGRST100"
    assert exc.message == f'"failed to parse select parameter ({text})" (line 1, column {column})'
    assert exc.details.startswith(f"unexpected {found} expecting ")


NOT_AVAILABLE = [
    ("select=data->a", "a JSON path"),
    ("select=data->>a", "a JSON path"),
    ("select=x:data->>a", "a JSON path"),
    ("select=tags(data->a)", "a JSON path"),
    ("data->a=eq.1", "a JSON path"),
    ("data->>a=eq.1", "a JSON path"),
    ("tags.data->a=eq.1", "a JSON path"),
    ("or=(data->>a.eq.1)", "a JSON path"),
    ("order=data->a", "a JSON path"),
    ("order=data->>a.desc", "a JSON path"),
    *((f"id={name}.1", f"the operator {name},") for name in sorted(REFUSED)),
    *((f"id=not.{name}.1", f"the operator {name},") for name in sorted(REFUSED)),
    *((f"or=(id.{name}.1)", f"the operator {name},") for name in sorted(REFUSED)),
]


@pytest.mark.parametrize(("text", "what"), NOT_AVAILABLE)
def test_what_no_model_has_is_refused_by_name(text: str, what: str) -> None:
    exc = refused(text)
    assert (exc.code, exc.message) == ("PGRST127", "Feature not implemented")
    assert exc.details.startswith(what)


def test_a_word_is_an_operator_or_refused_never_both() -> None:
    assert not OPERATORS.keys() & REFUSED


# ---- limits ----------------------------------------------------------------------------------------------------------

AT_THE_LIMIT = [
    ("select={}", ",", "c{}", LIMITS.select_items, "more than 100 select items in one request"),
    ("{}", "&", "c{}=eq.1", LIMITS.filters, "more than 50 filters in one request"),
    ("id=in.({})", ",", "{}", LIMITS.list_items, "more than 1000 list elements in one request"),
    ("order={}", ",", "c{}", LIMITS.order_terms, "more than 8 order terms in one request"),
    ("id=eq(any).{{{}}}", ",", "{}", LIMITS.any_items, "more than 100 elements of any or all in one request"),
    ("or=({})", ",", "c{}.eq.1", LIMITS.logic_nodes, "more than 100 terms of logic trees in one request"),
    ("and=(or({}))", ",", "c{}.eq.1", LIMITS.logic_nodes - 1, "more than 100 terms of logic trees in one request"),
]


@pytest.mark.parametrize(("frame", "comma", "item", "most", "message"), AT_THE_LIMIT)
def test_counts_are_limited(frame: str, comma: str, item: str, most: int, message: str) -> None:
    parse(frame.format(comma.join(item.format(i) for i in range(most))), LIMITS)
    exc = refused(frame.format(comma.join(item.format(i) for i in range(most + 1))))
    assert (exc.code, exc.message) == ("PGRST100", message)


def test_items_inside_embeds_count_too() -> None:
    limits = replace(LIMITS, select_items=3)
    parse("select=a(b,c)", limits)
    assert refused("select=a(b,c),d", limits).message == "more than 3 select items in one request"


def test_depth_of_embeds_is_limited() -> None:
    parse(f"select={'a(' * LIMITS.embed_depth}b{')' * LIMITS.embed_depth}", LIMITS)
    exc = refused(f"select={'a(' * (LIMITS.embed_depth + 1)}b{')' * (LIMITS.embed_depth + 1)}")
    assert exc.message == "more than 4 levels of embeds in one request"


def test_deep_nesting_is_no_recursion() -> None:
    """Even where a setting allows the depth."""
    limits = replace(LIMITS, embed_depth=20_000, select_items=20_000)
    items = parse(f"select={'a(' * 10_000}b{')' * 10_000}", limits).select
    depth = 0
    while isinstance(items[0], Embed):
        items, depth = items[0].items, depth + 1
    assert (items, depth) == ((Field("b"),), 10_000)
    assert refused("select=" + "a(" * 10_000).message.startswith("more than 4 levels")


def test_depth_of_logic_is_limited() -> None:
    parse(f"or=({'and(' * (LIMITS.logic_depth - 1)}a.eq.1{')' * LIMITS.logic_depth}", LIMITS)
    exc = refused(f"or=({'and(' * LIMITS.logic_depth}a.eq.1{')' * (LIMITS.logic_depth + 1)}")
    assert exc.message == "more than 8 levels of logic in one request"


def test_terms_of_all_logic_trees_count_together() -> None:
    tree = f"({','.join(['a.eq.1'] * 70)})"
    parse(f"or={tree}", LIMITS)
    assert refused(f"or={tree}&and={tree}").message == "more than 100 terms of logic trees in one request"


def test_elements_of_all_arrays_count_together() -> None:
    array = f"eq(any).{{{','.join(['1'] * 60)}}}"
    parse(f"id={array}&title=in.({','.join(['1'] * 60)})", LIMITS)
    for text in (f"id={array}&a.id=not.{array}", f"id={array}&or=(id.{array})", f"or=(id.{array},and(id.{array}))"):
        assert refused(text).message == "more than 100 elements of any or all in one request"


LONG = "n" * LIMITS.name


NAMED = ["select={}", "select={}:a", "select={}(a)", "select=a!{}(b)", "select=...{}(b)", "order={}", "order={}(a)"]
NAMED += ["{}=eq.1", "{}.a=eq.1", "or=({}.eq.1)", "columns={}", "on_conflict=a,{}"]


@pytest.mark.parametrize("frame", NAMED)
@pytest.mark.parametrize("quote", ["", '"'])
def test_names_are_limited(frame: str, quote: str) -> None:
    parse(frame.format(quote + LONG + quote), LIMITS)
    exc = refused(frame.format(f"{quote}{LONG}n{quote}"))
    assert exc.code == "PGRST100"
    assert "is longer than 63 characters" in exc.message
