"""Plans of a known shape: with other values they are what planning anew makes of them, refusals included."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from random import Random
from typing import Any

import pytest

from app.data.rules import Role
from app.errors import BadQuery, BroadsheetError
from app.http.zones import zone_named
from app.query.parser import Parser, parse
from app.query.plan import Page, ReadPlan
from app.query.planner import find, plan_read
from app.query.shapes import Template, shape_of
from app.query.syntax import Filter, Group, Query, Term
from app.query.values import ZONE
from app.resources import CATALOG
from tests.query.asking import AGGREGATES
from tests.query.printing import request_of
from tests.query.requests import Requests, a_caller, tables

LIMITS = replace(AGGREGATES, embeds=20, offset=1000)
PAGE = Page(20, 100)
# right for some column, wrong for others
TEXTS = ["1", "-7", "x", "", "2026-01-31", "now", "tomorrow", "infinity", "true", "9" * 19, "9" * 30, "a*b", "(", "\\"]
TEXTS += ["00000000-0000-4000-8000-000000000000", "published", "z" * 300, "2026-01-31T00:00", "1.5", "[", "*a_"]


def planned(name: str, query: Query, view: Role, after: list[Any] | None = None) -> ReadPlan:
    return plan_read(CATALOG, find(CATALOG, name, view), query, view, LIMITS, PAGE, after)


def outcome(make: Any) -> Any:
    """What a plan consists of, or how it is refused."""
    try:
        found: ReadPlan = make()
    except BroadsheetError as exc:
        return exc.body(), exc.status, exc.plain_status
    return found.resource, found.node, found.values, found.volatile


def of_shape(name: str, first: str, second: str, view: Role = Role.ANONYMOUS) -> tuple[Any, Any]:
    """The plan of the second query string by what was made of the first, and anew."""
    known, query = parse(first, LIMITS), parse(second, LIMITS)
    assert shape_of(known) == shape_of(query)
    template = Template(planned(name, known, view), known)
    return outcome(lambda: template.filled(query)), outcome(lambda: planned(name, query, view))


# ---- any request ----------------------------------------------------------------------------------------------------


def otherwise(query: Query, r: Random) -> Query:
    """The same shape with other values."""

    def number(n: int) -> int:
        return n and r.choice([1, 5, 99, 101, 1000, 1001])

    def term(old: Term) -> Term:
        if isinstance(old, Group):
            return replace(old, terms=tuple(map(term, old.terms)))
        if old.operator == "is":
            return replace(old)
        if isinstance(old.operand, str):
            return replace(old, operand=r.choice([old.operand, r.choice(TEXTS)]))
        longer = r.randint(0, 3) if old.operator == "in" else len(old.operand)
        return replace(old, operand=tuple(r.choice(TEXTS) for _ in range(longer)))

    return replace(
        query,
        conditions=tuple((path, term(old)) for path, old in query.conditions),
        limits={path: number(n) for path, n in query.limits.items()},
        offsets={path: number(n) for path, n in query.offsets.items()},
    )


@pytest.mark.parametrize("seed", range(4))
def test_random_requests_are_planned_as_anew(seed: int) -> None:
    data = tables(0)
    refused = kept = 0
    for number in range(250):
        r = Random(f"{seed}-{number}")
        _, caller = a_caller(r)
        view = Role(caller.view)
        name, _, text = request_of(Requests(r, data, caller.view).root()).partition("?")
        known = parse(text, LIMITS)
        template = Template(planned(name, known, view), known)
        for _ in range(3):
            query = otherwise(known, r)
            assert shape_of(query) == shape_of(known), text
            found = outcome(lambda: template.filled(query))  # noqa: B023  # it is called at once
            assert found == outcome(lambda: planned(name, query, view)), text  # noqa: B023
            refused, kept = refused + (len(found) == 3), kept + (len(found) == 4)
    assert min(refused, kept) > 100, "both happen often"


# ---- what belongs to a shape ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("id=eq.1", "id=eq.2"),
        ("id=in.(1)", "id=in.(2,3,4)"),
        ("id=eq(any).{1,2}", "id=eq(any).{3,4}"),
        ("or=(id.eq.1,not.and(title.like.a*,id.gt.2))", "or=(id.eq.9,not.and(title.like.*b,id.gt.0))"),
        ("limit=5&offset=1", "limit=6&offset=2"),
        ("tags.limit=1&select=tags(id)", "tags.limit=2&select=tags(id)"),
        ("search=wfts.a", "search=wfts.b -c"),
        ("published_at=gt.2026-01-01", "published_at=gt.now"),
    ],
)
def test_values_do_not_belong_to_a_shape(first: str, second: str) -> None:
    assert shape_of(parse(first, LIMITS)) == shape_of(parse(second, LIMITS))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("id=eq.1", "id=neq.1"),
        ("id=eq.1", "id=not.eq.1"),
        ("id=eq.1", "version=eq.1"),
        ("id=eq.1", "tags.id=eq.1"),
        ("id=is.null", "id=is.not_null"),
        ("id=eq(any).{1,2}", "id=eq(any).{1,2,3}"),
        ("id=eq(any).{1}", "id=eq(all).{1}"),
        ("or=(id.eq.1)", "and=(id.eq.1)"),
        ("search=fts(english).a", "search=fts(german).a"),
        ("select=id", "select=title"),
        ("order=id", "order=id.desc"),
        ("limit=0", "limit=1"),
        ("offset=0", "offset=1"),
        ("limit=1", "offset=1"),
        ("columns=id", "columns=title"),
        ("on_conflict=id", "on_conflict=slug"),
        ("", "limit=1"),
    ],
)
def test_all_else_does(first: str, second: str) -> None:
    assert shape_of(parse(first, LIMITS)) != shape_of(parse(second, LIMITS))


# ---- values ---------------------------------------------------------------------------------------------------------


def test_first_bad_value_of_planning_is_the_one_that_is_refused() -> None:
    """Embeds are planned before the filters of the root."""
    first = "id=eq.1&author.id=eq.1&select=author(id)&offset=1"
    found, anew = of_shape("posts", first, "id=eq.x&author.id=eq.y&select=author(id)&offset=9999999")
    assert found == anew
    assert found[0]["message"] == 'invalid input syntax for type bigint: "y"'


def test_too_large_an_offset_is_refused() -> None:
    found, anew = of_shape("posts", "offset=1", "offset=1001")
    assert found == anew
    assert found[0]["message"] == "offset is at most 1000"


def test_limit_is_cut_to_the_page() -> None:
    found, anew = of_shape("posts", "limit=1", "limit=5000")
    assert found == anew
    assert 100 in found[2]


def test_present_is_no_value_that_is_kept() -> None:
    found, anew = of_shape("posts", "published_at=gt.2026-01-01", "published_at=gt.now")
    assert found == anew
    assert found[3], "it depends on the time"


def test_times_are_read_in_the_zone_of_their_own_request() -> None:
    zone = ZONE.set(zone_named("America/New_York") or UTC)
    try:
        known = parse("published_at=gt.2026-01-01", LIMITS)
        template = Template(planned("posts", known, Role.ANONYMOUS), known)
    finally:
        ZONE.reset(zone)
    assert template.filled(known).values == planned("posts", known, Role.ANONYMOUS).values


def test_cursor_takes_the_place_of_another() -> None:
    query = parse("order=title&id=gt.1", LIMITS)
    other = parse("order=title&id=gt.2", LIMITS)
    template = Template(planned("posts", query, Role.ANONYMOUS, ["a", 5]), query)
    filled = template.filled(other, ["b", 6])
    anew = planned("posts", other, Role.ANONYMOUS, ["b", 6])
    assert (filled.node, filled.values) == (anew.node, anew.values)


def test_filters_of_our_own_keep_their_values() -> None:
    query = parse("id=gt.1", LIMITS)
    ours = replace(query, conditions=(((), Filter("status", "eq", "published")), *query.conditions))
    template = Template(planned("posts", ours, Role.ANONYMOUS), query)
    assert template.filled(parse("id=gt.7", LIMITS)).values[:2] == ("published", 7)


# ---- remembered texts -----------------------------------------------------------------------------------------------


def said(read: Any, text: str | bytes) -> Any:
    """A query as it was read, or how it is refused."""
    try:
        found: Query = read(text)
    except BadQuery as exc:
        return exc.body(), exc.status
    return found, found.texts


def read_alike(parser: Parser, text: str | bytes) -> Any:
    """What is said of a text that is asked for again and again is what is said of it by itself."""
    anew = said(lambda text: parse(text, LIMITS), text)
    assert [said(parser, text) for _ in range(2)] == [anew] * 2, text
    return anew


def test_parser_that_remembers_reads_as_one_that_does_not() -> None:
    parser = Parser(LIMITS, 4)
    data = tables(0)
    for number in range(200):
        r = Random(number)
        read_alike(parser, request_of(Requests(r, data, "admin").root()).partition("?")[2])


PARTS = [
    *["select=id", "select=", "select=id%2Ctitle", "select=tags(name)", "select=tags(", "select= ", '"select"=eq.1'],
    *["order=id", "order=id.desc", "order=id.down", "tags.order=name", "tags.order=,", '"order"=eq.1', "o%72der=title"],
    *["limit=5", "limit=6", "limit=x", "tags.limit=0", "tags.limit=-1", "offset=1", "offset=%31", "limit", "limit="],
    *["id=eq.1", "id=eq.2", "id=1", "id=in.(1,2)", "id=in.(", "id=is.null", "id=is.no", "id=eq(any).{1}", "id=eq", "="],
    *[
        "title=eq.a+b",
        "title=eq.%C3%A9",
        "title=eq.%FF",
        "%FF=eq.1",
        "title=fts.a",
        "title=fts(german).a",
        "title=eq..",
    ],
    *[
        "or=(id.eq.1,id.eq.2)",
        "not.and=(id.gt.1)",
        "tags.not.or=(id.lt.3)",
        "or=(id",
        "and=id",
        "not=eq.1",
        "a.b.c=eq.1",
    ],
    *['"q.r"=eq.1', '"q=eq.1', "title[0]=eq.a", "title[x]=eq.a", "a->b=eq.1", ".=eq.1", f"{'n' * 90}=eq.1", "id=cs.1"],
    *["columns=id", "columns=title", "columns=,", "on_conflict=id", "on_conflict=", "cursor=a", "title=eq.%00", ""],
    *["title=eq.", "title=not.eq.a", "title=not.a", "title=like.a*", "title=EQ.a", "not.eq=eq.a", "title= eq.a", "&"],
]


def test_any_mixture_of_parameters_is_read_or_refused_as_by_itself() -> None:
    parser = Parser(LIMITS, 16)
    read = refused = 0
    for number in range(2000):
        r = Random(number)
        found = read_alike(parser, "&".join(r.choices(PARTS, k=r.randint(1, 5))).encode())
        read, refused = read + isinstance(found[0], Query), refused + isinstance(found[0], dict)
    assert min(read, refused) > 400, "both happen often"


def test_filter_that_stands_twice_is_two_of_a_template() -> None:
    """Leaves are told apart by identity: a parser that gave one for both would fill both with the last value."""
    parser = Parser(LIMITS, 16)
    first, second = parser("id=gt.1&id=gt.1"), parser("id=gt.1&id=gt.2")
    template = Template(planned("posts", first, Role.ANONYMOUS), first)
    assert template.filled(second).values == planned("posts", second, Role.ANONYMOUS).values


def test_parser_remembers_no_more_than_it_may() -> None:
    parser = Parser(LIMITS, 4)
    for number in range(50):
        parser(f"select=id,c{number}:title&order=id,c{number}&c{number}=eq.1")
    assert parser.sizes() == {"select": (4, 4), "order": (4, 4), "name": (4, 4), "part": (4, 4)}


def test_long_texts_are_not_remembered() -> None:
    parser = Parser(LIMITS, 4)
    parser(f"select={','.join('x' * 60 for _ in range(40))}")
    assert parser.sizes()["select"] == (0, 4)
