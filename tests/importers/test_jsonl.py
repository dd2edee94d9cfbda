"""JSON lines of our own: what is read, what is refused by line, and that nothing that is written is read otherwise."""

from __future__ import annotations

import io
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.importers import jsonl
from app.importers.jsonl import Line, PostFields, TagFields, UserFields
from app.importers.records import Note, Place, PostRecord, Problem, Record, TagRecord, UserRecord
from app.importers.waiting import Waiting

HEADER = {"broadsheet": 1}
ADA = {"user": {"username": "ada"}}
POST = {"slug": "a-post", "title": "A post", "status": "draft"}
NOON = datetime(2021, 3, 24, 12, tzinfo=UTC)


def records_of(content: bytes, **options: Any) -> list[Record]:
    return list(jsonl.read_stream(io.BytesIO(content), "test", **options).records)


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in (HEADER, *values))


def problems_of(content: bytes) -> list[tuple[str, str]]:
    found = [record for record in records_of(content) if isinstance(record, Problem)]
    assert all(problem.reason.isprintable() for problem in found)
    return [(str(problem.place), problem.reason) for problem in found]


def problem_of(line: Any) -> str:
    """Of the third line, after one of ada."""
    ((place, reason),) = problems_of(lines(ADA, line))
    assert place == "test:3"
    return reason


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_a_line_makes_a_record_with_all_that_it_says() -> None:
    user = {"username": "ada", "full_name": "Ada L.", "email": "Ada@example.org", "role": "member", "is_active": False}
    times = {"created_at": "2021-03-24T13:00:00+01:00", "updated_at": "2021-03-24T12:00:00Z"}
    post: dict[str, Any] = POST | {"content": "Text", "author": "ada", "tags": ["b", "a", "b"]}
    post |= {"status": "published", "published_at": "2021-03-24T12:00:00Z"}
    banned = {"banned_until": "2021-03-24T12:00:00Z"}
    found = records_of(
        lines({"user": user | times | banned}, {"tag": {"name": "news"} | times}, {"post": post | times})
    )
    place = [Place("test", number) for number in (2, 3, 4)]
    assert found == [
        UserRecord("ada", "Ada L.", "ada@example.org", False, place[0], "member", NOON, NOON, NOON),
        TagRecord("news", place[1], NOON, NOON),
        PostRecord("a-post", "A post", "Text", "published", NOON, NOON, NOON, "ada", ("ada",), ("b", "a"), place[2]),
    ]


def test_what_a_line_leaves_out_has_a_default() -> None:
    assert records_of(lines(ADA, {"tag": {"name": "news"}}, {"post": POST})) == [
        UserRecord("ada", None, None, True, Place("test", 2), "author"),
        TagRecord("news", Place("test", 3)),
        PostRecord("a-post", "A post", "", "draft", None, None, None, None, (), (), Place("test", 4)),
    ]


def test_a_draft_may_have_been_published() -> None:
    (post,) = records_of(lines({"post": POST | {"published_at": "2021-03-24T12:00:00Z"}}))
    assert isinstance(post, PostRecord)
    assert (post.status, post.published_at) == ("draft", NOON)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_mark_line_ends_and_empty_lines_do_not_matter(end: bytes) -> None:
    content = b"\xef\xbb\xbf" + lines(ADA, {"post": POST}).replace(b"\n", end + end).rstrip()
    assert [type(record) for record in records_of(content)] == [UserRecord, PostRecord]


def test_total_is_known_from_the_first_line() -> None:
    first = json.dumps(HEADER | {"users": 0, "tags": 0, "posts": 7}).encode()
    assert jsonl.read_stream(io.BytesIO(first), "test").total == 7
    assert jsonl.read_stream(io.BytesIO(lines()), "test").total is None


def test_an_admin_comes_in_as_an_author_unless_admins_are_let_in() -> None:
    content = lines({"user": {"username": "ada", "role": "admin"}})
    note, user = records_of(content)
    assert isinstance(note, Note)
    assert note.reason == "user 'ada' is an admin there and comes in as an author; --admins keeps admins"
    assert isinstance(user, UserRecord)
    assert user.role == "author"
    (kept,) = records_of(content, admins=True)
    assert isinstance(kept, UserRecord)
    assert kept.role == "admin"


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({}, "a line holds one of user, tag and post"),
        ({"user": {"username": "bob"}, "tag": {"name": "x"}}, "a line holds one of user, tag and post"),
        ([], "Expected `object`, got `array`"),
        ({"transfer": {}}, "Object contains unknown field `transfer`"),
        ({"user": {"username": "bob", "password": "x"}}, "Object contains unknown field `password` - at `$.user`"),
        ({"user": {"username": "bob", "balance": 5}}, "Object contains unknown field `balance` - at `$.user`"),
        ({"user": {"full_name": "Bob"}}, "Object missing required field `username` - at `$.user`"),
        ({"user": {"username": 7}}, "Expected `str`, got `int` - at `$.user.username`"),
        ({"user": {"username": "bob", "role": "god"}}, "Invalid enum value 'god' - at `$.user.role`"),
        ({"user": {"username": "bob", "is_active": 1}}, "Expected `bool`, got `int` - at `$.user.is_active`"),
        ({"user": {"username": "-"}}, '"-" is no username'),
        ({"user": {"username": "ada"}}, "the username 'ada' came before"),
        ({"user": {"username": "bob", "email": "nobody"}}, "this is no e-mail address"),
        (
            {"user": {"username": "bob", "full_name": "x" * 101}},
            "`full_name`: value too long for type character varying(100)",
        ),
        ({"tag": {"name": " "}}, "a tag has 1 to 100 characters, not 0"),
        ({"tag": {"name": "a\0b"}}, '`name`: invalid byte sequence for encoding "UTF8": 0x00'),
        ({"tag": {"name": "x", "id": 1}}, "Object contains unknown field `id` - at `$.tag`"),
        ({"post": POST | {"version": 1}}, "Object contains unknown field `version` - at `$.post`"),
        ({"post": POST | {"author": "bob"}}, "the author 'bob' has no line before this one"),
        ({"post": POST | {"status": "published"}}, "a published post needs `published_at`"),
        ({"post": POST | {"status": "secret"}}, "Invalid enum value 'secret' - at `$.post.status`"),
        ({"post": POST | {"title": "x" * 201}}, "`title`: value too long for type character varying(200)"),
        ({"post": POST | {"slug": "a b"}}, '"a b" is no slug'),
        ({"post": POST | {"content": "\0"}}, '`content`: invalid byte sequence for encoding "UTF8": 0x00'),
        ({"post": POST | {"tags": "news"}}, "Expected `array`, got `str` - at `$.post.tags`"),
        ({"post": POST | {"tags": ["x" * 101]}}, "a tag has 1 to 100 characters, not 101"),
        ({"post": POST | {"created_at": 5}}, "Expected `datetime | null`, got `int` - at `$.post.created_at`"),
        (
            {"post": POST | {"created_at": "2021-13-45T00:00:00Z"}},
            "Invalid RFC3339 encoded datetime - at `$.post.created_at`",
        ),
        (
            {"post": POST | {"created_at": "2021-03-24T12:00:00"}},
            "Expected `datetime` with a timezone component - at `$.post.created_at`",
        ),
        (
            {"post": POST | {"created_at": "0001-01-01T00:00:00+01:00"}},
            "the time 0001-01-01T00:00:00+01:00 is out of range",
        ),
    ],
)
def test_line_that_says_something_else_is_refused(line: Any, reason: str) -> None:
    assert problem_of(line) == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"tag": {"name": "x"', "Input data was truncated"),
        (b'{"tag": {"name": "x"}} {}', "JSON is malformed: trailing characters"),
        (b'{"tag": {"name": "\xff"}}', "'utf-8' codec can't decode"),
        (b'{"tag": {"name": "\\ud800 alone"}}', "JSON is malformed"),
        (b'{"tag": {"name": 1e999}}', "Number out of range"),
        (b'{"tag": ' + b"[" * 100_000, "Expected `object`, got `array`"),
        (b"\x00", "JSON is malformed: invalid character"),
    ],
)
def test_line_that_is_no_json_is_refused(line: bytes, reason: str) -> None:
    ((place, said),) = problems_of(lines(ADA) + line + b"\n")
    assert place == "test:3"
    assert said.startswith(reason)


def test_what_stands_after_a_bad_line_is_read() -> None:
    content = lines({"post": POST | {"title": ""}}, ADA) + b"broken\n" + lines({"post": POST}).partition(b"\n")[2]
    assert [type(record) for record in records_of(content)] == [Problem, UserRecord, Problem, PostRecord]


def test_post_of_a_user_that_is_refused_is_refused_with_it() -> None:
    found = problems_of(lines({"user": {"username": "bob", "email": "x"}}, {"post": POST | {"author": "bob"}}))
    assert found == [
        ("test:2", "this is no e-mail address"),
        ("test:3", "the author 'bob' has no line before this one"),
    ]


def test_slug_that_comes_twice_is_refused() -> None:
    assert problems_of(lines({"post": POST}, {"post": POST})) == [("test:3", "the slug 'a-post' came before")]


def test_line_that_is_too_long_is_refused_and_the_next_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LINE", 100)
    stream = Counting(lines({"tag": {"name": "x" * 5_000_000}}, {"tag": {"name": "y"}}))
    found = list(jsonl.read_stream(stream, "test").records)
    assert [str(record.place) for record in found] == ["test:2", "test:3"]
    assert [type(record) for record in found] == [Problem, TagRecord]
    assert stream.longest <= 1 << 20


class Counting(io.BytesIO):
    longest = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.longest = max(self.longest, len(line))
        return line


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"{}\n",
        b"null\n",
        b'{"db": [{"meta": {}}]}',
        b'{"broadsheet": "1"}\n',
        b'{"broadsheet": true}\n',
        b'{"broadsheet": 1, "more": 2}\n',
        b'{"broadsheet": 1, "posts": -1}\n',
        b'{"broadsheet": 1, "exported_at": "today"}\n',
        b"\xff\xfe{\x00",
        b"SQLite format 3\x00",
    ],
)
def test_file_that_begins_otherwise_is_no_export(content: bytes) -> None:
    ((place, reason),) = problems_of(content)
    assert place == "test:1"
    assert reason.startswith('this is no export of Broadsheet, its first line must be {"broadsheet": 1}: ')


def test_export_of_another_form_is_refused() -> None:
    expected = "this export has the form 2, and this program reads the form 1 alone"
    assert problems_of(b'{"broadsheet": 2, "new": 1}\n') == [("test:1", expected)]


def test_file_without_its_end_is_known_for_one() -> None:
    first = json.dumps(HEADER | {"users": 1, "tags": 1, "posts": 1}).encode() + b"\n"
    rest = lines(ADA, {"tag": {"name": "x"}}, {"post": POST}).partition(b"\n")[2]
    assert problems_of(first + rest) == []
    cut = rest.rpartition(b'{"post"')[0]
    assert problems_of(first + cut) == [("test:3", "3 lines are announced, 2 came: the file is not whole")]


def test_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (problem,) = jsonl.read(tmp_path / "nowhere").records
    assert isinstance(problem, Problem)
    assert problem.reason == "the file cannot be read: No such file or directory"


# ---- anything -------------------------------------------------------------------------------------------------------

MOMENTS = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1 < moment.year < 9999)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SAMPLES = lines(ADA, {"tag": {"name": "é"}}, {"post": POST | {"author": "ada"}}).splitlines()


@given(st.lists(st.one_of(st.binary(), st.sampled_from(SAMPLES), TEXTS.map(str.encode))))
def test_any_bytes_make_records_or_problems(parts: list[bytes]) -> None:
    for record in records_of(lines() + b"\n".join(parts)):
        str(record.place).encode()
        if isinstance(record, Problem | Note):
            assert record.reason.isprintable()


@given(content=TEXTS, name=TEXTS.filter(str.strip), moment=MOMENTS, active=...)
def test_what_is_written_is_what_is_read(content: str, name: str, moment: datetime, active: bool) -> None:
    name = " ".join(name.split())[:20]
    user = UserFields(username="ada", full_name=name, is_active=active, created_at=moment, updated_at=moment)
    tag = TagFields(name=name, created_at=moment)
    post = PostFields(slug="a", title=name, content=content, status="draft", author="ada", tags=[name])
    encoded = msgspec.json.Encoder().encode_lines([Line(user=user), Line(tag=tag), Line(post=post)])
    first, second, third = records_of(lines() + encoded)
    assert isinstance(first, UserRecord)
    assert isinstance(second, TagRecord)
    assert isinstance(third, PostRecord)
    assert (first.is_active, first.created_at, second.created_at) == (active, moment, moment)
    assert third.content == content
    assert first.full_name == second.name == third.title == third.tags[0]


# ---- standard input -------------------------------------------------------------------------------------------------


def test_reading_of_a_pipe_ends_when_it_is_stopped() -> None:
    ours, theirs = os.pipe()
    raw = Waiting(ours)
    os.write(theirs, lines(ADA))
    source = jsonl.read_stream(io.BufferedReader(raw), "test")
    found: list[Record] = []
    reader = threading.Thread(target=lambda: found.extend(source.records))
    reader.start()
    raw.stop()
    reader.join(10)
    assert not reader.is_alive()
    os.close(theirs)
    os.close(ours)


def test_pipe_is_read_to_its_end() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, lines(ADA, {"post": POST}))
    os.close(theirs)
    raw = Waiting(ours)
    assert [type(r) for r in jsonl.read_stream(io.BufferedReader(raw), "test").records] == [UserRecord, PostRecord]
    raw.stop()  # too late does no harm
    os.close(ours)
