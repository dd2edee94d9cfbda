"""A bound, PostgreSQL alone: each answer is one statement that builds its JSON, which passes through as it is, after
PostgreSQL's "JSON Functions and Operators" and "WITH Queries".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.peers import sql
from bench.peers.asyncpg_bound import NewPost, decode_post, health, leave, refuse
from bench.peers.environment import POOL, URL

COLUMNS = "p.id, p.title, p.content, p.status, p.created_at, p.updated_at"

AUTHOR = "(SELECT row_to_json(a) FROM (SELECT id, username, full_name FROM users u WHERE u.id = p.user_id) a)"

# The rows are chosen first: what stands beside them is then built for those alone, and not for those of an offset.
ITEMS = f"""
    SELECT {COLUMNS},
        {AUTHOR} author,
        (SELECT coalesce(json_agg(t), '[]') FROM (
            SELECT t.id, t.name FROM post_tags l JOIN tags t ON t.id = l.tag_id WHERE l.post_id = p.id ORDER BY t.id
        ) t) tags
    FROM (SELECT {COLUMNS}, p.user_id FROM posts p %s) p"""
LIST = f"SELECT json_build_object('items', coalesce(json_agg(item), '[]')) FROM ({ITEMS}) item"
ONE = f"SELECT row_to_json(item) FROM ({ITEMS % sql.ONE}) item"

INSERT = f"""
WITH wanted AS (
    SELECT t.id, t.name FROM tags t WHERE t.id = ANY($6::bigint[])
), p AS (
    INSERT INTO posts (user_id, title, slug, content, status, published_at, created_at, updated_at, version)
    SELECT u.id, $2, $3, $4, 'published', $5, $5, $5, 1 FROM users u
    WHERE u.id = $1 AND (SELECT count(*) FROM wanted) = $7 RETURNING *
), links AS (
    INSERT INTO post_tags (post_id, tag_id) SELECT p.id, wanted.id FROM p, wanted
)
SELECT row_to_json(item) FROM (
    SELECT {COLUMNS},
        {AUTHOR} author,
        (SELECT coalesce(json_agg(t), '[]') FROM (SELECT id, name FROM wanted ORDER BY id) t) tags
    FROM p
) item"""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    async with asyncpg.create_pool(URL, min_size=POOL, max_size=POOL, reset=leave) as pool:
        yield {"pool": pool}


async def list_posts(request: Request) -> Response:
    statement, arguments = sql.feed(request.query_params)
    return document(await request.state.pool.fetchval(LIST % statement, *arguments))


async def get_post(request: Request) -> Response:
    post = await request.state.pool.fetchval(ONE, request.path_params["id"])
    if post is None:
        raise HTTPException(404, "no such post")
    return document(post)


async def create_post(request: Request) -> Response:
    new: NewPost = decode_post(await request.body())
    slug, tags = sql.slug(new.title), list(set(new.tag_ids))
    arguments = new.user_id, new.title, slug, new.content, sql.now(), tags, len(tags)
    post = await request.state.pool.fetchval(INSERT, *arguments)
    if post is None:
        raise HTTPException(422, "user_id and tag_ids must exist")
    return document(post, 201)


def document(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="application/json")


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/posts", list_posts),
        Route("/posts", create_post, methods=["POST"]),
        Route("/posts/{id:int}", get_post),
    ],
    exception_handlers={msgspec.DecodeError: refuse, ValueError: refuse},
    lifespan=lifespan,
)
