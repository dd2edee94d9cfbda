"""What posts need from the database before they are written: their tags by name, and slugs that are free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Table, select

from app.data.rules import Pairs
from app.data.session import AppSession, turns
from app.data.steps import Steps
from app.models.names import clean_tag, free_name, slug_from
from app.models.posts import Post
from app.models.tags import Tag
from app.query.driver import Prepared, prepare, slot
from app.query.naming import found_or_inserted
from app.query.statements import WriteStatements, statements_of


def link_tags(session: AppSession, pairs: Pairs) -> Steps[None]:
    """A text is a name, found or made; a number is an id, which the writer looks up."""
    rows = [values for _, values in pairs if "tags" in values]
    names = {clean_tag(tag) for row in rows for tag in row["tags"] if isinstance(tag, str)}
    by_name = yield from found_or_inserted(session, Tag, "name", names)
    for row in rows:
        row["tags"] = [by_name[clean_tag(tag)] if isinstance(tag, str) else tag for tag in row["tags"]]


def fill_slugs(session: AppSession, pairs: Pairs) -> Steps[None]:
    """`title`, `title-2`, `title-3`: the first that no present row has. Rows that the caller may not see count too.
    Those who ask for the same slug take turns, so that each sees what the other took. Who wants one that is free need
    not: the writer finds out who came late, and has the unit of work repeated.
    """
    rows = [values for old, values in pairs if old is None and not values.get("slug")]
    wanted = Counter(slug_from(row.get("title") or "") for row in rows)
    bases, taken = sorted(wanted), set[str]()
    if rows and (len(rows) > 1 or session.is_flushing or (yield from _present(session, bases))):
        yield from turns(session.dialect, [f"slug {base}" for base in bases])
        taken = yield from _present(session, bases)
        taken |= yield from _numbered(session, [base for base in bases if base in taken or wanted[base] > 1])
    for row in rows:
        row["slug"] = free_name(slug_from(row.get("title") or ""), taken, most=200)
        taken.add(row["slug"])


def _present(session: AppSession, names: Collection[str]) -> Steps[set[str]]:
    prepared = statements_of(session).any_of(session.catalog.of(Post).table, "slug", present=True)
    rows = yield prepared.statement((), None, names)
    return {slug for (slug,) in rows}


def _numbered(session: AppSession, bases: list[str]) -> Steps[set[str]]:
    """The present slugs that are one of these with something behind it."""
    statements, posts = statements_of(session), session.catalog.of(Post).table
    prepared = statements.once("numbered slugs", lambda: _between(statements, posts))
    rows = yield from statements.each(prepared, [(f"{base}-", f"{base}.") for base in bases])
    return {slug for (slug,) in rows}


def _between(statements: WriteStatements, posts: Table) -> Prepared:
    """A range in byte order, which both databases find in the index; SQLite looks at every row for LIKE ... ESCAPE."""
    slug = posts.c.slug
    first, end = (slot(number, slug.type) for number in range(2))
    query = select(slug).where(slug >= first, slug < end, posts.c.deleted_at.is_(None))
    return prepare(query, statements.dialect, {})
