"""Users: who they are by name, and with their posts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, collate, func, literal, or_, select
from sqlalchemy.orm import joinedload, selectinload

from app.data.rules import Role
from app.errors import Forbidden
from app.models import Credentials, Post, User
from app.models.names import clean_email, clean_username
from app.repositories.base import Options, Repository


class Users(Repository[User]):
    model = User

    async def by_username(self, name: str, *, options: Options = ()) -> User | None:
        """Raises BadValue for what is no username."""
        rows = await self._rows(self.where(User.username == clean_username(name)).options(*options), limit=1)
        return rows[0] if rows else None

    async def by_email(self, address: str, *, options: Options = ()) -> User | None:
        """Behind the mask: without the admin's view one finds oneself alone. Raises BadValue."""
        rows = await self._rows(self.where(User.email == clean_email(address)).options(*options), limit=1)
        return rows[0] if rows else None

    async def search(self, text: str, *, limit: int = 20) -> Sequence[User]:
        """Users whose username, full name or (behind its mask) e-mail address contains the text, whatever its case."""
        like = f"%{_escaped(text.strip())}%"
        columns = (User.username, User.full_name, User.email)
        matches = or_(*(self._folded(column).like(self._folded(literal(like)), escape="\\") for column in columns))
        return await self._rows(self.where(matches), User.username, User.id, limit=limit)

    def _folded(self, text: SQLColumnExpression[Any]) -> ColumnElement[str]:
        """In small letters. Our columns compare bytes, and so PostgreSQL would fold their ASCII letters alone."""
        on_postgresql = self.session.dialect.name == "postgresql"
        return func.lower(collate(text, "default") if on_postgresql else text)

    async def recent(self, *, limit: int = 20) -> Sequence[User]:
        return await self._rows(self.where(), User.created_at.desc(), User.id.desc(), limit=limit)

    async def with_posts(self, *, limit: int = 20) -> Sequence[User]:
        """Users with the posts that the caller may see, and the posts' tags: three statements, whatever the numbers."""
        plan = selectinload(User.posts).selectinload(Post.tags)
        return await self._rows(self.where().options(plan), limit=limit)

    async def with_post_counts(self, *, limit: int = 20) -> list[tuple[User, int]]:
        """Users with the number of their posts that the caller may see, most first; those without any count 0."""
        number = func.count(Post.id)
        query = select(User, number).outerjoin(User.posts).group_by(User.id)
        rows = await self.session.execute(query.order_by(number.desc(), User.id).limit(limit))
        return [(user, counted) for user, counted in rows]

    async def with_credentials(self, name: str) -> User | None:
        """By e-mail address or username, with the hash of the password, in one statement. For the system alone."""
        if self.session.unit.who.role is not Role.SYSTEM:
            raise Forbidden(f"permission denied for table {Credentials.__tablename__}")
        known = User.email == clean_email(name) if "@" in name else User.username == clean_username(name)
        rows = await self._rows(self.where(known).options(joinedload(User.credentials)), limit=1)
        return rows[0] if rows else None


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
