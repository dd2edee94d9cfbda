"""In which order a search finds posts tells nothing of the posts that the caller may not see."""

from __future__ import annotations

import httpx2

from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import PostStatus
from tests.accounts.conftest import Installation
from tests.conftest import Clock
from tests.factories import make_post, make_user


async def found(client: httpx2.AsyncClient) -> list[str]:
    answer = await client.get("/rpc/search?q=salary or holiday&select=title")
    assert answer.status_code == 200
    return [post["title"] for post in answer.json()]


async def test_a_word_of_a_draft_moves_no_post_in_a_search(
    here: Installation, database: Database, clock: Clock
) -> None:
    """Two posts of the same weight, and a draft of somebody else that shares a word with one of them."""
    async with database.writing(SYSTEM) as session:
        ada, bob = await make_user(session, role="author"), await make_user(session, role="author")
        for title in ("holiday", "salary", "other one", "other two", "other three"):
            await make_post(session, ada, title=title, content="")
    before = await found(here.client)
    async with database.writing(SYSTEM) as session:
        for _ in range(2):
            await make_post(session, bob, title=before[0], content="", status=PostStatus.DRAFT)
    assert await found(here.client) == before
