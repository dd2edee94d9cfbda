"""Published posts of a period in numbers, as its caller sees them.

async with database.reading(who) as session:
    board = await dashboard(session, since=date(2026, 1, 1))
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select

from app.data.session import AppSession
from app.errors import BadValue
from app.models import Post, PostStatus, PostTag, Tag, User

BEFORE = timedelta(29)  # from the first to the last day of a dashboard that names no beginning
MOST_DAYS = 366
TOP = 10


@dataclass(frozen=True, slots=True)
class Totals:
    posts: int
    authors: int
    tags: int


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    posts: int


@dataclass(frozen=True, slots=True)
class TopTag:
    name: str
    posts: int


@dataclass(frozen=True, slots=True)
class TopAuthor:
    username: str
    posts: int


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Published posts of a period by the day, UTC, both ends included."""

    since: date
    until: date
    totals: Totals
    posts_per_day: list[Day]
    top_tags: list[TopTag]
    top_authors: list[TopAuthor]


async def dashboard(session: AppSession, since: date | None = None, until: date | None = None) -> Dashboard:
    """Published posts of a period: totals, how many on each day, the top tags and authors. Four statements.

    Without `until` the period ends today, without `since` it begins 29 days before its end. Raises BadValue (22023) for
    one that is upside down or longer than 366 days.
    """
    until = until or session.unit.now.date()
    since = since or max(until, date.min + BEFORE) - BEFORE
    if not 0 <= (until - since).days < MOST_DAYS:
        hint = f"Give days in order, at most {MOST_DAYS} of them."
        raise BadValue(f"there is no period from {since} to {until}", code="22023", hint=hint)
    period = _published(since, until)
    return Dashboard(
        since,
        until,
        await _totals(session, period),
        await _per_day(session, period, since, until),
        await _top_tags(session, period),
        await _top_authors(session, period),
    )


def _published(since: date, until: date) -> list[ColumnElement[bool]]:
    first, last = (datetime.combine(day, time(), UTC) for day in (since, until))
    tests = [Post.status == PostStatus.PUBLISHED, Post.published_at >= first]
    return [*tests, Post.published_at < last + timedelta(1)] if until < date.max else tests


async def _totals(session: AppSession, period: list[ColumnElement[bool]]) -> Totals:
    tags = select(func.count(func.distinct(PostTag.tag_id))).select_from(PostTag).join(PostTag.post).where(*period)
    counts = func.count(), func.count(func.distinct(Post.user_id)), tags.scalar_subquery()
    posts, authors, used = (await session.execute(select(*counts).select_from(Post).where(*period))).one()
    return Totals(posts, authors, used)


async def _per_day(session: AppSession, period: list[ColumnElement[bool]], since: date, until: date) -> list[Day]:
    """Every day of the period, those without a post too."""
    day: ColumnElement[Any] = func.date(Post.published_at)
    rows = await session.execute(select(day, func.count()).select_from(Post).where(*period).group_by(day))
    posts = {str(found): number for found, number in rows}
    days = [since + timedelta(number) for number in range((until - since).days + 1)]
    return [Day(each, posts.get(str(each), 0)) for each in days]


async def _top_tags(session: AppSession, period: list[ColumnElement[bool]]) -> list[TopTag]:
    number = func.count()
    query = select(Tag.name, number).join(Post.tags).where(*period).select_from(Post).group_by(Tag.id, Tag.name)
    rows = await session.execute(query.order_by(number.desc(), Tag.name).limit(TOP))
    return [TopTag(name, posts) for name, posts in rows]


async def _top_authors(session: AppSession, period: list[ColumnElement[bool]]) -> list[TopAuthor]:
    number = func.count()
    query = select(User.username, number).select_from(Post).join(Post.author).where(*period)
    rows = await session.execute(
        query.group_by(User.id, User.username).order_by(number.desc(), User.username).limit(TOP)
    )
    return [TopAuthor(name, posts) for name, posts in rows]
