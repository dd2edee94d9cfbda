"""The tables of Broadsheet as mapped classes. Importing this package maps all of them."""

from app.data.audit import Revision
from app.data.base import Base
from app.data.idempotency import IdempotencyKey
from app.data.rate_storage import RateCounter
from app.models.accounts import ApiKey, KeyKind, OneTimeToken, Session, SigningKey
from app.models.events import Event
from app.models.posts import Post, PostStatus
from app.models.tags import PostTag, Tag
from app.models.transfers import Transfer
from app.models.users import Credentials, User, UserRole

__all__ = [
    "ApiKey",
    "Base",
    "Credentials",
    "Event",
    "IdempotencyKey",
    "KeyKind",
    "OneTimeToken",
    "Post",
    "PostStatus",
    "PostTag",
    "RateCounter",
    "Revision",
    "Session",
    "SigningKey",
    "Tag",
    "Transfer",
    "User",
    "UserRole",
]
