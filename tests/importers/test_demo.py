"""The sample content: usable, the same for the same options, loaded once."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import timedelta
from itertools import islice

import pytest

from app.data.database import Database
from app.importers import demo
from app.importers.loader import load
from app.importers.records import PostRecord, Record, TagRecord, UserRecord
from tests.importers.checks import assert_usable


def posts_of(posts: int, seed: int = 1) -> list[PostRecord]:
    return [record for record in demo.source(posts=posts, seed=seed).records if isinstance(record, PostRecord)]


def digest(records: list[Record]) -> str:
    return hashlib.sha256(repr(records).encode()).hexdigest()[:16]


def test_records_are_usable_and_as_many_as_asked_for() -> None:
    records = list(demo.source(users=2000, posts=3000, tags=150, seed=7).records)
    assert_usable(records)
    assert Counter(type(record) for record in records) == {UserRecord: 2000, TagRecord: 150, PostRecord: 3000}


def test_content_is_the_same_on_every_machine() -> None:
    """Whoever changes the content on purpose changes this too."""
    assert digest(list(demo.source().records)) == "345eb26839dc0233"


def test_another_seed_makes_other_content() -> None:
    assert not {post.content for post in posts_of(50, seed=1)} & {post.content for post in posts_of(50, seed=2)}


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    assert posts_of(200)[:50] == posts_of(50)


def test_drafts_scheduled_and_archived_posts_are_among_them() -> None:
    counts = Counter("scheduled" if p.published_at and p.published_at > demo.END else p.status for p in posts_of(200))
    assert counts.keys() == {"published", "scheduled", "draft", "archived"}
    assert counts["published"] > 140


def test_dates_spread_over_two_years_before_a_fixed_day() -> None:
    posts = posts_of(1000)
    created = [post.created_at for post in posts if post.created_at]
    assert demo.END - demo.SPAN <= min(created) < demo.END - demo.SPAN + timedelta(days=30)
    assert demo.END - timedelta(days=30) < max(created) <= demo.END
    assert all(p.created_at and p.updated_at and p.created_at <= p.updated_at <= demo.END for p in posts)
    assert all(p.created_at and p.published_at >= p.created_at for p in posts if p.published_at)


@pytest.mark.parametrize(("users", "tags"), [(0, 0), (1, 1)])
def test_few_users_and_tags_will_do(users: int, tags: int) -> None:
    records = list(demo.source(users, 20, tags).records)
    assert_usable(records)
    assert len(records) == users + tags + 20


async def test_a_second_run_creates_nothing_and_a_longer_one_the_rest(database: Database) -> None:
    assert (await load(database, demo.source(posts=60))).created == 60
    again = await load(database, demo.source(posts=60), update=True)
    assert (again.created, again.unchanged, again.users_made, again.tags_made) == (0, 60, set(), set())
    longer = await load(database, demo.source(posts=80))
    assert (longer.created, longer.unchanged, longer.problems) == (20, 60, [])


def test_a_million_posts_are_not_made_before_they_are_asked_for() -> None:
    assert len(list(islice(demo.source(posts=1_000_000_000).records, 60))) == 60
