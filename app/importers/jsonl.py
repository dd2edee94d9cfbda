"""Broadsheet's own form: JSON lines, as `broadsheet export` writes them and `broadsheet import jsonl` reads them.

    {"broadsheet": 1, "exported_at": "2026-01-01T12:00:00Z", "users": 1, "tags": 1, "posts": 1}
    {"user": {"username": "ada", "full_name": null, "email": null, "role": "author", ...}}
    {"tag": {"name": "news", ...}}
    {"post": {"slug": "hello", "title": "Hello", "status": "draft", "author": "ada", "tags": ["news"], ...}}

Read strictly, a line at a time: unknown keys, other types and values that the tables refuse are problems of their line.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from app.data import checks
from app.data.base import Base
from app.errors import BadValue
from app.importers.records import (
    Note,
    Place,
    PostRecord,
    Problem,
    Record,
    Refused,
    Role,
    Source,
    Status,
    TagRecord,
    UserRecord,
)
from app.importers.text import shown
from app.models import Post, Tag, User
from app.models.names import clean_email, clean_name, clean_slug, clean_tag, clean_title, clean_username

VERSION = 1
LINE = 64 * 1024 * 1024  # bytes of one line: four times what the largest Markdown file brings
BOM = b"\xef\xbb\xbf"
FIRST = f'its first line must be {{"broadsheet": {VERSION}}}'

Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=2**53)]

# ---- lines ----------------------------------------------------------------------------------------------------------


class Mark(Struct):
    """What every version of the form begins with."""

    broadsheet: int


class Header(Struct, kw_only=True, forbid_unknown_fields=True):
    """The counts are those of the lines that follow, so that a file without its end is known for one."""

    broadsheet: int = VERSION
    exported_at: Moment | None = None
    users: Count | None = None
    tags: Count | None = None
    posts: Count | None = None


class UserFields(Struct, kw_only=True, forbid_unknown_fields=True):
    username: str
    full_name: str | None = None
    email: str | None = None
    role: Role = "author"
    is_active: bool = True
    banned_until: Moment | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None


class TagFields(Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    created_at: Moment | None = None
    updated_at: Moment | None = None


class PostFields(Struct, kw_only=True, forbid_unknown_fields=True):
    slug: str
    title: str
    content: str = ""
    status: Status
    published_at: Moment | None = None
    author: str | None = None
    tags: list[str] = []  # msgspec copies it
    created_at: Moment | None = None
    updated_at: Moment | None = None


class Line(Struct, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of them."""

    user: UserFields | UnsetType = UNSET
    tag: TagFields | UnsetType = UNSET
    post: PostFields | UnsetType = UNSET


# ---- reading --------------------------------------------------------------------------------------------------------


def read(file: Path, *, admins: bool = False) -> Source:
    """The stream of a file. Without `admins` those come in as authors."""
    place = Place(str(file))
    try:
        stream = file.open("rb")
    except OSError as error:
        return Source(place.path, 1, iter([_unreadable(place, error)]))
    return read_stream(stream, place.path, admins=admins)


def read_stream(stream: BinaryIO, name: str, *, admins: bool = False) -> Source:
    """The same of an open file, which is closed at its end. Returns when the first line has come."""
    lines = _lines(stream)
    try:
        header = _header(next(lines, (1, b""))[1])
    except Refused as error:
        stream.close()
        return Source(name, 1, iter([Problem(Place(name, 1), error.reason)]))
    except OSError as error:
        stream.close()
        return Source(name, 1, iter([_unreadable(Place(name), error)]))
    return Source(name, header.posts, _records(name, stream, lines, header, admins))


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Each line with its number; None for one that is too long, of which no more than that is kept."""
    number = 0
    while line := stream.readline(LINE + 1):
        number += 1
        if len(line) <= LINE or line.endswith(b"\n"):
            yield number, line
            continue
        while (rest := stream.readline(1 << 20)) and not rest.endswith(b"\n"):
            pass
        yield number, None


def _header(line: bytes | None) -> Header:
    text = b"" if line is None else line.removeprefix(BOM)
    try:
        version = msgspec.json.decode(text, type=Mark).broadsheet
        if version == VERSION:
            return msgspec.json.decode(text, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"this is no export of Broadsheet, {FIRST}: {_printable(str(error))}") from error
    raise Refused(f"this export has the form {version}, and this program reads the form {VERSION} alone")


def _records(
    name: str, stream: BinaryIO, lines: Iterator[tuple[int, bytes | None]], header: Header, admins: bool
) -> Iterator[Record]:
    reader = _Reader(admins)
    number = seen = 0
    with stream:
        try:
            for number, line in lines:
                if line is None or line.strip():
                    seen += 1
                    yield from reader.records(line, Place(name, number))
        except OSError as error:
            yield _unreadable(Place(name, number + 1), error)
            return
    announced = (header.users, header.tags, header.posts)
    if None not in announced and sum(count or 0 for count in announced) != seen:
        total = sum(count or 0 for count in announced)
        yield Problem(Place(name, max(1, number)), f"{total} lines are announced, {seen} came: the file is not whole")


def _unreadable(place: Place, error: OSError) -> Problem:
    return Problem(place, f"the file cannot be read: {error.strerror}")


@dataclass(slots=True)
class _Reader:
    """Knows what came before: a name that comes twice is a problem of the second line. A name counts from the record
    that has it on, so a line that is refused stands in no other's way.
    """

    admins: bool
    usernames: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    slugs: set[str] = field(default_factory=set)

    def records(self, line: bytes | None, place: Place) -> Iterator[Record]:
        try:
            if line is None:
                raise Refused(f"the line is longer than {LINE >> 20} MiB")
            yield from self._parsed(line, place)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield Problem(place, _printable(str(error)))
        except BadValue as error:
            yield Problem(place, _printable(error.message))
        except Refused as error:
            yield Problem(place, _printable(error.reason))

    def _parsed(self, line: bytes, place: Place) -> Iterator[Record]:
        parsed = DECODER.decode(line)
        match (parsed.user, parsed.tag, parsed.post):
            case (UserFields() as user, UnsetType(), UnsetType()):
                yield from self._user(user, place)
            case (UnsetType(), TagFields() as tag, UnsetType()):
                yield self._tag(tag, place)
            case (UnsetType(), UnsetType(), PostFields() as post):
                yield self._post(post, place)
            case _:
                raise Refused("a line holds one of user, tag and post")

    def _user(self, user: UserFields, place: Place) -> Iterator[Record]:
        of = partial(_fitting, User)
        demoted = user.role == "admin" and not self.admins
        record = UserRecord(
            full_name=of("full_name", clean_name(user.full_name) or None) if user.full_name else None,
            email=of("email", clean_email(user.email)) if user.email is not None else None,
            is_active=user.is_active,
            place=place,
            role="author" if demoted else user.role,
            banned_until=_utc(user.banned_until),
            created_at=_utc(user.created_at),
            updated_at=_utc(user.updated_at),
            username=_new(clean_username(user.username), self.usernames, "username"),
        )
        if demoted:
            name = shown(record.username)
            yield Note(place, f"user {name} is an admin there and comes in as an author; --admins keeps admins")
        yield record

    def _tag(self, tag: TagFields, place: Place) -> TagRecord:
        name = _new(_fitting(Tag, "name", clean_tag(tag.name)), self.tags, "tag")
        return TagRecord(name, place, _utc(tag.created_at), _utc(tag.updated_at))

    def _post(self, post: PostFields, place: Place) -> PostRecord:
        author = None if post.author is None else clean_username(post.author)
        if author is not None and author not in self.usernames:
            raise Refused(f"the author {shown(author)} has no line before this one")
        if post.status == "published" and post.published_at is None:
            raise Refused("a published post needs `published_at`")
        of = partial(_fitting, Post)
        return PostRecord(
            title=of("title", clean_title(post.title)),
            content=of("content", post.content),
            status=post.status,
            published_at=_utc(post.published_at),
            created_at=_utc(post.created_at),
            updated_at=_utc(post.updated_at),
            author=author,
            authors=() if author is None else (author,),
            tags=tuple(dict.fromkeys(_fitting(Tag, "name", clean_tag(tag)) for tag in post.tags)),
            place=place,
            slug=_new(clean_slug(post.slug), self.slugs, "slug"),
        )


DECODER = msgspec.json.Decoder(Line)


def _new(name: str, known: set[str], what: str) -> str:
    if name in known:
        raise Refused(f"the {what} {shown(name)} came before")
    known.add(name)
    return name


def _fitting(model: type[Base], column: str, value: Any) -> Any:
    """The value, where its column takes it. Raises BadValue that names the column."""
    try:
        if value is not None:
            checks.fits(model.__table__.c[column].type, value)
    except BadValue as error:
        raise BadValue(f"`{column}`: {error.message}", code=error.code) from None
    return value


def _utc(moment: datetime | None) -> datetime | None:
    try:
        return None if moment is None else checks.storable(moment.astimezone(UTC))
    except OverflowError:  # 0001-01-01T00:00+01:00 lies before the first year
        raise Refused(f"the time {moment.isoformat() if moment else ''} is out of range") from None


def _printable(text: str) -> str:
    """Foreign text in a message must not reach a terminal as an escape."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
