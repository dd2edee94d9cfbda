"""What the FastAPI peers read and answer, after FastAPI's "Response Model - Return Type" and pydantic's "Models"
(arbitrary class instances).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field


class FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class AuthorOut(FromRow):
    id: int
    username: str
    full_name: str | None


class TagOut(FromRow):
    id: int
    name: str


class PostOut(FromRow):
    id: int
    title: str
    content: str
    status: str
    created_at: datetime
    updated_at: datetime
    author: AuthorOut
    tags: list[TagOut]


class PostsOut(BaseModel):
    items: list[PostOut]


class PostIn(BaseModel):
    user_id: int
    title: Annotated[str, Field(min_length=1, max_length=200)]
    content: str
    tag_ids: list[int]


class TransferIn(BaseModel):
    from_user_id: int
    to_user_id: int
    amount: Annotated[int, Field(gt=0)]


class TransferOut(FromRow):
    id: int


class LoginIn(BaseModel):
    email: str
    password: str


class Token(BaseModel):
    token: str


class Count(BaseModel):
    count: int


class Health(BaseModel):
    ok: bool = True


Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0)]
