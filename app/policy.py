"""Who sees and changes what: the one table of rules, a Rule for each model that is served. `docs/rules.md` explains it.

Column entries read: who reads it, who writes it, and under which row test it stays unmasked for those without the
admin's view.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, literal, or_, select

from app.data import checks
from app.data.base import Base
from app.data.rules import (
    ADMINS,
    AUTHORS,
    EVERYONE,
    SIGNED_IN,
    Column,
    Links,
    Principal,
    Role,
    Row,
    Rule,
    Scope,
    Values,
)
from app.errors import BadValue, Conflict
from app.models import Event, Post, PostStatus, PostTag, Revision, Tag, Transfer, User
from app.models.names import clean_email, clean_name, clean_slug, clean_tag, clean_title, clean_username
from app.models.resolving import fill_slugs, link_tags

# ---- users ----------------------------------------------------------------------------------------------------------


def own_user(user: Any, scope: Scope) -> ColumnElement[bool]:
    """the own row; admins: all"""
    return user.id == scope.me  # type: ignore[no-any-return]  # entities are Any: a class or an alias of it


def prepare_user(old: Row | None, values: Values, who: Principal, now: datetime) -> Values:
    return _cleaned(values, username=clean_username, email=clean_email, full_name=clean_name)


def user_may_go(old: Row) -> None:
    if old["balance"] > 0:
        raise Conflict(
            "this user still has a balance", code="BRD409", hint="Transfer the balance away before deleting the user."
        )


def anonymous_user(old: Row) -> Values:
    """A purged user whose transfers must stay keeps only its id."""
    number = old["id"]
    name = f"purged-{number}"
    blank = dict.fromkeys(("full_name", "user_metadata", "app_metadata", "email_confirmed_at", "banned_until"))
    return {"email": f"{number}@purged.invalid", "username": name, "is_active": False, **blank}


# Of the account API alone.
META = ("user_metadata", "app_metadata", "is_anonymous", "email_confirmed_at", "last_sign_in_at", "banned_until")

USERS = Rule(
    columns={
        "id": Column(EVERYONE),
        "uid": Column(EVERYONE, unmasked=own_user),
        "email": Column(EVERYONE, ADMINS, unmasked=own_user),
        "username": Column(EVERYONE, SIGNED_IN),
        "full_name": Column(EVERYONE, SIGNED_IN),
        "role": Column(ADMINS, ADMINS),
        "is_active": Column(ADMINS, ADMINS),
        "balance": Column(EVERYONE, unmasked=own_user),
        **dict.fromkeys(META, Column()),
        "created_at": Column(EVERYONE),
        "updated_at": Column(EVERYONE),
        "created_by": Column(ADMINS),
        "updated_by": Column(ADMINS),
        "deleted_at": Column(ADMINS),
        "version": Column(EVERYONE),
    },
    writable=own_user,
    admits=lambda who, row: (
        who.view is Role.ADMIN or "id" not in row or (who.user_id is not None and row["id"] == who.user_id)
    ),
    inserts=EVERYONE,
    joining=frozenset({"username", "full_name", "email"}),
    removes=ADMINS,
    prepare=prepare_user,
    may_remove=user_may_go,
    cascades=("posts",),
    drops=("sessions", "api_keys", "one_time_tokens"),
    keeps=("sent", "received"),
    retire=anonymous_user,
    revised=True,
    guarded=frozenset({"balance", "last_sign_in_at"}),
    search="search",
)

# ---- posts ----------------------------------------------------------------------------------------------------------


def own_post(post: Any, scope: Scope) -> ColumnElement[bool]:
    """the own posts; admins: all"""
    return post.user_id == scope.me  # type: ignore[no-any-return]


def public_post(post: Any, scope: Scope) -> ColumnElement[bool]:
    return and_(post.status == literal(PostStatus.PUBLISHED, Post.status.type), post.published_at <= scope.now)


def visible_post(post: Any, scope: Scope) -> ColumnElement[bool] | None:
    """published ones whose date has come; authors: their own in every status too; admins: all"""
    match scope.view:
        case Role.ADMIN:
            return None
        case Role.AUTHOR:
            return or_(public_post(post, scope), own_post(post, scope))
        case _:
            return public_post(post, scope)


def prepare_post(old: Row | None, values: Values, who: Principal, now: datetime) -> Values:
    out = _cleaned(values, title=clean_title, slug=clean_slug)
    if old is None and who.role is Role.AUTHOR:
        out["user_id"] = who.user_id
    published = out.get("status", old["status"] if old else None) == PostStatus.PUBLISHED
    if published and out.get("published_at", old["published_at"] if old else None) is None:
        out["published_at"] = now
    return out


POSTS = Rule(
    columns={
        "id": Column(EVERYONE),
        "user_id": Column(EVERYONE, ADMINS),
        "title": Column(EVERYONE, AUTHORS),
        "slug": Column(EVERYONE, AUTHORS),
        "content": Column(EVERYONE, AUTHORS),
        "status": Column(EVERYONE, AUTHORS),
        "published_at": Column(EVERYONE, AUTHORS),
        "created_at": Column(EVERYONE),
        "updated_at": Column(EVERYONE),
        "created_by": Column(ADMINS),
        "updated_by": Column(ADMINS),
        "deleted_at": Column(AUTHORS),
        "version": Column(EVERYONE),
    },
    extra={"tags": (Links("tags", shown="name"), AUTHORS)},
    visible=visible_post,
    owned=own_post,
    noted=lambda post, scope: ~or_(own_post(post, scope), and_(public_post(post, scope), post.deleted_at.is_(None))),
    writable=own_post,
    admits=lambda who, row: who.view is Role.ADMIN or (who.role is Role.AUTHOR and row.get("user_id") == who.user_id),
    inserts=AUTHORS,
    removes=AUTHORS,
    prepare=prepare_post,
    find_links=link_tags,
    fill=fill_slugs,
    fills=frozenset({"slug"}),
    revised=True,
    search="search",
)

# ---- tags -----------------------------------------------------------------------------------------------------------


def prepare_tag(old: Row | None, values: Values, who: Principal, now: datetime) -> Values:
    return _cleaned(values, name=clean_tag)


TAGS = Rule(
    columns={
        "id": Column(EVERYONE),
        "name": Column(EVERYONE, AUTHORS),
        "created_at": Column(EVERYONE),
        "updated_at": Column(EVERYONE),
        "version": Column(EVERYONE),
    },
    admits=lambda who, row: who.view is Role.ADMIN or (who.role is Role.AUTHOR and "id" not in row),
    inserts=AUTHORS,
    removes=ADMINS,
    prepare=prepare_tag,
    touches=("posts",),
)


def posts_unruled() -> Any:
    """The columns of another occurrence of posts. Of the table: a mapped class inside a rule would carry the rule of
    posts again.
    """
    return Post.__table__.alias().c


def visible_link(link: Any, scope: Scope) -> ColumnElement[bool] | None:
    """those of visible posts"""
    post = posts_unruled()
    conditions = [post.id == link.post_id, post.deleted_at.is_(None)]
    if (visible := visible_post(post, scope)) is not None:
        conditions.append(visible)
    return select(post.id).where(*conditions).correlate(link).exists()


POST_TAGS = Rule(columns={"post_id": Column(EVERYONE), "tag_id": Column(EVERYONE)}, visible=visible_link)

# ---- transfers and revisions: read only -----------------------------------------------------------------------------


def own_transfer(transfer: Any, scope: Scope) -> ColumnElement[bool] | None:
    """those that the caller sent or received; admins: all"""
    match scope.view:
        case Role.ADMIN:
            return None
        case Role.ANONYMOUS:
            return literal(value=False)
        case _:
            return or_(transfer.from_user_id == scope.me, transfer.to_user_id == scope.me)


TRANSFERS = Rule(
    columns={name: Column(EVERYONE) for name in ("id", "from_user_id", "to_user_id", "amount", "note", "created_at")}
    | {"created_by": Column(ADMINS)},
    visible=own_transfer,
    noted=lambda transfer, scope: ~or_(transfer.from_user_id == scope.me, transfer.to_user_id == scope.me),
    admits=lambda who, row: False,
)


def own_posts_revision(revision: Any, scope: Scope) -> ColumnElement[bool] | None:
    """authors: those of their own posts, deleted ones included; admins: all; nobody else: none"""
    match scope.view:
        case Role.ADMIN:
            return None
        case Role.AUTHOR:
            post = posts_unruled()
            own = select(cast(post.id, String)).where(post.user_id == scope.me)
            return and_(revision.table_name == literal("posts"), revision.row_id.in_(own))
        case _:
            return literal(value=False)


REVISIONS = Rule(
    columns={
        name: Column(AUTHORS)
        for name in ("id", "at", "actor_id", "table_name", "row_id", "version", "operation", "changes")
    }
    | {"key_id": Column(ADMINS), "request_id": Column(ADMINS)},
    visible=own_posts_revision,
    admits=lambda who, row: False,
    maps_columns=("changes", "table_name"),
)

# ---- events: written by the service, read by admins ------------------------------------------------------------------


def nobodys_event(event: Any, scope: Scope) -> ColumnElement[bool] | None:
    """none; admins: all"""
    return None if scope.view is Role.ADMIN else literal(value=False)


EVENTS = Rule(
    columns={
        name: Column(ADMINS)
        for name in ("id", "at", "kind", "actor_id", "key_id", "address", "request_id", "subject", "details")
    },
    visible=nobodys_event,
    admits=lambda who, row: False,
)

RULES: dict[type[Base], Rule] = {
    User: USERS,
    Post: POSTS,
    Tag: TAGS,
    PostTag: POST_TAGS,
    Transfer: TRANSFERS,
    Revision: REVISIONS,
    Event: EVENTS,
}


def _cleaned(values: Values, **cleaners: Callable[[str], str]) -> Values:
    """The values with these texts in their one form. Raises BadValue with all that is wrong."""
    out = dict(values)
    problems = []
    for name, clean in cleaners.items():
        if isinstance(text := values.get(name), str):
            try:
                out[name] = clean(text)
            except BadValue as exc:
                problems.append(exc)
    checks.refuse(problems)
    return out
