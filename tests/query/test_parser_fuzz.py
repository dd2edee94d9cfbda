"""The parser under random text: it answers a Query or refuses with BadQuery, in bounded time. No database."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadQuery
from app.query.parser import parse
from app.query.syntax import Embed, Query, SelectItem
from app.settings import Limits

LIMITS = Limits()
LONGEST = 16 * 1024  # of a URL
SLOW = 0.3  # seconds that pass as they are: the longest inputs below take up to 20 ms
TIMES = 4  # what is slower is a quarter of it again, and may take no more than twice as many times its time

SIGNS = '=&.,()[]:!*-> "\\_$+%0123456789abé\x00\ud800\u2028'
VALID = [
    "select=title,...author!inner(n:username::text),t:tags!post_tags(count),n:id.sum()::int&or=(a.eq.1,not.and(b.gt.2,c.in.(1)))",
    'id=not.gt(any).{1,"a,b",NULL}&t.not.or=(x.like(all).{a*,b},"q".eq."v,w",y.is.null)&order=author(username).desc.nullslast',
    'title=fts(english).a&b=wfts.c&columns="a",b&on_conflict=id&tags.and=(id.isdistinct.1)&tags=not.is.null',
    "select=title,by:author(username),tags(name)&status=eq.published&id=in.(1,2)&order=published_at.desc",
    'select="a\\"b":title,*&tags.name=not.eq."x"&"order"=eq.1&tags.order=name.asc.nullslast&tags.limit=3',
    "select=author(posts(tags(name)))&author.posts.tags.offset=2&limit=10&offset=0&title[0]=in.(%22a,b%22,c)",
]
WORDS = [
    "select=",
    "order=",
    "limit=",
    "offset=",
    "or=",
    "not.",
    "eq.",
    "in.(",
    "is.null",
    "tags(",
    "...",
    "::text",
    ".sum()",
    "!inner",
    "{a,NULL}",
    "(any).",
    "not.and(",
    "and=(a.eq.1",
    "%C3%A9",
]


def outcome(text: str | bytes) -> Query | BadQuery:
    try:
        return parse(text, LIMITS)
    except BadQuery as exc:
        return exc


def depth(items: tuple[SelectItem, ...]) -> int:
    return max((1 + depth(item.items) for item in items if isinstance(item, Embed)), default=0)


@given(st.text(st.characters(exclude_categories=[])) | st.text(st.sampled_from(SIGNS), max_size=60))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_read_or_refused(text: str) -> None:
    for query_string in (text, f"select={text}", f"order={text}", f"title={text}", f"id=in.({text}", f"{text}=eq.1"):
        outcome(query_string)
    for query_string in (
        f"or={text}",
        f"or=({text})",
        f"or=(a.in.({text}",
        f"id=eq(any).{{{text}}}",
        f"columns={text}",
    ):
        outcome(query_string)


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    outcome(raw)
    outcome(b"select=" + raw)


@given(st.sampled_from(VALID), st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_mutated_query_is_read_or_refused(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        to = min(len(text), at + data.draw(st.integers(0, 3)))
        text = text[:at] + data.draw(st.sampled_from([*SIGNS, *WORDS, ""])) + text[to:]
    found = outcome(text)
    if isinstance(found, Query):
        assert depth(found.select) <= LIMITS.embed_depth
        assert len(found.conditions) <= LIMITS.filters


@pytest.mark.parametrize("text", VALID)
def test_what_the_mutations_start_from_is_valid(text: str) -> None:
    assert isinstance(parse(text, LIMITS), Query)


UNITS = [
    '"',
    '\\"',
    ",",
    "(",
    ")",
    "a(",
    "a,",
    '"a,',
    '"\\',
    "[0]",
    ".",
    "a.",
    " ",
    "%",
    "é",
    "a:",
    "->",
    "a.eq.1,",
    "and(",
]
UNITS += ["{", "{a,", "\\", '",', ',"', "a!", "...", "::", "a.eq.(", 'a.in.("', "NULL,", "a "]
FRAMES = [
    "select={}",
    "order={}",
    "{}=eq.1",
    "id=in.({})",
    "id=in.({}",
    "id={}",
    "a&{}",
    "limit={}",
    "columns={}",
    "or=({})",
]
FRAMES += ["or=(id.eq.1,{}", "id=eq(any).{{}}", "id=eq(any).{{}", "or=(a.in.({},b.like(any).{{}", 'or=(a.eq."{}']
FRAMES += ['or=(a.eq(any)."{{}', "select=a!{}", "id=is.{}", "id=like.{}"]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("frame", FRAMES)
def test_the_longest_url_is_read_or_refused_at_once(frame: str, unit: str) -> None:
    text = frame.replace("{}", unit * (LONGEST // len(unit)))
    if seconds(text) > SLOW:
        part = frame.replace("{}", unit * (LONGEST // TIMES // len(unit)))
        assert min(seconds(text) for _ in range(3)) < 2 * TIMES * min(seconds(part) for _ in range(3))


def seconds(text: str) -> float:
    """Of the processor, that the parser needs."""
    began = time.process_time()
    outcome(text)
    return time.process_time() - began


def test_a_hundred_thousand_brackets_are_refused_without_recursion() -> None:
    for sign in ("(", "a(", "((", "tags(*,a(", "...a("):
        found = outcome("select=" + sign * 100_000)
        assert isinstance(found, BadQuery)
    for sign in ("(", "and(", "not.or(", "a.in.(", "{"):
        for text in (f"or=({sign * 100_000}", f"or={sign * 100_000}", f"id=eq(any).{sign * 100_000}"):
            assert isinstance(outcome(text), BadQuery)
