"""What a right token opens: what the database says of its user and session at that moment, as long as its key lives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from app.accounts import sessions, signing
from app.accounts.people import Account
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import Post, User
from app.query.functions import Action, Returns
from app.query.removal import remove
from app.query.writer import update
from app.repositories import Posts
from tests.accounts.conftest import Installation, Installed, SignedIn, set_user
from tests.accounts.forging import opens
from tests.conftest import EPOCH, Clock

pytestmark = pytest.mark.usefixtures("quick")


# ---- users and sessions as they are now -----------------------------------------------------------------------------


async def soft_delete(database: Database, account: Account) -> None:
    async with database.writing(SYSTEM) as session:
        await remove(session, session.catalog.of(User), [account.id])


async def end_session(database: Database, account: Account) -> None:
    async with database.writing(SYSTEM) as session:
        await sessions.end_all(session, account.id)


STATES: dict[str, tuple[Callable[[Database, Account], Any], str]] = {
    "deleted": (soft_delete, "the user does not exist any more"),
    "inactive": (lambda database, ada: set_user(database, ada.id, is_active=False), "this user is banned"),
    "banned": (
        lambda database, ada: set_user(database, ada.id, banned_until=EPOCH + timedelta(hours=1)),
        "this user is banned",
    ),
    "signed out": (end_session, "the session has ended"),
}


@pytest.mark.parametrize("state", STATES)
async def test_user_who_may_not_act_any_more_is_refused(here: Installation, ada: Account, state: str) -> None:
    """Within five seconds by reads, at once by writes and by the account API."""
    change, message = STATES[state]
    signed = await here.sign_in(ada)
    assert await opens(here, signed.access_token) == (200, 200)
    await change(here.database, ada)
    assert await opens(here, signed.access_token) == (200, 403)
    written = await here.client.post("/tags", json={"name": "x"}, headers=signed.bearer)
    assert (written.status_code, written.json()["message"]) == (401, message)
    here.ticks.seconds += 5.1
    assert await opens(here, signed.access_token) == (401, 403)
    assert (await here.client.get("/tags")).json() == []


async def test_ban_that_is_over_counts_no_more(here: Installation, ada: Account, clock: Clock) -> None:
    """It is looked at by the clock, also where it is remembered."""
    await set_user(here.database, ada.id, banned_until=EPOCH + timedelta(minutes=1))
    signed = await here.sign_in(ada)
    assert await opens(here, signed.access_token) == (401, 403)
    clock.advance(60)
    assert await opens(here, signed.access_token) == (200, 200)


# ---- a changed role -------------------------------------------------------------------------------------------------


async def set_role(database: Database, account: Account, role: str) -> None:
    async with database.writing(SYSTEM) as session:
        await update(session, session.catalog.of(User), [account.id], {"role": role})


async def test_reads_see_a_changed_role_within_five_seconds(here: Installation, ada: Account, draft: int) -> None:
    signed = await here.sign_in(ada)

    async def sees() -> bool:
        return (await here.client.get(f"/posts/{draft}", headers=signed.bearer)).status_code == 200

    assert await sees()
    await set_role(here.database, ada, "member")
    here.ticks.seconds += 5.0
    assert await sees()
    here.ticks.seconds += 0.1
    assert not await sees()
    await set_role(here.database, ada, "author")
    here.ticks.seconds += 5.1
    assert await sees()


async def retitle(session: Any, id: int) -> int:
    await Posts(session).change(await Posts(session).require(id), title="Other")
    return id


def writes(prefix: str, draft: int) -> dict[str, tuple[str, str, Any]]:
    rows, single = f"{prefix}/posts?id=eq.{draft}", {"method": "PATCH", "path": f"/posts?id=eq.{draft}"}
    found: dict[str, tuple[str, str, Any]] = {
        "POST": ("POST", f"{prefix}/posts", {"title": "New"}),
        "PATCH": ("PATCH", rows, {"title": "Other"}),
        "PUT": ("PUT", rows, {"id": draft, "title": "Other"}),
        "DELETE": ("DELETE", rows, None),
        "rpc": ("POST", f"{prefix}/rpc/retitle", {"id": draft}),
        "batch": ("POST", f"{prefix}/batch", [single | {"body": {"title": "Other"}}]),
    }
    if not prefix:
        found |= {"PATCH of an item": ("PATCH", f"/posts/{draft}", {"title": "Other"})}
        found |= {"PUT of an item": ("PUT", f"/posts/{draft}", {"title": "Other", "slug": "x", "content": ""})}
        found |= {"DELETE of an item": ("DELETE", f"/posts/{draft}", None)}
    return found


OPTIONS = {"actions": {"retitle": Action(retitle, Returns.ROW, Post)}}


@pytest.mark.parametrize(
    ("prefix", "name"), [(prefix, name) for prefix in ("", "/rest/v1") for name in writes(prefix, 0)]
)
async def test_writes_see_a_changed_role_at_once(
    installed: Installed, ada: Account, draft: int, prefix: str, name: str
) -> None:
    """The read before each write keeps the old role in mind. Upgraded users too are asked to come again."""
    method, path, body = writes(prefix, draft)[name]
    async with installed(options=OPTIONS) as here:
        signed = await here.sign_in(ada)
        for role in ("member", "admin"):
            assert (await here.client.get(f"{prefix}/posts", headers=signed.bearer)).status_code == 200
            await set_role(here.database, ada, role)
            answer = await here.client.request(method, path, json=body, headers=signed.bearer)
            assert (answer.status_code, answer.json()["message"]) == (403, "your role was changed"), answer.text
            await set_role(here.database, ada, "author")
        answer = await here.client.request(method, path, json=body, headers=signed.bearer)
        assert answer.status_code in (200, 201, 204), answer.text


async def test_write_that_is_refused_for_a_changed_role_leaves_nothing(
    here: Installation, ada: Account, draft: int
) -> None:
    signed = await here.sign_in(ada)
    await here.client.get("/posts", headers=signed.bearer)
    await set_role(here.database, ada, "member")
    for method, path, body in writes("", draft).values():
        await here.client.request(method, path, json=body, headers=signed.bearer)
    shown = await here.client.get("/posts?select=title&order=id", headers=here.secret)
    assert shown.json() == [{"title": "Draft"}]
    assert (await here.client.get("/revisions?table_name=eq.posts", headers=here.secret)).json()[1:] == []


# ---- rotation -------------------------------------------------------------------------------------------------------


async def rotate(here: Installation, *, now: bool = False) -> str:
    """The new kid; the service has had its five seconds to see it."""
    async with here.database.writing(SYSTEM) as session:
        kid = await signing.rotate(session, here.authenticate.vault, timedelta(hours=1), now=now)
    here.ticks.seconds += 5.1
    return kid


def kid_of(signed: SignedIn) -> str:
    kid: str = jwt.get_unverified_header(signed.access_token)["kid"]
    return kid


async def test_both_keys_verify_and_the_newest_signs_after_ten_minutes(
    here: Installation, ada: Account, clock: Clock
) -> None:
    before = await here.sign_in(ada)
    newest = await rotate(here)
    clock.advance(599)
    meanwhile = await here.sign_in(ada)
    assert kid_of(meanwhile) == kid_of(before) != newest
    clock.advance(1)
    after = await here.sign_in(ada)
    assert kid_of(after) == newest
    for signed in (before, meanwhile, after):
        assert await opens(here, signed.access_token) == (200, 200)


async def test_rotations_end_no_token_before_its_time(here: Installation, ada: Account, clock: Clock) -> None:
    first = await here.sign_in(ada)
    await rotate(here)
    clock.advance(600)
    second = await here.sign_in(ada)
    await rotate(here)
    for signed in (first, second):
        assert await opens(here, signed.access_token) == (200, 200)
    clock.advance(86400)
    await rotate(here)
    assert len(await here.authenticate.ring.published(here.database)) == 2


async def test_rotation_now_ends_every_token(here: Installation, ada: Account) -> None:
    """Sessions go on: they get tokens by the new key."""
    signed = await here.sign_in(ada)
    assert await opens(here, signed.access_token) == (200, 200)
    kid = await rotate(here, now=True)
    assert await opens(here, signed.access_token) == (401, 403)
    fresh = (await here.refresh(signed.refresh_token)).json()["access_token"]
    assert jwt.get_unverified_header(fresh)["kid"] == kid
    assert await opens(here, fresh) == (200, 200)
