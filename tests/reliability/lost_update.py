"""T12, the lost update: twenty editors change one post at once, each on top of what it has read, through two
Databases. Every change that was acknowledged is there in the end, and nobody is refused without a reason.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sqlalchemy import Table

from app.data.database import Database
from app.data.rules import Principal, user
from app.http.app import create_app
from app.query.driver import Prepared
from app.query.statements import WriteStatements
from app.resources import CATALOG
from app.settings import Settings
from tests.reliability.blog.kept import Tables, open_kept, rebuild
from tests.reliability.blog.play import SECRET
from tests.reliability.blog.showing import POST_SELECT
from tests.reliability.guards import recompiled, replaced, without_transactions
from tests.reliability.history import some
from tests.reliability.inside import Answer, Service, by_name, serving
from tests.reliability.model import without_compared_versions
from tests.reliability.trial import Conditions, Figures, Trial

EDITORS = 20
SECONDS = {"short": 2.5, "long": 30.0, "broken": 1.0}
KINDS = ("item", "item", "item", "filter", "filter", "filter", "put", "tags", "tags", "restore")
MOST_TAGS = 20
MOST_MARKS = 400
WRITABLE = ("user_id", "title", "slug", "content", "status", "published_at")


@dataclass(frozen=True, slots=True)
class Text:
    """What editors change of the post."""

    content: str
    tags: tuple[str, ...]

    @classmethod
    def of(cls, row: dict[str, Any]) -> Text:
        return cls(row["content"], tuple(tag["name"] for tag in row["tags"]))


EMPTY = Text("", ())


@dataclass(frozen=True, slots=True)
class Edit:
    """One request: what its editor had read, what it meant to make of that, and what it was told. `version` is the one
    that it was told, None where it was refused.
    """

    kind: str
    base: int
    read: Text
    meant: Text
    began: float
    ended: float
    version: int | None


@dataclass(slots=True)
class Office:
    """What the editors share. `texts` has the text of each version by what its writer was told."""

    services: list[Service]
    post: int
    texts: dict[int, Text] = field(default_factory=lambda: {1: EMPTY})
    edits: list[Edit] = field(default_factory=list)
    mishaps: list[str] = field(default_factory=list)


async def work(conditions: Conditions) -> Figures:
    figures = Figures()
    seconds = SECONDS["broken" if conditions.without else "long" if conditions.long else "short"]
    async with opened(conditions) as (services, databases):
        office = Office(services, await begin(services[0]))
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as editors:
            for number in range(EDITORS):
                editors.create_task(edit(office, number, conditions.seed, end))
        retries = sum((database.counters.repeated for database in databases), Counter[str]())
    kept = await open_kept(conditions.url)
    try:
        tables = await kept.read()
    finally:
        await kept.close()
    some(figures, list(lost(office.edits)))
    some(figures, list(wrong(office.edits, tables)))
    some(figures, office.mishaps)
    count(office.edits, retries, seconds, figures)
    return figures


@asynccontextmanager
async def opened(conditions: Conditions) -> AsyncGenerator[tuple[list[Service], list[Database]]]:
    """Two services that know nothing of each other, as two processes would have them."""
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(Database(conditions.url, CATALOG)) for _ in range(2)]
        settings = Settings(data_dir=conditions.folder)
        apps = [create_app(settings, authenticate=by_name, database=database) for database in databases]
        yield [await stack.enter_async_context(serving(app)) for app in apps], databases


async def begin(service: Service) -> int:
    await service.ask("POST", "/users", {"username": "ada", "role": "admin"}, who=SECRET)
    row = {"user_id": 1, "title": "Post", "content": "", "status": "published", "tags": []}
    post: int = (await service.ask("POST", "/posts", row, who=SECRET)).json["id"]
    return post


# ---- editors --------------------------------------------------------------------------------------------------------


async def edit(office: Office, number: int, seed: int, end: float) -> None:
    """Reads and writes until the time is over; after a refusal it reads again, as it does after anything."""
    random, service = Random(f"{seed} {number}"), office.services[number % 2]
    who, turn = user(1 + number, "admin"), 0
    while time.monotonic() < end:
        turn += 1
        found = await service.ask("GET", f"/posts/{office.post}?{POST_SELECT}", who=who)
        await asyncio.sleep(0)  # others may be faster
        await write(office, service, who, found, random, f"|{number}.{turn}")


async def write(office: Office, service: Service, who: Principal, found: Answer, random: Random, mark: str) -> None:
    kind = random.choice(KINDS)
    read, base = Text.of(found.json), found.json["version"]
    older = [version for version in office.texts if version < base]
    if not older and kind == "restore":
        kind = "item"  # what is there already would change nothing: no version is compared then but the lock's
    meant = Text(read.content[-MOST_MARKS:] + mark, read.tags)
    if kind == "tags":
        meant = Text(read.content, tuple(sorted({*read.tags[-MOST_TAGS:], mark})))
    number = random.choice(older) if kind == "restore" else base
    if kind == "restore":
        meant = office.texts[number]
    method, target, body = request(kind, office.post, found.json, meant, number)
    headers = {} if kind == "filter" else {"if-match": found.headers["etag"]}
    began = time.monotonic()
    answer = await service.ask(method, target, body, who=who, headers=headers)
    note(office, Edit(kind, base, read, meant, began, time.monotonic(), None), answer)


def request(kind: str, post: int, row: dict[str, Any], meant: Text, number: int) -> tuple[str, str, Any]:
    """Method, target and body of a change that holds for the version of this row alone."""
    path, query = f"/posts/{post}", f"?{POST_SELECT}"
    match kind:
        case "tags":
            return "PATCH", path + query, {"tags": list(meant.tags)}
        case "restore":
            return "POST", f"{path}/revisions/{number}/restore{query}", None
        case "put":
            return "PUT", path + query, {name: row[name] for name in WRITABLE} | {"content": meant.content}
        case "filter":
            target = f"/posts{query}&id=eq.{post}&version=eq.{row['version']}"
            return "PATCH", target, {"content": meant.content}
        case _:
            return "PATCH", path + query, {"content": meant.content}


def note(office: Office, tried: Edit, answer: Answer) -> None:
    """200 with the row, or 412; by filter, 200 without a row."""
    rows = answer.json if tried.kind == "filter" else [answer.json]
    if answer.status == 412 or (answer.status == 200 and not rows):
        office.edits.append(tried)
    elif answer.status == 200:
        version = rows[0]["version"]
        told = Text.of(rows[0])
        if told != tried.meant:
            office.mishaps.append(f"{tried.kind} of version {version} was answered with another text than it wrote")
        office.edits.append(Edit(tried.kind, tried.base, tried.read, tried.meant, tried.began, tried.ended, version))
    else:
        office.mishaps.append(f"{tried.kind} was answered {answer}")


# ---- checks ---------------------------------------------------------------------------------------------------------


def lost(edits: list[Edit]) -> Generator[str]:
    """Each version is made of the one before it, by one writer."""
    versions = Counter(edit.version for edit in _written(edits))
    for version, writers in versions.items():
        if writers > 1:
            yield f"{writers} writers were told version {version}: all but one of their changes are lost"
    for edit in _written(edits):
        assert edit.version is not None
        if edit.version != edit.base + 1:
            yield f"{edit.kind} made version {edit.version} of {edit.base}: what came between is lost"


def wrong(edits: list[Edit], tables: Tables) -> Generator[str]:
    """The versions that were told are those of the post, one after the other, with the texts that were told."""
    (post,) = tables["posts"]
    written = _written(edits)
    by_version = {edit.version: edit for edit in written if edit.version is not None}
    revisions = told(tables)
    if not len(written) == len(by_version) == post["version"] - 1 == len(revisions) - 1:
        counts = f"{len(written)} writes, {len(by_version)} versions told, {len(revisions)} revisions"
        yield f"the post is at version {post['version']} after {counts}"
    texts = {1: EMPTY} | {version: edit.meant for version, edit in by_version.items()}
    for edit in edits:
        before = texts.get(edit.base, EMPTY)
        # on PostgreSQL a read may find the tags of the next version: they are another statement
        if edit.read != before and (edit.version is not None or edit.read.content != before.content):
            yield f"version {edit.base} was read with another text than its writer was told"
        if edit.version is None and not _moved_on(edit, by_version.get(edit.base + 1)):
            yield f"{edit.kind} on version {edit.base} was refused, which was the newest"
    yield from _unkept(tables, texts)


def _written(edits: list[Edit]) -> list[Edit]:
    """Without those that changed nothing, as a restore of the present text."""
    return [edit for edit in edits if edit.version not in (None, edit.base)]


def _moved_on(refused: Edit, next_one: Edit | None) -> bool:
    return next_one is not None and next_one.began < refused.ended


def _unkept(tables: Tables, texts: dict[int, Text]) -> Generator[str]:
    """What the database has against what was told."""
    (post,) = tables["posts"]
    names = {tag["id"]: tag["name"] for tag in tables["tags"]}
    tags = sorted(names[link["tag_id"]] for link in tables["post_tags"])
    if texts.get(post["version"]) != Text(post["content"], tuple(tags)):
        yield "the text in the end is not the one that the last writer was told"
    revisions = told(tables)
    for number in range(1, len(revisions) + 1):
        content = rebuild(revisions[:number])["content"]
        version = revisions[number - 1]["version"]
        if version not in texts or texts[version].content != content:
            yield f"revision {version} tells another text than its writer was told"


def told(tables: Tables) -> list[dict[str, Any]]:
    return [revision for revision in tables["revisions"] if revision["table_name"] == "posts"]


def count(edits: list[Edit], retries: Counter[str], seconds: float, figures: Figures) -> None:
    refused = sum(edit.version is None for edit in edits)
    written = Counter(edit.kind for edit in _written(edits))
    figures.counts |= {"editors": EDITORS, "requests": len(edits), "writes": written.total()}
    figures.counts |= {"writes/s": written.total() / seconds, "refused with 412": refused}
    figures.counts["412 rate"] = refused / len(edits)
    figures.counts |= {f"by {kind}": written[kind] for kind in sorted(set(KINDS))}
    figures.counts["worst ms"] = 1000 * max(edit.ended - edit.began for edit in edits)
    figures.counts |= {f"retries {code}": number for code, number in sorted(retries.items())}


# ---- guards ---------------------------------------------------------------------------------------------------------


@contextmanager
def without_version_in_update() -> Generator[None]:
    """A row is written whatever its version is by now."""
    update = WriteStatements.update

    def blind(self: WriteStatements, table: Table, columns: tuple[str, ...], match: tuple[str, ...]) -> Prepared:
        return update(self, table, columns, tuple(name for name in match if name != "version"))

    with recompiled(), replaced(WriteStatements, "update", blind):
        yield


@contextmanager
def without_locks_and_versions() -> Generator[None]:
    """Nothing holds a row between its being read and being written, and nothing finds out."""
    with without_transactions(), without_version_in_update():
        yield


LOST_UPDATE = Trial(
    "T12",
    "lost update",
    work,
    {
        "the comparison of versions": without_compared_versions,
        "row locks and the version in UPDATE": without_locks_and_versions,
    },
)
