"""The bulk loader on both databases: what it writes, finds, leaves alone, refuses, and what it costs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app.data.audit import Revision
from app.data.base import Base
from app.data.database import Database
from app.data.rules import SYSTEM
from app.importers import ghost, loader, markdown
from app.importers.loader import load
from app.importers.records import NotAPost, Note, Place, PostRecord, Problem, Record, Source, TagRecord, UserRecord
from app.importers.report import Report
from app.models import Post, PostStatus, PostTag, Tag, User, UserRole
from app.query import writer
from app.repositories import Posts, Users
from app.repositories.posts import WITH_AUTHOR_AND_TAGS
from app.resources import CATALOG
from tests.conftest import EPOCH, Statements, delete_all_rows
from tests.factories import make_post, make_user
from tests.importers.checks import DATA
from tests.query.kept import kept

NOON = datetime(2021, 3, 24, 12, tzinfo=UTC)
PLACE = Place("somewhere", 7)

needs_samples = pytest.mark.skipif(not DATA.is_dir(), reason="the sample data are absent")


def user_record(name: str = "jane", **changes: Any) -> UserRecord:
    values = {"username": name, "full_name": name.title(), "email": None, "is_active": True, "place": PLACE} | changes
    return UserRecord(**values)


def post_record(slug: str = "a-post", **changes: Any) -> PostRecord:
    values: dict[str, Any] = {"slug": slug, "title": "A post", "content": "Text", "status": "published"}
    values |= {"published_at": NOON, "created_at": None, "updated_at": None}
    values |= {"author": "jane", "authors": ("jane",), "tags": ("news",), "place": PLACE}
    return PostRecord(**values | changes)


def source_of(*records: Record) -> Source:
    return Source("test", None, iter(records))


async def run(database: Database, *records: Record, **options: Any) -> Report:
    return await load(database, source_of(*records), **options)


async def rows_of(database: Database, *models: type[Base]) -> dict[str, int]:
    async with database.reading(SYSTEM) as session:
        return {m.__tablename__: await session.scalar(select(func.count()).select_from(m)) or 0 for m in models}


async def posts_of(database: Database) -> dict[str, Post]:
    async with database.reading(SYSTEM) as session:
        posts = await session.scalars(select(Post).options(*WITH_AUTHOR_AND_TAGS).order_by(Post.id))
        return {post.slug: post for post in posts}


def fates(report: Report) -> tuple[int, int, int, int]:
    return report.created, report.unchanged, report.exists, report.updated


# ---- what is written ------------------------------------------------------------------------------------------------


async def test_a_post_comes_with_its_author_its_tags_and_a_revision(database: Database) -> None:
    report = await run(database, user_record(), post_record(tags=("news", "Zebra")))
    assert fates(report) == (1, 0, 0, 0)
    assert (report.users_made, report.tags_made, report.authors) == ({"jane"}, {"news", "Zebra"}, {"jane"})
    post = (await posts_of(database))["a-post"]
    assert (post.title, post.content, post.status, post.published_at) == ("A post", "Text", PostStatus.PUBLISHED, NOON)
    assert (post.author.username, post.author.role) == ("jane", UserRole.AUTHOR)
    assert {tag.name for tag in post.tags} == {"news", "Zebra"}
    assert post.created_at == post.updated_at == EPOCH
    async with database.reading(SYSTEM) as session:
        revisions = list(await session.scalars(select(Revision).order_by(Revision.id)))
    assert [(r.table_name, r.operation) for r in revisions] == [("users", "insert"), ("posts", "insert")]
    assert revisions[1].changes["tags"] == [None, ["Zebra", "news"]]


async def test_times_of_the_source_are_kept(database: Database) -> None:
    later = datetime(2022, 1, 1, tzinfo=UTC)
    await run(
        database,
        user_record(),
        post_record("both", created_at=NOON, updated_at=later),
        post_record("created", created_at=NOON),
        post_record("changed", updated_at=NOON),
    )
    posts = await posts_of(database)
    assert {slug: (post.created_at, post.updated_at) for slug, post in posts.items()} == {
        "both": (NOON, later),
        "created": (NOON, NOON),
        "changed": (EPOCH, EPOCH),
    }


async def test_a_post_without_an_author_belongs_to_an_inactive_owner(database: Database) -> None:
    await run(database, post_record("one", author=None, authors=()), post_record("two", author=None, authors=()))
    posts = await posts_of(database)
    assert [post.author.username for post in posts.values()] == ["imported", "imported"]
    assert not posts["one"].author.is_active
    assert await rows_of(database, User) == {"users": 1}


async def test_a_tag_without_posts_is_made_once(database: Database) -> None:
    assert (await run(database, TagRecord("lonely", PLACE))).tags_made == {"lonely"}
    assert (await run(database, TagRecord("lonely", PLACE))).tags_made == set()
    assert await rows_of(database, Tag) == {"tags": 1}


async def test_co_authors_become_users_and_stand_in_the_report(database: Database) -> None:
    post = post_record(authors=("jane", "remy"))
    report = await run(database, user_record(), user_record("remy"), post)
    assert report.shared == {"a-post": ("jane", "remy")}
    assert report.authors == report.users_made == {"jane", "remy"}
    assert "a-post: jane (author), remy" in report.lines(verbose=True)


async def test_an_import_leaves_what_single_inserts_leave(database: Database) -> None:
    later = datetime(2022, 1, 1, 8, 30, 0, 120000, UTC)
    users = [user_record(email="jane@x.org", created_at=NOON), user_record("remy", role="admin", banned_until=later)]
    tags = [TagRecord("lonely", PLACE, NOON, later), TagRecord("Äpfel", PLACE)]
    posts = [
        post_record(
            "first", content='a\tb\r\n"\\N\\', tags=("Äpfel", "news", "Zebra"), created_at=NOON, updated_at=later
        ),
        post_record("second", status="draft", published_at=None, author="remy", content="", tags=()),
        post_record("third", content="\ufeff👩‍🚀\u2028", tags=("news", "lonely")),
    ]
    await run(database, *users, *tags, *posts)
    imported = await kept(database)
    await delete_all_rows(database)
    await insert_one_by_one(database, users, tags, posts)
    assert imported == await kept(database)
    assert [row["operation"] for row in imported["revisions"]] == ["insert"] * 5
    assert len(imported["links"]) == 5


async def insert_one_by_one(
    database: Database, users: list[UserRecord], tags: list[TagRecord], posts: list[PostRecord]
) -> None:
    async def insert(model: type[Base], record: Any, *names: str, **more: Any) -> int:
        async with database.writing(SYSTEM) as session:
            times = {"created_at": record.created_at, "updated_at": record.updated_at or record.created_at}
            values = {name: getattr(record, name) for name in names} | times | more
            (row,) = await writer.insert(session, CATALOG.of(model), [values])
            return int(row["id"])

    # in the order of an import: tags by name, those that have a line before the others
    names = sorted({tag for post in posts for tag in post.tags} - {tag.name for tag in tags})
    made = [*tags, *(TagRecord(name, PLACE) for name in names)]
    ids = {tag.name: await insert(Tag, tag, "name") for tag in made}
    person = ("username", "full_name", "email", "is_active", "banned_until")
    owners = {user.username: await insert(User, user, *person, role=UserRole(user.role)) for user in users}
    for post in posts:
        status = PostStatus(post.status)
        more = {"user_id": owners[post.author or ""], "status": status, "tags": [ids[name] for name in post.tags]}
        await insert(Post, post, "slug", "title", "content", "published_at", **more)


# ---- what exists ----------------------------------------------------------------------------------------------------


async def test_a_second_run_changes_nothing(database: Database) -> None:
    records = (
        user_record(),
        TagRecord("lonely", PLACE),
        post_record("one"),
        post_record("two", author=None, authors=()),
    )
    await run(database, *records)
    before = await rows_of(database, User, Post, Tag, PostTag, Revision)
    for options in ({}, {"update": True}):
        report = await run(database, *records, **options)
        assert fates(report) == (0, 2, 0, 0)
        assert (report.users_made, report.users_found) == (set(), {"jane", "imported"})
    assert await rows_of(database, User, Post, Tag, PostTag, Revision) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Another"},
        {"content": "Another"},
        {"status": "draft", "published_at": None},
        {"published_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"tags": ("other",)},
        {"tags": ()},
        {"author": "remy", "authors": ("remy",)},
    ],
)
async def test_a_post_that_differs_is_left_alone_unless_it_is_to_be_updated(
    database: Database, changes: dict[str, Any]
) -> None:
    users = (user_record(), user_record("remy"))
    await run(database, *users, post_record())
    assert fates(await run(database, *users, post_record(**changes))) == (0, 0, 1, 0)
    assert (await posts_of(database))["a-post"].version == 1
    assert fates(await run(database, *users, post_record(**changes), update=True)) == (0, 0, 0, 1)
    post = (await posts_of(database))["a-post"]
    wanted = post_record(**changes)
    assert (post.title, post.content, post.status, post.published_at, post.author.username, post.version) == (
        *(wanted.title, wanted.content, wanted.status, wanted.published_at, wanted.author),
        2,
    )
    assert tuple(tag.name for tag in post.tags) == wanted.tags
    assert fates(await run(database, *users, post_record(**changes), update=True)) == (0, 1, 0, 0)


async def test_a_post_that_names_no_author_keeps_the_one_it_was_given(database: Database) -> None:
    anonymous = post_record(author=None, authors=())
    await run(database, anonymous)
    async with database.writing(SYSTEM) as session:
        remy = await make_user(session, username="remy")
        post = await Posts(session).one(Post.slug == "a-post")
        await Posts(session).change(post, user_id=remy.id)
    assert fates(await run(database, anonymous, update=True)) == (0, 1, 0, 0)
    assert (await posts_of(database))["a-post"].author.username == "remy"


async def test_posts_of_others_are_not_touched(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        await make_post(session, await make_user(session), slug="own")
    await run(database, user_record(), post_record(), update=True)
    assert (await posts_of(database))["own"].version == 1


async def test_a_user_is_known_by_name_and_left_as_it_is(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        await make_user(session, username="jane", full_name="The first", email="first@example.org", role="admin")
    record = user_record(email="jane@example.org")
    report = await run(database, record, post_record())
    assert (report.users_made, report.users_found) == (set(), {"jane"})
    assert [note.reason for note in report.notes] == [
        "user 'jane' exists with another e-mail address and is left as it is"
    ]
    async with database.reading(SYSTEM) as session:
        user = await Users(session).by_username("jane")
    assert user is not None
    assert (user.full_name, user.email, user.role) == ("The first", "first@example.org", UserRole.ADMIN)


async def test_a_user_is_known_by_its_address_under_another_name(database: Database) -> None:
    async with database.writing(SYSTEM) as session:
        await make_user(session, username="first", email="jane@example.org")
    records = (user_record(email="jane@example.org"), post_record("one"), post_record("two"))
    report = await run(database, *records, batch=2)
    assert [note.reason for note in report.notes] == [
        "user 'jane' has the e-mail address of the user 'first' and is taken for it"
    ]
    assert {post.author.username for post in (await posts_of(database)).values()} == {"first"}
    assert await rows_of(database, User) == {"users": 1}


# ---- what is refused ------------------------------------------------------------------------------------------------


async def test_one_bad_row_does_not_take_its_batch_along(database: Database) -> None:
    posts = [
        post_record(f"post-{n}", title="x" * 201 if n == 13 else "A post", place=Place("f.md", n)) for n in range(40)
    ]
    report = await run(database, user_record(), *posts)
    assert fates(report) == (39, 0, 0, 0)
    (problem,) = report.problems
    assert (str(problem.place), problem.reason) == (
        "f.md:13",
        "post 'post-13': value too long for type character varying(200)",
    )
    assert "post-13" not in await posts_of(database)
    assert report.exit_code == 1


async def test_posts_of_a_user_that_is_refused_are_refused_with_it(database: Database) -> None:
    records = (user_record("Bad Name"), post_record("bad", author="Bad Name", authors=("Bad Name",)))
    report = await run(database, user_record(), *records, post_record("good"))
    assert [problem.reason for problem in report.problems] == [
        """user 'Bad Name': "bad name" is no username""",
        """post 'bad': "bad name" is no username""",
    ]
    assert list(await posts_of(database)) == ["good"]


async def test_what_the_reader_left_out_stands_in_the_report(database: Database) -> None:
    report = await run(
        database,
        NotAPost(PLACE, "a section page"),
        Note(PLACE, "something was dropped"),
        Problem(PLACE, "'2019-13-45' is no date"),
        user_record(),
        post_record(),
    )
    assert list(report.lines(verbose=True)) == [
        "somewhere:7: '2019-13-45' is no date",
        "somewhere:7: note: something was dropped",
        "somewhere:7: not a post: a section page",
        "1 authors; users: 1 created, 0 found",
        "1 tags created",
        "3 files: 1 posts created, 1 not posts, 1 errors",
    ]
    assert report.exit_code == 1


# ---- how it is written ----------------------------------------------------------------------------------------------


async def test_a_dry_run_reports_the_same_and_writes_nothing(database: Database) -> None:
    def records() -> Iterable[Record]:
        yield user_record()
        for n in range(6):
            yield post_record(f"post-{n}", tags=("news", f"tag-{n}"))
        yield post_record("bad", title="x" * 201)

    dry = await run(database, *records(), dry_run=True, batch=2)
    assert await rows_of(database, User, Post, Tag, PostTag, Revision) == dict.fromkeys(
        ("users", "posts", "tags", "post_tags", "revisions"), 0
    )
    real = await run(database, *records(), batch=2)
    assert dry.plain() == real.plain() | {"dry_run": True, "users_found": []}
    assert fates(real) == (6, 0, 0, 0)


async def test_a_batch_costs_the_same_statements_whatever_its_size(database: Database, statements: Statements) -> None:
    async def cost(size: int, first: int, **options: Any) -> int:
        records = [post_record(f"post-{n}", tags=(f"tag-{n}", "news"), **options) for n in range(first, first + size)]
        statements.clear()
        await run(database, user_record(), *records, batch=1000, update=True)
        return sum("ANALYZE" not in sql for sql in statements.texts)

    # users, tags: look up, make, look up again; posts: look up; tags: check; insert, links, their names, revisions
    await cost(1, 0)  # jane and the tag that all share exist from here on
    assert await cost(5, 100) == await cost(80, 1000)
    assert await cost(80, 1000) <= 4  # nothing to write: users, tags, posts, their tags
    # update: the same look-ups, then lock, links, columns, revisions
    assert await cost(5, 100, content="New") == await cost(80, 1000, content="New")


async def test_statistics_are_made_when_many_posts_are_there_and_after_the_last(
    database: Database, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "MANY", 3)

    async def counts(first: int, last: int, batch: int) -> int:
        statements.clear()
        await run(database, user_record(), *(post_record(f"post-{n}") for n in range(first, last)), batch=batch)
        return statements.texts.count("ANALYZE posts")

    assert await counts(0, 6, batch=2) == 2
    assert await counts(6, 8, batch=1) == 1  # never many
    assert await counts(8, 12, batch=100) == 1  # the many are the last
    assert await counts(0, 12, batch=2) == 0  # all are there


async def test_next_batch_is_read_while_one_is_written(database: Database) -> None:
    reading = threading.Event()

    def records() -> Iterator[Record]:
        yield post_record("one", author=None, authors=())
        reading.set()
        yield post_record("two", author=None, authors=())

    seen = []
    source = Source("test", 2, records())
    await load(database, source, batch=1, progress=lambda report: seen.append(reading.wait(5)))
    assert seen == [True, True]


async def test_reader_that_fails_does_not_take_the_batch_before_along(database: Database) -> None:
    def records() -> Iterator[Record]:
        yield post_record("one", author=None, authors=())
        raise LookupError("the end")

    with pytest.raises(LookupError):
        await load(database, Source("test", 2, records()), batch=1)
    assert list(await posts_of(database)) == ["one"]


async def test_statistics_are_kept(spare_url: str) -> None:
    async with Database(spare_url, CATALOG) as spare:
        posts = [post_record(f"post-{n}") for n in range(20)]
        await run(spare, user_record(), *posts)
        query = "SELECT reltuples FROM pg_class WHERE relname = 'posts'"
        if spare.name == "sqlite":
            query = "SELECT stat FROM sqlite_stat1 WHERE tbl = 'posts' LIMIT 1"
        async with spare.reading(SYSTEM) as session:
            assert str(await session.scalar(text(query))).startswith("20")


async def test_interrupted_run_keeps_whole_batches_and_says_how_far_it_came(database: Database) -> None:
    report = Report()
    loading: list[asyncio.Task[Report]] = []

    def cancel_after_two(report: Report) -> None:
        if report.done >= 4:
            loading[0].cancel()

    posts = [post_record(f"post-{n}", author=None, authors=()) for n in range(10)]
    source = Source("test", 10, iter(posts))
    loading.append(asyncio.ensure_future(load(database, source, batch=2, progress=cancel_after_two, report=report)))
    with pytest.raises(asyncio.CancelledError):
        await loading[0]
    report.interrupted = True
    assert len(await posts_of(database)) == report.created == 4
    assert report.summary() == "interrupted after 4 of 10 files: 4 posts created, 0 not posts, 0 errors"
    assert report.exit_code == 130


async def test_two_imports_at_once_make_each_row_once(spare_url: str) -> None:
    """Each through engines of its own, as the program next to a running server."""
    posts = [post_record(f"post-{n}", tags=(f"tag-{n}",)) for n in range(30)]
    async with Database(spare_url, CATALOG) as one, Database(spare_url, CATALOG) as other:
        reports = await asyncio.gather(*(run(each, user_record(), *posts, batch=7) for each in (one, other)))
        assert sum(report.created for report in reports) == 30
        assert sum(report.unchanged for report in reports) == 30
        assert [report.problems for report in reports] == [[], []]
        assert await rows_of(one, User, Post, Tag) == {"users": 1, "posts": 30, "tags": 30}


# ---- real sources ---------------------------------------------------------------------------------------------------


@needs_samples
async def test_the_sample_blog_is_imported_once(database: Database) -> None:
    """750 posts on two databases take about two seconds."""
    content = DATA / "markdown" / "rust-blog" / "content"
    report = await load(database, markdown.read(content))
    assert report.summary() == "754 files: 750 posts created, 4 not posts, 0 errors"
    again = await load(database, markdown.read(content), update=True)
    assert again.summary() == "754 files: 0 posts created, 750 unchanged, 4 not posts, 0 errors"
    assert await rows_of(database, Post, User) == {"posts": 750, "users": len(report.users_made)}


@needs_samples
@pytest.mark.parametrize("name", ["valid.json", "v2_export.json", "v3_export.json", "v4_export.json"])
async def test_each_sample_export_goes_into_an_empty_database(database: Database, name: str) -> None:
    report = await load(database, ghost.read(DATA / "ghost" / name))
    assert report.problems == []
    assert report.created == len(await posts_of(database)) > 0


@needs_samples
async def test_all_sample_exports_go_into_one_database_and_a_second_pass_changes_nothing(database: Database) -> None:
    async def import_all(**options: Any) -> list[Report]:
        names = ("valid.json", "v2_export.json", "v3_export.json", "v4_export.json")
        return [await load(database, ghost.read(DATA / "ghost" / name), **options) for name in names]

    first = await import_all()
    assert all(report.problems == [] for report in first)
    before = await rows_of(database, User, Post, Tag, PostTag, Revision)
    second = await import_all()
    assert all(report.created == report.updated == 0 and report.problems == [] for report in second)
    assert await rows_of(database, User, Post, Tag, PostTag, Revision) == before
