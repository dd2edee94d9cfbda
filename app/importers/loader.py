"""The bulk loader: writes a stream of records batch by batch, each as one transaction, all or nothing.

    report = await load(database, markdown.read(directory))

A user is known by its name, else by its e-mail address, a post by its slug; what exists is left as it is, or changed
with `update`. A row that the rules or the database refuse is a problem in the report; the rest of its batch goes in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import or_, select

from app.data.base import Base
from app.data.database import Database
from app.data.maintenance import analyze
from app.data.rules import SYSTEM, Values
from app.data.session import AppSession
from app.errors import BadValue, Conflict, Forbidden, Unavailable
from app.importers.records import (
    NotAPost,
    Note,
    Place,
    PostRecord,
    Problem,
    Record,
    Source,
    TagRecord,
    UserRecord,
)
from app.importers.report import Outcome, Report
from app.models import Post, PostStatus, PostTag, Revision, Tag, User, UserRole
from app.query import writer
from app.query.statements import Target

BATCH = 500  # records
BATCH_LENGTH = 8_000_000  # characters of content: bounds the memory and how long SQLite's one writer is taken

# Owns the posts that name no author. Inactive: nobody ever signs in as it.
OWNER = UserRecord("imported", "Imported posts", None, False, Place("posts without an author"))

TAG_NAME = Target(("name",))

TOUCHED: tuple[type[Base], ...] = (User, Post, Tag, PostTag, Revision)

Writable = UserRecord | TagRecord | PostRecord
Progress = Callable[[Report], None]


async def load(
    database: Database,
    source: Source,
    *,
    update: bool = False,
    dry_run: bool = False,
    batch: int = BATCH,
    progress: Progress | None = None,
    report: Report | None = None,
) -> Report:
    """Write the records of a source. `progress` is called after each batch. A `report` that is handed in grows on the
    way, so that it tells how far an interrupted run came. Raises Unavailable where the database does not answer; whole
    batches stand.
    """
    report = report or Report()
    report.source, report.total, report.dry_run = source.name, source.total, dry_run
    loader = _Loader(database, report, update=update)
    records = iter(source.records)
    while taken := await asyncio.to_thread(_take, records, batch):  # readers open files, and YAML takes its time
        await loader.load(taken)
        if progress is not None:
            progress(report)
    if not dry_run and report.created + report.updated:
        # Old statistics make reads slower, not wrong; a database that is busy now need not fail the import.
        with contextlib.suppress(Unavailable):
            await analyze(database, TOUCHED)
    return report


def _take(records: Iterator[Record], batch: int) -> list[Record]:
    taken: list[Record] = []
    length = 0
    for record in records:
        taken.append(record)
        length += len(record.content) if isinstance(record, PostRecord) else 0
        if len(taken) >= batch or length >= BATCH_LENGTH:
            break
    return taken


@dataclass(frozen=True, slots=True)
class _Existing:
    """A post of the database, as far as it is compared."""

    id: int
    values: Values
    tags: frozenset[str]


class _Loader:
    """Knows the users that the stream has sent. Nothing is remembered of the database: every batch asks again."""

    def __init__(self, database: Database, report: Report, *, update: bool) -> None:
        self.database = database
        self.report = report
        self.update = update
        self.users: dict[str, UserRecord] = {OWNER.username: OWNER}

    async def load(self, records: Sequence[Record]) -> None:
        self.users |= {record.username: record for record in records if isinstance(record, UserRecord)}
        await self._attempt([record for record in records if isinstance(record, UserRecord | TagRecord | PostRecord)])
        for record in records:
            match record:
                case NotAPost():
                    self.report.not_posts.append(record)
                case Problem():
                    self.report.problems.append(record)
                case Note():
                    self.report.notes[record] = None
                case _:
                    continue

    async def _attempt(self, records: Sequence[Writable]) -> None:
        """Write the records; where one of them is refused, halve until it stands alone."""
        if not records:
            return
        try:
            outcome = await self.database.transact(SYSTEM, partial(self._write, records), keep=not self.report.dry_run)
        except (BadValue, Forbidden, Conflict) as error:
            if len(records) == 1:
                self.report.problems.append(Problem(records[0].place, f"{_label(records[0])}: {error.message}"))
                return
            middle = len(records) // 2
            await self._attempt(records[:middle])
            await self._attempt(records[middle:])
            return
        self.report.add(outcome)

    async def _write(self, records: Sequence[Writable], session: AppSession) -> Outcome:
        outcome = Outcome()
        posts = [record for record in records if isinstance(record, PostRecord)]
        users = await self._users(session, records, outcome)
        tags = await _tags(session, records, outcome)
        await self._posts(session, posts, users, tags, outcome)
        outcome.posts = posts
        return outcome

    # ---- users ----

    async def _users(self, session: AppSession, records: Sequence[Writable], outcome: Outcome) -> dict[str, int]:
        """The ids of the users that the records are or name, found or made."""
        wanted = self._wanted(records)
        by_name, by_email = await _existing_users(session, wanted)
        ids: dict[str, int] = {}
        missing: list[UserRecord] = []
        for user in wanted:
            if user.username in by_name:
                ids[user.username], email = by_name[user.username]
                if user.email and email and user.email != email:
                    outcome.notes.append(_note(user, "exists with another e-mail address and is left as it is"))
            elif user.email in by_email:
                ids[user.username], name = by_email[user.email]
                outcome.notes.append(_note(user, f"has the e-mail address of the user {name!r} and is taken for it"))
            else:
                missing.append(user)
        outcome.users_found.update(ids)
        made = await writer.insert(session, session.catalog.of(User), [_user_values(user) for user in missing])
        outcome.users_made.update(user.username for user in missing)
        return ids | {row["username"]: row["id"] for row in made}

    def _wanted(self, records: Sequence[Writable]) -> list[UserRecord]:
        names = [record.username for record in records if isinstance(record, UserRecord)]
        names += [_owner(record) for record in records if isinstance(record, PostRecord)]
        return [self.users[name] for name in dict.fromkeys(names)]

    # ---- posts ----

    async def _posts(
        self,
        session: AppSession,
        posts: Sequence[PostRecord],
        users: dict[str, int],
        tags: dict[str, int],
        outcome: Outcome,
    ) -> None:
        existing = await _existing_posts(session, [post.slug for post in posts])
        new: list[Values] = []
        changed: dict[int, Values] = {}
        for post in posts:
            values = _post_values(post, users, tags)
            known = existing.get(post.slug)
            if known is None:
                new.append(values | _identity(post))
                outcome.count("created")
            elif not (differences := _differences(known, post, values)):
                outcome.count("unchanged")
            elif self.update:
                changed[known.id] = differences
                outcome.count("updated")
            else:
                outcome.count("exists")
        resource = session.catalog.of(Post)
        await writer.insert(session, resource, new)
        if changed:
            await writer.update_each(session, resource, changed)


async def _tags(session: AppSession, records: Sequence[Writable], outcome: Outcome) -> dict[str, int]:
    """The ids of the tags that the records are or name, found or made."""
    given = {record.name: record for record in records if isinstance(record, TagRecord)}
    names = {*given, *(tag for record in records if isinstance(record, PostRecord) for tag in record.tags)}
    query = select(Tag.name, Tag.id).where(Tag.name.in_(sorted(names))).order_by(Tag.id)
    found: dict[str, int] = dict((await session.execute(query)).all()) if names else {}
    new = [_tag_values(tag) for tag in given.values() if tag.name not in found]
    await writer.insert_unless(session, session.catalog.of(Tag), new, TAG_NAME)  # others may make the same at once
    made = await writer.find_or_insert(session, Tag, "name", names - found.keys())
    outcome.tags_made.update(made)
    return found | made


async def _existing_users(
    session: AppSession, wanted: Sequence[UserRecord]
) -> tuple[dict[str, tuple[int, str | None]], dict[str | None, tuple[int, str]]]:
    """username -> (id, e-mail) and e-mail -> (id, username)."""
    names = [user.username for user in wanted]
    emails = [user.email for user in wanted if user.email]
    query = select(User.id, User.username, User.email).where(or_(User.username.in_(names), User.email.in_(emails)))
    rows = (await session.execute(query.order_by(User.id))).all() if names else []
    return {name: (id_, email) for id_, name, email in rows}, {email: (id_, name) for id_, name, email in rows if email}


async def _existing_posts(session: AppSession, slugs: Collection[str]) -> dict[str, _Existing]:
    if not slugs:
        return {}
    columns = (Post.user_id, Post.title, Post.content, Post.status, Post.published_at)
    query = select(Post.id, Post.slug, *columns).where(Post.slug.in_(slugs)).order_by(Post.id)
    rows = (await session.execute(query)).all()
    tags: dict[int, set[str]] = {row.id: set() for row in rows}
    if tags:
        links = select(PostTag.post_id, Tag.name).join(PostTag.tag).where(PostTag.post_id.in_(tags))
        for id_, name in await session.execute(links.order_by(PostTag.post_id, PostTag.tag_id)):
            tags[id_].add(name)
    names = [column.key for column in columns]
    return {
        row.slug: _Existing(row.id, dict(zip(names, row[2:], strict=True)), frozenset(tags[row.id])) for row in rows
    }


def _differences(known: _Existing, post: PostRecord, values: Values) -> Values:
    """What an update would set. A post that names no author keeps the one that it has."""
    ours = {name: value for name, value in values.items() if name in known.values}
    if post.author is None:
        del ours["user_id"]
    differences = {name: value for name, value in ours.items() if known.values[name] != value}
    return differences if known.tags == set(post.tags) else differences | {"tags": values["tags"]}


def _user_values(user: UserRecord) -> Values:
    """Without credentials: nobody signs in as one."""
    return {
        "username": user.username,
        "full_name": user.full_name,
        "email": user.email,
        "is_active": user.is_active,
        "role": UserRole(user.role),
        "banned_until": user.banned_until,
        **_times(user),
    }


def _tag_values(tag: TagRecord) -> Values:
    return {"name": tag.name, **_times(tag)}


def _post_values(post: PostRecord, users: dict[str, int], tags: dict[str, int]) -> Values:
    return {
        "user_id": users[_owner(post)],
        "title": post.title,
        "content": post.content,
        "status": PostStatus(post.status),
        "published_at": post.published_at,
        "tags": [tags[name] for name in post.tags],
    }


def _identity(post: PostRecord) -> dict[str, Any]:
    """What only a new post gets."""
    return {"slug": post.slug, **_times(post)}


def _times(record: Writable) -> Values:
    """Those that the source does not tell are those of the import."""
    changed = record.updated_at if record.created_at else None  # a change before the creation would make no sense
    return {"created_at": record.created_at, "updated_at": changed or record.created_at}


def _owner(post: PostRecord) -> str:
    return post.author or OWNER.username


def _note(user: UserRecord, reason: str) -> Note:
    return Note(user.place, f"user {user.username!r} {reason}")


def _label(record: Writable) -> str:
    match record:
        case PostRecord():
            return f"post {record.slug!r}"
        case UserRecord():
            return f"user {record.username!r}"
        case TagRecord():
            return f"tag {record.name!r}"
