"""Aggregates, counts, casts and words for times, on both databases: the documents that come out."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE
from app.errors import BadQuery
from app.models import User
from tests.conftest import EPOCH, Clock, Statements
from tests.library.catalog import LIBRARY
from tests.library.models import Book, Writer
from tests.query.asking import AGGREGATES, Asker
from tests.query.callers import MIA, ROOT, ids
from tests.query.rows import a_user, fill
from tests.query.test_types import STAMPS, a_book


@pytest.fixture
async def total(ask: Asker) -> Asker:
    """The small blog, with aggregates switched on."""
    return Asker(ask.database, limits=AGGREGATES)


@pytest.fixture
async def library(database: Database) -> Asker:
    books = [
        a_book(1, price=Decimal("10.50"), pages=300, printed_on=date(2024, 2, 29)),
        a_book(2, price=Decimal("0.10"), pages=None, printed_on=date(999, 1, 1)),
        a_book(3, price=Decimal("999999.99"), pages=2**31 - 1, on_shelf=False),
        a_book(4, price=Decimal("-0.01"), pages=1),
        a_book(5, price=Decimal("2.50"), pages=2, writer_id=2, blurb="007", extra={"a": [1.0]}),
    ]
    writers = [{"id": n, "name": f"writer {n}"} | STAMPS for n in (1, 2, 3)]
    await fill(database, {Writer: writers, Book: books})
    return Asker(database, LIBRARY, limits=AGGREGATES)


# ---- counts ----------------------------------------------------------------------------------------------------------


async def test_bare_counts(ask: Asker, statements: Statements) -> None:
    assert await ask(ANONYMOUS, "posts?select=count") == [{"count": 4}]
    assert await ask(ANONYMOUS, "posts?select=n:count&id=in.()") == [{"n": 0}]
    assert await ask(ROOT, "posts?select=count&limit=0") == []
    statements.clear()
    assert await ask(ANONYMOUS, "users?select=id,posts(count)&order=id") == [
        {"id": 1, "posts": [{"count": 2}]},
        {"id": 2, "posts": [{"count": 1}]},
        {"id": 3, "posts": [{"count": 0}]},
        {"id": 4, "posts": [{"count": 0}]},
    ]
    assert statements.count == 2
    counted = await ask(ANONYMOUS, "posts?select=tags(count)&tags.name=like.*y*&id=in.(2,7,8)")
    assert [post["tags"] for post in counted] == [[{"count": 1}], [{"count": 2}], [{"count": 0}]]
    assert await ask(ANONYMOUS, "posts?select=author(n:count)&id=in.(1,8)") == [
        {"author": {"n": 1}},
        {"author": {"n": 0}},
    ]


@pytest.mark.parametrize("page", ["limit=0", "offset=1"])
async def test_a_count_that_is_not_on_its_page_is_no_count(ask: Asker, page: str) -> None:
    """Of parents with rows and of those without."""
    found = await ask(ANONYMOUS, f"users?select=posts(count)&posts.{page}&id=in.(1,3)")
    assert found == [{"posts": []}, {"posts": []}]
    assert await ask(ANONYMOUS, f"posts?select=author(count)&author.{page}&id=in.(1,8)") == [{"author": None}] * 2


# ---- aggregates ------------------------------------------------------------------------------------------------------


async def test_aggregates_of_everything_and_of_nothing(total: Asker) -> None:
    request = "posts?select=count(),ids:id.sum(),id.avg(),first:published_at.min(),title.max(),n:published_at.count()"
    assert await total.bytes(ROOT, f"{request}&id=lt.4") == (
        b'[{"count":3,"ids":6,"avg":2.0000000000000000,"first":"2025-12-29T12:00:00+00:00","max":"second","n":2}]'
    )
    assert await total(ROOT, "posts?select=count(),s:id.sum(),m:title.max(),n:id.count()&id=in.()") == [
        {"count": 0, "s": None, "m": None, "n": 0}
    ]
    assert await total(ROOT, "posts?select=status,count()&id=in.()") == []


async def test_groups_by_columns_and_by_to_one_embeds(total: Asker) -> None:
    assert await total(ROOT, "posts?select=status,n:count(),id.max()&order=status.desc") == [
        {"status": "published", "n": 5, "max": 8},
        {"status": "draft", "n": 1, "max": 3},
        {"status": "archived", "n": 1, "max": 5},
    ]
    assert await total(ROOT, "posts?select=count(),author(username)") == [
        {"count": 5, "author": {"username": "ada"}},
        {"count": 1, "author": {"username": "bob"}},
        {"count": 1, "author": None},
    ]
    found = await total(
        ANONYMOUS, "users?select=id,posts(day:published_at::text,count())&posts.order=published_at.desc"
    )
    assert found[0]["posts"] == [
        {"day": "2025-12-30 12:00:00+00", "count": 1},
        {"day": "2025-12-29 12:00:00+00", "count": 1},
    ]


async def test_masked_values_take_no_part(total: Asker) -> None:
    request = "users?select=balance.sum(),n:balance.count(),email.max()"
    assert await total(ROOT, request) == [{"sum": 100, "n": 4, "max": "u4@example.org"}]
    assert await total(MIA, request) == [{"sum": 30, "n": 1, "max": "u3@example.org"}]
    assert await total(ANONYMOUS, request) == [{"sum": None, "n": 0, "max": None}]
    assert await total(MIA, "users?select=email,count()&order=email") == [
        {"email": "u3@example.org", "count": 1},
        {"email": None, "count": 3},
    ]


async def test_sums_are_exact_beyond_64_bits(total: Asker) -> None:
    await fill(total.database, {User: [a_user(10 + i, balance=2**63 - 1 - i) for i in range(3)]})
    found = await total.bytes(ROOT, "users?select=balance.sum(),balance.avg()&id=gte.10")
    assert found == b'[{"sum":27670116110564327418,"avg":9223372036854775806.0000000000000000}]'


async def test_numbers_dates_and_flags(library: Asker) -> None:
    found = await library.bytes(SERVICE, "books?select=price.sum(),price.avg(),price.min(),price.max()")
    assert found == b'[{"sum":1000013.08,"avg":200002.6160000000000000,"min":-0.01,"max":999999.99}]'
    found = await library.bytes(SERVICE, "books?select=pages.sum(),pages.avg(),n:pages.count(),p:price.sum()::text")
    assert found == b'[{"sum":2147483950,"avg":536870987.5000000000000000,"n":4,"p":"1000013.08"}]'
    found = await library.bytes(SERVICE, "books?select=on_shelf,printed_on.min(),m:printed_on.max()&order=on_shelf")
    assert found == b'[{"on_shelf":false,"min":null,"m":null},{"on_shelf":true,"min":"0999-01-01","m":"2024-02-29"}]'
    found = await library.bytes(SERVICE, "writers?select=id,books(price.sum(),count())")
    assert found == (
        b'[{"id":1,"books":[{"sum":1000010.58,"count":4}]},{"id":2,"books":[{"sum":2.50,"count":1}]},'
        b'{"id":3,"books":[{"sum":null,"count":0}]}]'
    )


# ---- casts -----------------------------------------------------------------------------------------------------------


async def test_casts_of_every_type(library: Asker) -> None:
    casts = "id::text,p:price::text,i:price::int,r:price::real,f:price::float8,d:printed_on::text"
    casts += ",t:printed_on::timestamp,s:on_shelf::text,n:on_shelf::int,b:pages::bool,c:created_at::date"
    casts += ",z:created_at::text,e:extra::text,w:blurb::int"
    found = await library.bytes(SERVICE, f"books?select={casts}&id=in.(1,5)")
    assert found == (
        b'[{"id":"1","p":"10.50","i":11,"r":10.5,"f":10.5,"d":"2024-02-29","t":"2024-02-29T00:00:00","s":"true","n":1,'
        b'"b":true,"c":"2026-01-01","z":"2026-01-01 12:00:00+00","e":null,"w":null},'
        b'{"id":"5","p":"2.50","i":3,"r":2.5,"f":2.5,"d":null,"t":null,"s":"true","n":1,'
        b'"b":true,"c":"2026-01-01","z":"2026-01-01 12:00:00+00","e":"{\\"a\\":[1.0]}","w":7}]'
    )


@pytest.mark.parametrize(
    ("cast", "code", "message"),
    [
        ("title::int", "22P02", 'invalid input syntax for type integer: "Book 5"'),
        ("pages::smallint", "22003", "smallint out of range"),
        ("title::uuid", "22P02", 'invalid input syntax for type uuid: "Book 5"'),
        ("title::json", "22P02", "invalid input syntax for type json"),
    ],
)
async def test_a_value_that_cannot_be_cast(library: Asker, cast: str, code: str, message: str) -> None:
    with pytest.raises(BadQuery) as caught:
        await library(SERVICE, f"books?select={cast}&order=id.desc")
    assert (caught.value.code, caught.value.message, caught.value.status) == (code, message, 400)


# ---- words for times -------------------------------------------------------------------------------------------------

WORDS = [  # posts by published_at: 1 -3 days, 2 and 7 -2 days, 5 -1 day, 8 at noon today, 4 a microsecond later
    ("lte.now()", [1, 2, 5, 7, 8]),
    ("lt.now", [1, 2, 5, 7]),
    ("gt.NOW", [4]),
    ("eq. now ", [8]),
    ("gte.today", [4, 8]),
    ("lt.yesterday", [1, 2, 7]),
    ("gt.tomorrow", []),
    ("lt.infinity", [1, 2, 4, 5, 7, 8]),
    ("gt.-infinity", [1, 2, 4, 5, 7, 8]),
    ("eq.infinity", []),
    ("in.(now,infinity)", [8]),
    ("lt(any).{yesterday,now}", [1, 2, 5, 7]),
    ("gte(all).{today,now()}", [4, 8]),
    ("not.lt.now()", [4, 8]),
]


@pytest.mark.parametrize(("test", "expected"), WORDS)
async def test_words_for_times(ask: Asker, test: str, expected: list[int]) -> None:
    assert sorted(ids(await ask(ROOT, f"posts?select=id&published_at={test}"))) == expected
    quoted = test.replace("now()", '"now()"') if test.endswith("now()") else test  # a bare one would end at its bracket
    assert sorted(ids(await ask(ROOT, f"posts?select=id&and=(published_at.{quoted})"))) == expected


async def test_a_kept_plan_follows_the_clock(ask: Asker, clock: Clock) -> None:
    request = "posts?select=id&published_at=gt.now()"
    assert ask.plan(ROOT, request).volatile
    assert not ask.plan(ROOT, "posts?published_at=gt.2024-01-01&title=eq.now").volatile
    assert ids(await ask(ROOT, request)) == [4]
    clock.advance(timedelta(seconds=1).total_seconds())
    assert ids(await ask(ROOT, request)) == []


async def test_words_for_dates(library: Asker, clock: Clock) -> None:
    clock.now = EPOCH.replace(year=2024, month=2, day=29)
    for test, expected in (("eq.today", [1]), ("lt.yesterday", [2]), ("lte.now", [1, 2]), ("lt.infinity", [1, 2])):
        assert ids(await library(SERVICE, f"books?select=id&printed_on={test}")) == expected
