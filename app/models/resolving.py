"""What posts need from the database before they are written: their tags by name, and slugs that are free."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select

from app.data.rules import Pairs, Principal, Values
from app.data.session import AppSession
from app.data.steps import Steps
from app.models.names import clean_tag, free_name, slug_from
from app.models.posts import Post
from app.models.tags import Tag
from app.query.statements import statements_of
from app.query.writer import find_or_insert


async def resolve_posts(session: AppSession, pairs: Pairs, who: Principal, now: datetime) -> None:
    """Tags by name or id become ids, found or made; a missing slug is made from the title, free among the present
    ones.
    """
    await _resolve_tags(session, [values for _, values in pairs if "tags" in values])
    await _resolve_slugs(session, [values for old, values in pairs if old is None and not values.get("slug")])


async def _resolve_tags(session: AppSession, rows: list[Values]) -> None:
    """A text is a name, found or made; a number is an id, which the writer looks up."""
    if not rows:
        return
    names = {clean_tag(tag) for row in rows for tag in row["tags"] if isinstance(tag, str)}
    by_name = await find_or_insert(session, Tag, "name", names)
    for row in rows:
        row["tags"] = [by_name[clean_tag(tag)] if isinstance(tag, str) else tag for tag in row["tags"]]


TESTS_AT_ONCE = 200  # SQLite takes expressions of at most 1000 levels


async def _resolve_slugs(session: AppSession, rows: list[Values]) -> None:
    """`title`, `title-2`, `title-3`: the first that no present row has. Rows that the caller may not see count too.
    Those who ask for the same slug take turns, so that each sees what the other took. Who wants one that is free need
    not: the writer finds out who came late, and has the unit of work repeated.
    """
    wanted = Counter(slug_from(row.get("title") or "") for row in rows)
    bases = sorted(wanted)
    if len(rows) == 1 and not session.is_flushing and not await session.run(_taken(session, bases)):
        rows[0]["slug"] = bases[0]
        return
    await session.take_turns(*(f"slug {base}" for base in bases))
    crowded = [base for base in bases if wanted[base] > 1]  # whose numbers are needed whatever is taken
    first, rest = crowded[:TESTS_AT_ONCE], set(crowded[TESTS_AT_ONCE:])
    if first:
        taken = await _present_slugs(session, or_(Post.slug.in_(bases), *map(_numbered, first)))
    else:
        taken = await session.run(_taken(session, bases)) if bases else set()
    for some in _batched(sorted((taken & wanted.keys() | rest) - set(first)), TESTS_AT_ONCE):
        taken |= await _present_slugs(session, or_(*map(_numbered, some)))
    for row in rows:
        row["slug"] = free_name(slug_from(row.get("title") or ""), taken, most=200)
        taken.add(row["slug"])


def _taken(session: AppSession, names: list[str]) -> Steps[set[str]]:
    posts = session.catalog.of(Post)
    rows = yield statements_of(session).any_of(posts.table, "slug", present=True).statement((), None, names)
    return {slug for (slug,) in rows}


def _numbered(base: str) -> ColumnElement[bool]:
    """A range in byte order, which both databases find in the index; SQLite looks at every row for LIKE ... ESCAPE."""
    return and_(Post.slug >= f"{base}-", Post.slug < f"{base}.")


async def _present_slugs(session: AppSession, test: ColumnElement[bool]) -> set[str]:
    query = select(Post.slug).where(test, Post.deleted_at.is_(None)).execution_options(unruled=True)
    return set(await session.scalars(query))


def _batched(names: list[str], size: int) -> list[list[str]]:
    return [names[at : at + size] for at in range(0, len(names), size)]
