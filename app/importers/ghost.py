"""Users, tags and posts from a Ghost JSON export, versions 1 to 5.

    {"db": [{"meta": {"version": "4.1.0"}, "data": {"users": [...], "posts": [...], ...}}]}, with or without the "db"

References are resolved by id. A post's content is its html, else its plaintext, else empty; `__GHOST_URL__`
placeholders stay in it. Pages and internal tags are left out. The file is decoded as a whole, and what it holds besides
these (password hashes, keys, settings) is dropped there: `ghost_tables.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from app.importers.ghost_tables import Row, Tables, id_of, label, required_id, tables_from, text_of, time_of
from app.importers.names import email_from, full_name_from, slug_from, tag_from, title_from, username_from
from app.importers.records import (
    NotAPost,
    Note,
    Place,
    PostRecord,
    Problem,
    Record,
    Refused,
    Source,
    Status,
    TagRecord,
    UserRecord,
)
from app.importers.text import load, shown, storable

FILE_SIZE = 512 * 1024 * 1024  # bytes

_STATUSES: Mapping[str, Status] = {
    "published": "published",
    "scheduled": "published",
    "sent": "published",
    "draft": "draft",
}


def read(file: Path) -> Source:
    """Decode an export; the stream sends its users, then its tags, then its posts."""
    place = Place(str(file))
    try:
        tables = tables_from(load(file, FILE_SIZE))
    except Refused as error:
        return Source(place.path, 1, iter([Problem(Place(place.path, error.line), error.reason)]))
    except OSError as error:
        return Source(place.path, 1, iter([Problem(place, f"the file cannot be read: {error.strerror}")]))
    return Source(place.path, len(tables["posts"]), _records(tables, place))


@dataclass(frozen=True, slots=True)
class _Export:
    """What the posts refer to: `usernames` and `tags` by id (an internal tag is None), the joins by the post's id."""

    place: Place
    usernames: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    authors_of: dict[str, list[str]] = field(default_factory=dict)
    tags_of: dict[str, list[str]] = field(default_factory=dict)


def _records(tables: Tables, place: Place) -> Iterator[Record]:
    export = _Export(
        place,
        authors_of=_joined(tables["posts_authors"], "author_id"),
        tags_of=_joined(tables["posts_tags"], "tag_id"),
    )
    yield from _users(tables["users"], export)
    yield from _tags(tables["tags"], export)
    slugs: set[str] = set()
    for row in tables["posts"]:
        try:
            post, notes = _post(row, export)
        except Refused as error:
            yield Problem(place, f"post {label(row)}: {error.reason}")
            continue
        if isinstance(post, PostRecord):
            if post.slug in slugs:
                yield Problem(place, f"post {label(row)}: the slug is that of a post before it in {place}")
                continue
            slugs.add(post.slug)
        yield from (Note(place, f"post {label(row)}: {note}") for note in notes)
        yield post
    yield from _strays(tables["posts"], export)


def _joined(rows: list[Row], key: str) -> dict[str, list[str]]:
    """The ids under `key` by `post_id`, in the order of sort_order."""
    joined: dict[str, list[str]] = {}
    for row in sorted(rows, key=_sort_order):
        joined.setdefault(id_of(row, "post_id"), []).append(id_of(row, key))
    return joined


def _sort_order(row: Row) -> int:
    order = row.get("sort_order")
    return order if isinstance(order, int) else 0


def _users(rows: list[Row], export: _Export) -> Iterator[Record]:
    known: set[str] = set()
    emails: set[str] = set()
    for row in rows:
        try:
            username, full_name = _user_names(row)
            export.usernames[required_id(row)] = username
        except Refused as error:
            yield Problem(export.place, f"user {label(row)}: {error.reason}")
            continue
        if username in known:
            continue
        known.add(username)
        email, note = _email(row, emails)
        if note:
            yield Note(export.place, f"user {label(row)}: {note}")
        yield UserRecord(username, full_name, email, row.get("status") == "active", export.place)


def _user_names(row: Row) -> tuple[str, str | None]:
    slug, name = text_of(row, "slug"), text_of(row, "name")
    if not slug and not name:
        raise Refused("it has neither a slug nor a name")
    return username_from(slug or name), full_name_from(name)


def _email(row: Row, emails: set[str]) -> tuple[str | None, str | None]:
    """The address, or None and why; addresses are not shown."""
    written = text_of(row, "email")
    email = email_from(written)
    if email is None:
        return None, "the e-mail address is not plausible and is left out" if written else None
    if email in emails:
        return None, "the e-mail address is that of another user and is left out"
    emails.add(email)
    return email, None


def _tags(rows: list[Row], export: _Export) -> Iterator[Record]:
    known: set[str] = set()
    for row in rows:
        try:
            name = tag_from(text_of(row, "name"))
            internal = row.get("visibility") == "internal" or name.startswith("#")
            export.tags[required_id(row)] = None if internal else name
        except Refused as error:
            yield Problem(export.place, f"tag {label(row)}: {error.reason}")
            continue
        if not internal and name not in known:
            known.add(name)
            yield TagRecord(name, export.place)


def _post(row: Row, export: _Export) -> tuple[PostRecord | NotAPost, list[str]]:
    """The post, and what its owner should know about it. Raises Refused."""
    if _is_page(row):
        return NotAPost(export.place, f"{label(row)} is a page"), []
    notes: list[str] = []
    title = text_of(row, "title")
    status, published_at = _published(row, notes)
    authors = _authors(row, export, notes)
    post = PostRecord(
        slug=slug_from(text_of(row, "slug") or title),
        title=title_from(title),  # which refuses an empty one
        content=_content(row, notes),
        status=status,
        published_at=published_at,
        created_at=time_of(row, "created_at"),
        updated_at=time_of(row, "updated_at"),
        author=authors[0] if authors else None,
        authors=authors,
        tags=_tags_of(row, export, notes),
        place=export.place,
    )
    return post, notes


def _is_page(row: Row) -> bool:
    """Since Ghost 3 there is a `type`, before it a flag `page`."""
    kind = row.get("type")
    return kind != "post" if kind else bool(row.get("page"))


def _published(row: Row, notes: list[str]) -> tuple[Status, datetime | None]:
    """The status, and the time that goes with it: None for drafts, and nothing is published without one."""
    written = text_of(row, "status")
    if written not in _STATUSES:
        raise Refused(f"the status {shown(written)} is none of {', '.join(_STATUSES)}")
    status = _STATUSES[written]
    published_at = time_of(row, "published_at")
    if status == "draft":
        return status, None
    if published_at is None and written != "scheduled":
        published_at = time_of(row, "created_at")
    if published_at is None:
        notes.append("it has no date and becomes a draft")
        return "draft", None
    hidden = _hidden(written, text_of(row, "visibility"))
    if hidden:
        notes.append(f"{hidden}; it becomes a draft")
        return "draft", None
    return status, published_at


def _hidden(status: str, visibility: str) -> str | None:
    """Why not everybody could read it on the site. What was paid for or only sent by e-mail must not become public."""
    if visibility not in ("", "public"):  # the first versions have no visibility
        return f"its visibility was {shown(visibility)}"
    if status == "sent" and visibility != "public":
        return "it was only sent by e-mail"
    return None


def _authors(row: Row, export: _Export, notes: list[str]) -> tuple[str, ...]:
    """Usernames by sort_order; where none of them is known, that of `author_id`."""
    authors: dict[str, None] = {}
    for author in export.authors_of.get(required_id(row), []):
        if author in export.usernames:
            authors[export.usernames[author]] = None
        else:
            notes.append("an unknown author is left out")
    if not authors and id_of(row, "author_id") in export.usernames:
        authors[export.usernames[id_of(row, "author_id")]] = None
    if not authors:
        notes.append("it has no known author")
    return tuple(authors)


def _tags_of(row: Row, export: _Export, notes: list[str]) -> tuple[str, ...]:
    tags: dict[str, None] = {}
    for tag in export.tags_of.get(required_id(row), []):
        name = export.tags.get(tag)
        if name:
            tags[name] = None
        elif tag not in export.tags:
            notes.append("an unknown tag is left out")
    return tuple(tags)


def _content(row: Row, notes: list[str]) -> str:
    for key in ("html", "plaintext"):
        content = text_of(row, key)
        if content.strip():
            return storable(content, f"the {key}")
    notes.append("it has neither html nor plaintext; its content is empty")
    return ""


def _strays(posts: list[Row], export: _Export) -> Iterator[Note]:
    known = {id_of(row, "id") for row in posts} - {""}
    for table, joined in (("posts_authors", export.authors_of), ("posts_tags", export.tags_of)):
        strays = sum(len(ids) for post, ids in joined.items() if post not in known)
        if strays:
            yield Note(export.place, f"{table}: {strays} row(s) of unknown posts are left out")
