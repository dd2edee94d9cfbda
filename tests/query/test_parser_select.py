"""The parser: `select`, what is not built yet, and the limits of a request. No database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.query.operators import KNOWN_ELSEWHERE, OPERATORS
from app.query.parser import parse
from app.query.syntax import ALL, Embed, Field, Query, Star
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
    ("title,title", (TITLE, TITLE)),  # refused by the planner, which knows the keys that `*` gives
]


@pytest.mark.parametrize(("text", "items"), SELECTS)
def test_select(text: str, items: tuple[Star | Field | Embed, ...]) -> None:
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
]


@pytest.mark.parametrize(("text", "column", "found"), FAULTY_SELECTS)
def test_faulty_select_names_the_place(text: str, column: int, found: str) -> None:
    exc = refused(f"select={text.replace(';', '%3B')}")
    assert exc.code == "PGRST100"
    assert exc.message == f'"failed to parse select parameter ({text})" (line 1, column {column})'
    assert exc.details.startswith(f"unexpected {found} expecting ")


NOT_AVAILABLE = [
    ("select=id::text", "a cast"),
    ("select=i:id::text", "a cast"),
    ("select=tags!inner(name)", "a hint"),
    ("select=t:tags!post_tags!inner(name)", "a hint"),
    ("select=...author(username)", "a spread"),
    ("select=id,... author(username)", "a spread"),
    ("select=data->a", "a JSON path"),
    ("select=data->>a", "a JSON path"),
    ("select=id.sum()", "an aggregate"),
    ("select=tags()", "an empty embed"),
    ("select=tags( )", "an empty embed"),
    ("select=count()", "an aggregate"),
    ("or=(id.eq.1,id.eq.2)", "the parameter or"),
    ("and=(id.eq.1)", "the parameter and"),
    ("not.or=(id.eq.1)", "the parameter not.or"),
    ("tags.and=(id.eq.1)", "the parameter tags.and"),
    ("tags.not.or=(id.eq.1)", "the parameter tags.not.or"),
    ("columns=id", "the parameter columns"),
    ("on_conflict=id", "the parameter on_conflict"),
    ("data->a=eq.1", "a JSON path"),
    ("data->>a=eq.1", "a JSON path"),
    ("tags.data->a=eq.1", "a JSON path"),
    ("order=data->a", "a JSON path"),
    ("order=data->>a.desc", "a JSON path"),
    ("order=author(username)", "an order by an embed's column"),
    ("id=eq(any).{1,2}", "the operator eq(any)"),
    ("id=eq(all).{1,2}", "the operator eq(all)"),
    ("id=not.eq(any).{1}", "the operator eq(any)"),
    ("content=fts(english).word", "the operator fts(english)"),
    ("tags=is.null", "the operator is"),
    *((f"id={name}.1", f"the operator {name}") for name in sorted(KNOWN_ELSEWHERE)),
    *((f"id=not.{name}.1", f"the operator {name}") for name in sorted(KNOWN_ELSEWHERE)),
]


@pytest.mark.parametrize(("text", "what"), NOT_AVAILABLE)
def test_what_is_not_built_is_refused_by_name(text: str, what: str) -> None:
    exc = refused(text)
    assert (exc.code, exc.message) == ("PGRST127", "Feature not implemented")
    assert exc.details.startswith(what)


def test_a_word_is_an_operator_or_known_elsewhere_never_both() -> None:
    assert not OPERATORS.keys() & KNOWN_ELSEWHERE


# ---- limits ----------------------------------------------------------------------------------------------------------

AT_THE_LIMIT = [
    ("select={}", ",", "c{}", LIMITS.select_items, "more than 100 select items in one request"),
    ("{}", "&", "c{}=eq.1", LIMITS.filters, "more than 50 filters in one request"),
    ("id=in.({})", ",", "{}", LIMITS.list_items, "more than 1000 list elements in one request"),
    ("order={}", ",", "c{}", LIMITS.order_terms, "more than 8 order terms in one request"),
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


LONG = "n" * LIMITS.name


@pytest.mark.parametrize("frame", ["select={}", "select={}:a", "select={}(a)", "order={}", "{}=eq.1", "{}.a=eq.1"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_names_are_limited(frame: str, quote: str) -> None:
    parse(frame.format(quote + LONG + quote), LIMITS)
    exc = refused(frame.format(f"{quote}{LONG}n{quote}"))
    assert exc.code == "PGRST100"
    assert "is longer than 63 characters" in exc.message
