"""Full-text search: the four ways of writing, and that both databases find the same rows."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.data.database import Database
from app.data.rules import ANONYMOUS, SYSTEM, user
from app.errors import BadQuery
from app.models import Post, User
from app.query import fulltext, search
from app.query.fulltext import And, Not, Or, Phrase, Tree
from app.query.writer import update
from app.resources import CATALOG
from migrations import search_objects
from tests.query.asking import Asker
from tests.query.rows import Row, a_post, a_user, fill


def word(text: str, *, prefix: bool = False) -> Phrase:
    return Phrase((text,), prefix)


A, B, C, D = word("a"), word("b"), word("c"), word("d")
READ: list[tuple[str, str, Tree | None]] = [
    ("fts", "a", A),
    ("fts", " a & b ", And((A, B))),
    ("fts", "a&b|c", Or((And((A, B)), C))),
    ("fts", "a|b&c", Or((A, And((B, C))))),
    ("fts", "(a|b)&!c", And((Or((A, B)), Not(C)))),
    ("fts", "!!a", A),
    ("fts", "!(!a)", A),
    ("fts", "!(a|b)", Not(Or((A, B)))),
    ("fts", "a & (b & (c & d))", And((A, B, C, D))),
    ("fts", "a <-> b <1> c & d", And((Phrase(("a", "b", "c")), D))),
    ("fts", "'a b' & 'it''s'", And((Phrase(("a", "b")), Phrase(("it", "s"))))),
    ("fts", "ab:*", word("ab", prefix=True)),
    ("fts", "'ab cd':*", Phrase(("ab", "cd"), prefix=True)),
    ("fts", "a-b", Phrase(("a", "b"))),
    ("fts", "a & ++", A),
    ("fts", "!'...' | a", A),
    ("fts", "...", None),
    ("fts", "", None),
    ("plfts", "a b, c!", And((A, B, C))),
    ("plfts", "a & b | 'c", And((A, B, C))),
    ("plfts", " ", None),
    ("phfts", "a b-c", Phrase(("a", "b", "c"))),
    ("wfts", 'a "b c" -d', And((A, Phrase(("b", "c")), Not(D)))),
    ("wfts", "a b or c -d", Or((And((A, B)), And((C, Not(D)))))),
    ("wfts", '-"a b"', Not(Phrase(("a", "b")))),
    ("wfts", 'a "b c', And((A, Phrase(("b", "c"))))),
    ("wfts", "or a or", And((word("or"), A, word("or")))),
    ("wfts", "a OR OR b", Or((A, And((word("OR"), B))))),
    ("wfts", "a & | (b ' -", And((A, B))),
    ("wfts", "cafe\u0301", word("caf\u00e9")),
]


@pytest.mark.parametrize(("operator", "written", "tree"), READ, ids=[f"{o}.{t}" for o, t, _ in READ])
def test_query_is_read_as_a_tree(operator: str, written: str, tree: Tree | None) -> None:
    assert fulltext.tree_of(operator, written, None) == tree


WRONG = ["a b", "a &", "& a", "a & | b", "(a", "a)", "()", "!", "a !b", "'a", ":*", "a &:* b", "<-> a", "a < b"]


@pytest.mark.parametrize("written", WRONG)
def test_bad_syntax_is_42601(written: str) -> None:
    with pytest.raises(BadQuery) as caught:
        search.parse("fts", written, None)
    what = "no operand" if written in ("a &", "!") else "syntax error"
    assert (caught.value.code, caught.value.message) == ("42601", f'{what} in tsquery: "{written}"')


@pytest.mark.parametrize("written", ["a <2> b", "a:A", "a:*b", "(a|b) <-> c", "!a <-> b", "a:* <-> b"])
def test_what_one_database_cannot_is_refused_by_name(written: str) -> None:
    with pytest.raises(BadQuery) as caught:
        search.parse("fts", written, None)
    assert caught.value.code == "PGRST127"


def test_languages() -> None:
    assert search.parse("fts", "a", "english") == search.parse("fts", "a", "simple") == search.parse("fts", "a", None)
    with pytest.raises(BadQuery, match='text search configuration "klingon" does not exist') as caught:
        search.parse("wfts", "a", "klingon")
    assert caught.value.code == "42704"


@pytest.mark.parametrize(
    ("operator", "written"), [("fts", "a" * 501), ("wfts", "a " * 65), ("fts", "(" * 17 + "a" + ")" * 17)]
)
def test_limits_are_54000(operator: str, written: str) -> None:
    with pytest.raises(BadQuery) as caught:
        search.parse(operator, written, None)
    assert caught.value.code == "54000"


def test_separators_are_those_of_the_index() -> None:
    assert fulltext.SEPARATORS == search_objects.SEPARATORS
    assert f"'{search.EVERY_ROW}'" in search_objects.TOKENIZER


# ---- both databases -------------------------------------------------------------------------------------------------

TITLES = {
    1: "Async loops",
    2: "The event loop of Python 3.11",
    3: "Über Äpfel & Birnen",
    4: "foo-bar: e-mail ada@example.org, 50% off 😀now",
    5: "Event sourcing, loop unrolling",
    6: "",
}


async def posts(database: Database, *rows: Row) -> None:
    given = rows or tuple(a_post(id, 1, title=title, content=f"text {id}") for id, title in TITLES.items())
    await fill(database, {User: [a_user(1, username="ada", full_name="Ada King")], Post: given})


async def found(database: Database, condition: str, table: str = "posts") -> list[int]:
    rows = await Asker(database)(ANONYMOUS, f"{table}?select=id&order=id&{condition}")
    return [row["id"] for row in rows]


MATCHES = [
    ("search=fts.loop", [2, 5]),
    ("search=fts.LOOP%26event", [2, 5]),
    ("search=fts.event<->loop", [2]),
    ("search=phfts.event loop", [2]),
    ("search=plfts.loop event", [2, 5]),
    ("search=fts.loop:*", [1, 2, 5]),
    ("search=fts.!loop", [1, 3, 4, 6]),
    ("search=fts.!loop%26!loops", [3, 4, 6]),
    ("search=fts.async|!text", [1]),
    ("search=fts.async|!event", [1, 3, 4, 6]),
    ("search=not.fts.loop", [1, 3, 4, 6]),
    ("search=not.fts.!loop", [2, 5]),
    ("search=wfts.event -sourcing", [2]),
    ("search=wfts.-event", [1, 3, 4, 6]),
    ('search=wfts."event loop" or async', [1, 2]),
    ("search=wfts.über", [3]),
    ("search=wfts.ÄPFEL", [3]),
    ("search=wfts.uber", []),
    ("search=wfts.foo-bar", [4]),
    ("search=wfts.bar-foo", []),
    ("search=wfts.example.org", [4]),
    ("search=wfts.ada@example.org", [4]),
    ("search=wfts.example", [4]),
    ("search=wfts.50", [4]),
    ("search=wfts.now", [4]),
    ("search=wfts.3.11", [2]),
    ("search=wfts.text 5", [5]),
    ("search=fts.", []),
    ("search=not.fts.", [1, 2, 3, 4, 5, 6]),
    ("search=wfts.!!!", []),
    ("search=fts(english).loop", [2, 5]),
    ("or=(search.fts.async,search.wfts.sourcing,id.eq.3)", [1, 3, 5]),
    ('or=(search.wfts."event loop",id.eq.6)', [2, 5, 6]),
    ("and=(search.not.fts.text,id.gt.0)", []),
]


async def test_both_databases_find_the_same(database: Database) -> None:
    await posts(database)
    assert [(condition, await found(database, condition)) for condition, _ in MATCHES] == MATCHES


async def test_search_on_an_embed_and_through_inner(database: Database) -> None:
    await posts(database)
    users = await Asker(database)(ANONYMOUS, "users?select=username,posts(id)&posts.search=fts.event&posts.order=id")
    assert users == [{"username": "ada", "posts": [{"id": 2}, {"id": 5}]}]
    assert await Asker(database)(ANONYMOUS, "users?select=id,posts!inner(id)&posts.search=fts.nowhere") == []


async def test_users_are_found_by_both_names(database: Database) -> None:
    await posts(database)
    assert await found(database, "search=wfts.king", "users") == [1]
    assert await found(database, "search=wfts.ada king", "users") == [1]


async def test_only_visible_rows_are_found(database: Database) -> None:
    draft = a_post(2, 1, title="Secret", status="draft")
    await posts(database, a_post(1, 1, title="Secret"), draft)
    assert await found(database, "search=fts.secret") == [1]
    mine = await Asker(database)(user(1, "author"), "posts?select=id&search=fts.secret&order=id")
    assert mine == [{"id": 1}, {"id": 2}]


async def test_index_follows_every_change(database: Database) -> None:
    await posts(database)
    async with database.writing(SYSTEM) as session:
        await update(session, CATALOG.of(Post), [1], {"title": "Renamed"})
        await update(session, CATALOG.of(Post), [2], {"status": "draft"})
        await update(session, CATALOG.of(Post), [5], {"content": "renamed too"})
    assert await found(database, "search=fts.renamed") == [1, 5]
    assert await found(database, "search=fts.async|text%265") == []
    assert await found(database, "search=fts.event") == [5]


async def test_very_long_text_is_indexed_up_to_a_limit(database: Database) -> None:
    """PostgreSQL refuses a tsvector over 1 MB; both stop after 200,000 characters."""
    many = " ".join(f"{number:x}" for number in range(60_000))
    await posts(database, a_post(1, 1, content=many))
    assert await found(database, "search=fts.1fff") == [1]
    assert await found(database, "search=fts.ea00") == []


@pytest.mark.parametrize(("column", "code"), [("title", "PGRST127"), ("nothing", "42703")])
async def test_other_columns_have_no_index(database: Database, column: str, code: str) -> None:
    with pytest.raises(BadQuery) as caught:
        await Asker(database)(ANONYMOUS, f"posts?{column}=fts.a")
    assert caught.value.code == code


async def test_deepest_query_is_run(database: Database) -> None:
    await posts(database)
    deep = "loop"
    for level in range(fulltext.DEPTH):
        deep = f"(event{'%26!' if level % 2 else '|!'}{deep})"
    assert await found(database, f"search=fts.{deep}") is not None
    assert await found(database, "search=wfts." + "-event or " * 30 + "loop") == [1, 2, 3, 4, 5, 6]


# ---- PostgreSQL's own parsers as oracle -----------------------------------------------------------------------------

PIECES = ("a", "b", "c", " ", " ", " ", "&", "|", "!", "(", ")", "<->", "'a b'", "c:*")
WEB = ("a ", "b ", "c ", '"a b" ', "or ", "-a ", '-"b c" ', "b, ", "OR ")
FUNCTIONS = {
    "fts": ("to_tsquery", PIECES),
    "plfts": ("plainto_tsquery", PIECES),
    "phfts": ("phraseto_tsquery", PIECES),
    "wfts": ("websearch_to_tsquery", WEB),
}
AGREE = """
SELECT bool_and((d @@ to_tsquery('simple', :ours)) = (d @@ {}('simple', :theirs))) FROM (
  SELECT to_tsvector('simple', concat_ws(' ', x, y, z)) d FROM unnest(ARRAY['a', 'b', 'c', 'cd', NULL]) x,
  unnest(ARRAY['a', 'b', 'c', NULL]) y, unnest(ARRAY['a', 'b', 'c', NULL]) z) documents"""


def ours(operator: str, written: str) -> str:
    try:
        return search.parse(operator, written, None).tsquery_text()
    except BadQuery as exc:
        return exc.code


@pytest.mark.parametrize("operator", FUNCTIONS)
async def test_queries_mean_what_they_mean_to_postgresql(database: Database, operator: str) -> None:
    """What we read and print again finds the same documents as what PostgreSQL reads from the same text."""
    if database.name != "postgresql":
        pytest.skip("PostgreSQL's parsers are the oracle")
    function, pieces = FUNCTIONS[operator]
    chosen = random.Random(7)
    written = sorted({"".join(chosen.choices(pieces, k=chosen.randint(1, 7))) for _ in range(600)})
    readings = [(each, ours(operator, each)) for each in written]
    differing = []
    async with database.writer.connect() as connection:
        for theirs, printed in [r for r in readings if r[1] != "PGRST127"]:
            same = await agreement(connection, function, printed, theirs)
            if not same:
                differing.append((theirs, printed))
    assert differing == []


async def agreement(connection: AsyncConnection, function: str, printed: str, theirs: str) -> bool:
    try:
        async with connection.begin_nested():
            asked = {"ours": "" if printed == "42601" else printed, "theirs": theirs}
            same = (await connection.execute(text(AGREE.format(function)), asked)).scalar_one()
    except DBAPIError as exc:
        return " in tsquery" in str(exc.orig) and printed == "42601"
    return bool(same) and printed != "42601"
