"""`docs/extending.md` works as it is written."""

from __future__ import annotations

from tests.test_examples import run


def test_the_page_adds_comments(empty_url: str) -> None:
    """Takes two seconds for each database: a process of its own (see `tests/extending.py`)."""
    run("-m", "tests.extending", empty_url, url=empty_url)
