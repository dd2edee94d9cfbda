"""Idempotency-Key: one effect for each key, the first answer again, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, text

from app.accounts.keys import Keys
from app.data import failpoints, idempotency
from app.data.database import Database
from app.data.failpoints import Point
from app.data.idempotency import KEYS, Key
from app.data.rules import SERVICE, SYSTEM, Principal, Role
from app.data.session import AppSession
from app.errors import Conflict, Unavailable
from app.http.app import create_app
from app.http.idempotency import LARGEST
from app.models import Tag
from app.query.functions import Action
from app.settings import Settings
from tests.conftest import Clock
from tests.http.conftest import Blog, client_of

UUID = "0b7a2f0e-4a57-4f8e-9d9b-3c8f0f3f7f11"


def keyed(headers: Mapping[str, str], key: str = UUID, **more: str) -> dict[str, str]:
    return {**headers, "Idempotency-Key": key, **more}


async def names(database: Database) -> list[str]:
    async with database.reading(SYSTEM) as session:
        return list(await session.scalars(select(Tag.name).order_by(Tag.id)))


async def stored(database: Database) -> list[Any]:
    async with database.reading(SYSTEM) as session:
        return list((await session.execute(select(KEYS))).all())


def same(first: httpx2.Response, second: httpx2.Response) -> bool:
    """The second is the first one again, and says so."""
    own = ("x-request-id", "idempotent-replayed", "ratelimit", "ratelimit-policy")
    kept = [{k: v for k, v in answer.headers.items() if k not in own} for answer in (first, second)]
    replayed = second.headers.get("idempotent-replayed") == "true" and "idempotent-replayed" not in first.headers
    return (
        replayed and first.status_code == second.status_code and first.content == second.content and kept[0] == kept[1]
    )


# ---- again ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/rest/v1"])
async def test_post_is_done_once_and_answered_twice(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database, prefix: str
) -> None:
    headers = keyed(secret, Prefer="return=representation")
    first = await client.post(f"{prefix}/tags", json={"name": "a"}, headers=headers)
    second = await client.post(f"{prefix}/tags", json={"name": "a"}, headers=headers)
    assert first.status_code == 201
    assert same(first, second)
    assert await names(database) == ["a"]


async def test_answer_of_then_comes_again_whatever_happened_since(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database
) -> None:
    first = await client.post("/tags", json={"name": "a"}, headers=keyed(secret))
    await client.patch(f"/tags/{first.json()['id']}", json={"name": "b"}, headers=secret)
    assert same(first, await client.post("/tags", json={"name": "a"}, headers=keyed(secret)))
    await client.delete(f"/tags/{first.json()['id']}", headers=secret)
    assert same(first, await client.post("/tags", json={"name": "a"}, headers=keyed(secret)))
    assert await names(database) == []


async def test_batch_has_one_key(client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database) -> None:
    batch = [{"method": "POST", "path": "/tags", "body": {"name": name}} for name in "ab"]
    first = await client.post("/batch", json=batch, headers=keyed(secret))
    assert same(first, await client.post("/batch", json=batch, headers=keyed(secret)))
    assert await names(database) == ["a", "b"]


async def test_request_of_a_batch_has_no_key_of_its_own(client: httpx2.AsyncClient, secret: Mapping[str, str]) -> None:
    single = {"method": "POST", "path": "/tags", "body": {"name": "a"}, "headers": {"idempotency-key": UUID}}
    answer = await client.post("/batch", json=[single], headers=secret)
    assert (answer.status_code, answer.json()["hint"]) == (400, "Give the batch one.")


async def test_quoted_key_is_the_bare_one(client: httpx2.AsyncClient, secret: Mapping[str, str]) -> None:
    first = await client.post("/tags", json={"name": "a"}, headers=keyed(secret))
    assert same(first, await client.post("/tags", json={"name": "a"}, headers=keyed(secret, f'"{UUID}"')))


async def test_answer_that_is_too_large_comes_again_without_its_body(
    client: httpx2.AsyncClient, secret: Mapping[str, str], blog: Blog
) -> None:
    post = {"user_id": blog.ada, "title": "Long", "content": "x" * (LARGEST + 1)}
    first = await client.post("/posts", json=post, headers=keyed(secret))
    assert (first.status_code, len(first.content) > LARGEST) == (201, True)
    second = await client.post("/posts", json=post, headers=keyed(secret))
    assert (second.status_code, second.content, "content-type" in second.headers) == (201, b"", False)
    assert second.headers["preference-applied"] == "return=minimal"
    assert second.headers["location"] == first.headers["location"]


async def test_refusal_is_kept_and_leaves_nothing_else(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database
) -> None:
    taken = (await client.post("/tags", json={"name": "a"}, headers=secret)).json()["id"]
    rows = [{"name": "new"}, {"name": "a"}]
    first = await client.post("/tags", json=rows, headers=keyed(secret))
    assert (first.status_code, first.json()["code"]) == (409, "23505")
    assert await names(database) == ["a"]
    await client.delete(f"/tags/{taken}", headers=secret)
    assert same(first, await client.post("/tags", json=rows, headers=keyed(secret)))
    assert await names(database) == []


@pytest.mark.parametrize("prefix", ["", "/rest/v1"])
async def test_refusal_of_a_rule_is_kept_with_the_status_of_its_surface(
    client: httpx2.AsyncClient, secret: Mapping[str, str], blog: Blog, prefix: str
) -> None:
    user = {"username": "ada"}
    first = await client.post(f"{prefix}/users", json=user, headers=keyed(secret))
    assert first.status_code == 409
    assert same(first, await client.post(f"{prefix}/users", json=user, headers=keyed(secret)))


async def test_what_was_refused_before_any_statement_is_not_kept(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database
) -> None:
    for body in ({"nmae": "a"}, {"name": "x" * 101}, {"name": ""}):
        refused = await client.post("/tags", json=body, headers=keyed(secret))
        assert refused.status_code == 422
    assert (await client.post("/tags", content="{", headers=keyed(secret))).status_code == 400
    assert (await client.post("/tags", json={"name": "a"}, headers=keyed({}))).status_code == 401
    assert await stored(database) == []
    assert (await client.post("/tags", json={"name": "a"}, headers=keyed(secret))).status_code == 201


async def test_undone_request_keeps_no_key(settings: Settings, keys: Keys, database: Database) -> None:
    app = create_app(replace(settings, allow_rollback=True), database=database)
    headers = keyed({"apikey": keys.secret}, Prefer="tx=rollback")
    async with client_of(app) as client:
        for _ in range(2):
            answer = await client.post("/tags", json={"name": "a"}, headers=headers)
            assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, False)
    assert (await names(database), await stored(database)) == ([], [])


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE", "GET"])
async def test_other_methods_ignore_it(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database, method: str
) -> None:
    tag = (await client.post("/tags", json={"name": "a"}, headers=secret)).json()["id"]
    body = None if method in ("GET", "DELETE") else {"name": "b"}
    answer = await client.request(method, f"/tags/{tag}", json=body, headers=keyed(secret))
    assert answer.status_code in (200, 204)
    assert await stored(database) == []


# ---- another request, another caller --------------------------------------------------------------------------------


OTHERS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("/tags", {"name": "b"}, {}),
    ("/tags?select=id", {"name": "a"}, {}),
    ("/tags", {"name": "a"}, {"Prefer": "resolution=ignore-duplicates"}),
    ("/tags", {"name": "a"}, {"Accept": "text/csv"}),
]


@pytest.mark.parametrize(("path", "body", "more"), OTHERS)
async def test_another_request_under_the_key_is_refused(
    client: httpx2.AsyncClient,
    secret: Mapping[str, str],
    database: Database,
    path: str,
    body: dict[str, Any],
    more: dict[str, str],
) -> None:
    await client.post("/tags", json={"name": "a"}, headers=keyed(secret))
    answer = await client.post(path, json=body, headers=keyed(secret, **more))
    assert (answer.status_code, answer.json()["code"]) == (422, "BRD422")
    assert await names(database) == ["a"]


async def test_same_bytes_in_another_order_are_another_request(
    client: httpx2.AsyncClient, secret: Mapping[str, str]
) -> None:
    headers = keyed(secret, **{"content-type": "application/json"})
    await client.post("/tags", content='{"name":"a"}', headers=headers)
    assert (await client.post("/tags", content='{"name": "a"}', headers=headers)).status_code == 422


async def test_key_belongs_to_the_path(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database
) -> None:
    await client.post("/tags", json={"name": "a"}, headers=keyed(secret))
    answer = await client.post("/rest/v1/tags", json={"name": "b"}, headers=keyed(secret))
    assert (answer.status_code, await names(database)) == (201, ["a", "b"])


CALLERS = {
    "service": SERVICE,
    "another key": Principal(Role.SERVICE, key_id="other"),
    "user": Principal(Role.AUTHOR, 1),
    "another user": Principal(Role.AUTHOR, 2),
    "scoped": Principal(Role.AUTHOR, 1, scopes=frozenset({"tags:write"})),
}


async def test_key_belongs_to_its_caller(settings: Settings, database: Database) -> None:
    async def authenticate(headers: Mapping[str, str], database: Database) -> Principal:
        return CALLERS[headers["caller"]]

    async with client_of(create_app(settings, database=database, authenticate=authenticate)) as client:
        for number, caller in enumerate(CALLERS):
            body = {"name": f"tag {number}"}
            answer = await client.post("/tags", json=body, headers=keyed({"caller": caller}))
            assert (answer.status_code, "idempotent-replayed" in answer.headers) == (201, False), caller
    assert len(await names(database)) == len(CALLERS)


# ---- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", '""', " ", "a b", "x" * 256, "ä", "a\tb"])
async def test_what_is_no_key_is_refused(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database, key: str
) -> None:
    headers = [*((k.encode(), v.encode()) for k, v in secret.items()), (b"Idempotency-Key", key.encode())]
    answer = await client.post("/tags", json={"name": "a"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "BRD400")
    assert await names(database) == []


async def test_two_different_keys_are_refused(client: httpx2.AsyncClient, secret: Mapping[str, str]) -> None:
    headers = [*secret.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert (await client.post("/tags", json={"name": "a"}, headers=headers)).status_code == 400


async def test_key_may_be_required_of_functions_that_write(settings: Settings, keys: Keys, database: Database) -> None:
    async def tagged(session: AppSession, name: str) -> int:
        tag = Tag(name=name)
        session.add(tag)
        await session.flush()
        return tag.id

    async def doubled(session: AppSession, number: int) -> int:
        return 2 * number

    actions = {"tagged": Action(tagged), "doubled": Action(doubled, reads=True)}
    app = create_app(replace(settings, require_idempotency_key=True), database=database, actions=actions)
    secret = {"apikey": keys.secret}
    async with client_of(app) as client:
        refused = await client.post("/rpc/tagged", json={"name": "a"}, headers=secret)
        assert (refused.status_code, refused.json()["code"]) == (400, "BRD400")
        batch = [{"method": "POST", "path": "/rpc/tagged", "body": {"name": "a"}}]
        assert (await client.post("/batch", json=batch, headers=secret)).status_code == 400
        assert (await client.post("/rpc/doubled", json={"number": 4}, headers=secret)).json() == 8
        assert (await client.post("/rpc/tagged", json={"name": "a"}, headers=keyed(secret))).status_code == 200
        assert (
            await client.post("/batch", json=[{**batch[0], "body": {"name": "b"}}], headers=keyed(secret))
        ).is_success
        assert (await client.post("/tags", json={"name": "c"}, headers=secret)).status_code == 201
    assert await names(database) == ["a", "b", "c"]


async def test_key_expires(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database, clock: Clock
) -> None:
    first = await client.post("/tags", json={"name": "a"}, headers=keyed(secret))
    clock.advance(24 * 3600 - 1)
    assert same(first, await client.post("/tags", json={"name": "a"}, headers=keyed(secret)))
    clock.advance(1)
    again = await client.post("/tags", json={"name": "b"}, headers=keyed(secret))
    assert (again.status_code, "idempotent-replayed" in again.headers) == (201, False)
    assert same(again, await client.post("/tags", json={"name": "b"}, headers=keyed(secret)))
    assert await names(database) == ["a", "b"]


async def test_nothing_of_the_request_is_stored(
    client: httpx2.AsyncClient, database: Database, secret: Mapping[str, str]
) -> None:
    """The digest of a body with a password is made with the key, which is not there either."""
    user = {"username": "eve", "password": "correct horse battery"}
    assert (await client.post("/users", json=user, headers=keyed(secret))).status_code == 201
    (row,) = await stored(database)
    for hidden in (UUID, "correct horse", secret["apikey"]):
        assert hidden not in repr(row)


async def test_expired_keys_are_purged(database: Database, clock: Clock) -> None:
    async def claim(session: AppSession) -> None:
        for number in range(5):
            until = clock() + timedelta(hours=number)
            await idempotency.claim(session, Key(f"{number:064}", "f" * 64), until)

    await database.transact(SYSTEM, claim)
    clock.advance(2 * 3600)

    async def purge(session: AppSession) -> int:
        if database.name == "postgresql":  # a plan that looks anew for those that are over with each row it goes by
            for join in ("hashjoin", "mergejoin", "hashagg", "sort", "material"):
                await session.execute(text(f"SET LOCAL enable_{join} = off"))
        return await idempotency.purge_expired(session, 2)

    assert await database.transact(SYSTEM, purge) == 2
    assert await database.transact(SYSTEM, idempotency.purge_expired) == 1
    assert [row.id[-1] for row in await stored(database)] == ["3", "4"]


# ---- at once, and after faults --------------------------------------------------------------------------------------


async def test_one_effect_for_thirty_at_once(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database
) -> None:
    posts = [client.post("/tags", json={"name": "a"}, headers=keyed(secret)) for _ in range(30)]
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 29
    assert await names(database) == ["a"]


async def test_key_at_work_is_a_conflict_after_the_lock_time_out(database: Database, catalog: Any) -> None:
    """The lock time-out of two seconds makes this slow. On SQLite writers wait in line, whatever their keys."""
    if database.name == "sqlite":
        pytest.skip("one writer at a time")
    key, until = Key("a" * 64, "f" * 64), database.clock() + timedelta(hours=1)
    async with database.writing(SYSTEM) as session:
        await idempotency.claim(session, key, until)
        with pytest.raises(Conflict) as caught:
            await database.transact(SYSTEM, lambda other: idempotency.claim(other, key, until))
    assert (caught.value.code, caught.value.retry_after) == ("BRD409", 1)


async def test_fault_after_the_commit_is_told_by_the_key(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database
) -> None:
    async def lose() -> None:
        raise Unavailable("nobody hears of it", code="PGRST001", retry_after=1)

    with failpoints.armed({Point.SENDING: lose}):
        assert (await client.post("/tags", json={"name": "a"}, headers=keyed(secret))).status_code == 503
    again = await client.post("/tags", json={"name": "a"}, headers=keyed(secret))
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert await names(database) == ["a"]


async def test_fault_before_the_commit_leaves_no_key(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database
) -> None:
    async def fail() -> None:
        raise Unavailable("no more", code="53100", status=507)

    with failpoints.armed({Point.COMMITTING: fail}):
        assert (await client.post("/tags", json={"name": "a"}, headers=keyed(secret))).status_code == 507
    assert await stored(database) == []
    again = await client.post("/tags", json={"name": "a"}, headers=keyed(secret))
    assert (again.status_code, "idempotent-replayed" in again.headers) == (201, False)


async def test_lost_commit_is_repeated_under_a_key(
    client: httpx2.AsyncClient, secret: Mapping[str, str], database: Database
) -> None:
    """The second attempt finds out whether the first one was kept: it was not."""
    if database.name == "sqlite":
        pytest.skip("a file has no server to lose")
    faults = 0

    async def cut() -> None:
        nonlocal faults
        faults += 1
        if faults == 1:
            ours = "datname = current_database() AND state = 'idle in transaction'"
            kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}"
            async with database.lanes.session() as other:
                await other.execute(text(kill))

    with failpoints.armed({Point.COMMITTING: cut}):
        answer = await client.post("/tags", json={"name": "a"}, headers=keyed(secret))
    assert (answer.status_code, faults) == (201, 2)
    assert await names(database) == ["a"]
    assert len(await stored(database)) == 1
