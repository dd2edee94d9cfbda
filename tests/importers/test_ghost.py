"""Ghost exports: real ones of four versions, references, statuses, and exports that must not stop the rest."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.importers import ghost
from app.importers.ghost_tables import tables_from
from app.importers.records import NotAPost, Note, PostRecord, Problem, Record, TagRecord, UserRecord
from tests.importers.checks import DATA, assert_usable

EXPORTS = DATA / "ghost"
NOON = datetime(2021, 3, 24, 12, tzinfo=UTC)

Row = dict[str, Any]


def post_row(**changes: Any) -> Row:
    row = {"id": "p1", "title": "A title", "slug": "a-title", "html": "<p>Text</p>", "plaintext": "Text"}
    row |= {"type": "post", "status": "published", "published_at": "2021-03-24T12:00:00.000Z", "author_id": "u1"}
    return row | changes


def user_row(**changes: Any) -> Row:
    return {"id": "u1", "name": "Jane Doe", "slug": "jane", "email": "jane@example.org", "status": "active"} | changes


def tag_row(**changes: Any) -> Row:
    return {"id": "t1", "name": "News", "slug": "news", "visibility": "public"} | changes


def export_of(posts: list[Any], **tables: Any) -> Row:
    data = {"users": [user_row()], "posts": posts} | tables
    return {"db": [{"meta": {"exported_on": 1616560573131, "version": "4.1.0"}, "data": data}]}


def records_of(folder: Path, document: Any) -> list[Record]:
    file = folder / "export.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    records = list(ghost.read(file).records)
    assert_usable(records)
    assert all(record.place.path == str(file) for record in records)
    return records


def post_of(folder: Path, posts: list[Any], **tables: Any) -> PostRecord:
    (post,) = [record for record in records_of(folder, export_of(posts, **tables)) if isinstance(record, PostRecord)]
    return post


def reasons_of(kind: type[Note | Problem | NotAPost], folder: Path, posts: list[Any], **tables: Any) -> list[str]:
    records = records_of(folder, export_of(posts, **tables))
    return [record.reason for record in records if isinstance(record, kind)]


@pytest.mark.skipif(not EXPORTS.is_dir(), reason="the sample data are absent")
@pytest.mark.parametrize(
    ("name", "total", "counts"),
    [
        ("valid.json", 2, {UserRecord: 1, TagRecord: 1, PostRecord: 2}),
        ("v2_export.json", 7, {UserRecord: 2, TagRecord: 1, PostRecord: 7}),
        ("v3_export.json", 7, {UserRecord: 2, TagRecord: 1, PostRecord: 7}),
        ("v4_export.json", 11, {UserRecord: 2, TagRecord: 1, PostRecord: 7, NotAPost: 4, Note: 1}),
    ],
)
def test_a_real_export_is_read_without_problems(name: str, total: int, counts: dict[type, int]) -> None:
    source = ghost.read(EXPORTS / name)
    records = list(source.records)
    assert_usable(records)
    assert source.total == total
    assert Counter(type(record) for record in records) == counts


@pytest.mark.skipif(not EXPORTS.is_dir(), reason="the sample data are absent")
def test_a_real_post_keeps_its_author_tags_times_and_placeholders() -> None:
    records = ghost.read(EXPORTS / "v4_export.json").records
    (post,) = [record for record in records if isinstance(record, PostRecord) and record.slug == "design"]
    assert post.title == "Customizing your brand and design settings"
    assert (post.author, post.tags) == ("ghost", ("Getting Started",))
    assert post.published_at == datetime(2021, 3, 24, 4, 34, 14, tzinfo=UTC)
    assert post.created_at == datetime(2021, 3, 24, 4, 34, 9, tzinfo=UTC)
    assert '<a href="__GHOST_URL__/welcome/' in post.content


@pytest.mark.skipif(not EXPORTS.is_dir(), reason="the sample data are absent")
@pytest.mark.parametrize("name", ["valid.json", "v2_export.json", "v3_export.json", "v4_export.json"])
def test_secrets_of_a_real_export_are_dropped(name: str) -> None:
    text = (EXPORTS / name).read_text(encoding="utf-8")
    data = json.loads(text)["db"][0]["data"]
    assert data["users"][0]["password"].startswith("$2a$")
    tables = tables_from(text)
    assert set(tables) == {"users", "tags", "posts", "posts_authors", "posts_tags"}
    kept = repr(tables) + repr(list(ghost.read(EXPORTS / name).records))
    secrets = [row["password"] for row in data["users"]]
    secrets += [row["secret"] for row in data.get("api_keys", [])] + [row["key"] for row in data.get("brute", [])]
    assert not [secret for secret in secrets if secret in kept]


def test_export_without_db_is_read_alike(tmp_path: Path) -> None:
    export = export_of([post_row()])
    assert records_of(tmp_path, export["db"][0]) == records_of(tmp_path, export)


def test_users_are_sent_first_with_a_lower_cased_address(tmp_path: Path) -> None:
    rows = [user_row(email="Jane@Example.ORG"), user_row(id="u2", slug=None, name="Zoë  B.", email="", status="locked")]
    jane, zoe = records_of(tmp_path, export_of([], users=rows))
    assert isinstance(jane, UserRecord)
    assert (jane.username, jane.full_name, jane.email, jane.is_active) == ("jane", "Jane Doe", "jane@example.org", True)
    assert isinstance(zoe, UserRecord)
    assert (zoe.username, zoe.full_name, zoe.email, zoe.is_active) == ("zoe-b", "Zoë B.", None, False)


def test_two_users_with_one_username_are_one_user(tmp_path: Path) -> None:
    rows = [user_row(), user_row(id="u2", slug="Jane", email="other@example.org")]
    user, post = records_of(tmp_path, export_of([post_row(author_id="u2")], users=rows))
    assert isinstance(user, UserRecord)
    assert isinstance(post, PostRecord)
    assert post.author == user.username == "jane"


def test_addresses_that_cannot_be_kept_are_left_out_and_not_shown(tmp_path: Path) -> None:
    rows = [user_row(), user_row(id="u2", slug="b", email="JANE@example.org"), user_row(id="u3", slug="c", email="c@d")]
    assert reasons_of(Note, tmp_path, [], users=rows) == [
        "user 'b': the e-mail address is that of another user and is left out",
        "user 'c': the e-mail address is not plausible and is left out",
    ]


@pytest.mark.parametrize(
    ("changes", "status", "published_at"),
    [
        ({}, "published", NOON),
        ({"visibility": "public"}, "published", NOON),
        ({"visibility": "paid"}, "draft", None),
        ({"visibility": "members"}, "draft", None),
        ({"visibility": "tiers", "status": "scheduled"}, "draft", None),
        ({"status": "sent", "visibility": "public"}, "published", NOON),
        ({"status": "sent", "visibility": "members"}, "draft", None),
        ({"status": "sent"}, "draft", None),
        ({"status": "scheduled", "published_at": "2999-01-01 00:00:00"}, "published", datetime(2999, 1, 1, tzinfo=UTC)),
        ({"status": "draft"}, "draft", None),
        ({"published_at": None, "created_at": 1616587200000}, "published", NOON),
        ({"published_at": None}, "draft", None),
        ({"status": "scheduled", "published_at": None, "created_at": 1616587200000}, "draft", None),
    ],
)
def test_status_and_its_date(tmp_path: Path, changes: Row, status: str, published_at: datetime | None) -> None:
    post = post_of(tmp_path, [post_row(**changes)])
    assert (post.status, post.published_at) == (status, published_at)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"status": "sent"}, "it was only sent by e-mail; it becomes a draft"),
        ({"visibility": "paid"}, "its visibility was 'paid'; it becomes a draft"),
        ({"published_at": None}, "it has no date and becomes a draft"),
        ({"html": None, "plaintext": " "}, "it has neither html nor plaintext; its content is empty"),
        ({"author_id": "gone"}, "it has no known author"),
    ],
)
def test_owner_is_told_of_what_changes(tmp_path: Path, changes: Row, note: str) -> None:
    assert reasons_of(Note, tmp_path, [post_row(**changes)]) == [f"post 'a-title': {note}"]


@pytest.mark.parametrize("changes", [{"type": "page"}, {"type": None, "page": 1}, {"type": None, "page": True}])
def test_page_is_no_post(tmp_path: Path, changes: Row) -> None:
    assert reasons_of(NotAPost, tmp_path, [post_row(**changes)]) == ["'a-title' is a page"]


@pytest.mark.parametrize("changes", [{"type": None, "page": 0}, {"type": None, "page": False}, {"type": None}])
def test_post_of_an_old_export_is_a_post(tmp_path: Path, changes: Row) -> None:
    assert post_of(tmp_path, [post_row(**changes)]).slug == "a-title"


def test_content_is_html_else_plaintext(tmp_path: Path) -> None:
    assert post_of(tmp_path, [post_row()]).content == "<p>Text</p>"
    assert post_of(tmp_path, [post_row(html=None)]).content == "Text"


def test_authors_come_by_sort_order_and_integer_ids_match(tmp_path: Path) -> None:
    users = [user_row(id=1), user_row(id=2, slug="second", email=None)]
    joins = [
        {"post_id": 7, "author_id": 1, "sort_order": 1},
        {"post_id": "7", "author_id": "2", "sort_order": 0},
        {"post_id": 7, "author_id": 2, "sort_order": 2},
    ]
    post = post_of(tmp_path, [post_row(id=7)], users=users, posts_authors=joins)
    assert (post.author, post.authors) == ("second", ("second", "jane"))


def test_author_id_counts_where_no_join_resolves(tmp_path: Path) -> None:
    joins = [{"post_id": "p1", "author_id": "gone", "sort_order": 0}]
    post = post_of(tmp_path, [post_row()], posts_authors=joins)
    assert (post.author, post.authors) == ("jane", ("jane",))
    assert reasons_of(Note, tmp_path, [post_row()], posts_authors=joins) == [
        "post 'a-title': an unknown author is left out"
    ]


def test_tags_come_by_sort_order_without_internal_and_unknown_ones(tmp_path: Path) -> None:
    tags = [
        tag_row(),
        tag_row(id="t2", name=" Two  words "),
        tag_row(id="t3", name="#hidden"),
        tag_row(id="t4", name="Inside", visibility="internal"),
        tag_row(id="t5", name="Unused"),
    ]
    joins = [
        {"post_id": "p1", "tag_id": tag, "sort_order": order}
        for order, tag in enumerate(["t2", "t3", "gone", "t1", "t4", "t2"])
    ]
    records = records_of(tmp_path, export_of([post_row()], tags=tags, posts_tags=joins))
    assert [record.name for record in records if isinstance(record, TagRecord)] == ["News", "Two words", "Unused"]
    assert [record.tags for record in records if isinstance(record, PostRecord)] == [("Two words", "News")]
    notes = [record.reason for record in records if isinstance(record, Note)]
    assert notes == ["post 'a-title': an unknown tag is left out"]


def test_joins_of_unknown_posts_are_counted(tmp_path: Path) -> None:
    joins = [{"post_id": post, "tag_id": "t1"} for post in ("gone", "away", None)]
    (note,) = reasons_of(Note, tmp_path, [post_row()], tags=[tag_row()], posts_tags=joins)
    assert note == "posts_tags: 3 row(s) of unknown posts are left out"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"title": "x" * 201}, "post 'a-title': the title"),
        ({"title": None}, "post 'a-title': the title '' has 0 characters"),
        ({"title": "\ud800"}, "post 'a-title': the title contains U+D800"),
        ({"html": "a\0b"}, "post 'a-title': the html contains U+0000"),
        ({"published_at": "2021-13-45T00:00:00.000Z"}, "is no date"),
        ({"published_at": 1e300}, "is no date"),
        ({"created_at": []}, "a date is expected, not list"),
        ({"status": "hidden"}, "the status 'hidden' is none of published, scheduled, sent, draft"),
        ({"id": None}, "it has no id"),
    ],
)
def test_post_that_cannot_be_kept_is_a_problem_and_the_rest_goes_on(tmp_path: Path, changes: Row, reason: str) -> None:
    rows = [post_row(**changes), post_row(id="p2", slug="next")]
    (found,) = reasons_of(Problem, tmp_path, rows)
    assert reason in found
    assert post_of(tmp_path, rows).slug == "next"


def test_duplicate_slug_is_a_problem_but_not_with_a_page(tmp_path: Path) -> None:
    rows = [post_row(id="p0", type="page"), post_row(), post_row(id="p2")]
    (reason,) = reasons_of(Problem, tmp_path, rows)
    assert reason.startswith("post 'a-title': the slug is that of a post before it in ")


def test_users_and_tags_that_cannot_be_kept_are_problems(tmp_path: Path) -> None:
    users = [user_row(slug="", name=""), user_row(id=None), user_row(name="a\0b"), 5]
    tags = [tag_row(name="x" * 101), tag_row(name=None), tag_row(id={})]
    assert len(reasons_of(Problem, tmp_path, [], users=users, tags=tags)) == 7


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('{"db": [\n{"data": }\n]}', 2, "no JSON"),
        ("", 1, "no JSON"),
        ("[" * 100_000, None, "nested too deeply"),
        ('{"db": ' + "9" * 5000 + "}", None, "a number is too long"),
        ("{}", None, "no Ghost export"),
        ("[1]", None, "no Ghost export"),
        ('{"db": []}', None, "no Ghost export"),
        ('{"data": {"posts": {}}}', None, "no Ghost export"),
        ('{"images": [], "data": {}}', None, "no Ghost export"),
    ],
)
def test_file_that_is_no_export_is_one_problem(tmp_path: Path, text: str, line: int | None, reason: str) -> None:
    (problem,) = records_of(tmp_path, text)
    assert isinstance(problem, Problem)
    assert reason in problem.reason
    assert problem.place.line == line


def test_missing_file_is_one_problem(tmp_path: Path) -> None:
    (problem,) = ghost.read(tmp_path / "nothing.json").records
    assert isinstance(problem, Problem)
    assert "No such file" in problem.reason


TEXT = st.text(st.characters(exclude_categories=[]), max_size=10)
VALUES = st.one_of(
    st.sampled_from([None, "", "p1", "u1", 1, "post", "page", "published", "draft", "2021-03-24T12:00:00.000Z", "#x"]),
    TEXT | st.integers() | st.floats() | st.booleans() | st.lists(TEXT, max_size=2),
)
FIELDS = [
    *("id", "name", "title", "slug", "email", "status", "visibility", "type", "page", "html"),
    *("author_id", "published_at", "created_at"),
]
JOINS = ["post_id", "author_id", "tag_id", "sort_order"]


def rows_of(fields: list[str]) -> st.SearchStrategy[Any]:
    row = st.dictionaries(st.sampled_from(fields), VALUES) | st.fixed_dictionaries(dict.fromkeys(fields, VALUES))
    return st.lists(row | VALUES, max_size=4) | VALUES


@given(
    rows_of(FIELDS).filter(lambda rows: isinstance(rows, list)),
    st.fixed_dictionaries({table: rows_of(FIELDS) for table in ("users", "tags")}),
    st.fixed_dictionaries({table: rows_of(JOINS) for table in ("posts_authors", "posts_tags")}),
)
def test_any_rows_make_usable_records(
    tmp_path_factory: pytest.TempPathFactory, posts: list[Any], tables: Row, joins: Row
) -> None:
    records_of(tmp_path_factory.getbasetemp(), export_of(posts, **tables, **joins))


@given(st.binary())
def test_any_bytes_are_a_problem(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.json"
    file.write_bytes(data)
    (problem,) = ghost.read(file).records
    assert isinstance(problem, Problem)
