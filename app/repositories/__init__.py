"""Named queries over entities, with their load plans. Invariants live in the rules, rights in the session."""

from app.repositories.base import Page, Repository
from app.repositories.posts import Posts
from app.repositories.tags import Tags
from app.repositories.transfers import Transfers
from app.repositories.users import Users

__all__ = ["Page", "Posts", "Repository", "Tags", "Transfers", "Users"]
