"""Events: an admin's reads of what is not public and of others, who may read events, and how they are written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, MutableMapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import httpx2
import msgspec
import pytest

from app import logs
from app.accounts.events import Kind, record, record_alone
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, Principal, user
from app.data.session import AppSession
from app.errors import BroadsheetError, Conflict, Unavailable
from app.http.app import create_app
from app.models import Post, PostStatus
from app.query.fetch import fetch
from app.query.removal import remove
from app.resources import CATALOG
from app.settings import Settings
from tests.conftest import EPOCH, Clock, Statements
from tests.factories import make_post, make_transfer, make_user
from tests.http.asking import SURFACES, client_as
from tests.http.conftest import Blog

ROOT = user(9_000_000, "admin")
READ = {"kind": "foreign_rows_read", "actor_id": ROOT.user_id}


@pytest.fixture
async def blog(database: Database, clock: Clock) -> Blog:
    """Of Ada's posts one is public; Bob has a transfer from her."""
    async with database.writing(SYSTEM) as session:
        ada, bob = await make_user(session, role="author"), await make_user(session)
        post = await make_post(session, ada, title="Hello", tags=("python",))
        draft = await make_post(session, ada, title="Draft", status=PostStatus.DRAFT)
        scheduled = await make_post(session, ada, title="Soon", published_at=clock() + timedelta(hours=1))
        deleted = await make_post(session, ada, title="Gone")
        transfer = await make_transfer(session, ada, bob, 5)
        ids = (ada.id, bob.id, post.id, draft.id, scheduled.id, deleted.id)
    async with database.writing(SYSTEM) as session:
        await remove(session, CATALOG.of(Post), [ids[-1]])
    return Blog(*ids, transfer)


@pytest.fixture
async def root(settings: Settings, database: Database) -> AsyncGenerator[httpx2.AsyncClient]:
    """An admin who owns nothing."""
    async with client_as(ROOT, settings, database) as client:
        yield client


async def events(database: Database, select: str = "kind,actor_id,subject,details") -> list[dict[str, Any]]:
    async with database.reading(SYSTEM) as session:
        found: list[dict[str, Any]] = msgspec.json.decode(await fetch(session, f"events?select={select}&order=id"))
    return found


async def read_of(database: Database) -> dict[str, Any]:
    """What the one event says was read: the ids by table, or the number of rows where it names none."""
    (event,) = await events(database)
    assert {name: event[name] for name in READ} == READ
    details = event["details"]
    assert event["subject"] == ", ".join(sorted(details))
    assert all(len(table["ids"]) in (0, table["rows"]) for table in details.values())
    return {name: sorted(table["ids"]) or table["rows"] for name, table in details.items()}


# ---- reads that leave an event ---------------------------------------------------------------------------------------


@SURFACES
async def test_an_admins_list_with_anothers_drafts_leaves_one_event(
    root: httpx2.AsyncClient, database: Database, blog: Blog, prefix: str
) -> None:
    response = await root.get(f"{prefix}/posts?select=title&order=id", headers={"X-Request-Id": "r-1"})
    assert [row["title"] for row in response.json()] == ["Hello", "Draft", "Soon"]
    (event,) = await events(database, "*")
    details = {"posts": {"rows": 2, "ids": [blog.draft, blog.scheduled]}}
    what = {"kind": "foreign_rows_read", "subject": "posts", "details": details}
    who = {"actor_id": ROOT.user_id, "key_id": None, "address": "127.0.0.1", "request_id": "r-1"}
    assert event == {"id": event["id"], "at": EPOCH.isoformat(), **what, **who}


DRAFTS = {"posts": ["draft", "scheduled"]}
READING = [{"path": "/posts?title=in.(Draft,Hello)"}, {"path": "/posts?title=eq.Draft"}, {"path": "/transfers"}]
RENAMING = {"method": "PATCH", "path": "/posts?title=eq.Draft", "body": {"title": "New"}}
WRITING = [RENAMING, {"path": "/posts?title=eq.Soon"}, {"path": "/rpc/search?q=new"}]
EMBEDDING = "/users?select=posts(id),sent(id),received(id)&id=in.({ada},{bob})"

# Requests of an admin who owns nothing, and what their one event names: rows of `blog` by table.
Case = tuple[str, dict[str, Any], dict[str, list[str]]]
LEAVING: dict[str, Case] = {
    "list": ("GET /posts?select=id", {}, DRAFTS),
    "CSV": ("GET /posts?select=id", {"headers": {"accept": "text/csv"}}, DRAFTS),
    "HEAD, whose tag is that of the rows": ("HEAD /posts?select=id", {}, DRAFTS),
    "item": ("GET /posts/{draft}", {}, {"posts": ["draft"]}),
    "deleted": ("GET /posts?deleted_at=not.is.null", {}, {"posts": ["deleted"]}),
    "transfers": ("GET /transfers", {}, {"transfers": ["transfer"]}),
    "embeds": (f"GET {EMBEDDING}", {}, {**DRAFTS, "transfers": ["transfer"]}),
    "function": ("GET /rpc/search?q=draft or hello", {}, {"posts": ["draft"]}),
    "function by POST": ("POST /rpc/search", {"json": {"q": "soon or hello"}}, {"posts": ["scheduled"]}),
    "what a write shows": ("PATCH /users/{ada}?select=posts(title)", {"json": {"full_name": "Ada"}}, DRAFTS),
    "batch of reads": ("POST /batch", {"json": READING}, {"posts": ["draft"], "transfers": ["transfer"]}),
    "batch that writes": ("POST /batch", {"json": WRITING}, DRAFTS),
}


@pytest.mark.parametrize("case", LEAVING.values(), ids=LEAVING)
async def test_reads_of_what_is_not_public_and_of_others_leave_one_event(
    root: httpx2.AsyncClient, database: Database, blog: Blog, case: Case
) -> None:
    request, given, expected = case
    method, path = request.format(**asdict(blog)).split(" ", 1)
    assert (await root.request(method, path, **given)).status_code == 200
    ids = {name: sorted(getattr(blog, row) for row in rows) for name, rows in expected.items()}
    assert await read_of(database) == ids


async def test_an_answer_of_304_leaves_an_event(root: httpx2.AsyncClient, database: Database, blog: Blog) -> None:
    tag = (await root.get(f"/posts/{blog.draft}")).headers["etag"]
    assert (await root.get(f"/posts/{blog.draft}", headers={"if-none-match": tag})).status_code == 304
    assert [event["subject"] for event in await events(database)] == ["posts", "posts"]


@pytest.mark.parametrize("order", ["", "&order=id"])
async def test_of_a_functions_rows_only_the_page_counts(
    root: httpx2.AsyncClient, database: Database, blog: Blog, order: str
) -> None:
    """Three are found, two pass the filter, one is shown."""
    query = f"q=draft or soon or hello&user_id=eq.{blog.ada}&id=gt.{blog.post}&select=id&limit=1{order}"
    response = await root.get(f"/rpc/search?{query}", headers={"prefer": "count=exact"})
    assert response.headers["content-range"] == "0-0/2"
    assert await read_of(database) == {"posts": [row["id"] for row in response.json()]}


async def test_an_event_names_twenty_rows_and_counts_all(
    root: httpx2.AsyncClient, database: Database, blog: Blog
) -> None:
    async with database.writing(SYSTEM) as session:
        ada = await make_user(session, role="author")
        made = [(await make_post(session, ada, status=PostStatus.DRAFT)).id for _ in range(21)]
    assert len((await root.get(f"/posts?user_id=eq.{ada.id}&order=id&limit=50")).json()) == 21
    assert (await events(database))[0]["details"] == {"posts": {"rows": 21, "ids": made[:20]}}


async def test_groups_leave_an_event_with_the_number_of_their_rows(
    settings: Settings, database: Database, blog: Blog
) -> None:
    async with client_as(ROOT, settings, database, limits={"aggregates": True}) as client:
        assert (await client.get("/transfers?select=to_user_id,amount.sum()")).json()[0]["sum"] == 5
    assert await read_of(database) == {"transfers": 1}


# ---- units of work ---------------------------------------------------------------------------------------------------


async def test_a_write_that_is_undone_leaves_its_event_all_the_same(
    settings: Settings, database: Database, blog: Blog
) -> None:
    async with client_as(ROOT, settings, database, allow_rollback=True) as client:
        response = await client.patch(
            f"/posts/{blog.draft}?select=title", json={"title": "New"}, headers={"prefer": "tx=rollback"}
        )
        assert response.json() == {"title": "New"}
        assert await read_of(database) == {"posts": [blog.draft]}
        assert (await client.get(f"/posts/{blog.draft}?select=title")).json() == {"title": "Draft"}


async def test_a_batch_that_fails_leaves_none(root: httpx2.AsyncClient, database: Database, blog: Blog) -> None:
    """Nothing of what it read is answered."""
    requests = [RENAMING, {"path": f"/posts/{blog.scheduled}"}, {"path": "/posts/0"}]
    assert (await root.post("/batch", json=requests)).status_code == 404
    assert await events(database) == []


async def test_a_read_that_cannot_be_recorded_is_not_answered(
    settings: Settings, database: Database, blog: Blog
) -> None:
    async def authenticate(headers: Any, database: Database) -> Principal:
        return ROOT

    async def refuse(session: Any, noted: Any) -> None:
        raise Unavailable("no more room", code="53100")

    app = create_app(settings, authenticate=authenticate, database=database)
    async with app.router.lifespan_context(app) as state:
        served = {"service": replace(dict(state or {})["service"], record_reads=refuse)}

        async def asgi(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(served)}, receive, send)

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(asgi), base_url="http://test") as client:
            response = await client.get(f"/posts/{blog.draft}")
            assert (response.status_code, response.json()["code"]) == (503, "53100")
            assert (await client.get(f"/posts/{blog.post}")).status_code == 200


# ---- reads that leave none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/posts?status=eq.published&published_at=lt.2026-01-02&title=eq.Hello",
        "/posts?select=title&limit=0",
        "/posts?select=count",
        "/users?select=username,posts(count),email,balance",
        "/users?select=username,posts!inner(id)&posts.title=eq.Hello",
        "/tags?select=name,posts(title)&posts.status=eq.published&posts.title=eq.Hello",
        "/post_tags",
        "/rpc/search?q=hello",
        "/rpc/dashboard",
        "/posts/0",
        "/events",
    ],
)
async def test_what_others_may_see_or_only_numbers_leave_no_event(
    root: httpx2.AsyncClient, database: Database, blog: Blog, path: str
) -> None:
    assert (await root.get(path)).status_code in (200, 404)
    assert await events(database) == []


async def test_an_admins_own_rows_leave_no_event(settings: Settings, database: Database, blog: Blog) -> None:
    async with client_as(user(blog.ada, "admin"), settings, database) as client:
        assert len((await client.get("/posts")).json()) == 3
        assert len((await client.get("/posts?deleted_at=not.is.null")).json()) == 1
        assert len((await client.get("/transfers")).json()) == 1
    assert await events(database) == []


@pytest.mark.parametrize("role", ["service", "anonymous", "member", "author"])
async def test_nobody_but_an_admin_leaves_events(settings: Settings, database: Database, blog: Blog, role: str) -> None:
    who = {"service": SERVICE, "anonymous": ANONYMOUS}.get(role) or user(blog.ada, role)
    async with client_as(who, settings, database) as client:
        for path in ("/posts", f"/posts/{blog.draft}", "/users?select=posts(*),sent(*)", "/transfers"):
            assert (await client.get(path)).status_code in (200, 404)
    assert await events(database) == []


@pytest.mark.parametrize(("role", "more"), [("service", 0), ("member", 0), ("author", 0), ("admin", 1)])
async def test_only_an_admins_read_costs_a_statement_more(
    settings: Settings, database: Database, blog: Blog, statements: Statements, role: str, more: int
) -> None:
    async with client_as(SERVICE if role == "service" else user(blog.bob, role), settings, database) as client:
        await client.get("/posts?select=title,author(username),tags(name)")
        assert statements.count == 3 + more  # posts + author + tags, the event
        statements.clear()
        await client.get("/posts?select=title,author(username),tags(name)&title=eq.Hello")
        assert statements.count == 3


# ---- who reads events ------------------------------------------------------------------------------------------------


@SURFACES
@pytest.mark.parametrize("who", [ROOT, SERVICE], ids=["admin", "service"])
async def test_admins_and_the_service_read_events(
    settings: Settings, database: Database, blog: Blog, prefix: str, who: Principal
) -> None:
    await record_alone(database, SERVICE, Kind.key_revoked, subject="key 1")
    async with client_as(who, settings, database) as client:
        response = await client.get(f"{prefix}/events?select=kind,subject&kind=eq.key_revoked")
        assert response.json() == [{"kind": "key_revoked", "subject": "key 1"}]
        assert "/events" in (await client.get(f"{prefix}/openapi.json" if not prefix else "/rest/v1/")).text
        assert "public.events" in (await client.get(f"{prefix}/event")).json()["hint"]


@SURFACES
@pytest.mark.parametrize("role", ["anonymous", "member", "author"])
async def test_events_do_not_exist_for_others(
    settings: Settings, database: Database, blog: Blog, prefix: str, role: str
) -> None:
    await record_alone(database, SERVICE, Kind.key_revoked)
    who = ANONYMOUS if role == "anonymous" else user(blog.ada, role)
    async with client_as(who, settings, database) as client:
        for method in ("GET", "POST", "PATCH", "DELETE"):
            body = {"kind": "x"} if method in ("POST", "PATCH") else None
            paths = [f"{prefix}/{name}?id=eq.1" for name in ("events", "evenst")]
            answers = [await client.request(method, path, json=body) for path in paths]
            assert {answer.status_code for answer in answers} == {404}
            assert len({answer.text.replace("evenst", "events") for answer in answers}) == 1
        embeds = [await client.get(f"{prefix}/users?select={name}(*)") for name in ("events", "evenst")]
        assert {(answer.status_code, answer.json()["code"]) for answer in embeds} == {(400, "PGRST200")}
        assert (await client.get(f"{prefix}/event")).json()["hint"] is None
        assert "events" not in (await client.get("/openapi.json" if not prefix else "/rest/v1/")).text


@pytest.mark.parametrize("who", [ROOT, SERVICE], ids=["admin", "service"])
async def test_nobody_writes_events_over_http(settings: Settings, database: Database, who: Principal) -> None:
    await record_alone(database, SERVICE, Kind.key_revoked)
    (event,) = await events(database, "id")
    async with client_as(who, settings, database) as client:
        path = f"/events/{event['id']}"
        for method, to in (("POST", "/events"), ("PATCH", path), ("PUT", path), ("DELETE", path)):
            assert (await client.request(method, to, json={"kind": "x"})).status_code == 403
        assert (await client.delete("/events?id=gt.0")).status_code == 403
    assert [event["kind"] for event in await events(database)] == ["key_revoked"]


# ---- writing ---------------------------------------------------------------------------------------------------------


async def test_an_event_belongs_to_its_unit_of_work(database: Database) -> None:
    async def work(session: AppSession) -> None:
        await record(session, Kind.role_changed)
        raise Conflict("undo", code="23505")

    with pytest.raises(Conflict):
        await database.transact(SYSTEM, work)
    assert await events(database) == []


async def test_an_event_takes_actor_key_and_request_from_the_unit(database: Database) -> None:
    who = Principal(user(7).role, 7, "0123456789abcdef")
    async with database.writing(who, request_id="r-2") as session:
        await record(session, Kind.role_changed, subject="user 8", details={"role": ["member", "author"]})
        await record(session, Kind.refresh_token_reused, key_id="fedcba9876543210")
    first, second = await events(database, "*")
    assert {**first, "id": 0} == {
        **{"id": 0, "at": EPOCH.isoformat(), "kind": "role_changed", "actor_id": 7, "key_id": "0123456789abcdef"},
        **{"address": None, "request_id": "r-2", "subject": "user 8", "details": {"role": ["member", "author"]}},
    }
    assert (second["actor_id"], second["key_id"], second["details"]) == (7, "fedcba9876543210", None)


async def test_an_event_alone_takes_request_and_address_from_the_context(database: Database) -> None:
    """An address that is none is cut, not refused."""
    tokens = logs.request_id.set("r-3"), logs.address.set("x" * 60)
    try:
        await record_alone(database, ANONYMOUS, Kind.sign_in_failures, subject="user 7")
    finally:
        logs.request_id.reset(tokens[0])
        logs.address.reset(tokens[1])
    (event,) = await events(database, "*")
    assert (event["request_id"], event["address"]) == ("r-3", "x" * 45)
    assert (event["actor_id"], event["details"]) == (None, None)


async def test_a_session_that_only_reads_writes_no_event(database: Database) -> None:
    with pytest.raises(BroadsheetError) as caught:
        async with database.reading(SYSTEM) as session:
            await record(session, Kind.role_changed)
    assert caught.value.code == "25006"
