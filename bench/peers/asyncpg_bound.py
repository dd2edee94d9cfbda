"""A bound, PostgreSQL alone: hand-written statements over asyncpg's pool, msgspec for JSON, nothing between them, after
asyncpg's "Usage" and msgspec's "Structs". Each write is one statement and so one transaction. A connection is not reset
when it goes back to the pool: no statement here leaves anything behind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import asyncpg  # type: ignore[import-untyped]  # the package ships no types
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.peers import sql
from bench.peers.environment import POOL, URL


class Author(msgspec.Struct):
    id: int
    username: str
    full_name: str | None


class Tag(msgspec.Struct):
    id: int
    name: str


class Post(msgspec.Struct):
    id: int
    title: str
    content: str
    status: str
    created_at: datetime
    updated_at: datetime
    author: Author
    tags: list[Tag]


class Posts(msgspec.Struct):
    items: list[Post]


class NewPost(msgspec.Struct):
    user_id: int
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    content: str
    tag_ids: list[int]


class NewTransfer(msgspec.Struct):
    from_user_id: int
    to_user_id: int
    amount: Annotated[int, msgspec.Meta(gt=0)]


encode = msgspec.json.Encoder().encode
decode_post = msgspec.json.Decoder(NewPost).decode
decode_transfer = msgspec.json.Decoder(NewTransfer).decode


async def leave(connection: Any) -> None:
    """In place of asyncpg's reset, which is one more round trip."""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    async with asyncpg.create_pool(URL, min_size=POOL, max_size=POOL, reset=leave) as pool:
        yield {"pool": pool}


async def list_posts(request: Request) -> Response:
    statement, arguments = sql.feed(request.query_params)
    async with request.state.pool.acquire() as connection:
        posts = await with_tags(connection, await connection.fetch(sql.ROWS + statement, *arguments))
    return answer(Posts(posts))


async def get_post(request: Request) -> Response:
    async with request.state.pool.acquire() as connection:
        rows = await connection.fetch(sql.ROWS + sql.ONE, request.path_params["id"])
        posts = await with_tags(connection, rows)
    if not posts:
        raise HTTPException(404, "no such post")
    return answer(posts[0])


async def with_tags(connection: Any, rows: list[Any]) -> list[Post]:
    posts: dict[int, Post] = {}
    for id, title, content, status, created_at, updated_at, *author in rows:
        posts[id] = Post(id, title, content, status, created_at, updated_at, Author(*author), [])
    for post_id, *tag in await connection.fetch(sql.TAGS, list(posts)):
        posts[post_id].tags.append(Tag(*tag))
    return list(posts.values())


async def create_post(request: Request) -> Response:
    new = decode_post(await request.body())
    async with request.state.pool.acquire() as connection:
        author = await connection.fetchrow(sql.AUTHOR, new.user_id)
        tags = await connection.fetch(sql.NAMES, new.tag_ids)
        if author is None or len(tags) < len(set(new.tag_ids)):
            raise HTTPException(422, "user_id and tag_ids must exist")
        slug, at = sql.slug(new.title), sql.now()
        tag_ids = [tag[0] for tag in tags]
        id = await connection.fetchval(sql.INSERT, new.user_id, new.title, slug, new.content, at, tag_ids)
    post = Post(id, new.title, new.content, "published", at, at, Author(*author), [Tag(*tag) for tag in tags])
    return answer(post, 201)


async def create_transfer(request: Request) -> Response:
    new = decode_transfer(await request.body())
    if new.from_user_id == new.to_user_id:
        raise HTTPException(422, "from_user_id and to_user_id must be two users")
    async with request.state.pool.acquire() as connection:
        row = await connection.fetchrow(sql.TRANSFER, new.from_user_id, new.to_user_id, new.amount, sql.now())
    if row["users"] < 2:
        raise HTTPException(422, "from_user_id and to_user_id must be two users")
    if row["id"] is None:
        raise HTTPException(409, "insufficient funds")
    return answer({"id": row["id"]}, 201)


async def health(request: Request) -> Response:
    return answer({"ok": True})


def answer(body: object, status: int = 200) -> Response:
    return Response(encode(body), status, media_type="application/json")


async def refuse(request: Request, exc: Exception) -> Response:
    """What the body or the query string says that cannot be."""
    return answer({"detail": str(exc)}, 422)


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/posts", list_posts),
        Route("/posts", create_post, methods=["POST"]),
        Route("/posts/{id:int}", get_post),
        Route("/transfers", create_transfer, methods=["POST"]),
    ],
    exception_handlers={msgspec.DecodeError: refuse, ValueError: refuse},
    lifespan=lifespan,
)
