"""The one list where a resource is registered: its model, its rule, and its repository if it has queries of its own."""

from __future__ import annotations

from app.accounts.passwords import with_password
from app.data.catalog import Catalog, Resource
from app.models import Post, PostTag, Revision, Tag, Transfer, User
from app.policy import RULES
from app.repositories import Posts, Tags, Users

CATALOG = Catalog(
    [
        Resource(User, with_password(RULES[User]), Users),
        Resource(Post, RULES[Post], Posts),
        Resource(Tag, RULES[Tag], Tags),
        Resource(PostTag, RULES[PostTag]),
        Resource(Transfer, RULES[Transfer]),
        Resource(Revision, RULES[Revision]),
    ]
)
