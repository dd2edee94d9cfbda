"""FastAPI over an AsyncSession (asyncpg, aiosqlite), after FastAPI's "SQL (Relational) Databases", "Dependencies with
yield" and "Bigger Applications", and SQLAlchemy's "Asynchronous I/O" (`expire_on_commit=False`, eager loading) and
SQLite's "Transactions with the asyncio driver" (events for BEGIN).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from bench.peers import models, tokens
from bench.peers.connecting import async_engines
from bench.peers.models import Post, Tag, Transfer, User
from bench.peers.schemas import (
    Count,
    Health,
    Limit,
    LoginIn,
    Offset,
    PostIn,
    PostOut,
    PostsOut,
    Token,
    TransferIn,
    TransferOut,
)

reader, writer = async_engines()
Reading = async_sessionmaker(reader, expire_on_commit=False)
Writing = async_sessionmaker(writer, expire_on_commit=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await reader.dispose()
    await writer.dispose()


app = FastAPI(lifespan=lifespan)


async def reading() -> AsyncIterator[AsyncSession]:
    async with Reading() as session:
        yield session


async def writing() -> AsyncIterator[AsyncSession]:
    async with Writing() as session:
        yield session


Reader = Annotated[AsyncSession, Depends(reading)]
Writer = Annotated[AsyncSession, Depends(writing)]


@app.get("/health")
async def health() -> Health:
    return Health()


@app.get("/posts", response_model=PostsOut)
async def list_posts(
    db: Reader,
    limit: Limit = 20,
    offset: Offset = 0,
    before_id: int | None = None,
    tag: str | None = None,
    author: int | None = None,
) -> Any:
    posts = await db.scalars(models.feed(limit, offset, before_id, tag, author))
    return {"items": posts.all()}


@app.get("/posts/count")
async def count_posts(db: Reader) -> Count:
    total = await db.scalar(select(func.count()).select_from(Post).where(*models.public()))
    return Count(count=total or 0)


@app.get("/posts/{post_id}", response_model=PostOut)
async def get_post(db: Reader, post_id: int) -> Any:
    post = await db.scalar(select(Post).options(*models.LOADED).where(Post.id == post_id, *models.public()))
    if post is None:
        raise HTTPException(404, "no such post")
    return post


@app.post("/posts", response_model=PostOut, status_code=201)
async def create_post(db: Writer, data: PostIn) -> Any:
    author = await db.get(User, data.user_id)
    tags = (await db.scalars(select(Tag).where(Tag.id.in_(data.tag_ids)).order_by(Tag.id))).all()
    if author is None or len(tags) < len(set(data.tag_ids)):
        raise HTTPException(422, "user_id and tag_ids must exist")
    post = models.published(data.title, data.content, author, list(tags))
    db.add(post)
    await db.commit()
    return post


@app.post("/transfers", response_model=TransferOut, status_code=201)
async def create_transfer(db: Writer, data: TransferIn) -> Transfer:
    users = {user.id: user for user in await db.scalars(models.both(data.from_user_id, data.to_user_id))}
    if len(users) < 2:
        raise HTTPException(422, "from_user_id and to_user_id must be two users")
    transfer = models.transferred(users[data.from_user_id], users[data.to_user_id], data.amount)
    if transfer is None:
        raise HTTPException(409, "insufficient funds")
    db.add(transfer)
    await db.commit()
    return transfer


@app.post("/login")
async def login(db: Reader, data: LoginIn) -> Token:
    found = (await db.execute(models.account(data.email))).one_or_none()
    if found is None or not await run_in_threadpool(tokens.right, found.hashed_password, data.password):
        raise HTTPException(401, "wrong e-mail or password")
    return Token(token=tokens.token(found.id))
