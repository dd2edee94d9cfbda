"""The bulk loader: writes a stream of records batch by batch, each as one transaction, all or nothing.

    report = await load(database, markdown.read(directory))

A user is known by its name, else by its e-mail address, a post by its slug; what exists is left as it is, or changed
with `update`. A row that the rules or the database refuse is a problem in the report; the rest of its batch goes in.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import partial
from typing import Any

from app.data.base import Base
from app.data.database import Database
from app.data.maintenance import analyze
from app.data.rules import SYSTEM, Values
from app.data.session import AppSession
from app.errors import BadValue, Conflict, Forbidden, Unavailable
from app.importers.existing import ExistingPost, find_posts, find_tags, find_users
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
from app.query import bulk, writer
from app.query.naming import find_or_insert
from app.query.statements import Target

BATCH = 2000  # records
# Posts after which statistics are made for the first time. Without any, PostgreSQL compares each user with each name
# that a batch looks up, which takes as long as writing the batch.
MANY = 4000
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
    written = 0  # posts, when statistics were made
    with _frozen():
        async with contextlib.aclosing(_read_ahead(iter(source.records), batch)) as batches:
            async for taken in batches:
                await loader.load(taken)
                if not dry_run and not written and report.created + report.updated >= MANY:
                    written = await _analyze(database, report)
                if progress is not None:
                    progress(report)
    if not dry_run and written < report.created + report.updated:
        await _analyze(database, report)
    return report


async def _analyze(database: Database, report: Report) -> int:
    """Returns how many posts are written. Old statistics make reads slower, not wrong; a database that is busy now need
    not fail the import.
    """
    with contextlib.suppress(Unavailable):
        await analyze(database, TOUCHED)
    return report.created + report.updated


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """Else each full collection of garbage looks at all that the program has loaded: a fifth of our time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def _read_ahead(records: Iterator[Record], batch: int) -> AsyncGenerator[list[Record]]:
    """Reads a batch in another thread while the one before it is written: readers open files, and YAML takes its
    time.
    """
    reading = asyncio.create_task(asyncio.to_thread(_take, records, batch))
    try:
        while taken := await reading:
            reading = asyncio.create_task(asyncio.to_thread(_take, records, batch))
            yield taken
    finally:
        if not reading.cancel() and not reading.cancelled():
            reading.exception()  # seen: the error that ends the import goes first


def _take(records: Iterator[Record], batch: int) -> list[Record]:
    taken: list[Record] = []
    length = 0
    for record in records:
        taken.append(record)
        length += len(record.content) if isinstance(record, PostRecord) else 0
        if len(taken) >= batch or length >= BATCH_LENGTH:
            break
    return taken


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
        by_name, by_email = await find_users(session, wanted)
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
        made = await bulk.insert(session, session.catalog.of(User), [_user_values(user) for user in missing])
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
        existing = await find_posts(session, [post.slug for post in posts])
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
        await bulk.insert(session, resource, new)
        if changed:
            await writer.update_each(session, resource, changed)


async def _tags(session: AppSession, records: Sequence[Writable], outcome: Outcome) -> dict[str, int]:
    """The ids of the tags that the records are or name, found or made."""
    given = {record.name: record for record in records if isinstance(record, TagRecord)}
    names = {*given, *(tag for record in records if isinstance(record, PostRecord) for tag in record.tags)}
    found = await find_tags(session, names)
    new = [_tag_values(tag) for tag in given.values() if tag.name not in found]
    await writer.insert_unless(session, session.catalog.of(Tag), new, TAG_NAME)  # others may make the same at once
    made = await find_or_insert(session, Tag, "name", names - found.keys())
    outcome.tags_made.update(made)
    return found | made


def _differences(known: ExistingPost, post: PostRecord, values: Values) -> Values:
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
