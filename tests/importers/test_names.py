"""Names, slugs and times that are made from foreign text."""

from contextlib import suppress
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.importers.names import email_from, full_name_from, slug_from, tag_from, title_from, username_from
from app.importers.records import Place, Refused
from app.importers.times import utc_from, utc_from_milliseconds
from tests.importers.checks import assert_line, assert_utc

# Lone surrogates included: JSON escapes and file names may hold them.
ANY_TEXT = st.text(st.characters(exclude_categories=[]))


@pytest.mark.parametrize(
    ("name", "username"),
    [
        ("Niko Matsakis", "niko-matsakis"),
        ("Rémy Rakic", "remy-rakic"),
        ("Tomáš Šedovič", "tomas-sedovic"),
        ("Amanieu d'Antras, Jack Huey", "amanieu-d-antras-jack-huey"),
        ("  mark-i-m  ", "mark-i-m"),
        ("TC", "tc"),
        ("snake_case", "snake_case"),
        ("x" * 60, "x" * 50),
        ("王小明", "author-acf979cc"),
        ("J", "author-6da43b94"),
        ("", "author-e3b0c442"),
    ],
)
def test_username_is_folded_to_ascii_or_made_from_a_hash(name: str, username: str) -> None:
    assert username_from(name) == username


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("2019-10-15-Rustup-1.20.0", "2019-10-15-Rustup-1.20.0"),
        ("-kept_as.it-is-", "-kept_as.it-is-"),
        ("a b / c", "a-b-c"),
        ("Crème brûlée!", "Creme-brulee"),
        ("你好", "post-670d9743"),
        ("2019-你好", "2019-76250fbe"),
        ("🎉", "post-6146299c"),
        ("", "post-e3b0c442"),
    ],
)
def test_slug_keeps_what_is_valid_and_loses_no_letters_unmarked(text: str, slug: str) -> None:
    assert slug_from(text) == slug


def test_long_slugs_with_one_beginning_stay_different() -> None:
    first, second = slug_from("a" * 300), slug_from("a" * 301)
    assert len(first) == len(second) == 200
    assert first != second


def test_tag_is_normalised_and_bounded() -> None:
    assert tag_from("  cafe\u0301 \t crème ") == "café crème"
    with pytest.raises(Refused, match="101 characters"):
        tag_from("x" * 101)


def test_title_of_200_characters_is_the_longest() -> None:
    assert len(title_from("x" * 200)) == 200
    with pytest.raises(Refused, match="201 characters"):
        title_from("x" * 201)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_title_that_no_database_stores_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"U\+"):
        title_from(text)


def test_full_name_is_cut_to_100_characters() -> None:
    assert full_name_from("x" * 99 + " y z") == "x" * 99
    assert full_name_from(" \n ") is None


@pytest.mark.parametrize(
    ("text", "email"),
    [
        (" Jane.Doe@Example.ORG ", "jane.doe@example.org"),
        ("jane@localhost", None),
        ("jane doe@example.org", None),
        ("a@b@example.org", None),
        ("jane\x1b@example.org", None),
        ("x" * 250 + "@example.org", None),
        ("", None),
    ],
)
def test_email_is_lower_cased_or_none(text: str, email: str | None) -> None:
    assert email_from(text) == email


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2019-10-15", datetime(2019, 10, 15, tzinfo=UTC)),
        ("2019-1-5", datetime(2019, 1, 5, tzinfo=UTC)),
        ("2019-10-15T12:30:00Z", datetime(2019, 10, 15, 12, 30, tzinfo=UTC)),
        ("2019-10-15 12:30", datetime(2019, 10, 15, 12, 30, tzinfo=UTC)),
        ("2019-10-15 9:30:00 +0200", datetime(2019, 10, 15, 7, 30, tzinfo=UTC)),
        ("2019-10-15 12:30:00 UTC", datetime(2019, 10, 15, 12, 30, tzinfo=UTC)),
        ("2019-10-15T12:30:00-05", datetime(2019, 10, 15, 17, 30, tzinfo=UTC)),
        ("2021-03-24T02:01:13.042Z", datetime(2021, 3, 24, 2, 1, 13, 42000, tzinfo=UTC)),
        (date(2019, 10, 15), datetime(2019, 10, 15, tzinfo=UTC)),
    ],
)
def test_times_become_utc(value: object, moment: datetime) -> None:
    assert utc_from(value) == moment


@pytest.mark.parametrize(
    "value",
    ["", "soon", "2019-13-45", "2019-02-30", "2019-10-15 24:01", "2019-10-15T12:00+25:00", "0001-01-01T00:00+01:00", 5],
)
def test_what_is_no_date_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="date"):
        utc_from(value)


def test_milliseconds_become_utc() -> None:
    assert utc_from_milliseconds(1504269105806) == datetime(2017, 9, 1, 12, 31, 45, 806000, tzinfo=UTC)
    for value in (1e300, float("nan"), -(10**20)):
        with pytest.raises(Refused, match="date"):
            utc_from_milliseconds(value)


def test_place_prints_path_and_line_without_control_characters() -> None:
    assert str(Place("posts/a.md", 3)) == "posts/a.md:3"
    assert str(Place("\x1b[31m\udcff.md")) == "\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}.md"


@given(ANY_TEXT)
def test_any_text_makes_usable_names_or_is_refused(text: str) -> None:
    assert username_from(text) == username_from(text)
    assert slug_from(slug_from(text)) == slug_from(text)
    with suppress(Refused):
        assert_line(title_from(text), 200)
        assert_line(full_name_from(text) or "none", 100)


@given(ANY_TEXT | st.dates() | st.datetimes() | st.datetimes(timezones=st.timezones()) | st.times() | st.none())
def test_any_value_is_a_utc_time_or_refused(value: object) -> None:
    with suppress(Refused):
        assert_utc(utc_from(value))
