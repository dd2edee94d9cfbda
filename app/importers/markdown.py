"""Posts from a folder of Markdown files with front matter, as Zola, Hugo and Jekyll keep them.

    +++                                        (YAML between --- lines alike)
    path = "2019/10/15/Rustup-1.20.0"          slug 2019-10-15-Rustup-1.20.0, published that day
    title = "Announcing Rustup 1.20.0"
    authors = ["The Rustup Working Group"]     user the-rustup-working-group, made when first named
    +++

Files are read one at a time. Nothing outside the folder is read, whatever links lead there.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path, PurePosixPath

from app.importers import frontmatter
from app.importers.frontmatter import Document
from app.importers.names import full_name_from, slug_from, tag_from, title_from, username_from
from app.importers.records import NotAPost, Place, PostRecord, Problem, Record, Refused, Source, UserRecord
from app.importers.text import load, one_line, shown
from app.importers.times import utc_from, utc_from_day

FILE_SIZE = 16 * 1024 * 1024  # bytes

_SUFFIXES = (".md", ".markdown")
_DAY_IN_PATH = re.compile(r"(?:^|/)(\d{4})/(\d{1,2})/(\d{1,2})/", re.ASCII)
_DAY_IN_NAME = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[-_](.+))?", re.ASCII | re.DOTALL)
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read(directory: Path) -> Source:
    """List the Markdown files below a folder, sorted by path; the stream reads them."""
    found = _found(directory)
    return Source(str(directory), len(found), _records(directory, found))


def _found(directory: Path) -> list[PurePosixPath | Problem]:
    """Paths relative to the folder, and a Problem for each folder that cannot be listed."""
    problems: list[Problem] = []

    def unlisted(error: OSError) -> None:
        problems.append(Problem(Place(str(error.filename)), f"the folder cannot be read: {error.strerror}"))

    paths = [
        Path(folder, name).relative_to(directory).as_posix()
        for folder, _, names in os.walk(directory, onerror=unlisted)
        for name in names
        if name.lower().endswith(_SUFFIXES)
    ]
    return [*problems, *map(PurePosixPath, sorted(paths))]


def _records(directory: Path, found: list[PurePosixPath | Problem]) -> Iterator[Record]:
    first_places: dict[str, Place] = {}
    known_users: set[str] = set()
    for relative in found:
        if isinstance(relative, Problem):
            yield relative
            continue
        post, users = _read_file(directory, relative)
        if isinstance(post, PostRecord):
            first = first_places.setdefault(post.slug, post.place)
            if first is not post.place:
                yield Problem(post.place, f"the slug {shown(post.slug)} is that of {first}")
                continue
            yield from (user for user in users if user.username not in known_users)
            known_users.update(post.authors)
        yield post


def _read_file(directory: Path, relative: PurePosixPath) -> tuple[PostRecord | NotAPost | Problem, list[UserRecord]]:
    path = directory / relative
    place = Place(str(path))
    try:
        reason = _reason_to_skip(directory, path)
        if reason:
            return NotAPost(place, reason), []
        document = frontmatter.parse(load(path, FILE_SIZE))
        return _post(document, relative, place)
    except Refused as error:
        return Problem(Place(place.path, error.line), error.reason), []
    except OSError as error:
        return Problem(place, f"the file cannot be read: {error.strerror}"), []


def _reason_to_skip(directory: Path, path: Path) -> str | None:
    if path.stem == "_index":
        return "a section page"
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory)):
        return "a link out of the folder"
    # Opening a pipe would wait for its writer for ever.
    return None if stat.S_ISREG(path.stat().st_mode) else "no regular file"


def _post(document: Document, relative: PurePosixPath, place: Place) -> tuple[PostRecord | NotAPost, list[UserRecord]]:
    if document.front is None:
        return NotAPost(place, "no front matter"), []
    title = _word(document, "title")
    if not title:
        return NotAPost(place, "no title"), []
    with _line_of(document, "title"):
        title = title_from(title)
    day = _day(document, relative)
    published_at = None if _is_draft(document) else day
    users = _users(document, place)
    authors = tuple(user.username for user in users)
    post = PostRecord(
        slug=_slug(document, relative),
        title=title,
        content=document.body,
        status="published" if published_at else "draft",
        published_at=published_at,
        created_at=None,
        updated_at=None,
        author=authors[0] if authors else None,
        authors=authors,
        tags=tuple(_tags(document)),
        place=place,
    )
    return post, users


def _slug(document: Document, relative: PurePosixPath) -> str:
    """`path`, else `slug`, else a Jekyll file name without its day, else the path of the file; `/` becomes `-`."""
    own = _own_path(relative)
    named = _DAY_IN_NAME.fullmatch(own.name)
    given = _word(document, "path").strip("/") or _word(document, "slug").strip("/")
    return slug_from((given or (named and named[4]) or str(own)).replace("/", "-"))


def _day(document: Document, relative: PurePosixPath) -> datetime | None:
    """`date`, else the day in `path`, else that in the folders of the file (2019/10/15/), else that in its name.

    Section folders may stand before the day: `path = "inside-rust/2019/10/15/governance"`.
    """
    written = _value(document, "date")
    if written not in (None, ""):
        with _line_of(document, "date"):
            return utc_from(written)
    own = _own_path(relative)
    in_path = _DAY_IN_PATH.search(_word(document, "path"))
    if in_path:
        with _line_of(document, "path"):
            return utc_from_day(*in_path.group(1, 2, 3))
    in_file = _DAY_IN_PATH.search(str(own)) or _DAY_IN_NAME.fullmatch(own.name)
    return utc_from_day(*in_file.group(1, 2, 3)) if in_file else None


def _own_path(relative: PurePosixPath) -> PurePosixPath:
    """The path without its suffix; `foo/index.md` is `foo`."""
    own = relative.with_suffix("")
    return own.parent if own.name == "index" and own.parent.name else own


def _is_draft(document: Document) -> bool:
    """`draft = true`, or `published: false` as Jekyll says it. Other values are refused: guessing might publish."""
    return _flag(document, "draft", absent=False) or not _flag(document, "published", absent=True)


def _flag(document: Document, key: str, *, absent: bool) -> bool:
    word = _word(document, key).lower()
    if word in _FLAGS:
        return _FLAGS[word]
    if word:
        raise Refused(f"`{key}` must be true or false, not {shown(word)}", document.line_of(key))
    return absent


def _users(document: Document, place: Place) -> list[UserRecord]:
    """The users that `authors`, else `author`, name; two names with one username are one user."""
    users: dict[str, UserRecord] = {}
    key = "authors" if _words(document, "authors") else "author"
    with _line_of(document, key):
        for name in _words(document, key):
            username = username_from(one_line(name))
            users.setdefault(username, UserRecord(username, full_name_from(name), None, True, place))
    return list(users.values())


def _tags(document: Document) -> list[str]:
    """`tags`, `categories`, `category` and `team`, also from the tables where Zola keeps them, without repeats."""
    tags: dict[str, None] = {}
    for key in ("tags", "categories", "category", "team"):
        for table in (None, "extra" if key == "team" else "taxonomies"):
            with _line_of(document, key):
                tags.update(dict.fromkeys(map(tag_from, _words(document, key, table))))
    return list(tags)


def _value(document: Document, key: str, table: str | None = None) -> object:
    front: object = document.front
    if table and isinstance(front, dict):
        front = front.get(table)
    return front.get(key) if isinstance(front, dict) else None


def _words(document: Document, key: str, table: str | None = None) -> list[str]:
    """A text or a list of texts, without the empty ones."""
    value = _value(document, key, table)
    with _line_of(document, key):
        words = map(_text, value if isinstance(value, list) else [value])
        return [word for word in words if word]


def _word(document: Document, key: str) -> str:
    with _line_of(document, key):
        return _text(_value(document, key))


def _text(value: object) -> str:
    """The text of a plain value, trimmed; null is empty."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str():
            return value.strip()
        case int() if value.bit_length() > 64:  # str() refuses integers of more than 4,300 digits
            raise Refused("a number is out of range")
        case int() | float() | date() | time():
            return str(value)
        case _:
            raise Refused(f"a text is expected, not a {type(value).__name__}")


@contextmanager
def _line_of(document: Document, key: str) -> Iterator[None]:
    """Name the key, and its line in the file, in what is refused inside."""
    try:
        yield
    except Refused as error:
        if error.line is not None:
            raise
        raise Refused(f"`{key}`: {error.reason}", document.line_of(key)) from error
