"""Posts by words, the best first."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from app.data.session import AppSession
from app.models import Post
from app.query.search import SearchText, hits, parse

MOST_FOUND = 1000  # rows of a search: the best


async def search(session: AppSession, q: str) -> Sequence[int]:
    """Posts that match words as typed into a search box, the best first: `"event loop" -django or trio`.

    The ids of at most 1000, by rank, then the newest. Raises BadQuery (54000) for too long a text.
    """
    connection = await session.connection()
    asked = bindparam("q", parse("wfts", q, None), type_=SearchText())
    found = hits("posts", "id", "title", asked, sqlite=connection.dialect.name == "sqlite")
    newest = (Post.published_at.desc().nulls_last(), Post.id.desc())
    query = select(Post.id).join(found, found.c.key == Post.id).order_by(found.c.rank, *newest).limit(MOST_FOUND)
    return (await session.scalars(query)).all()
