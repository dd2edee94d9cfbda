"""Who sees which rows and columns: the documents that a `select` of everything answers. Source: decisions 1."""

from __future__ import annotations

from tests.reliability.blog.state import Row, State, Unit

STAMPS = ("created_at", "updated_at")
ACTORS = ("created_by", "updated_by")
PERSON = ("id", "uid", "email", "username", "full_name")
TEXT = ("id", "user_id", "title", "slug", "content", "status", "published_at")
USERS = {
    "everybody": (*PERSON, "balance", *STAMPS, "version"),
    "admin": (*PERSON, "role", "is_active", "balance", *STAMPS, *ACTORS, "deleted_at", "version"),
}
POSTS = {
    "everybody": (*TEXT, *STAMPS, "version"),
    "author": (*TEXT, *STAMPS, "deleted_at", "version"),
    "admin": (*TEXT, *STAMPS, *ACTORS, "deleted_at", "version"),
}
MASKED = ("uid", "email", "balance")
TAGS = ("id", "name", "created_at", "updated_at", "version")
TRANSFERS = ("id", "from_user_id", "to_user_id", "amount", "note", "created_at")
POST_SELECT = "select=*,tags(id,name)&tags.order=name"


def show_user(row: Row, unit: Unit) -> Row:
    shown = {name: row[name] for name in USERS.get(unit.view, USERS["everybody"])}
    return shown if unit.view == "admin" or row["id"] == unit.me else shown | dict.fromkeys(MASKED)


def show_post(state: State, row: Row, unit: Unit) -> Row:
    """With its tags by name."""
    named = sorted((state.tags[tag] for tag in state.links[row["id"]]), key=lambda tag: tag["name"])
    shown = {name: row[name] for name in POSTS.get(unit.view, POSTS["everybody"])}
    return shown | {"tags": [{"id": tag["id"], "name": tag["name"]} for tag in named]}


def show_tag(row: Row) -> Row:
    return {name: row[name] for name in TAGS}


def show_transfer(row: Row, unit: Unit) -> Row:
    names = (*TRANSFERS, "created_by") if unit.view == "admin" else TRANSFERS
    return {name: row[name] for name in names}


def sees_post(row: Row, unit: Unit) -> bool:
    """A row that is not deleted."""
    public = row["status"] == "published" and row["published_at"] is not None and row["published_at"] <= unit.now
    return public or unit.view == "admin" or owns_post(row, unit)


def owns_post(row: Row, unit: Unit) -> bool:
    return unit.view == "author" and row["user_id"] == unit.me


def writes_post(row: Row, unit: Unit) -> bool:
    """What it takes to change one, and to ask for one that is deleted."""
    return unit.view == "admin" or owns_post(row, unit)
