"""Every user, tag and post that is not deleted, as the JSON lines of `jsonl.py`.

    extent = await export(database, file.write)

What is read is one moment of the database. Rows come in the order of their ids and in batches, so memory is that of a
batch. Posts whose author is deleted go to the user that the imports give posts without an author. Passwords, sessions,
keys, balances and metadata of accounts are not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import func, select

from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.data.snapshots import snapshot
from app.importers.jsonl import Header, Line, PostFields, TagFields, UserFields
from app.importers.loader import BATCH_LENGTH, OWNER
from app.models import Post, PostTag, Tag, User

BATCH = 500  # rows

Write = Callable[[bytes], object]


@dataclass(slots=True)
class Extent:
    """What an export holds; `done` counts the posts that are written."""

    users: int = 0
    tags: int = 0
    posts: int = 0
    done: int = 0


Progress = Callable[[Extent], None]


async def export(database: Database, write: Write, *, batch: int = BATCH, progress: Progress | None = None) -> Extent:
    """`write` is called in other threads, one call after the other. Raises Unavailable."""
    async with snapshot(database, SYSTEM) as session:
        exporter = _Exporter(session, batch)
        header, extent = await exporter.measure()
        await asyncio.to_thread(write, _encoded([header]))
        async for lines in exporter.lines():
            await asyncio.to_thread(_write, write, lines)
            extent.done += sum(line.post is not msgspec.UNSET for line in lines)
            if progress is not None:
                progress(extent)
    return extent


def _write(write: Write, lines: Sequence[Line]) -> None:
    write(_encoded(lines))


def _encoded(lines: Iterable[Any]) -> bytes:
    return ENCODER.encode_lines(lines)


ENCODER = msgspec.json.Encoder()


class _Exporter:
    def __init__(self, session: AppSession, batch: int) -> None:
        self.session = session
        self.batch = batch
        self.owner: UserFields | None = None  # where posts need it and no user has its name

    async def measure(self) -> tuple[Header, Extent]:
        now = self.session.unit.now
        users = await self._count(select(func.count()).select_from(User))
        tags = await self._count(select(func.count()).select_from(Tag))
        posts = await self._count(select(func.count()).select_from(Post))
        orphans = posts - await self._count(select(func.count()).select_from(Post).join(Post.author))
        if orphans and not await self._count(select(func.count(User.id)).where(User.username == OWNER.username)):
            self.owner = UserFields(
                username=OWNER.username,
                full_name=OWNER.full_name,
                role=OWNER.role,
                is_active=OWNER.is_active,
                created_at=now,
                updated_at=now,
            )
            users += 1
        return Header(exported_at=now, users=users, tags=tags, posts=posts), Extent(users, tags, posts)

    async def _count(self, query: Any) -> int:
        return await self.session.scalar(query) or 0

    async def lines(self) -> AsyncIterator[list[Line]]:
        async for rows in self._batches(select(User.id, *USER), User.id):
            yield [Line(user=_user(row)) for row in rows]
        if self.owner is not None:
            yield [Line(user=self.owner)]
        async for rows in self._batches(select(Tag.id, *TAG), Tag.id):
            yield [Line(tag=TagFields(**_named(TAG, row))) for row in rows]
        async for ids in self._bounded_ids():
            yield await self._posts(*ids)

    async def _batches(self, query: Any, key: Any) -> AsyncIterator[Sequence[Any]]:
        last = 0
        while rows := (await self.session.execute(query.where(key > last).order_by(key).limit(self.batch))).all():
            yield rows
            last = rows[-1][0]

    async def _bounded_ids(self) -> AsyncIterator[tuple[int, int]]:
        """The first and the last id of posts that together hold no more than BATCH_LENGTH characters, or of one."""
        async for rows in self._batches(select(Post.id, func.length(Post.content)), Post.id):
            first, length = rows[0][0], 0
            last = first
            for id_, size in rows:
                if length and length + size > BATCH_LENGTH:
                    yield first, last
                    first, length = id_, 0
                last, length = id_, length + size
            yield first, last

    async def _posts(self, first: int, last: int) -> list[Line]:
        query = select(Post.id, User.username, *POST).outerjoin(Post.author).where(Post.id.between(first, last))
        rows = (await self.session.execute(query.order_by(Post.id))).all()
        links = select(PostTag.post_id, Tag.name).join(PostTag.tag).where(PostTag.post_id.between(first, last))
        tags: dict[int, list[str]] = {}
        for id_, name in await self.session.execute(links.order_by(PostTag.post_id, Tag.name)):
            tags.setdefault(id_, []).append(name)
        return [Line(post=_post(row, tags.get(row[0], []))) for row in rows]


USER = (
    User.username,
    User.full_name,
    User.email,
    User.role,
    User.is_active,
    User.banned_until,
    User.created_at,
    User.updated_at,
)
TAG = (Tag.name, Tag.created_at, Tag.updated_at)
POST = (Post.slug, Post.title, Post.content, Post.status, Post.published_at, Post.created_at, Post.updated_at)


def _named(columns: Sequence[Any], row: Any) -> dict[str, Any]:
    """The row's values, but for the key before them, by column name."""
    return {column.key: value for column, value in zip(columns, row[1:], strict=True)}


def _user(row: Any) -> UserFields:
    return UserFields(**_named(USER, row))


def _post(row: Any, tags: list[str]) -> PostFields:
    id_, author, *values = row
    return PostFields(author=author or OWNER.username, tags=tags, **_named(POST, (id_, *values)))
