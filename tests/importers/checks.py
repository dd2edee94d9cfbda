"""What every record of a stream satisfies, whatever the source was; the loader relies on it."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from app.importers.records import NotAPost, Note, PostRecord, Problem, Record, TagRecord, UserRecord

DATA = Path(__file__).parents[3] / "shared" / "data"


def assert_usable(records: Iterable[Record]) -> None:
    users: set[str] = set()
    slugs: set[str] = set()
    for record in records:
        str(record.place).encode()
        match record:
            case UserRecord():
                assert_user(record)
                assert record.username not in users
                users.add(record.username)
            case TagRecord():
                assert_line(record.name, 100)
            case PostRecord():
                assert_post(record)
                assert users.issuperset(record.authors)
                assert record.slug not in slugs
                slugs.add(record.slug)
            case NotAPost() | Note() | Problem():
                assert record.reason.isprintable()


def assert_user(user: UserRecord) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{1,49}", user.username)
    if user.full_name is not None:
        assert_line(user.full_name, 100)
    if user.email is not None:
        assert user.email == user.email.lower()
        assert_line(user.email, 254)


def assert_post(post: PostRecord) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,200}", post.slug)
    assert_line(post.title, 200)
    post.content.encode()
    assert "\0" not in post.content
    assert (post.status == "published") == (post.published_at is not None)
    for moment in (post.published_at, post.created_at, post.updated_at):
        assert_utc(moment)
    assert post.author == (post.authors[0] if post.authors else None)
    assert len(set(post.tags)) == len(post.tags)
    for tag in post.tags:
        assert_line(tag, 100)


def assert_line(text: str, length: int) -> None:
    text.encode()
    assert 1 <= len(text) <= length
    assert text == " ".join(text.split())
    assert "\0" not in text


def assert_utc(moment: datetime | None) -> None:
    assert moment is None or moment.tzinfo is UTC
