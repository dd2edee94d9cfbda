"""The parser: filters, order, pages and the query string as a whole; how each faulty one is refused. No database."""

from __future__ import annotations

import pytest

from app.query.parser import parse
from app.query.syntax import Field, Filter, OrderTerm, Path, Query
from tests.query.asking import LIMITS, refused

# ---- filters ---------------------------------------------------------------------------------------------------------

FILTERS = [
    ("title=eq.a", (), Filter("title", "eq", "a")),
    ("title=eq.", (), Filter("title", "eq", "")),
    ("title=eq.null", (), Filter("title", "eq", "null")),
    ("title=eq.a.b.c", (), Filter("title", "eq", "a.b.c")),
    ("title=eq.not.eq.a", (), Filter("title", "eq", "not.eq.a")),
    ('title=eq."a"', (), Filter("title", "eq", '"a"')),
    ("title=eq.(a)", (), Filter("title", "eq", "(a)")),
    ("title=eq. a ", (), Filter("title", "eq", " a ")),
    ("title=eq.a+b", (), Filter("title", "eq", "a b")),
    ("title=eq.a%2Bb", (), Filter("title", "eq", "a+b")),
    ("title=eq.a%26b%3Dc", (), Filter("title", "eq", "a&b=c")),
    ("title=eq.a=b", (), Filter("title", "eq", "a=b")),
    ("title=eq.%C3%A9", (), Filter("title", "eq", "é")),
    ("title=eq.é", (), Filter("title", "eq", "é")),
    ("title=eq.100%", (), Filter("title", "eq", "100%")),
    ("title=not.eq.a", (), Filter("title", "eq", "a", negated=True)),
    ("id=in.()", (), Filter("id", "in", ())),
    ("id=in.(1)", (), Filter("id", "in", ("1",))),
    ("id=in.(1,2)", (), Filter("id", "in", ("1", "2"))),
    ("id=not.in.(1,2)", (), Filter("id", "in", ("1", "2"), negated=True)),
    ("id=in.( ,3)", (), Filter("id", "in", (" ", "3"))),
    ("id=in.(,)", (), Filter("id", "in", ("", ""))),
    ('t=in.("a,b","c)d","e\\"f","g\\\\h")', (), Filter("t", "in", ("a,b", "c)d", 'e"f', "g\\h"))),
    ('t=in.(g"h)', (), Filter("t", "in", ('g"h',))),
    ('t=in.("a"b)', (), Filter("t", "in", ('"a"b',))),
    ('t=in.("a"b,c)', (), Filter("t", "in", ('"a"b', "c"))),
    ('t=in.("")', (), Filter("t", "in", ("",))),
    ('t=in.("a\nb")', (), Filter("t", "in", ("a\nb",))),
    ('t=in.("a)', (), Filter("t", "in", ('"a',))),
    ("author.username=eq.ada", ("author",), Filter("username", "eq", "ada")),
    ("author.posts.id=eq.1", ("author", "posts"), Filter("id", "eq", "1")),
    (" title =eq.a", (), Filter("title", "eq", "a")),
    ('"title"=eq.a', (), Filter("title", "eq", "a")),
    ('"order"=eq.1', (), Filter("order", "eq", "1")),
    ('"select"=eq.1', (), Filter("select", "eq", "1")),
    ('"a.b"=eq.1', (), Filter("a.b", "eq", "1")),
    ('tags."limit"=eq.1', ("tags",), Filter("limit", "eq", "1")),
    ('"a.b"."c\\"d"=eq.1', ("a.b",), Filter('c"d', "eq", "1")),
    ("title[0]=eq.a", (), Filter("title", "eq", "a")),
    ("title[0][12]=eq.a", (), Filter("title", "eq", "a")),
    ("tags.name[1]=eq.a", ("tags",), Filter("name", "eq", "a")),
]


@pytest.mark.parametrize(("text", "path", "filter_"), FILTERS)
def test_filter(text: str, path: Path, filter_: Filter) -> None:
    assert parse(text, LIMITS) == Query(conditions=((path, filter_),))


def test_filters_of_one_column_are_all_kept() -> None:
    conditions = parse("id=eq.1&id=eq.2&id=eq.1", LIMITS).conditions
    assert conditions == tuple(((), Filter("id", "eq", operand)) for operand in ("1", "2", "1"))


NO_OPERATOR = (
    '"not" or operator (eq, neq, gt, gte, lt, lte, like, ilike, match, imatch, in, is, isdistinct, '
    "fts, plfts, phfts, wfts)"
)

FAULTY_FILTERS = [
    ("page=2", "2", 1, '"2"', NO_OPERATOR, "Write page=eq.2"),
    ("page=", "", 1, "end of input", NO_OPERATOR, "Write page=eq."),
    ("id=eq", "eq", 1, '"e"', NO_OPERATOR, "Write id=eq.eq"),
    ("id=foo.1", "foo.1", 1, '"f"', NO_OPERATOR, None),
    ("id=EQ.1", "EQ.1", 1, '"E"', NO_OPERATOR, None),
    ("id=not.foo.1", "not.foo.1", 5, '"f"', NO_OPERATOR, None),
    ("id=not.not.eq.1", "not.not.eq.1", 5, '"n"', NO_OPERATOR, None),
    ("id=.1", ".1", 1, '"."', NO_OPERATOR, None),
    ("id=in.1", "in.1", 4, '"1"', '"("', None),
    ("id=in.", "in.", 4, "end of input", '"("', None),
    ("id=in.(1", "in.(1", 6, "end of input", '"," or ")"', None),
    ("id=in.(", "in.(", 5, "end of input", '"," or ")"', None),
    ("id=in.(1)x", "in.(1)x", 7, '"x"', "the end", None),
    ("id=in.(1),(2)", "in.(1),(2)", 7, '","', "the end", None),
    ('id=in.("a"),b)', 'in.("a"),b)', 9, '","', "the end", None),
    ("title;=eq.1", "title;", 6, '";"', "a column name", None),
    ("title[a]=eq.1", "title[a]", 6, '"["', "a column name", None),
    ("title[]=eq.1", "title[]", 6, '"["', "a column name", None),
    ("title[0]x=eq.1", "title[0]x", 6, '"["', "a column name", None),
    ("author.ti;=eq.1", "author.ti;", 10, '";"', "a column name", None),
    ('"title=eq.1', '"title', 7, "end of input", "a closing quote", None),
    ('"title"x=eq.1', '"title"x', 8, '"x"', '"." or the end', None),
    ("=eq.1", "", 1, "end of input", "a column", None),
    ("author.=eq.1", "author.", 8, "end of input", "a column", None),
    (".id=eq.1", ".id", 1, '"."', "a column", None),
    ("a..id=eq.1", "a..id", 3, '"."', "a column", None),
]


@pytest.mark.parametrize(("text", "shown", "column", "found", "expecting", "hint"), FAULTY_FILTERS)
def test_faulty_filter_names_the_place(
    text: str, shown: str, column: int, found: str, expecting: str, hint: str | None
) -> None:
    exc = refused(text.replace(";", "%3B"))
    assert exc.body() == {
        "code": "PGRST100",
        "message": f'"failed to parse filter ({shown})" (line 1, column {column})',
        "details": f"unexpected {found} expecting {expecting}",
        "hint": hint,
    }


# ---- order, limit, offset --------------------------------------------------------------------------------------------

ORDERS = [
    ("id", (OrderTerm("id"),)),
    ("id.asc", (OrderTerm("id"),)),
    ("id.desc", (OrderTerm("id", descending=True),)),
    ("id.nullsfirst", (OrderTerm("id", nulls_first=True),)),
    ("id.nullslast", (OrderTerm("id", nulls_first=False),)),
    ("id.desc.nullslast", (OrderTerm("id", True, False),)),
    ("id.asc.nullsfirst", (OrderTerm("id", False, True),)),
    ("a,b.desc, c ", (OrderTerm("a"), OrderTerm("b", True), OrderTerm("c"))),
    ('"a,b.desc".desc', (OrderTerm("a,b.desc", True),)),
    ("first name.desc", (OrderTerm("first name", True),)),
]


@pytest.mark.parametrize(("text", "terms"), ORDERS)
def test_order(text: str, terms: tuple[OrderTerm, ...]) -> None:
    assert parse(f"order={text}", LIMITS) == Query(orders={(): terms})
    assert parse(f"author.posts.order={text}", LIMITS) == Query(orders={("author", "posts"): terms})


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("id,", 4),
        (",id", 1),
        ("id.down", 3),
        ("id.DESC", 3),
        ("id.desc.asc", 3),
        ("id.nullslast.desc", 3),
        ("id.desc.nullslast.x", 3),
        ("id.", 3),
        ("id.desc.", 3),
        ("id:desc", 3),
        ("a,b.up", 4),
        ("id::text", 3),
        ('"id', 4),
        ("*", 1),
    ],
)
def test_faulty_order_names_the_place(text: str, column: int) -> None:
    exc = refused(f"order={text}")
    assert exc.code == "PGRST100"
    assert exc.message == f'"failed to parse order ({text})" (line 1, column {column})'


def test_the_first_order_and_the_last_limit_of_a_path_count() -> None:
    query = parse("order=id&order=title&limit=1&limit=2&offset=3&offset=4&tags.limit=5", LIMITS)
    assert query == Query(orders={(): (OrderTerm("id"),)}, limits={(): 2, ("tags",): 5}, offsets={(): 4})


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "1e3", "x", "٣", " 1", "1 ", "0x1", "9" * 19, "null"])
@pytest.mark.parametrize("name", ["limit", "offset", "tags.limit", "a.b.offset"])
def test_limit_and_offset_are_whole_numbers_from_zero(name: str, value: str) -> None:
    exc = refused(f"{name}={value}")
    assert exc.code == "PGRST100"
    assert exc.message.startswith(f"{name} must be a whole number from 0")


# ---- the query string as a whole -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "&", "&&&"])
def test_nothing_asked_is_every_column(text: str) -> None:
    assert parse(text, LIMITS) == Query()


def test_bytes_are_read_as_utf8() -> None:
    assert parse("title=eq.é".encode(), LIMITS) == parse("title=eq.%C3%A9", LIMITS)
    assert parse("größe=eq.日本".encode(), LIMITS).conditions == (((), Filter("größe", "eq", "日本")),)


@pytest.mark.parametrize("text", [b"title=eq.\xff", b"ti\xfftle=eq.a", "title=eq.%FF", "%C3=eq.1", "title=eq.\ud800"])
def test_bad_utf8_is_refused(text: str | bytes) -> None:
    exc = refused(text)
    assert (exc.code, exc.message) == ("PGRST100", "the query string is no UTF-8")


@pytest.mark.parametrize("text", ["title=eq.a%00b", "ti%00tle=eq.a", "select=%00", "order=%00", "title=in.(%00)"])
def test_nul_is_refused(text: str) -> None:
    exc = refused(text)
    assert (exc.code, exc.message) == ("22021", 'invalid byte sequence for encoding "UTF8": 0x00')


@pytest.mark.parametrize("text", ["title", "select", "id=eq.1&title", "title%3Deq.1"])
def test_a_parameter_without_a_value_is_refused(text: str) -> None:
    exc = refused(text)
    assert exc.code == "PGRST100"
    assert "has no value" in exc.message


def test_select_twice_is_refused_unless_it_says_the_same() -> None:
    assert parse("select=id&select=id", LIMITS) == Query((Field("id"),))
    exc = refused("select=id&select=title")
    assert exc.message == "the parameter select is given twice with different values"
