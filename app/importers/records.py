"""The one stream between the readers and the bulk loader: users, tags, posts, and what was left out and why.

Readers are pure: they open the source, never a database. A record that stands in the stream satisfies the rules of the
tables (lengths, alphabets, no NUL, aware UTC), so the loader trusts it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Status = Literal["draft", "published", "archived"]
Role = Literal["member", "author", "admin"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a source; printed as `path:line`, or as the path alone."""

    path: str
    line: int | None = None

    def __str__(self) -> str:
        # File names are foreign text: a terminal escape or an undecodable byte must not reach the terminal.
        path = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in self.path)
        return path if self.line is None else f"{path}:{self.line}"


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A user, sent once and before the first post that names it. Times that are None are those of the import."""

    username: str
    full_name: str | None
    email: str | None
    is_active: bool
    place: Place
    role: Role = "author"
    banned_until: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TagRecord:
    """A tag that may have no post. Tags of posts need none: they are known by `PostRecord.tags`."""

    name: str
    place: Place
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PostRecord:
    """A post. `published_at` is set where it is published, and may be where it was; `author` is one of `authors`, or
    None without any.
    """

    slug: str
    title: str
    content: str
    status: Status
    published_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    author: str | None
    authors: tuple[str, ...]
    tags: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class NotAPost:
    """A file or row that is no post, such as a section page: counted, no error."""

    place: Place
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something about an imported user or post that was dropped or that its owner should know: printed, no error."""

    place: Place
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A file or row that could not be imported: an error, after which the rest goes on."""

    place: Place
    reason: str


Record = UserRecord | TagRecord | PostRecord | NotAPost | Note | Problem


@dataclass(frozen=True, slots=True)
class Source:
    """A stream of records, read once. `total` counts the files or rows that may be posts, for a progress bar."""

    name: str
    total: int | None
    records: Iterator[Record]


class Refused(Exception):
    """Raised inside a reader, where one file or row cannot be used; the reader turns it into a `Problem`."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
