"""What changed between two readings of all tables, and whether the revisions say just that: one for each changed row,
with who and when, before and after. Transfers are told by rows of their own.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.reliability.blog.kept import Tables
from tests.reliability.blog.state import BESIDE, UNKEPT, Row

REVISED = ("users", "posts")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every revision of a request must name."""

    actor_id: int | None
    key_id: str | None
    request_id: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A row before and after, with the names of its tags then; None where it was not, or is not any more."""

    table: str
    key: int
    old: Row | None
    new: Row | None

    @property
    def operation(self) -> str:
        if self.old is None:
            return "insert"
        if self.new is None:
            return "purge"
        gone, now_gone = self.old["deleted_at"], self.new["deleted_at"]
        return "update" if gone == now_gone else "restore" if now_gone is None else "delete"

    @property
    def version(self) -> int:
        row = self.new or self.old
        assert row is not None
        version: int = row["version"]
        return version


def moved(before: Tables, after: Tables) -> list[Moved]:
    """Every row that has revisions and is not what it was, but for columns that are not kept."""
    found = []
    for table in REVISED:
        olds, news = _rows(before, table), _rows(after, table)
        for key in sorted(olds.keys() | news.keys()):
            old, new = olds.get(key), news.get(key)
            if old is None or new is None or _unlike(old, new):
                found.append(Moved(table, key, old, new))
    return found


def _unlike(old: Row, new: Row) -> bool:
    return any(old[name] != new[name] for name in old if name != "names")


def _rows(tables: Tables, table: str) -> dict[int, Row]:
    """By key, without what is not kept; posts with the ids and the names of their tags."""
    names = {tag["id"]: tag["name"] for tag in tables["tags"]}
    links = defaultdict(set)
    for link in tables["post_tags"]:
        links[link["post_id"]].add(link["tag_id"])
    rows = {}
    for row in tables[table]:
        kept = {name: value for name, value in row.items() if name not in UNKEPT[table]}
        if table == "posts":
            tags = links[row["id"]]
            kept |= {"tags": frozenset(tags), "names": sorted(names[tag] for tag in tags)}
        rows[row["id"]] = kept
    return rows


# ---- what must be told ----------------------------------------------------------------------------------------------


def untold(before: Tables, after: Tables, stamp: Stamp, *, forgotten: bool = False) -> Iterator[str]:
    """Whatever changed without its revision, and whatever a revision says that is not so."""
    known = len(before["revisions"])
    if after["revisions"][:known] != before["revisions"]:
        yield "revisions that were there have changed"
    told = defaultdict(list)
    for revision in after["revisions"][known:]:
        told[revision["table_name"], revision["row_id"]].append(revision)
    for change in moved(before, after):
        revisions = told.pop((change.table, str(change.key)), [])
        if len(revisions) != 1:
            yield f"{change.table} {change.key} has changed ({change.operation}) with {len(revisions)} revisions"
            continue
        yield from _unlike_told(change, revisions[0], stamp, forgotten=forgotten)
    yield from (f"a revision tells of {table} {key}, which did not change" for table, key in told)
    yield from _unpaid(before, after, stamp)


def _unlike_told(change: Moved, revision: Row, stamp: Stamp, *, forgotten: bool) -> Iterator[str]:
    name = f"the revision of {change.table} {change.key}"
    expected: Row = {"operation": change.operation, "version": change.version}
    expected |= {"actor_id": stamp.actor_id, "key_id": stamp.key_id, "request_id": stamp.request_id}
    if change.new is not None:
        expected["at"] = change.new["updated_at"]
        if change.old is not None and change.new["version"] != change.old["version"] + 1:
            yield f"{change.table} {change.key} went from version {change.old['version']} to {change.version}"
    if forgotten and change.operation == "delete":
        expected["operation"] = "update"  # it says what the row is, not that it went
    for column, value in expected.items():
        if revision[column] != value:
            yield f"{name} has {column} {revision[column]}, not {value}"
    if revision["changes"] != (pairs := _pairs(change, revision["changes"], forgotten=forgotten)):
        told = revision["changes"]
        unlike = {c: (told.get(c), pairs.get(c)) for c in told.keys() | pairs.keys() if told.get(c) != pairs.get(c)}
        yield f"{name} tells other values (told, true): {unlike}"


def _pairs(change: Moved, told: Row, *, forgotten: bool) -> Row:
    """column -> [before, after]."""
    old, new = change.old, change.new
    if old is None:
        assert new is not None
        pairs: dict[str, list[Any]] = {name: [None, value] for name, value in new.items()}
    elif new is None:
        pairs = {name: [value, None] for name, value in old.items()}
    else:
        blank = told.keys() if forgotten else set[str]()  # it says of more columns what they hold from now on
        columns = [name for name in new if name not in BESIDE and (old[name] != new[name] or name in blank)]
        pairs = {name: [None if forgotten else old[name], new[name]] for name in columns}
    names = [None if row is None else row.get("names") for row in (old, new)]
    linked = "tags" in pairs
    pairs = {name: pair for name, pair in pairs.items() if name not in ("tags", "names")}
    if linked and new is not None and (old is not None or "tags" in told or names[1]):
        pairs["tags"] = names
    return pairs


def _unpaid(before: Tables, after: Tables, stamp: Stamp) -> Iterator[str]:
    """Balances change by new transfers alone, of which each names its actor."""
    known = {row["id"]: row for row in before["transfers"]}
    fresh = [row for row in after["transfers"] if row["id"] not in known]
    if [row for row in after["transfers"] if row["id"] in known] != before["transfers"]:
        yield "transfers that were there have changed"
    due: Counter[int | None] = Counter()
    for row in fresh:
        due[row["to_user_id"]] += row["amount"]
        due[row["from_user_id"]] -= row["amount"]
        if row["created_by"] != stamp.actor_id:
            yield f"transfer {row['id']} names {row['created_by']} as its actor, not {stamp.actor_id}"
    balances = {row["id"]: row["balance"] for row in before["users"]}
    for row in after["users"]:
        if row["balance"] - balances.get(row["id"], 0) != due[row["id"]]:
            yield f"the balance of user {row['id']} has changed without a transfer"


# ---- what must not be told, and what must not be ---------------------------------------------------------------------


def leaked(before: Tables, after: Tables, secrets: Iterable[str]) -> Iterator[str]:
    text = json.dumps(after["revisions"][len(before["revisions"]) :], ensure_ascii=False)
    return (f"a revision holds the secret {secret[:4]}..." for secret in secrets if secret in text)


def left_behind(before: Tables, after: Tables) -> Iterator[str]:
    """Tables in which anything is not as it was."""
    for table, rows in before.items():
        if after[table] != rows:
            extra = [row for row in after[table] if row not in rows][:2]
            yield f"{table} has changed: {extra}"
