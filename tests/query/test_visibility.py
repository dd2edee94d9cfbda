"""Who sees which rows and which values, at every place of a request, on both databases."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, Principal
from tests.query.asking import Asker
from tests.query.callers import ADA, BOB, CALLERS, MIA, ROOT, ids

# ---- rules -----------------------------------------------------------------------------------------------------------

VISIBLE = {
    "anonymous": [1, 2, 7, 8],
    "member": [1, 2, 7, 8],
    "author": [1, 2, 3, 4, 5, 7, 8],
    "other": [1, 2, 7, 8],
    "admin": [1, 2, 3, 4, 5, 7, 8],
    "service": [1, 2, 3, 4, 5, 7, 8],
    "system": [1, 2, 3, 4, 5, 7, 8],
}
DELETED = {"author": [6], "other": [9], "admin": [6, 9], "service": [6, 9], "system": [6, 9]}


@pytest.mark.parametrize("name", CALLERS)
async def test_posts_that_each_caller_sees_at_every_place(ask: Asker, name: str) -> None:
    who, seen = CALLERS[name], VISIBLE[name]
    assert ids(await ask(who, "posts?select=id")) == seen
    assert ids(await ask(who, "posts?select=id&id=in.(3,4,5,6,9)")) == [id for id in seen if id in (3, 4, 5)]
    users = await ask(who, "users?select=id,posts(id)")
    assert {post["id"] for row in users for post in row["posts"]} == set(seen) - {8}  # its author is deleted
    tags = await ask(who, "tags?select=id,posts(id)")
    tagged = {1, 2, 3, 4, 6, 7, 8}
    assert {post["id"] for row in tags for post in row["posts"]} == tagged & set(seen)
    assert {row["post_id"] for row in await ask(who, "post_tags")} == tagged & set(seen)
    through = await ask(who, "tags?select=post_tags(post_id,post(id))")
    assert {link["post_id"] for row in through for link in row["post_tags"]} == tagged & set(seen)
    assert all(link["post"] == {"id": link["post_id"]} for row in through for link in row["post_tags"])


@pytest.mark.parametrize("name", DELETED)
async def test_deleted_rows_come_to_those_who_may_and_name_the_column(ask: Asker, name: str) -> None:
    who = CALLERS[name]
    every = sorted(VISIBLE[name] + DELETED[name])
    assert ids(await ask(who, "posts?select=id&deleted_at=not.in.()")) == every
    assert ids(await ask(who, "posts?select=id&deleted_at=eq.2026-01-01T12:00:00Z")) == DELETED[name]
    assert ids(await ask(who, "posts?select=id,deleted_at&order=deleted_at")) == VISIBLE[name]
    embedded = await ask(who, "users?select=posts(id)&posts.deleted_at=not.in.()")
    assert not {post["id"] for row in embedded for post in row["posts"]} & {6, 9}


async def test_deleted_users_come_to_admins_who_name_the_column(ask: Asker) -> None:
    assert ids(await ask(ROOT, "users?select=id&deleted_at=not.in.()")) == [1, 2, 3, 4, 5]
    assert ids(await ask(ROOT, "users?select=id,deleted_at")) == [1, 2, 3, 4]
    for who in (ANONYMOUS, MIA, ADA):
        assert ids(await ask(who, "users?select=id")) == [1, 2, 3, 4]


async def test_a_post_is_public_from_its_time(ask: Asker, database: Database) -> None:
    assert ids(await ask(ANONYMOUS, "posts?select=id&id=eq.4")) == []
    clock: Any = database.clock
    clock.advance(0.000001)
    assert ids(await ask(ANONYMOUS, "posts?select=id&id=eq.4")) == [4]


@pytest.mark.parametrize(
    ("who", "expected"), [(ADA, [1, 2]), (BOB, [3]), (MIA, [2, 3]), (ROOT, [1, 2, 3]), (ANONYMOUS, [])]
)
async def test_transfers_are_their_parties(ask: Asker, who: Principal, expected: list[int]) -> None:
    assert ids(await ask(who, "transfers?select=id")) == expected
    users = await ask(who, "users?select=sent(id),received(id)")
    assert {t["id"] for row in users for t in (*row["sent"], *row["received"])} == set(expected)


async def test_changes_in_revisions_show_the_readers_columns(ask: Asker) -> None:
    request = "revisions?select=id,changes"
    post = {"title": ["a", "b"], "tags": [[], ["x"]]}
    assert await ask(ADA, request) == [{"id": 1, "changes": post}, {"id": 2, "changes": {"deleted_at": [None, "t"]}}]
    assert await ask(BOB, request) == [{"id": 3, "changes": post}]
    assert await ask(ROOT, request) == [
        {"id": 1, "changes": {"title": ["a", "b"], "created_by": [None, 1], "tags": [[], ["x"]]}},
        {"id": 2, "changes": {"deleted_at": [None, "t"]}},
        {"id": 3, "changes": {"title": ["a", "b"], "created_by": [None, 1], "tags": [[], ["x"]]}},
        {"id": 4, "changes": {"email": ["a", "b"], "username": ["a", "b"], "password": [None, None]}},
        {"id": 5, "changes": {}},
    ]
    for who in (ANONYMOUS, MIA):
        with pytest.raises(Exception, match=r"Could not find the table 'public\.revisions'"):
            await ask(who, request)


# ---- masks -----------------------------------------------------------------------------------------------------------

EMAILS = {1: "u1@example.org", 2: None, 3: "u3@example.org", 4: "u4@example.org"}


@pytest.mark.parametrize(
    ("who", "own"),
    [(ANONYMOUS, set()), (MIA, {3}), (ADA, {1}), (BOB, {2}), (ROOT, {1, 2, 3, 4}), (SERVICE, {1, 2, 3, 4})],
)
async def test_masked_columns_are_null_at_every_use(ask: Asker, who: Principal, own: set[int]) -> None:
    expected = [
        {
            "id": id,
            "uid": str(UUID(int=id)) if id in own else None,
            "email": EMAILS[id] if id in own else None,
            "balance": 10 * id if id in own else None,
        }
        for id in (1, 2, 3, 4)
    ]
    assert await ask(who, "users?select=id,uid,email,balance") == expected
    embedded = await ask(who, "posts?select=author(id,uid,email,balance)&id=in.(1,7)")
    assert [post["author"] for post in embedded] == expected[:2]

    with_email = {id for id in own if EMAILS[id]}
    every = "u1@example.org,u2@example.org,u3@example.org,u4@example.org"
    assert set(ids(await ask(who, f"users?select=id&email=in.({every})"))) == with_email
    assert set(ids(await ask(who, f"users?select=id&email=not.in.({every})"))) == set()
    assert set(ids(await ask(who, "users?select=id&email=not.eq.x"))) == with_email
    assert set(ids(await ask(who, "users?select=id&email=eq.u1@example.org"))) == own & {1}
    assert set(ids(await ask(who, "users?select=id&balance=not.eq.10"))) == own - {1}
    assert set(ids(await ask(who, f"users?select=id&uid=eq.{UUID(int=3)}"))) == own & {3}
    assert set(ids(await ask(who, "users?select=id&balance=not.in.()"))) == {1, 2, 3, 4}

    known = sorted(own, reverse=True)
    others = sorted({1, 2, 3, 4} - own, reverse=True)
    assert ids(await ask(who, "users?select=id&order=balance.desc.nullslast,id.desc")) == known + others
    assert ids(await ask(who, "users?select=id&order=balance.desc,id.desc")) == others + known
    assert ids(await ask(who, "users?select=id&order=email.nullsfirst,id")) == [
        *sorted({1, 2, 3, 4} - with_email),
        *sorted(with_email),
    ]
