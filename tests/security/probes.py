"""Requests that look for what is hidden: valid ones from the grammar, many of which name what only an admin knows, and
the same spoilt; hidden names in every place; items, functions, batches, descriptions, the account API.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from app.models import User
from app.policy import META
from app.resources import CATALOG, PRIVATE
from tests.query.evaluator import COLUMNS, MASKED
from tests.query.printing import request_of
from tests.query.requests import USERS, WORDS, Requests
from tests.security.callers import Kind
from tests.security.worlds import SERVED, Tables, World

SURFACES = ("/", "/rest/v1/")
TABLES = (*SERVED, "events")
PRIVATE_TABLES = sorted(model.__tablename__ for model in PRIVATE)
DEEPEST = 3  # the level below which requests embed nothing
IDS = (*range(1, 20), *range(100, 106))
HIDDEN = sorted({*META, "role", "is_active", "deleted_at", "created_by", "updated_by", "key_id", "request_id"} | MASKED)
RELATIONS = sorted(CATALOG.of(User).relations)  # those to private tables too
ADMIN_ONLY = ["actor_id", "address", "details", "subject", "hashed_password", "password", "search", "ctid", "rowid"]


@dataclass(frozen=True, slots=True)
class Question:
    """`feature` is what it is a test of."""

    feature: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


def reads(r: Random, both: tuple[World, World], kind: Kind, amount: int) -> list[Question]:
    """So many of the grammar, and a part of them of each other kind."""
    data = [tables_of(world) for world in both]
    asked = [from_grammar(r, data, kind) for _ in range(amount)]
    for share, make in KINDS:
        asked += [make(r, data, kind) for _ in range(max(4, round(amount * share)))]
    return asked + list(of_everything())


def tables_of(world: World) -> Tables:
    return {name: world[model] for name, model in SERVED.items()}


def a_request(r: Random, data: list[Tables], kind: Kind) -> str:
    """Its literals occur in one of the two worlds. Most of who has scopes are within these."""
    requests = Requests(r, r.choice(data), kind.sees.view if r.random() < 0.6 else "admin")
    if kind.scopes is not None and r.random() < 0.6:
        return request_of(requests.level("posts", depth=DEEPEST))
    return request_of(requests.root())


# ---- rows -----------------------------------------------------------------------------------------------------------


def from_grammar(r: Random, data: list[Tables], kind: Kind) -> Question:
    method, headers, features = "GET", {}, ["grammar"]
    if r.random() < 0.1:
        method = "HEAD"
    if r.random() < 0.5:
        count = r.choice(["exact", "planned", "estimated"])
        headers["prefer"] = f"count={count}"
        features.append(count)
    if r.random() < 0.2:
        headers["accept"] = r.choice(["text/csv", "application/vnd.pgrst.object+json"])
    if r.random() < 0.1:
        headers["range"] = f"{r.randint(0, 3)}-{r.randint(3, 9)}"
    return Question(f"{features[-1]} {method}", method, r.choice(SURFACES) + a_request(r, data, kind), headers)


def spoilt(r: Random, data: list[Tables], kind: Kind) -> Question:
    """A valid request with a character taken out, doubled or put elsewhere."""
    table, _, text = a_request(r, data, kind).partition("?")
    at, to = r.randrange(len(text)), r.randrange(len(text))
    text = r.choice([text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:], text[:at] + text[to] + text[at:]])
    return Question("malformed", "GET", f"{r.choice(SURFACES)}{table}?{text}")


PLACES = (
    """
{t}?select={c}|{t}?select=id,{c}|{t}?select=x:{c}::text|{t}?{c}=eq.{v}|{t}?{c}=not.eq.{v}|{t}?{c}=like.*{v}*
{t}?order={c}|{t}?order=id,{c}.desc.nullslast|{t}?or=({c}.is.null,id.gt.0)|{t}?and=(id.gt.0,not.or({c}.eq.{v},id.eq.1))
{t}?select={c}.count()|{t}?select={c}.max()|{t}?select=id,{c}->>x|{t}?columns={c}|{t}?on_conflict={c}
{t}?{c}=in.({v},1)|{t}?{c}=isdistinct.{v}|{t}?{c}=gte(any).{{{v},1}}|{t}?{c}=wfts.{v}|{t}?select=id&{c}=is.true
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
EMBEDS = (
    """
{t}?select=id,{c}(*)|{t}?select=id,{c}!inner(*)|{t}?select=id,...{c}(*)|{t}?select=id,x:{c}(count)|{t}?select=id,{c}()
{t}?select=id,{c}()&{c}=is.null|{t}?select=id&{c}.id=eq.1|{t}?select=id,posts!{c}(id)|{t}?order={c}(id)
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


def hidden_names(r: Random, data: list[Tables], kind: Kind) -> Question:
    """A name that the caller may not know, in one of the places of a request."""
    table = r.choice([*TABLES, *TABLES, *PRIVATE_TABLES])
    known = [name.rstrip("*+") for name in COLUMNS.get(table, "").split()]
    column = r.choice([*HIDDEN, *HIDDEN, *ADMIN_ONLY, *known])
    values = [row.get(column) for tables in data for row in tables.get(table, [])]
    value = quote(str(r.choice([*values, "a", 1])))
    if r.random() < 0.3:
        return _named("hidden relation", r, table, r.choice([*RELATIONS, *PRIVATE_TABLES]), value, EMBEDS)
    return _named("hidden column", r, table, column, value, PLACES)


def _named(feature: str, r: Random, table: str, name: str, value: str, places: list[str]) -> Question:
    place = r.choice(places).format(t=table, c=name, v=value)
    return Question(feature, r.choice(["GET", "GET", "HEAD"]), r.choice(SURFACES) + place)


def items(r: Random, data: list[Tables], kind: Kind) -> Question:
    table, id = r.choice([*TABLES, r.choice(PRIVATE_TABLES)]), r.choice(IDS)
    column = r.choice(["*", "id", *HIDDEN])
    tail = r.choice(["", "", f"?select={column}", f"?select=id,posts({column})", f"/{column}", past(r, column)])
    headers = {"if-none-match": r.choice(['"1-0"', '"2-0"', "*"])} if r.random() < 0.3 else {}
    return Question("item", r.choice(["GET", "GET", "GET", "HEAD", "OPTIONS"]), f"/{table}/{id}{tail}", headers)


def past(r: Random, column: str) -> str:
    """What follows an item's path where its history is asked for."""
    page = (
        f"/revisions?{r.choice(['order=id', 'select=changes', f'select={column}', 'operation=eq.update', 'limit=1'])}"
    )
    return r.choice(["/revisions", page, "/revisions/1", "/revisions/2", "/revisions/x", "/restore"])


def people(r: Random, data: list[Tables], kind: Kind) -> Question:
    """Somebody by what strangers do not see of them."""
    id = r.choice([*range(1, USERS + 1), 100, 101])
    email = r.choice([f"twin{id}@x", f"{id}@x", f"gone{id}@x", f"caller{id}@example.org"])
    wish = r.choice([f"email=eq.{email}", f"username=eq.gone{id}", f"search=wfts.gone{id}", f"email=ilike.*{email}"])
    return Question("people", "GET", f"{r.choice(SURFACES)}users?{wish}", {"prefer": "count=exact"})


# ---- functions, batches ---------------------------------------------------------------------------------------------


def searches(r: Random, data: list[Tables], kind: Kind) -> Question:
    """Words that visible and hidden posts have; the order of what is found must not tell of the hidden ones."""
    known = [word for word in WORDS if word.strip()] + ["Text", "Gone"]
    q = r.choice([" ", " or ", " -"]).join(r.sample(known, r.randint(1, 2)))
    more = r.choice(["", "&select=id", "&select=title,author(username,email)", "&status=neq.published", "&limit=2"])
    headers = {"prefer": f"count={r.choice(['exact', 'planned'])}"} if r.random() < 0.5 else {}
    if r.random() < 0.3:
        path = f"{r.choice(SURFACES)}rpc/search?{more.removeprefix('&')}"
        return Question("search POST", "POST", path, headers, {"q": q})
    if r.random() < 0.3:
        return Question("full text", "GET", f"{r.choice(SURFACES)}posts?search=wfts.{quote(q)}{more}", headers)
    return Question("search", "GET", f"{r.choice(SURFACES)}rpc/search?q={quote(q)}{more}", headers)


def dashboards(r: Random, data: list[Tables], kind: Kind) -> Question:
    more = r.choice(["", "?since=2025-12-25&until=2026-01-05", "?until=2026-01-01", "?until=2026-02-01", "?since=x"])
    return Question("dashboard", r.choice(["GET", "HEAD"]), f"{r.choice(SURFACES)}rpc/dashboard{more}")


def accounts(r: Random, data: list[Tables], kind: Kind) -> Question:
    """Balances and statements, the own ones and those of others."""
    name, surface = r.choice(["balance_of", "statement", "statement"]), r.choice(SURFACES)
    wish = {"user_id": r.choice([kind.sees.me, kind.sees.me, *range(1, USERS + 1), 100])} if r.random() < 0.6 else {}
    if name == "statement":
        wish |= r.choice([{}, {"before": r.randint(1, 20)}])
    if r.random() < 0.5:
        return Question(f"{name} POST", "POST", f"{surface}rpc/{name}", {}, wish)
    return Question(name, r.choice(["GET", "HEAD"]), f"{surface}rpc/{name}?{urlencode(wish)}")


def batches(r: Random, data: list[Tables], kind: Kind) -> Question:
    paths = [f"/{a_request(r, data, kind)}" for _ in range(r.randint(1, 3))]
    paths += r.sample(["/rpc/dashboard", f"/posts?id=eq.{r.choice(IDS)}", "/users?select=id,posts(id)"], 1)
    requests = [{"path": path, "headers": {"prefer": "count=exact"}} for path in paths]
    return Question("batch", "POST", f"{r.choice(SURFACES)}batch", {}, {"requests": requests})


Make = Callable[[Random, list[Tables], Kind], Question]
KINDS: tuple[tuple[float, Make], ...] = (
    (0.3, spoilt),
    (0.8, hidden_names),
    (0.5, items),
    (0.2, people),
    (0.4, searches),
    (0.1, dashboards),
    (0.2, accounts),
    (0.15, batches),
)


def of_everything() -> Iterator[Question]:
    """Every table, and every path that is no table's."""
    for surface in SURFACES:
        for table in (*TABLES, *PRIVATE_TABLES):
            yield Question("table", "GET", f"{surface}{table}", {"prefer": "count=planned"})
            yield Question("deleted rows", "GET", f"{surface}{table}?deleted_at=not.is.null")
            yield Question("table OPTIONS", "OPTIONS", f"{surface}{table}")
    for path in ("/", "/rest/v1/", "/openapi.json", "/rpc/nothing", "/rest/v1/rpc/nothing", "/docs"):
        yield Question("description", "GET", path)
    for path in ("user", "settings", "health", "admin/users", "admin/users/1", ".well-known/jwks.json", "nothing"):
        yield Question("account API", "GET", f"/auth/v1/{path}")
    yield Question("account API", "POST", "/auth/v1/admin/generate_link", {}, json.loads('{"type": "recovery"}'))
