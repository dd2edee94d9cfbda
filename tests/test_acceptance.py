"""The main job on real content: import a blog of 754 files, serve its posts with authors and tags."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS
from app.importers import markdown
from app.importers.loader import load
from app.importers.records import PostRecord
from app.query.fetch import fetch
from tests.conftest import Clock, Statements

ROOT = Path(__file__).resolve().parent.parent
BLOG = ROOT.parent / "shared" / "data" / "markdown" / "rust-blog" / "content"
QUERY = "posts?select=title,published_at,author(username),tags(name)&order=published_at.desc&limit=20"

pytestmark = pytest.mark.skipif(not BLOG.is_dir(), reason="the sample blog is not beside the project")


def newest(number: int) -> list[dict[str, Any]]:
    """What the files say: the newest posts; of one day the later file first, as its id is higher."""
    posts = [record for record in markdown.read(BLOG).records if isinstance(record, PostRecord)]
    seen: dict[str, int] = {}  # tags come in the order in which they were made: by batch, then by name
    for start in range(0, len(posts), 500):
        for name in sorted({tag for post in posts[start : start + 500] for tag in post.tags} - seen.keys()):
            seen[name] = len(seen)
    posts.reverse()
    posts.sort(key=attrgetter("published_at"), reverse=True)
    return [
        {
            "title": post.title,
            "published_at": f"{post.published_at:%Y-%m-%dT%H:%M:%S}+00:00",
            "author": {"username": post.author},
            "tags": [{"name": name} for name in sorted(post.tags, key=seen.__getitem__)],
        }
        for post in posts[:number]
    ]


async def test_imported_blog_is_served_right_in_three_statements(
    database: Database, clock: Clock, statements: Statements
) -> None:
    """Both databases must give the bytes that the files give, so they give the same."""
    clock.now = datetime(2027, 1, 1, tzinfo=UTC)  # after the last post
    report = await load(database, markdown.read(BLOG))
    assert report.summary() == "754 files: 750 posts created, 4 not posts, 0 errors"
    async with database.reading(ANONYMOUS) as session:
        statements.clear()
        body = await fetch(session, QUERY)
    assert statements.count == 3  # posts, their authors, their tags
    assert body == msgspec.json.encode(newest(20))


def test_readme_shows_the_real_answer() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert json.loads(shown) == newest(2)
