"""Posts and their tags in the model: every function answers a request or refuses it, and changes the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.reliability.blog.refusing import (
    Refusal,
    absent,
    body,
    denied,
    duplicate,
    is_null,
    missing_row,
    refuse,
    stale,
)
from tests.reliability.blog.showing import sees_post, show_post, writes_post
from tests.reliability.blog.state import POST_COLUMNS, Row, State, Unit, change, insert
from tests.reliability.blog.values import (
    ADMINS_POST,
    POST,
    Fields,
    check,
    check_new,
    cleaned,
    replaced,
    slug_from,
    slug_of,
    tag_of,
    title_of,
)

Test = Callable[[Row], bool]
Versions = frozenset[int] | None  # what If-Match allows; None: anything


@dataclass(frozen=True, slots=True)
class Expected:
    """`json` is None where there is no body. `version` is the one that the ETag names, `range` the Content-Range, and
    `parts` are the answers of a batch.
    """

    status: int
    json: object = None
    version: int | None = None
    range: str | None = None
    parts: tuple[Expected, ...] | None = None


def fields_of(unit: Unit) -> Fields:
    return ADMINS_POST if unit.view == "admin" else POST


def refuse_reader(unit: Unit) -> None:
    if unit.view not in ("author", "admin"):
        raise denied("posts", unit)


# ---- requests -------------------------------------------------------------------------------------------------------


def read(state: State, unit: Unit, key: int) -> Expected:
    row = state.posts.get(key)
    if row is None or row["deleted_at"] is not None or not sees_post(row, unit):
        raise missing_row("posts", key)
    return Expected(200, show_post(state, row, unit), row["version"])


def read_all(state: State, unit: Unit, *, deleted: bool, most: int = 20) -> Expected:
    """By id. Deleted ones alone where the caller asks for them, and then those that are its to ask for."""
    if deleted and unit.view not in ("author", "admin"):
        hint = 'Perhaps you meant to reference the column "posts.updated_at".'
        raise Refusal(400, body("42703", "column posts.deleted_at does not exist", None, hint))
    rows = [row for _, row in sorted(state.posts.items()) if (row["deleted_at"] is not None) is deleted]
    seen = [row for row in rows if (writes_post if deleted else sees_post)(row, unit)][:most]
    return Expected(200, [show_post(state, row, unit) for row in seen], None, _range(len(seen)))


def create(state: State, unit: Unit, rows: Sequence[Row], *, single: bool) -> Expected:
    refuse_reader(unit)
    check_new(fields_of(unit), rows)
    shown = [show_post(state, row, unit) for row in insert_posts(state, unit, rows) if row is not None]
    return Expected(201, shown[0], 1) if single else Expected(201, shown)


def patch(state: State, unit: Unit, key: int, row: Row, versions: Versions) -> Expected:
    refuse_reader(unit)
    refuse(check(fields_of(unit), row))
    return changed(state, unit, key, row, versions)


def put(state: State, unit: Unit, key: int, row: Row, versions: Versions) -> Expected:
    refuse_reader(unit)
    required = ("user_id", "title", "slug") if unit.view == "admin" else ("title", "slug")
    return changed(state, unit, key, replaced(fields_of(unit), row, required), versions)


def patch_matching(state: State, unit: Unit, test: Test, row: Row, versions: Versions) -> Expected:
    """Of the rows that pass the test, those that the caller sees and may write."""
    refuse_reader(unit)
    refuse(check(fields_of(unit), row))
    olds = matching(state, unit, test) if row else []
    refuse_stale(olds, versions)
    rows = revise(state, unit, [(old, row) for old in olds])
    return Expected(200, [show_post(state, row, unit) for row in rows], None, _range(len(rows)))


def delete(state: State, unit: Unit, key: int, versions: Versions) -> Expected:
    refuse_reader(unit)
    old = locked(state, unit, key)
    refuse_stale([old], versions)
    change(state, unit, "posts", old, {"deleted_at": unit.now}, operation="delete")
    return Expected(204)


def delete_matching(state: State, unit: Unit, test: Test, versions: Versions) -> Expected:
    refuse_reader(unit)
    olds = matching(state, unit, test)
    refuse_stale(olds, versions)
    for old in olds:
        change(state, unit, "posts", old, {"deleted_at": unit.now}, operation="delete")
    return Expected(204)


def changed(state: State, unit: Unit, key: int, row: Row, versions: Versions) -> Expected:
    old = locked(state, unit, key)
    refuse_stale([old], versions)
    (new,) = revise(state, unit, [(old, row)])
    return Expected(200, show_post(state, new, unit), new["version"])


def _range(rows: int) -> str:
    return f"0-{rows - 1}/*" if rows else "*/*"


# ---- rows -----------------------------------------------------------------------------------------------------------


def locked(state: State, unit: Unit, key: int) -> Row:
    row = state.posts.get(key)
    if row is None or row["deleted_at"] is not None or not sees_post(row, unit):
        raise missing_row("posts", key)
    if not writes_post(row, unit):
        raise denied("posts", unit)
    return row


def matching(state: State, unit: Unit, test: Test) -> list[Row]:
    rows = [row for _, row in sorted(state.posts.items()) if test(row)]
    return [row for row in rows if row["deleted_at"] is None and writes_post(row, unit)]


def refuse_stale(rows: Iterable[Row], versions: Versions) -> None:
    for row in rows:
        if versions is not None and row["version"] not in versions:
            raise stale("posts", row)


def revise(state: State, unit: Unit, pairs: Sequence[tuple[Row, Row]]) -> list[Row]:
    """Sets values on rows, all or none."""
    given = [(old, _published(old, cleaned(row, title=title_of, slug=slug_of), unit)) for old, row in pairs]
    tags = resolve_tags(state, unit, [row for _, row in given])
    moved = [row["user_id"] for old, row in given if row.get("user_id", old["user_id"]) != old["user_id"]]
    refuse_absent_author(state, moved)
    refuse_absent_tags(state, tags)
    rows = []
    for (old, row), links in zip(given, tags, strict=True):
        values = {name: value for name, value in row.items() if name != "tags"}
        refuse_taken(state, old | values)
        rows.append(change(state, unit, "posts", old, values, links))
    return rows


def insert_posts(state: State, unit: Unit, rows: Sequence[Row], *, giving_way: bool = False) -> list[Row | None]:
    """All or none; `giving_way`, None in place of a row whose slug is taken."""
    given = [_published(None, cleaned(_owned(row, unit), title=title_of, slug=slug_of), unit) for row in rows]
    tags = resolve_tags(state, unit, given)
    given = resolve_slugs(state, given)
    for row in given:
        refuse([is_null("posts", name) for name in ("user_id", "title") if row.get(name) is None])
    refuse_absent_author(state, [row["user_id"] for row in given])
    refuse_absent_tags(state, tags)
    made: list[Row | None] = []
    for row, links in zip(given, tags, strict=True):
        if giving_way and is_taken(state, row):
            made.append(None)
            continue
        refuse_taken(state, row)
        found = unit.fresh.row("posts")
        blank = dict.fromkeys(POST_COLUMNS) | {"content": "", "status": "draft"}
        values = {name: value for name, value in row.items() if name != "tags"}
        made.append(insert(state, unit, "posts", blank | values | {"id": found["id"]}, links))
    return made


def _owned(row: Row, unit: Unit) -> Row:
    return row | {"user_id": unit.me} if unit.view == "author" else row


def _published(old: Row | None, row: Row, unit: Unit) -> Row:
    """What is published has a date."""
    before = old or {"status": "draft", "published_at": None}
    then = before | row
    return row | {"published_at": unit.now} if then["status"] == "published" and then["published_at"] is None else row


def resolve_tags(state: State, unit: Unit, rows: Sequence[Row]) -> list[frozenset[int] | None]:
    """Names are found or made, numbers are ids; None where a row names no tags."""
    forms: list[list[Any]] = [
        [tag_of(tag) if isinstance(tag, str) else tag for tag in row.get("tags", ())] for row in rows
    ]
    for form in forms:
        for tag in form:
            if isinstance(tag, dict):
                refuse([tag])
    known = {tag["name"]: tag["id"] for tag in state.tags.values()}
    for name in sorted({tag for form in forms for tag in form if isinstance(tag, str)} - known.keys()):
        known[name] = unit.fresh.tag(name)
        insert(state, unit, "tags", tag_row(known[name], name))
    ids = [frozenset(known[tag] if isinstance(tag, str) else tag for tag in form) for form in forms]
    return [found if "tags" in row else None for row, found in zip(rows, ids, strict=True)]


def tag_row(key: int, name: str) -> Row:
    return {"id": key, "name": name, "created_at": None, "updated_at": None, "version": 1}


def resolve_slugs(state: State, rows: Sequence[Row]) -> list[Row]:
    """A slug from the title where none is given, the first that is free: `a`, `a-2`, `a-3`."""
    taken = {row["slug"] for row in state.present("posts")} | {row.get("slug") for row in rows}
    out = []
    for row in rows:
        if not row.get("slug"):
            base, number = slug_from(row.get("title") or ""), 1
            slug = base
            while slug in taken:
                number += 1
                slug = f"{base}-{number}"
            taken.add(slug)
            row = row | {"slug": slug}
        out.append(row)
    return out


def refuse_absent_author(state: State, keys: Iterable[int]) -> None:
    present = {row["id"] for row in state.present("users")}
    if missing := sorted(set(keys) - present):
        raise absent("posts", "user_id", missing[0], "users")


def refuse_absent_tags(state: State, tags: Iterable[frozenset[int] | None]) -> None:
    if missing := sorted({tag for links in tags for tag in links or ()} - state.tags.keys()):
        raise absent("post_tags", "tag_id", missing[0], "tags")


def refuse_taken(state: State, row: Row) -> None:
    if is_taken(state, row):
        raise duplicate("posts", ("slug", row["slug"]))


def is_taken(state: State, row: Row) -> bool:
    return any(other["slug"] == row["slug"] and other["id"] != row.get("id") for other in state.present("posts"))
