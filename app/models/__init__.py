"""The tables of Broadsheet as mapped classes. Importing this package maps all of them."""

from app.data.audit import Revision
from app.data.base import Base
from app.models.posts import Post, PostStatus
from app.models.tags import PostTag, Tag
from app.models.transfers import Transfer
from app.models.users import Credentials, User, UserRole

__all__ = ["Base", "Credentials", "Post", "PostStatus", "PostTag", "Revision", "Tag", "Transfer", "User", "UserRole"]
