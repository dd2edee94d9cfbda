"""Rows that are hard to carry: formulas, quotes, line ends of every kind, both directions of writing, characters
outside the first plane, control characters, long numbers, times of any century.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import select

from app.data.database import Database
from app.data.rules import SYSTEM, Values
from app.models import Post, PostStatus, Tag, User, UserRole
from app.query import writer
from app.query.removal import remove
from app.resources import CATALOG

FORMULAS = ["=1+1", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1:A9)", "\t=1", "'=1"]
ODD = [
    *FORMULAS,
    '"',
    '""',
    "'",
    "`",
    ",",
    ";",
    "\\",
    "\\n",
    "\\u0000",
    "\r\n",
    "\n",
    "\r",
    "\u2028",
    "\u0085",
    "\ufeff",
    "\u202eabc\u202c",
    "עברית",
    "العربية",
    "\u200f",
    "é",
    "e\u0301",
    "😀",
    "👩\u200d🚀",
    "\U0001d54f",
    "\ud7ff\ue000\uffff",
    "\U0010ffff",
    "\x01",
    "\x1b[31m",
    "\x7f",
    "NULL",
    "null",
    "{}",
    "</script>",
    "%s",
    "9" * 400,
    "1e400",
    "-0",
    " ",
    "text",
]
FIRST = datetime(2, 1, 1, tzinfo=UTC)
CENTURIES = timedelta(days=365 * 9900)


async def fill(database: Database, random: Random, posts: int) -> None:
    """So many posts, some of them deleted, with users and tags."""
    async with database.writing(SYSTEM) as session:
        users = [_user(random, number) for number in range(posts // 20 + 3)]
        authors = [row["id"] for row in await writer.insert(session, CATALOG.of(User), users)]
        tags = [_tag(random, number) for number in range(posts // 10 + 3)]
        names = [row["name"] for row in await writer.insert(session, CATALOG.of(Tag), tags)]
    for start in range(0, posts, 500):
        async with database.writing(SYSTEM) as session:
            rows = [_post(random, number, authors, names) for number in range(start, min(posts, start + 500))]
            await writer.insert(session, CATALOG.of(Post), rows)
    async with database.writing(SYSTEM) as session:
        ids = list(await session.scalars(select(Post.id).order_by(Post.id)))
        await remove(session, CATALOG.of(Post), sorted(random.sample(ids, posts // 10)))
        await remove(session, CATALOG.of(User), sorted(random.sample(authors, 2)))


def text(random: Random, most: int) -> str:
    return "".join(random.choice(ODD) for _ in range(random.randint(0, most)))


def _user(random: Random, number: int) -> Values:
    banned = _moment(random) if random.random() < 0.2 else None
    return {
        "username": f"user-{number}",
        "full_name": text(random, 3)[:100].strip() or None,
        "email": random.choice([None, f"=user+{number}@example.org"]),
        "role": random.choice(list(UserRole)),
        "is_active": random.random() < 0.8,
        "banned_until": banned,
        **_times(random),
    }


def _tag(random: Random, number: int) -> Values:
    return {"name": f"{text(random, 2)[:80]} {number}", **_times(random)}


def _post(random: Random, number: int, authors: list[int], tags: list[str]) -> Values:
    status = random.choice(list(PostStatus))
    published = status is PostStatus.PUBLISHED or random.random() < 0.3
    return {
        "user_id": random.choice(authors),
        "slug": f"post-{number}",
        "title": f"{random.choice(FORMULAS)}{text(random, 4)}"[:180].strip(),
        "content": random.choice(FORMULAS) + text(random, 40),
        "status": status,
        "published_at": _moment(random) if published else None,
        "tags": random.sample(tags, random.randrange(4)),
        **_times(random),
    }


def _times(random: Random) -> dict[str, Any]:
    return {"created_at": _moment(random), "updated_at": _moment(random)}


def _moment(random: Random) -> datetime:
    """Some have microseconds, some do not."""
    moment = FIRST + CENTURIES * random.random()
    return moment if random.random() < 0.5 else moment.replace(microsecond=0)


# Lines that no export has.
SPOILT = [
    b'{"post": {"slug": "spoilt", "title": "a\\u0000b", "status": "draft"}}',
    b'{"post": {"slug": "spoilt", "title": "a", "content": "\\u0000", "status": "draft"}}',
    b'{"tag": {"name": "\x00"}}',
    b'{"tag": {"name": "\\ud83d alone"}}',
    b'{"tag": {"name": "\xff"}}',
    b'{"tag": {"name": 1e999}}',
    b'{"tag": {"name": "' + b"x" * 1_000_000 + b'"}}',
    b'{"tag": {"name": "cut',
    b'{"tag": NaN}',
    b'\xef\xbb\xbf{"tag": {"name": "spoilt"}}',
    b'{"user": {"username": "eve", "password": "x"}}',
    b'{"user": {"username": "eve", "balance": ' + b"9" * 400 + b"}}",
    b'{"post": {"slug": "spoilt", "title": "a", "status": "draft", "created_at": ' + b"9" * 5000 + b"}}",
    b'{"post": {"slug": "spoilt", "title": "a", "status": "published"}}',
    b'{"post": {"slug": "spoilt", "title": "a", "status": "draft", "author": "nobody"}}',
    b'{"transfer": {"to_user_id": 1, "amount": 5}}',
    b"[" * 10_000,
    b"\x1b[2J",
]
