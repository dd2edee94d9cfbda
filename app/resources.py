"""The one list where a resource is registered: its model, its rule, and its repository if it has queries of its own.

Every other table stands in `PRIVATE`; a test fails for one that stands in neither.
"""

from __future__ import annotations

from app.accounts.registration import guarded
from app.data.base import Base
from app.data.catalog import Catalog, Resource
from app.data.database import Database
from app.models import (
    ApiKey,
    Credentials,
    Event,
    IdempotencyKey,
    OneTimeToken,
    Post,
    PostTag,
    RateCounter,
    Revision,
    Session,
    SigningKey,
    Tag,
    Transfer,
    User,
)
from app.policy import RULES
from app.repositories import Posts, Tags, Users
from app.settings import Settings

CATALOG = Catalog(
    [
        Resource(User, guarded(RULES[User]), Users),
        Resource(Post, RULES[Post], Posts),
        Resource(Tag, RULES[Tag], Tags),
        Resource(PostTag, RULES[PostTag]),
        Resource(Transfer, RULES[Transfer]),
        Resource(Revision, RULES[Revision]),
        Resource(Event, RULES[Event]),
    ]
)

# Tables that are never served, whoever asks.
PRIVATE: frozenset[type[Base]] = frozenset(
    {ApiKey, Credentials, IdempotencyKey, OneTimeToken, RateCounter, Session, SigningKey}
)


def open_database(settings: Settings, catalog: Catalog = CATALOG) -> Database:
    """The database that the settings name, to be entered."""
    return Database(
        settings.url,
        catalog,
        pool_size=settings.pool_size,
        limits=settings.limits,
        pooler=settings.pooler,
        migrate_url=settings.migrate_url,
    )
