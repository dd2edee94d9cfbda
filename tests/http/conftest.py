"""A client of the application in process, and rows to ask for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from app.accounts.keys import Keys, load_keys
from app.data.database import Database
from app.data.rules import SYSTEM
from app.http.app import create_app
from app.models import Post, PostStatus
from app.query.removal import remove
from app.resources import CATALOG
from app.settings import Settings
from tests.conftest import Clock
from tests.factories import make_post, make_transfer, make_user

Headers = Mapping[str, str]


@asynccontextmanager
async def client_of(app: Starlette) -> AsyncGenerator[httpx2.AsyncClient]:
    """The transport runs no lifespan, so this does, and hands its state to each request as a server does."""
    async with app.router.lifespan_context(app) as state:

        async def asgi(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(asgi), base_url="http://test") as client:
            yield client


@pytest.fixture
def keys(settings: Settings) -> Keys:
    return load_keys(settings.data_dir)


@pytest.fixture
def secret(keys: Keys) -> Headers:
    """Headers of the service."""
    return {"apikey": keys.secret}


@pytest.fixture
def app(settings: Settings, keys: Keys, database: Database) -> Starlette:
    return create_app(settings, database=database)


@pytest.fixture
async def client(app: Starlette) -> AsyncGenerator[httpx2.AsyncClient]:
    async with client_of(app) as client:
        yield client


@dataclass(frozen=True, slots=True)
class Blog:
    """Ids of a few rows. `post` is public, the others are not yet, not any more, or not for everybody."""

    ada: int
    bob: int
    post: int
    draft: int
    scheduled: int
    deleted: int
    transfer: int


@pytest.fixture
async def blog(database: Database, clock: Clock) -> Blog:
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, username="ada", email="ada@example.org", role="author", balance=500)
        bob = await make_user(session, username="bob", email="bob@example.org")
        tags = ("python", "sql")
        post = await make_post(session, ada, title="Hello", content="Text", tags=tags)
        draft = await make_post(session, ada, title="Draft", status=PostStatus.DRAFT)
        scheduled = await make_post(session, ada, title="Soon", published_at=clock() + timedelta(hours=1))
        deleted = await make_post(session, ada, title="Gone")
        transfer = await make_transfer(session, ada, bob, 5)
        ids = (ada.id, bob.id, post.id, draft.id, scheduled.id, deleted.id)
    async with database.writing(SYSTEM) as session:
        await remove(session, CATALOG.of(Post), [ids[-1]])
    return Blog(*ids, transfer)
