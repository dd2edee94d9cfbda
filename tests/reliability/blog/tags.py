"""Tags in the model: found by everybody, made by authors, renamed and removed by admins."""

from __future__ import annotations

from tests.reliability.blog.posts import Expected, Versions, tag_row
from tests.reliability.blog.refusing import denied, duplicate, is_null, missing_row, refuse, stale
from tests.reliability.blog.showing import show_tag
from tests.reliability.blog.state import Row, State, Unit, change, insert
from tests.reliability.blog.values import cleaned, tag_of


def create(state: State, unit: Unit, name: str) -> Expected:
    if unit.view not in ("author", "admin"):
        raise denied("tags", unit)
    name = cleaned({"name": name}, name=tag_of)["name"]
    _refuse_taken(state, name, None)
    row = insert(state, unit, "tags", tag_row(unit.fresh.row("tags")["id"], name))
    return Expected(201, show_tag(row), 1)


def rename(state: State, unit: Unit, key: int, name: str | None, versions: Versions) -> Expected:
    """The posts that have it do not change: a tag is told by its id."""
    if unit.view not in ("author", "admin"):
        raise denied("tags", unit)
    if name is None:
        refuse([is_null("tags", "name")])
    old = _locked(state, unit, key, versions)
    row = change(state, unit, "tags", old, cleaned({"name": name}, name=tag_of))
    _refuse_taken(state, row["name"], key)
    return Expected(200, show_tag(row), row["version"])


def delete(state: State, unit: Unit, key: int, versions: Versions) -> Expected:
    """A change of each post that had it, deleted ones too."""
    if unit.view != "admin":
        raise denied("tags", unit)
    _locked(state, unit, key, versions)
    for post in sorted(post for post, tags in state.links.items() if key in tags):
        change(state, unit, "posts", state.posts[post], {}, state.links[post] - {key})
    del state.tags[key]
    return Expected(204)


def _locked(state: State, unit: Unit, key: int, versions: Versions) -> Row:
    if key not in state.tags:
        raise missing_row("tags", key)
    if unit.view != "admin":
        raise denied("tags", unit)
    row = state.tags[key]
    if versions is not None and row["version"] not in versions:
        raise stale("tags", row)
    return row


def _refuse_taken(state: State, name: str, key: int | None) -> None:
    if any(row["name"] == name and row["id"] != key for row in state.tags.values()):
        raise duplicate("tags", ("name", name))
