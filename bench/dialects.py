"""How each kind of server is asked, and what its answers say: draws of a load -> a request, a body -> rows that can be
compared. Imported by the load generator, so it needs nothing but the standard library.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from bench.data import PASSWORD, email_of, tag_of, text
from bench.loads import PAGE, Draw
from bench.peers import pocketbase

Item = dict[str, Any]
TEXTS = 50  # bodies of new posts to choose from


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """`requests` by load: what is not there cannot be asked of this server. `items` reads the body of a list or of one
    post.
    """

    requests: Mapping[str, Callable[[Draw], Request]]
    items: Callable[[Any], list[Item]]


def render(request: Request, headers: Mapping[str, str]) -> bytes:
    """The bytes of a request on a kept connection."""
    lines = [f"{request.method} {request.path} HTTP/1.1", "host: 127.0.0.1", "accept: application/json"]
    lines += [f"{name}: {value}" for name, value in (*headers.items(), *request.headers)]
    if request.body is None:
        return "\r\n".join([*lines, "", ""]).encode()
    body = json.dumps(request.body)
    lines += ["content-type: application/json", f"content-length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def _get(path: str) -> Callable[[Draw], Request]:
    """`%d` stands for what was drawn."""
    return lambda draw: Request("GET", path % draw)


@functools.cache
def _texts() -> list[str]:
    chance = Random(0)
    return [text(chance) for _ in range(TEXTS)]


def _words(draw: Draw) -> tuple[str, str]:
    """Title and content of a new post."""
    content = _texts()[draw[2] % TEXTS]
    return f"{content[:34]} {draw[1]:012x}", content


def _sign_in(draw: Draw) -> dict[str, str]:
    return {"email": email_of(draw[0]), "password": PASSWORD}


def _transfer(draw: Draw) -> dict[str, int]:
    return {"from_user_id": draw[0], "to_user_id": draw[1], "amount": draw[2]}


# ---- Broadsheet -----------------------------------------------------------------------------------------------------

SHOWN = "id,title,content,status,created_at,updated_at,author(id,username,full_name),tags(id,name)"
LIST = f"/rest/v1/posts?select={SHOWN}"
NEWEST = f"order=published_at.desc&limit={PAGE}"
BY_ID = f"order=id.desc&limit={PAGE}"


def _broadsheet_create(draw: Draw) -> Request:
    title, content = _words(draw)
    values = {"user_id": draw[0], "title": title, "content": content, "tags": draw[3:]}
    return Request("POST", f"/posts?select={SHOWN}", values, (("prefer", "return=representation"),))


BROADSHEET = Dialect(
    {
        "list-same": _get(f"{LIST}&{NEWEST}"),
        "list-random": _get(f"{LIST}&id=lt.%d&{BY_ID}"),
        "list-tag": lambda draw: Request("GET", f"{LIST},of:tags!inner()&of.name=eq.{tag_of(draw[0])}&{NEWEST}"),
        "list-author": _get(f"{LIST}&user_id=eq.%d&{NEWEST}"),
        "one": _get(f"/posts/%d?select={SHOWN}"),
        "create": _broadsheet_create,
        "transfer": lambda draw: Request("POST", "/rpc/transfer", _transfer(draw)),
        "sign-in": lambda draw: Request("POST", "/auth/v1/token?grant_type=password", _sign_in(draw)),
        "page-first": _get(f"{LIST}&{BY_ID}"),
        "page-deep-keyset": _get(f"{LIST}&id=lt.%d&{BY_ID}"),
        "page-deep-offset": _get(f"{LIST}&{BY_ID}&offset=%d"),
        "count": lambda draw: Request("GET", "/rest/v1/posts?select=id&limit=1", headers=(("prefer", "count=exact"),)),
        "empty": _get("/health/live"),
    },
    lambda body: body if isinstance(body, list) else [body],
)

# ---- the peers that are written for this comparison -----------------------------------------------------------------


def _peer_create(draw: Draw) -> Request:
    title, content = _words(draw)
    values = {"user_id": draw[0], "title": title, "content": content, "tag_ids": draw[3:]}
    return Request("POST", "/posts", values)


PEER = Dialect(
    {
        "list-same": _get(f"/posts?limit={PAGE}"),
        "list-random": _get(f"/posts?limit={PAGE}&before_id=%d"),
        "list-tag": lambda draw: Request("GET", f"/posts?limit={PAGE}&tag={tag_of(draw[0])}"),
        "list-author": _get(f"/posts?limit={PAGE}&author=%d"),
        "one": _get("/posts/%d"),
        "create": _peer_create,
        "transfer": lambda draw: Request("POST", "/transfers", _transfer(draw)),
        "sign-in": lambda draw: Request("POST", "/login", _sign_in(draw)),
        "page-first": _get(f"/posts?limit={PAGE}"),
        "page-deep-keyset": _get(f"/posts?limit={PAGE}&before_id=%d"),
        "page-deep-offset": _get(f"/posts?limit={PAGE}&offset=%d"),
        "count": _get("/posts/count"),
        "empty": _get("/health"),
    },
    lambda body: body.get("items", [body]),
)

# ---- PocketBase -----------------------------------------------------------------------------------------------------


def _pocketbase_create(draw: Draw) -> Request:
    title, content = _words(draw)
    return Request("POST", *pocketbase.create(draw[0], title, content, draw[3:]))


POCKETBASE = Dialect(
    {
        "list-same": lambda draw: Request("GET", pocketbase.feed()),
        "list-random": lambda draw: Request("GET", pocketbase.feed(before_id=draw[0])),
        "list-tag": lambda draw: Request("GET", pocketbase.feed(tag=tag_of(draw[0]))),
        "list-author": lambda draw: Request("GET", pocketbase.feed(author=draw[0])),
        "one": lambda draw: Request("GET", pocketbase.one(draw[0])),
        "create": _pocketbase_create,
        "page-first": lambda draw: Request("GET", pocketbase.feed()),
        "page-deep-keyset": lambda draw: Request("GET", pocketbase.feed(before_id=draw[0])),
        "page-deep-offset": lambda draw: Request("GET", pocketbase.feed(offset=draw[0])),
        "count": _get(f"{pocketbase.RECORDS}?perPage=1&fields=id"),
        "empty": _get(pocketbase.HEALTH),
    },
    pocketbase.items,
)

NOTHING = Dialect({"empty": _get("/")}, lambda body: [])

DIALECTS = {"broadsheet": BROADSHEET, "peer": PEER, "pocketbase": POCKETBASE, "nothing": NOTHING}


def requests_of(dialect: str, load: str) -> Callable[[Draw], Request] | None:
    """None where this kind of server cannot do it. The loads with transfers differ in what is drawn alone."""
    known = DIALECTS[dialect].requests if dialect in DIALECTS else {}
    return known.get("transfer" if load.startswith("transfer") else load)


# ---- comparing ------------------------------------------------------------------------------------------------------


def normal(item: Item) -> Item:
    """The same for every server that says the same: tags without an order, times as instants."""
    tags = sorted((tag["id"], tag["name"]) for tag in item["tags"])
    times = {name: datetime.fromisoformat(item[name]).timestamp() for name in ("created_at", "updated_at")}
    author = {name: item["author"][name] for name in ("id", "username", "full_name")}
    texts = {name: item[name] for name in ("id", "title", "content", "status")}
    return {**texts, **times, "author": author, "tags": tags}
