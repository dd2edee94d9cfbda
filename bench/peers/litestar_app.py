"""Litestar with advanced-alchemy, after advanced-alchemy's "Litestar" (plugin, service dependencies, `to_schema`) and
"Services", and Litestar's "Exceptions" and "Parameters".
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
    filters,
    providers,
    repository,
    service,
)
from litestar import Litestar, get, post
from litestar.concurrency import sync_to_thread
from litestar.exceptions import ClientException, NotAuthorizedException, NotFoundException
from litestar.params import Parameter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bench.peers import models, tokens
from bench.peers.connecting import async_engines
from bench.peers.models import Post, Tag, Transfer, User


class AuthorOut(msgspec.Struct):
    id: int
    username: str
    full_name: str | None


class TagOut(msgspec.Struct):
    id: int
    name: str


class PostOut(msgspec.Struct):
    id: int
    title: str
    content: str
    status: str
    created_at: datetime
    updated_at: datetime
    author: AuthorOut
    tags: list[TagOut]


class PostsOut(msgspec.Struct):
    items: list[PostOut]


class PostIn(msgspec.Struct):
    user_id: int
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    content: str
    tag_ids: list[int]


class TransferIn(msgspec.Struct):
    from_user_id: int
    to_user_id: int
    amount: Annotated[int, msgspec.Meta(gt=0)]


class LoginIn(msgspec.Struct):
    email: str
    password: str


class PostService(service.SQLAlchemyAsyncRepositoryService[Post]):
    class Repository(repository.SQLAlchemyAsyncRepository[Post]):
        model_type = Post

    repository_type = Repository


class TagService(service.SQLAlchemyAsyncRepositoryService[Tag]):
    class Repository(repository.SQLAlchemyAsyncRepository[Tag]):
        model_type = Tag

    repository_type = Repository


class UserService(service.SQLAlchemyAsyncRepositoryService[User]):
    class Repository(repository.SQLAlchemyAsyncRepository[User]):
        model_type = User

    repository_type = Repository


class TransferService(service.SQLAlchemyAsyncRepositoryService[Transfer]):
    class Repository(repository.SQLAlchemyAsyncRepository[Transfer]):
        model_type = Transfer

    repository_type = Repository


reader, writer = async_engines()
sessions = AsyncSessionConfig(expire_on_commit=False)
reading = SQLAlchemyAsyncConfig(engine_instance=reader, session_config=sessions)
writing = SQLAlchemyAsyncConfig(
    engine_instance=writer,
    session_config=sessions,
    session_dependency_key="write_session",
    engine_dependency_key="write_engine",
)

READ_POSTS = providers.create_service_dependencies(PostService, "posts", load=list(models.LOADED), config=reading)
WRITE_POSTS = (
    providers.create_service_dependencies(PostService, "posts", config=writing)
    | providers.create_service_dependencies(TagService, "tags", config=writing)
    | providers.create_service_dependencies(UserService, "users", config=writing)
)
WRITE_TRANSFERS = providers.create_service_dependencies(
    UserService, "users", config=writing
) | providers.create_service_dependencies(TransferService, "transfers", config=writing)

Limit = Annotated[int, Parameter(ge=1, le=100)]
Offset = Annotated[int, Parameter(ge=0)]


@get("/health")
async def health() -> dict[str, bool]:
    return {"ok": True}


@get("/posts", dependencies=READ_POSTS)
async def list_posts(
    posts: PostService,
    limit: Limit = 20,
    offset: Offset = 0,
    before_id: int | None = None,
    tag: str | None = None,
    author: int | None = None,
) -> PostsOut:
    wanted = [*models.public()]
    order = [(Post.id, True)] if before_id is not None else [(Post.published_at, True), (Post.id, True)]
    if before_id is not None:
        wanted.append(Post.id < before_id)
    if author is not None:
        wanted.append(Post.user_id == author)
    tagged = None if tag is None else select(Post).join(Post.tags).where(Tag.name == tag)
    found = await posts.get_many(*wanted, filters.LimitOffset(limit, offset), statement=tagged, order_by=order)
    return PostsOut(list(posts.to_schema(found, schema_type=PostOut).items))


@get("/posts/count", dependencies=READ_POSTS)
async def count_posts(posts: PostService) -> dict[str, int]:
    return {"count": await posts.count(*models.public())}


@get("/posts/{post_id:int}", dependencies=READ_POSTS)
async def get_post(posts: PostService, post_id: int) -> PostOut:
    found = await posts.get_one_or_none(Post.id == post_id, *models.public())
    if found is None:
        raise NotFoundException("no such post")
    return posts.to_schema(found, schema_type=PostOut)


@post("/posts", dependencies=WRITE_POSTS)
async def create_post(posts: PostService, tags: TagService, users: UserService, data: PostIn) -> PostOut:
    author = await users.get_one_or_none(User.id == data.user_id)
    named = await tags.get_many(Tag.id.in_(data.tag_ids), order_by=(Tag.id, False))
    if author is None or len(named) < len(set(data.tag_ids)):
        raise ClientException("user_id and tag_ids must exist", status_code=422)
    new = models.published(data.title, data.content, author, list(named))
    return posts.to_schema(await posts.create(new, auto_commit=True, auto_refresh=False), schema_type=PostOut)


@post("/transfers", dependencies=WRITE_TRANSFERS)
async def create_transfer(users: UserService, transfers: TransferService, data: TransferIn) -> dict[str, int]:
    both = models.both(data.from_user_id, data.to_user_id)
    locked = {user.id: user for user in await users.get_many(statement=both)}
    if len(locked) < 2:
        raise ClientException("from_user_id and to_user_id must be two users", status_code=422)
    transfer = models.transferred(locked[data.from_user_id], locked[data.to_user_id], data.amount)
    if transfer is None:
        raise ClientException("insufficient funds", status_code=409)
    return {"id": (await transfers.create(transfer, auto_commit=True, auto_refresh=False)).id}


@post("/login", status_code=200)
async def login(db_session: AsyncSession, data: LoginIn) -> dict[str, str]:
    found = (await db_session.execute(models.account(data.email))).one_or_none()
    if found is None or not await sync_to_thread(tokens.right, found.hashed_password, data.password):
        raise NotAuthorizedException("wrong e-mail or password")
    return {"token": tokens.token(found.id)}


app = Litestar(
    [health, list_posts, count_posts, get_post, create_post, create_transfer, login],
    plugins=[SQLAlchemyPlugin(config=[reading, writing])],
)
