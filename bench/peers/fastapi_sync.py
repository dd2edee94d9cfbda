"""FastAPI over a plain Session (psycopg 3, sqlite3): path operations without `async` run in threads, after FastAPI's
"SQL (Relational) Databases", "Dependencies with yield" and "Concurrency and async / await", and SQLAlchemy's "Session
Basics".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from bench.peers import models, tokens
from bench.peers.connecting import engines
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

reader, writer = engines()
Reading = sessionmaker(reader, expire_on_commit=False)
Writing = sessionmaker(writer, expire_on_commit=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    reader.dispose()
    writer.dispose()


app = FastAPI(lifespan=lifespan)


def reading() -> Iterator[Session]:
    with Reading() as session:
        yield session


def writing() -> Iterator[Session]:
    with Writing() as session:
        yield session


Reader = Annotated[Session, Depends(reading)]
Writer = Annotated[Session, Depends(writing)]


@app.get("/health")
def health() -> Health:
    return Health()


@app.get("/posts", response_model=PostsOut)
def list_posts(
    db: Reader,
    limit: Limit = 20,
    offset: Offset = 0,
    before_id: int | None = None,
    tag: str | None = None,
    author: int | None = None,
) -> Any:
    return {"items": db.scalars(models.feed(limit, offset, before_id, tag, author)).all()}


@app.get("/posts/count")
def count_posts(db: Reader) -> Count:
    return Count(count=db.scalar(select(func.count()).select_from(Post).where(*models.public())) or 0)


@app.get("/posts/{post_id}", response_model=PostOut)
def get_post(db: Reader, post_id: int) -> Any:
    post = db.scalar(select(Post).options(*models.LOADED).where(Post.id == post_id, *models.public()))
    if post is None:
        raise HTTPException(404, "no such post")
    return post


@app.post("/posts", response_model=PostOut, status_code=201)
def create_post(db: Writer, data: PostIn) -> Any:
    author = db.get(User, data.user_id)
    tags = db.scalars(select(Tag).where(Tag.id.in_(data.tag_ids)).order_by(Tag.id)).all()
    if author is None or len(tags) < len(set(data.tag_ids)):
        raise HTTPException(422, "user_id and tag_ids must exist")
    post = models.published(data.title, data.content, author, list(tags))
    db.add(post)
    db.commit()
    return post


@app.post("/transfers", response_model=TransferOut, status_code=201)
def create_transfer(db: Writer, data: TransferIn) -> Transfer:
    users = {user.id: user for user in db.scalars(models.both(data.from_user_id, data.to_user_id))}
    if len(users) < 2:
        raise HTTPException(422, "from_user_id and to_user_id must be two users")
    transfer = models.transferred(users[data.from_user_id], users[data.to_user_id], data.amount)
    if transfer is None:
        raise HTTPException(409, "insufficient funds")
    db.add(transfer)
    db.commit()
    return transfer


@app.post("/login")
def login(db: Reader, data: LoginIn) -> Token:
    found = db.execute(models.account(data.email)).one_or_none()
    if found is None or not tokens.right(found.hashed_password, data.password):
        raise HTTPException(401, "wrong e-mail or password")
    return Token(token=tokens.token(found.id))
