"""Dashboard and search, called from Python: they see what their caller may see, in a constant number of statements."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from app.actions import Dashboard, Day, TopAuthor, TopTag, Totals, dashboard, search
from app.data.database import Database
from app.data.rules import ANONYMOUS, SYSTEM, Principal, user
from app.errors import BadQuery, BadValue
from app.models import Post, PostTag, Tag, User
from tests.conftest import EPOCH, Statements
from tests.query.rows import a_post, a_tag, a_user, fill, links

TODAY = EPOCH.date()  # 2026-01-01
DAY = timedelta(days=1)


@pytest.fixture
async def blog(database: Database) -> Database:
    """Ada has two public posts of today and yesterday, one of last year, a draft; Bob one, scheduled for tomorrow."""
    posts = [
        a_post(1, 1, title="Async", content="the event loop", published_at=EPOCH - timedelta(hours=1)),
        a_post(2, 1, title="The event loop", content="async async", published_at=EPOCH - timedelta(hours=20)),
        a_post(3, 1, title="Old event", published_at=EPOCH - 200 * DAY),
        a_post(4, 1, title="Draft event", status="draft", published_at=None),
        a_post(5, 2, title="Event tomorrow", published_at=EPOCH + DAY),
        a_post(6, 2, title="Deleted event", deleted_at=EPOCH),
        a_post(7, 2, title="Nothing", published_at=EPOCH - timedelta(hours=2)),
    ]
    await fill(
        database,
        {
            User: [a_user(1, username="ada", role="author"), a_user(2, username="bob", role="author")],
            Tag: [a_tag(1, "python"), a_tag(2, "news"), a_tag(3, "unused")],
            Post: posts,
            PostTag: [*links(1, 1, 2), *links(2, 1), *links(4, 3), *links(5, 2), *links(6, 3)],
        },
    )
    return database


async def board(database: Database, who: Principal, since: date | None = None, until: date | None = None) -> Dashboard:
    async with database.reading(who) as session:
        return await dashboard(session, since, until)


async def test_dashboard_of_a_period(blog: Database) -> None:
    assert await board(blog, ANONYMOUS, TODAY - DAY, TODAY) == Dashboard(
        since=TODAY - DAY,
        until=TODAY,
        totals=Totals(posts=3, authors=2, tags=2),
        posts_per_day=[Day(TODAY - DAY, 1), Day(TODAY, 2)],
        top_tags=[TopTag("python", 2), TopTag("news", 1)],
        top_authors=[TopAuthor("ada", 2), TopAuthor("bob", 1)],
    )


async def test_dashboard_counts_what_the_caller_sees(blog: Database) -> None:
    """Scheduled posts for their author and admins; drafts and deleted posts for nobody."""
    tomorrow = TODAY + DAY
    numbers = [(await board(blog, who, TODAY, tomorrow)).totals.posts for who in (ANONYMOUS, user(1, "author"))]
    assert numbers == [2, 2]
    assert (await board(blog, user(2, "author"), TODAY, tomorrow)).totals == Totals(posts=3, authors=2, tags=2)
    assert (await board(blog, SYSTEM, TODAY, tomorrow)).totals.posts == 3


async def test_dashboard_ends_today_and_shows_thirty_days(blog: Database) -> None:
    found = await board(blog, ANONYMOUS)
    assert (found.since, found.until, len(found.posts_per_day)) == (TODAY - 29 * DAY, TODAY, 30)
    assert found.posts_per_day[-1] == Day(TODAY, 2)
    assert (await board(blog, ANONYMOUS, until=TODAY - 199 * DAY)).totals.posts == 1


@pytest.mark.parametrize(("since", "until"), [(TODAY, TODAY - DAY), (TODAY - 366 * DAY, TODAY), (date.max, None)])
async def test_dashboard_refuses_odd_periods(blog: Database, since: date, until: date | None) -> None:
    with pytest.raises(BadValue) as caught:
        await board(blog, ANONYMOUS, since, until)
    assert caught.value.code == "22023"


async def test_dashboard_at_both_ends_of_time(blog: Database) -> None:
    assert (await board(blog, ANONYMOUS, date.max, date.max)).totals == Totals(0, 0, 0)
    assert (await board(blog, ANONYMOUS, until=date.min)).posts_per_day == [Day(date.min, 0)]


async def test_dashboard_takes_four_statements(blog: Database, statements: Statements) -> None:
    await board(blog, user(1, "author"))
    assert statements.count == 4  # totals, days, tags, authors


async def found(database: Database, who: Principal, q: str) -> list[int]:
    async with database.reading(who) as session:
        return list(await search(session, q))


async def test_search_has_the_best_first_then_the_newest(blog: Database) -> None:
    """A word of the title weighs more than one of the content."""
    assert (await found(blog, ANONYMOUS, "event"))[-1] == 1
    assert await found(blog, ANONYMOUS, "async -old") == [1, 2]
    assert set(await found(blog, ANONYMOUS, '"event loop" or nothing')) == {1, 2, 7}
    assert await found(blog, ANONYMOUS, "") == []


async def test_equal_ranks_are_ordered_by_date_then_id(database: Database) -> None:
    same = {"title": "Same", "content": "x"}
    posts = [a_post(i, 1, slug=f"s{i}", **same, published_at=EPOCH - d * DAY) for i, d in ((1, 3), (2, 1), (3, 3))]
    await fill(database, {User: [a_user(1)], Post: posts})
    assert await found(database, ANONYMOUS, "same") == [2, 3, 1]


async def test_search_finds_what_the_caller_sees(blog: Database, statements: Statements) -> None:
    assert set(await found(blog, ANONYMOUS, "event")) == {1, 2, 3}
    assert set(await found(blog, user(1, "author"), "event")) == {1, 2, 3, 4}
    assert set(await found(blog, SYSTEM, "event")) == {1, 2, 3, 4, 5}
    assert statements.count == 3


async def test_search_refuses_too_long_a_text(blog: Database) -> None:
    with pytest.raises(BadQuery) as caught:
        await found(blog, ANONYMOUS, "a" * 501)
    assert caught.value.code == "54000"
