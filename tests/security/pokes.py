"""Writes to rows that a caller does not see or that are not there, by every verb and way round; and writes that are
allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from tests.conftest import EPOCH
from tests.query.evaluator import Evaluator, columns
from tests.security.callers import PASSWORD, Kind
from tests.security.probes import HIDDEN, SURFACES, Question, tables_of
from tests.security.worlds import NEXT, World

ABSENT = (997, 998)
BODIES: dict[str, dict[str, Any]] = {
    "posts": {"title": "poked", "content": "poked", "status": "published"},
    "users": {"full_name": "poked", "username": "poked"},
    "tags": {"name": "poked"},
    "transfers": {"amount": 1, "to_user_id": 1},
    "revisions": {"changes": {}},
    "events": {"kind": "poked"},
}
WISHES = (
    *("return=representation", "return=headers-only", "return=minimal", "count=exact"),
    *("handling=strict,max-affected=0", "missing=default", "return=representation,count=exact"),
)


def hidden_ids(both: tuple[World, World], kind: Kind, table: str) -> list[int]:
    """Of rows that are in one of the worlds and not seen, with some that are in neither."""
    found = set(ABSENT)
    for world in both:
        data = tables_of(world)
        sees = Evaluator(data, EPOCH, kind.sees, cap=0)
        known = columns(table, kind.sees.view)
        found |= {row["id"] for row in data[table] if not known or not sees.visible(table, row, deleted=True)}
    return sorted(found)


def pokes(r: Random, both: tuple[World, World], kind: Kind, amount: int) -> list[Question]:
    """None of them changes anything."""
    asked = []
    for _ in range(amount):
        table = r.choice(["posts", "posts", "posts", "users", "transfers", "revisions", "events"])
        known = range(1, 9) if table == "events" else hidden_ids(both, kind, table)
        asked.append(_poke(r, table, r.choice(list(known))))
    return asked + [_theft(r, kind) for _ in range(max(4, amount // 10))]


def _theft(r: Random, kind: Kind) -> Question:
    """Credits from somebody else's account, or from nowhere."""
    others = [id for id in (*range(1, 20), *ABSENT) if id != kind.sees.me]
    body = {"to_user_id": r.choice([kind.sees.me, *others]), "amount": r.choice([-5, 0, 1, 2**53])}
    if r.random() < 0.7:
        return Question(
            "theft", "POST", f"{r.choice(SURFACES)}rpc/transfer", {}, body | {"from_user_id": r.choice(others)}
        )
    return Question("theft", "POST", f"{r.choice(SURFACES)}rpc/grant", {}, body)


def _poke(r: Random, table: str, id: int) -> Question:
    headers = {"prefer": r.choice(WISHES)} if r.random() < 0.6 else {}
    if r.random() < 0.2:
        headers["if-match"] = r.choice(['"1"', '"2"', "*"])
    if r.random() < 0.1:
        headers["accept"] = "application/vnd.pgrst.object+json"
    shape = r.choice(["", "", "select=*", "select=id,posts(*)", "select=id,author(email),tags(*)", "columns=title"])
    body = dict(BODIES[table])
    kind = r.choice(["item", "item", "filter", "filter", "keyed", "merge", "ignore", "batch", "hidden filter", "back"])
    verb = r.choice(["PATCH", "PATCH", "PUT", "DELETE"])
    surface = r.choice(SURFACES)
    match kind:
        case "item":
            return Question(f"poke {verb} item", verb, f"/{table}/{id}?{shape}", headers, body)
        case "back":
            way = r.choice(["restore", "revisions/1/restore", "revisions/2/restore"])
            return Question("poke restore", "POST", f"/{table}/{id}/{way}?{shape}", headers)
        case "filter":
            verb = r.choice(["PATCH", "DELETE"])
            test = r.choice([f"id=eq.{id}", f"id=in.({id})", f"and=(id.eq.{id})", f"id=eq.{id}&deleted_at=not.is.null"])
            return Question(f"poke {verb} filter", verb, f"{surface}{table}?{test}&{shape}", headers, body)
        case "hidden filter":
            test = f"{r.choice(HIDDEN)}={r.choice(['not.is.null', 'eq.1', 'eq.admin', 'like.*twin*', 'is.true'])}"
            path = f"{surface}{table}?{test}&id=eq.{id}&{shape}"
            return Question("poke hidden filter", r.choice(["PATCH", "DELETE"]), path, headers, body)
        case "keyed":
            path = f"{surface}{table}?id=eq.{id}&{shape}"
            return Question("poke PUT", "PUT", path, headers, {"id": id, **body})
        case "batch":
            requests = [{"method": verb, "path": f"/{table}/{id}", "body": body, "headers": headers}]
            return Question("poke batch", "POST", "/batch", {}, {"requests": requests})
    headers["prefer"] = f"resolution={kind}-duplicates,{headers.get('prefer', 'return=minimal')}"
    shape = shape.replace("columns=title", "columns=id,title")  # without its id it would be one more row
    path = f"{surface}{table}?{shape}{r.choice(['', '&on_conflict=id'])}"
    return Question(f"poke {kind}", "POST", path, headers, [{"id": id, **body}])


# ---- what is allowed ------------------------------------------------------------------------------------------------


def own_writes(both: tuple[World, World], kind: Kind) -> Iterator[Question]:
    """Their answers show embeds, counts, ids; some of them are refused, to some of the callers."""
    whole = {"prefer": "return=representation,count=exact"}
    data = tables_of(both[0])
    me = kind.sees.me
    posts = [row["id"] for row in data["posts"] if row["user_id"] == me and row["deleted_at"] is None]
    far = "select=*,author(*),tags(*),post_tags(*)"
    for number, surface in enumerate(SURFACES):
        new = {"title": f"own {number}", "tags": ["mine", "yours"], "status": "published"}
        yield Question("own POST", "POST", f"{surface}posts?{far}", whole, new)
        yield Question("own POST", "POST", f"{surface}posts", {"prefer": "return=headers-only"}, [new, new])
        yield Question("own POST", "POST", f"{surface}tags", whole, {"name": f"own tag {number}"})
        person = f"{surface}users?id=eq.{me}&select=*,posts(*),sent(*),received(*)"
        yield Question("own PATCH", "PATCH", person, whole, {"full_name": f"Me {number}"})
        for id in posts[:2]:
            yield Question("own PATCH", "PATCH", f"{surface}posts?id=eq.{id}&{far}", whole, {"tags": ["z", number + 1]})
        everybodys = f"{surface}posts?content=not.is.null&select=id,version"
        yield Question("own PATCH", "PATCH", everybodys, whole, {"content": f"all of them {number}"})
    gone = [row["id"] for row in data["posts"] if row["user_id"] == me and row["deleted_at"] is not None]
    ways = [f"{id}/restore" for id in gone[:2]] + [f"{id}/revisions/{n}/restore" for id in posts[:2] for n in (1, 2)]
    for way in ways:
        yield Question("own restore", "POST", f"/posts/{way}?{far}", whole)
    requests = [{"method": "POST", "path": "/posts?select=id,slug", "body": {"title": "batched"}}]
    requests += [
        {"path": f"/posts?select=id,title,author(username)&id=gte.{NEXT}", "headers": {"prefer": "count=exact"}}
    ]
    yield Question("own batch", "POST", "/batch", {}, {"requests": requests})
    yield Question("own DELETE", "DELETE", f"/posts?id=gte.{NEXT}&{far}", whole)
    yield Question("own DELETE", "DELETE", f"/rest/v1/users?id=eq.{me}", whole)
    yield Question("own account", "PUT", "/auth/v1/user", {}, {"data": {"colour": "red"}})
    yield Question("own account", "POST", "/auth/v1/logout?scope=others")
    newcomer = {"username": "newcomer", "password": PASSWORD}
    yield Question("own sign-up", "POST", "/users?select=*,posts(*)", whole, newcomer)
