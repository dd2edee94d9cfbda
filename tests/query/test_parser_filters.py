"""The parser: every operator, arrays, logic trees, related orders; how each faulty one is refused. No database."""

from __future__ import annotations

import pytest

from app.query.conditions import COMPARE, WORD
from app.query.operators import OPERATORS, WORDS
from app.query.parser import parse
from app.query.syntax import Filter, Group, OrderTerm, Query, Term
from tests.query.asking import LIMITS, refused

# ---- operators -------------------------------------------------------------------------------------------------------

OPERANDS = {"value": "a", "pattern": "*a_", "search": "a", "list": "(a,b)", "word": "null"}
READ = {"list": ("a", "b")}


def only(text: str) -> Term:
    ((path, term),) = parse(text, LIMITS).conditions
    assert path == ()
    return term


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_stands_alone_negated_and_in_trees(name: str) -> None:
    operator = OPERATORS[name]
    written = OPERANDS[operator.takes]
    operand = READ.get(operator.takes, written)
    assert only(f"x={name}.{written}") == Filter("x", name, operand)
    assert only(f"x=not.{name}.{written}") == Filter("x", name, operand, negated=True)
    tree = only(f"or=(x.{name}.{written},x.not.{name}.{written})")
    assert tree == Group("or", (Filter("x", name, operand), Filter("x", name, operand, negated=True)))


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("option", ["any", "all"])
def test_quantified_operators_take_any_and_all_and_no_others(name: str, option: str) -> None:
    operator = OPERATORS[name]
    if operator.takes == "search":  # there the word is a language
        assert only(f"x={name}({option}).a") == Filter("x", name, "a", option=option)
        return
    if operator.quantified:
        assert only(f"x={name}({option}).{{a,b}}") == Filter("x", name, ("a", "b"), option=option)
        assert only(f"and=(x.not.{name}({option}).{{a}})") == Group("and", (Filter("x", name, ("a",), True, option),))
        return
    assert refused(f"x={name}({option}).{{a}}").code == "PGRST100"


@pytest.mark.parametrize("option", ["", "some", "ANY", "any ", " all", "english"])
def test_no_other_word_quantifies(option: str) -> None:
    assert refused(f"x=eq({option}).{{a}}").code == "PGRST100"


def test_the_table_of_operators_and_their_sql_agree() -> None:
    """Lists and full text travel as one value and are built where that is known."""
    assert {name for name, op in OPERATORS.items() if op.takes in ("value", "pattern")} == COMPARE.keys()
    assert set(WORDS) == WORD.keys()
    assert {op.takes for op in OPERATORS.values()} == {"value", "list", "word", "pattern", "search"}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_example_of_every_operator_is_one(name: str) -> None:
    term = only(OPERATORS[name].example)
    assert isinstance(term, Filter)
    assert term.operator == name


@pytest.mark.parametrize("word", WORDS)
def test_is_takes_its_words_in_any_case(word: str) -> None:
    for written in (word, word.upper(), word.title()):
        assert only(f"x=is.{written}") == Filter("x", "is", word)
        assert only(f"x=not.is.{written}") == Filter("x", "is", word, negated=True)
        assert only(f"or=(x.is.{written} )") == Group("or", (Filter("x", "is", word),))


@pytest.mark.parametrize("word", ["", "nil", "not null", "nulls", "1", "null ", '"null"', "(null)"])
def test_is_takes_no_other_word(word: str) -> None:
    exc = refused(f"x=is.{word}")
    assert exc.code == "PGRST100"
    assert str(exc.details).endswith("expecting null, not_null, true, false, unknown")


# ---- arrays ----------------------------------------------------------------------------------------------------------

ARRAYS: list[tuple[str, tuple[str | None, ...]]] = [
    ("{}", ()),
    ("{ }", ()),
    ("{a}", ("a",)),
    ("{a,b}", ("a", "b")),
    (" { a , b } ", ("a", "b")),
    ("{a b}", ("a b",)),
    ("{NULL}", (None,)),
    ("{null,Null,nullx}", (None, None, "nullx")),
    ('{"NULL"}', ("NULL",)),
    ("{\\NULL}", ("NULL",)),
    ('{""}', ("",)),
    ('{"a,b","}","{"}', ("a,b", "}", "{")),
    ('{"a\\"b","c\\\\d"}', ('a"b', "c\\d")),
    ("{a\\,b}", ("a,b",)),
    ("{a\\ }", ("a ",)),
    ("{\\ a}", (" a",)),
    ('{ "a" , "b" }', ("a", "b")),
    ("{é,日本,😀}", ("é", "日本", "😀")),
    ("{a.b,c(d),e:f}", ("a.b", "c(d)", "e:f")),
    ("{a'b,*}", ("a'b", "*")),
    ('{"a\nb"}', ("a\nb",)),
]


@pytest.mark.parametrize(("text", "elements"), ARRAYS)
def test_array(text: str, elements: tuple[str | None, ...]) -> None:
    assert only(f"x=eq(any).{text}") == Filter("x", "eq", elements, option="any")
    if text == text.strip():
        tree = only(f"or=(x.eq(all).{text},y.is.null)")
        assert tree == Group("or", (Filter("x", "eq", elements, option="all"), Filter("y", "is", "null")))


MALFORMED = ["", "a", "1,2", "(1,2)", "{", "}", "{a", "a}", "{,}", "{a,}", "{,a}", "{a,,b}", '{"a}', '{"a"b}', '{a"b}']
MALFORMED += ["{a}b", "{{a}}", "{a}}", "{a{b}}", '{"a" "b"}', "{a\\}", "[1:1]={a}"]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_array(text: str) -> None:
    exc = refused(f"x=like(any).{text}")
    assert (exc.code, exc.message) == ("22P02", f'malformed array literal: "{text}"')


# ---- logic trees -----------------------------------------------------------------------------------------------------

A, B = Filter("a", "eq", "1"), Filter("b", "gt", "2")
TREES = [
    ("or=(a.eq.1,b.gt.2)", Group("or", (A, B))),
    ("and=(a.eq.1)", Group("and", (A,))),
    ("not.or=(a.eq.1,b.gt.2)", Group("or", (A, B), negated=True)),
    ("not.and=(a.eq.1)", Group("and", (A,), negated=True)),
    ("or=(and(a.eq.1,b.gt.2),not.or(b.gt.2))", Group("or", (Group("and", (A, B)), Group("or", (B,), negated=True)))),
    ("or=( a.eq.1, and ( b.gt.2 ) )", Group("or", (Filter("a", "eq", "1"), Group("and", (Filter("b", "gt", "2 "),))))),
    ("or=(a.not.eq.1)", Group("or", (Filter("a", "eq", "1", negated=True),))),
    ('or=("a.b".eq.1,"or".eq.2)', Group("or", (Filter("a.b", "eq", "1"), Filter("or", "eq", "2")))),
    ("or=(or.eq.1,and.eq.2)", Group("or", (Filter("or", "eq", "1"), Filter("and", "eq", "2")))),
    ("or=(first name.eq.1)", Group("or", (Filter("first name", "eq", "1"),))),
    ("or=(a.is.null,b.not.is.null)", Group("or", (Filter("a", "is", "null"), Filter("b", "is", "null", True)))),
]


@pytest.mark.parametrize(("text", "tree"), TREES)
def test_tree(text: str, tree: Group) -> None:
    assert only(text) == tree
    name, _, value = text.partition("=")
    for path in (("tags",), ("author", "posts")):
        assert parse(f"{'.'.join(path)}.{name}={value}", LIMITS) == Query(conditions=((path, tree),))


LEAVES = [
    ("a.eq.1", Filter("a", "eq", "1")),
    ("a.eq.", Filter("a", "eq", "")),
    ("a.eq.x.y z", Filter("a", "eq", "x.y z")),
    ("a.eq.x(y", Filter("a", "eq", "x(y")),
    ("a.eq. x ", Filter("a", "eq", " x ")),
    ('a.eq."x,y"', Filter("a", "eq", "x,y")),
    ('a.eq."x)y"', Filter("a", "eq", "x)y")),
    ('a.eq."x\\"y\\\\z"', Filter("a", "eq", 'x"y\\z')),
    ('a.eq.""', Filter("a", "eq", "")),
    ('a.eq."x" ', Filter("a", "eq", "x")),
    ('a.eq."x"y', Filter("a", "eq", '"x"y')),
    ('a.eq.x"y', Filter("a", "eq", 'x"y')),
    ('a.like."*a,b*"', Filter("a", "like", "*a,b*")),
    ("a.eq.{1,2", None),
    ("a.in.(1,2)", Filter("a", "in", ("1", "2"))),
    ("a.in.()", Filter("a", "in", ())),
    ('a.in.("x,y",g"h,"p)q")', Filter("a", "in", ("x,y", 'g"h', "p)q"))),
    ('a.in.("x\\\\","y")', Filter("a", "in", ("x\\", "y"))),
    ("a.not.in.( ,3) ", Filter("a", "in", (" ", "3"), negated=True)),
    ('a.like(any).{"x,y",z*}', Filter("a", "like", ("x,y", "z*"), option="any")),
    ('a.eq(all)."{1,2}"', Filter("a", "eq", ("1", "2"), option="all")),
    ("a.eq(any).{} ", Filter("a", "eq", (), option="any")),
    ("a.fts(english).x&y", Filter("a", "fts", "x&y", option="english")),
]


@pytest.mark.parametrize(("text", "leaf"), LEAVES)
def test_leaf(text: str, leaf: Filter | None) -> None:
    """First, last and in the middle."""
    escaped = text.replace("&", "%26")
    if leaf is None:
        assert refused(f"or=({escaped})").code == "PGRST100"
        return
    b = Filter("b", "eq", "1")
    assert only(f"or=({escaped},b.eq.1,{escaped})") == Group("or", (leaf, b, leaf))
    assert only(f"or=(b.eq.1,and({escaped}))") == Group("or", (b, Group("and", (leaf,))))


FAULTY_TREES = [
    ("or=", "", 1, "end of input"),
    ("or=()", "()", 2, '")"'),
    ("or=(", "(", 2, "end of input"),
    ("or=a.eq.1", "a.eq.1", 1, '"a"'),
    ("or=(a.eq.1", "(a.eq.1", 8, "end of input"),
    ("or=(a.eq.1))", "(a.eq.1))", 9, '")"'),
    ("or=(a.eq.1)x", "(a.eq.1)x", 9, '"x"'),
    ("or=(a.eq.1,)", "(a.eq.1,)", 9, '")"'),
    ("or=(,a.eq.1)", "(,a.eq.1)", 2, '","'),
    ("or=(a.eq.1,,b.eq.1)", "(a.eq.1,,b.eq.1)", 9, '","'),
    ("or=(and())", "(and())", 6, '")"'),
    ("or=(and(a.eq.1)", "(and(a.eq.1)", 13, "end of input"),
    ("or=(a)", "(a)", 3, '")"'),
    ("or=(a=1)", "(a=1)", 3, '"="'),
    ("or=(a.foo.1)", "(a.foo.1)", 4, '"f"'),
    ("or=(a.not.foo.1)", "(a.not.foo.1)", 8, '"f"'),
    ("or=(tags.name.eq.x)", "(tags.name.eq.x)", 7, '"n"'),
    ("or=(a.in.1)", "(a.in.1)", 7, '"1"'),
    ("or=(a.in.(1)", "(a.in.(1)", 10, "end of input"),
    ("or=(a.in.(1,b.eq.2", "(a.in.(1,b.eq.2", 16, "end of input"),
    ("or=(a.is.x)", "(a.is.x)", 7, '"x"'),
    ('or=("a.eq.1)', '("a.eq.1)', 10, "end of input"),
    ("or=(not.a.eq.1)", "(not.a.eq.1)", 6, '"a"'),
    ("or=(nor(a.eq.1))", "(nor(a.eq.1))", 5, '"("'),
    ("not.or=(a.eq.1", "(a.eq.1", 8, "end of input"),
]


@pytest.mark.parametrize(("text", "shown", "column", "found"), FAULTY_TREES)
def test_faulty_tree_names_the_place(text: str, shown: str, column: int, found: str) -> None:
    exc = refused(text)
    assert exc.code == "PGRST100"
    place = f'({shown})" (line 1, column {column})'
    assert exc.message in (f'"failed to parse logic tree {place}', f'"failed to parse filter {place}')
    assert str(exc.details).startswith(f"unexpected {found} expecting ")


def test_a_malformed_array_in_a_tree() -> None:
    for text in ("or=(a.eq(any).1,b.eq.1)", "or=(a.eq(any).{1,b.eq.1)", 'or=(a.eq(any)."1")'):
        exc = refused(text)
        assert exc.code == "22P02"
        assert exc.message.startswith("malformed array literal: ")


# ---- related orders, columns, on_conflict ----------------------------------------------------------------------------

RELATED = [
    ("author(username)", (OrderTerm("username", embed="author"),)),
    ("author(username).desc.nullslast,id", (OrderTerm("username", True, False, "author"), OrderTerm("id"))),
    ('"a.b"("c,d").asc', (OrderTerm("c,d", embed="a.b"),)),
    (" author ( username ) .desc", (OrderTerm("username", True, embed="author"),)),
]


@pytest.mark.parametrize(("text", "terms"), RELATED)
def test_related_order(text: str, terms: tuple[OrderTerm, ...]) -> None:
    assert parse(f"order={text}", LIMITS) == Query(orders={(): terms})
    assert parse(f"tasks.order={text}", LIMITS) == Query(orders={("tasks",): terms})


@pytest.mark.parametrize(
    "text", ["author(", "author()", "author(a", "author(a)b", "author(a,b)", "author(a(b))", "(a)"]
)
def test_faulty_related_order(text: str) -> None:
    assert refused(f"order={text}").code == "PGRST100"


@pytest.mark.parametrize("name", ["columns", "on_conflict"])
def test_names_of_writes(name: str) -> None:
    def read(text: str) -> tuple[str, ...] | None:
        query = parse(f"{name}={text}", LIMITS)
        return query.columns if name == "columns" else query.on_conflict

    assert read("a") == ("a",)
    assert read(' a , "b c","d\\"e" ,a') == ("a", "b c", 'd"e')
    for text in ("", " ", ",", "a,", ",a", "a,,b", "a.b", '"a', "a b;", "*"):
        exc = refused(f"{name}={text.replace(';', '%3B')}")
        assert exc.code == "PGRST100"
        assert exc.message.startswith(f'"failed to parse {name} parameter (')
    assert parse(f"{name}=a&{name}=a", LIMITS) == parse(f"{name}=a", LIMITS)
    assert "given twice" in refused(f"{name}=a&{name}=b").message
