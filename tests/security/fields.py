"""Fields that somebody sends along, made from the mapped classes: columns, relations, and what is neither; and all ways
to send them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Boolean, Enum, Integer, Uuid
from sqlalchemy.types import TypeEngine

from app.data.base import Json, UtcTime
from app.data.catalog import Resource
from app.data.rules import Links
from app.models import Credentials, Event, Post, PostTag, Revision, Tag, Transfer, User
from tests.conftest import EPOCH
from tests.query.rows import Row, a_post, a_revision, a_tag, a_transfer, a_user
from tests.security.callers import PASSWORD
from tests.security.worlds import World

AUTHOR, MEMBER, ADMIN, OTHER = 1, 2, 3, 4  # ids of users
OWN_POST, OTHER_POST = 10, 11
NOT_A_FIELD = "nonsense"


def small_world(hashed: str) -> World:
    """A row or two in every table. Who asks has an account, a post if an author, and a transfer."""
    roles = {AUTHOR: "author", MEMBER: "member", ADMIN: "admin", OTHER: "author"}
    users = [a_user(id, role=role, email=f"caller{id}@example.org", balance=0) for id, role in roles.items()]
    credentials = [{"user_id": id, "hashed_password": hashed, "changed_at": EPOCH} for id in roles]
    event = {"id": 1, "at": EPOCH, "kind": "key_created", "details": {}}
    return {
        User: users,
        Credentials: credentials,
        Post: [a_post(OWN_POST, AUTHOR), a_post(OTHER_POST, OTHER)],
        Tag: [a_tag(1, "tag")],
        PostTag: [{"post_id": OWN_POST, "tag_id": 1}],
        Transfer: [a_transfer(1, AUTHOR, MEMBER)],
        Revision: [a_revision(1, "posts", OWN_POST, {})],
        Event: [event | dict.fromkeys(("actor_id", "key_id", "address", "request_id", "subject"))],
    }


# ---- fields ---------------------------------------------------------------------------------------------------------


def fields_of(resource: Resource) -> list[str]:
    return [*resource.columns, *resource.rule.extra, *resource.relations.keys() - resource.rule.extra, NOT_A_FIELD]


def value_of(resource: Resource, name: str) -> Any:
    """One that fits the field, and that no row has."""
    if name in ("email", "user_id"):
        return "poked@example.org" if name == "email" else OTHER
    if name in resource.columns:
        return fitting(resource.columns[name].type)
    if name in resource.rule.extra:
        return ["linked"] if isinstance(resource.rule.extra[name][0], Links) else "another good password"
    return {"id": 4242}


def fitting(type_: TypeEngine[Any]) -> Any:
    match type_:
        case Boolean():
            return True
        case Integer():
            return 4242
        case Enum():
            return type_.enums[-1]
        case UtcTime():
            return "2020-02-02T00:00:00+00:00"
        case Uuid():
            return "00000000-0000-4000-8000-00000000002a"
        case Json():
            return {"poked": True}
        case _:
            return "poked"


# ---- ways to send them ----------------------------------------------------------------------------------------------

WHOLE: dict[str, Row] = {  # what a new row needs
    "users": {"username": "poked", "password": PASSWORD},
    "posts": {"title": "poked"},
    "tags": {"name": "poked"},
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """`new`: the row is none that is there; `keyed`: the body may name the row that is meant."""

    way: str
    method: str
    path: str
    content: str
    headers: dict[str, str] = field(default_factory=dict)
    new: bool = False
    keyed: bool = False


def attempts(resource: Resource, id: int, name: str, value: Any) -> Iterator[Attempt]:
    """To send this field, for the row with this id or for a new one."""
    table = resource.name
    whole = {key: given for key, given in WHOLE.get(table, {}).items() if key != name}
    one, full = {name: value}, whole | {name: value}
    keyed = {"id": id} | full
    merging, ignoring = ({"prefer": f"resolution={how}-duplicates"} for how in ("merge", "ignore"))
    yield _json("POST", "POST", f"/{table}", full, new=True)
    yield _json("POST of a list", "POST", f"/rest/v1/{table}", [full, full], new=True)
    yield _json("POST of columns", "POST", f"/rest/v1/{table}?columns={','.join(full)}", [full], new=True)
    yield _text("POST of CSV", f"/rest/v1/{table}", "text/csv", _csv(full), new=True)
    yield _text("POST of a form", f"/{table}", "application/x-www-form-urlencoded", urlencode(full), new=True)
    yield _json("POST that merges", "POST", f"/{table}", keyed, merging, keyed=True)
    yield _json("POST that ignores", "POST", f"/rest/v1/{table}?on_conflict=id", [keyed], ignoring, keyed=True)
    for prefix in ("", "/rest/v1"):
        yield _json("PATCH by filter", "PATCH", f"{prefix}/{table}?id=eq.{id}", one)
        yield _json("PUT by filter", "PUT", f"{prefix}/{table}?id=eq.{id}", keyed, keyed=True)
    yield _json("PATCH", "PATCH", f"/{table}/{id}", one)
    yield _json("PATCH of columns", "PATCH", f"/rest/v1/{table}?id=eq.{id}&columns={name}", one)
    yield _json("PUT", "PUT", f"/{table}/{id}", full)
    patch = {"method": "PATCH", "path": f"/{table}?id=eq.{id}", "body": one}
    yield _json("PATCH in a batch", "POST", "/batch", {"requests": [patch]})
    post = {"method": "POST", "path": f"/{table}", "body": full}
    yield _json("POST in a batch", "POST", "/rest/v1/batch", [post], new=True)


def _json(way: str, method: str, path: str, body: Any, headers: Row | None = None, **options: bool) -> Attempt:
    headers = {"content-type": "application/json"} | (headers or {})
    return Attempt(way, method, path, json.dumps(body), headers, **options)


def _text(way: str, path: str, media: str, content: str, **options: bool) -> Attempt:
    return Attempt(way, "POST", path, content, {"content-type": media}, **options)


def _csv(row: Row) -> str:
    cells = [json.dumps(value) if isinstance(value, dict | list) else str(value) for value in row.values()]
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    return f"{','.join(row)}\n{quoted}\n"
