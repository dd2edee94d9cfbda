"""The API, after django-ninja's "CRUD example", "Response Schema", "Query parameters", "Handling errors" and "Response
renderers" (ORJSON), and Django's "Database transactions". Views are plain functions: Django runs each request in a
thread of its own.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import nullcontext
from datetime import datetime
from typing import Annotated, Any

import jwt
import orjson
from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils import timezone
from django.utils.text import slugify
from ninja import Field, NinjaAPI, Query, Schema
from ninja.errors import HttpError
from ninja.renderers import BaseRenderer

from bench.peers.django_site.models import Credentials, Post, Tag, Transfer, User, published
from bench.peers.environment import LIFETIME, SQLITE

# On SQLite one writes at a time. Each request has a connection of its own, and those would wait for the file's lock in
# no order, some of them for longer than busy_timeout.
WRITING = threading.Lock() if SQLITE else nullcontext()


class ORJSONRenderer(BaseRenderer):
    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data)


api = NinjaAPI(renderer=ORJSONRenderer())


class AuthorOut(Schema):
    id: int
    username: str
    full_name: str | None


class TagOut(Schema):
    id: int
    name: str


class PostOut(Schema):
    id: int
    title: str
    content: str
    status: str
    created_at: datetime
    updated_at: datetime
    author: AuthorOut
    tags: list[TagOut]


class PostsOut(Schema):
    items: list[PostOut]


class PostIn(Schema):
    user_id: int
    title: Annotated[str, Field(min_length=1, max_length=200)]
    content: str
    tag_ids: list[int]


class TransferIn(Schema):
    from_user_id: int
    to_user_id: int
    amount: Annotated[int, Field(gt=0)]


class TransferOut(Schema):
    id: int


class LoginIn(Schema):
    email: str
    password: str


class Page(Schema):
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    offset: Annotated[int, Field(ge=0)] = 0
    before_id: int | None = None
    tag: str | None = None
    author: int | None = None


@api.get("/health")
def health(request: HttpRequest) -> dict[str, bool]:
    return {"ok": True}


@api.get("/posts", response=PostsOut)
def list_posts(request: HttpRequest, page: Query[Page]) -> Any:
    posts = Post.objects.public().nested()
    if page.tag is not None:
        posts = posts.filter(tags__name=page.tag)
    if page.author is not None:
        posts = posts.filter(author_id=page.author)
    if page.before_id is not None:
        posts = posts.filter(id__lt=page.before_id).order_by("-id")
    else:
        posts = posts.order_by("-published_at", "-id")
    return {"items": list(posts[page.offset : page.offset + page.limit])}


@api.get("/posts/count")
def count_posts(request: HttpRequest) -> dict[str, int]:
    return {"count": Post.objects.public().count()}


@api.get("/posts/{int:post_id}", response=PostOut)
def get_post(request: HttpRequest, post_id: int) -> Post:
    return get_object_or_404(Post.objects.public().nested(), id=post_id)


@api.post("/posts", response={201: PostOut})
def create_post(request: HttpRequest, data: PostIn) -> Post:
    with WRITING, transaction.atomic():
        author = User.objects.filter(id=data.user_id).first()
        tags = list(Tag.objects.filter(id__in=data.tag_ids))
        if author is None or len(tags) < len(set(data.tag_ids)):
            raise HttpError(422, "user_id and tag_ids must exist")
        post = published(data.title, slug(data.title), data.content, author, timezone.now())
        post.tags.add(*tags)
    return post


def slug(title: str) -> str:
    return f"{slugify(title)[:180]}-{secrets.token_hex(6)}"


@api.post("/transfers", response={201: TransferOut})
def create_transfer(request: HttpRequest, data: TransferIn) -> Transfer:
    parties = data.from_user_id, data.to_user_id
    with WRITING, transaction.atomic():
        present = User.objects.filter(id__in=parties, is_active=True, deleted_at=None)
        users = {user.id: user for user in present.select_for_update().order_by("id")}
        if len(users) < 2:
            raise HttpError(422, "from_user_id and to_user_id must be two users")
        if users[data.from_user_id].balance < data.amount:
            raise HttpError(409, "insufficient funds")
        User.objects.filter(id=data.from_user_id).update(balance=F("balance") - data.amount)
        User.objects.filter(id=data.to_user_id).update(balance=F("balance") + data.amount)
        return Transfer.objects.create(
            from_user_id=data.from_user_id, to_user_id=data.to_user_id, amount=data.amount, created_at=timezone.now()
        )


@api.post("/login")
def login(request: HttpRequest, data: LoginIn) -> dict[str, str]:
    present = {"user__email": data.email.lower(), "user__is_active": True, "user__deleted_at": None}
    found = Credentials.objects.filter(**present).first()
    # Django writes the name of the algorithm before what argon2 itself writes
    if found is None or not check_password(data.password, f"argon2{found.hashed_password}"):
        raise HttpError(401, "wrong e-mail or password")
    claims = {"sub": str(found.user_id), "exp": timezone.now() + LIFETIME}
    return {"token": jwt.encode(claims, settings.SECRET_KEY, algorithm="HS256")}


urlpatterns = [path("", api.urls)]
