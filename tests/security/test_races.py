"""Things that happen at the same moment: what must happen once happens once, and whoever was thrown out while asking
stays out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, text

from app.accounts import api_keys, one_time, people
from app.accounts.one_time import Challenge, Kind, Made
from app.accounts.passwords import hash_password
from app.accounts.people import Account
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.models import KeyKind, User
from app.query import removal
from app.resources import CATALOG
from tests.accounts.conftest import AUTH, USERS, Installation, add, sessions_of, set_user
from tests.conftest import Clock
from tests.security.callers import PASSWORD, Headers

ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has one writer
VERIFIER = "v" * 43


async def at_once(requests: Iterable[Coroutine[Any, Any, httpx2.Response]]) -> Counter[int]:
    answers = await asyncio.gather(*requests)
    assert all(answer.status_code < 500 for answer in answers)
    return Counter(answer.status_code for answer in answers)


async def entered(here: Installation, name: str) -> tuple[dict[str, Any], Headers]:
    answer = await here.enter(f"{name}@example.org", PASSWORD)
    assert answer.status_code == 200, answer.text
    session = answer.json()
    return session, {"authorization": f"Bearer {session['access_token']}"}


async def linked(here: Installation, account: Account, kind: Kind = Kind.RECOVERY, **more: Any) -> Made:
    async with here.database.writing(SYSTEM) as session:
        return await one_time.make(session, here.authenticate.vault, account, kind, **more)


def verify(here: Installation, made: Made) -> Coroutine[Any, Any, httpx2.Response]:
    return here.client.post(f"{AUTH}/verify", json={"type": "recovery", "token_hash": made.hashed_token})


@pytest.fixture
async def ada(database: Database, clock: Clock, hashed: str) -> Account:
    return await add(database, "ada", hashed, role="author")


# ---- once -----------------------------------------------------------------------------------------------------------


async def test_an_address_is_registered_once(here: Installation) -> None:
    """By both ways to register."""
    person = {"email": "new@example.org", "password": PASSWORD}
    by_account = [here.client.post(f"{AUTH}/signup", json=person) for _ in range(6)]
    by_rest = [here.client.post("/users", json={**person, "username": f"new{n}"}) for n in range(6)]
    found = await at_once(by_account + by_rest)
    assert found[200] + found[201] == 1
    assert found[422] + found[409] == 11
    async with here.database.reading(SYSTEM) as session:
        assert await session.scalar(select(func.count()).select_from(USERS)) == 1


async def test_a_link_works_once(here: Installation, ada: Account) -> None:
    made = await linked(here, ada)
    assert await at_once(verify(here, made) for _ in range(8)) == {200: 1, 403: 7}
    assert len(await sessions_of(here.database, ada)) == 1


async def test_a_code_is_exchanged_once(here: Installation, ada: Account) -> None:
    made = await linked(here, ada, Kind.PKCE, challenge=Challenge(VERIFIER, "plain"))
    body = {"auth_code": made.hashed_token, "code_verifier": VERIFIER}
    path = f"{AUTH}/token?grant_type=pkce"
    assert await at_once(here.client.post(path, json=body) for _ in range(8)) == {200: 1, 404: 7}


async def test_digits_cannot_be_guessed_at_once(here: Installation, ada: Account) -> None:
    """Five wrong ones end them, however many come together."""
    made = await linked(here, ada)
    body = {"type": "recovery", "email": ada.email}
    wrong = [f"{n:06}" for n in range(21) if f"{n:06}" != made.otp][:20]
    tries = [here.client.post(f"{AUTH}/verify", json={**body, "token": digits}) for digits in wrong]
    assert await at_once(tries) == {403: 20}
    right = await here.client.post(f"{AUTH}/verify", json={**body, "token": made.otp})
    assert right.status_code == 403


async def test_two_admins_remove_a_user_once(here: Installation, ada: Account, hashed: str) -> None:
    headers = []
    for name in ("boss1", "boss2"):
        await add(here.database, name, hashed, role="admin")
        headers.append((await entered(here, name))[1])
    path = f"/users/{ada.id}"
    assert await at_once(here.client.delete(path, headers=headers[n % 2]) for n in range(4)) == {204: 1, 404: 3}
    answer = await here.client.get(f"/revisions?row_id=eq.{ada.id}&operation=eq.delete", headers=here.secret)
    assert len(answer.json()) == 1


# ---- out is out -----------------------------------------------------------------------------------------------------


async def test_no_refresh_outlives_a_sign_out(here: Installation, ada: Account) -> None:
    for _ in range(3):
        session, bearer = await entered(here, "ada")
        token = session["refresh_token"]
        out = here.client.post(f"{AUTH}/logout", headers=bearer)
        answers = await asyncio.gather(
            *(here.refresh(token) for _ in range(4)), out, *(here.refresh(token) for _ in "ab")
        )
        fresh = {answer.json()["refresh_token"] for answer in answers if answer.status_code == 200}
        assert [(await here.refresh(one)).status_code for one in fresh] == [400] * len(fresh)
        assert await sessions_of(here.database, ada) == set()


async def test_a_batch_of_somebody_who_is_degraded_is_whole_or_nothing(here: Installation, ada: Account) -> None:
    requests = [{"method": "POST", "path": "/posts", "body": {"title": f"one of {n}"}} for n in range(10)]
    for _ in range(4):
        await set_user(here.database, ada.id, role="author")
        here.ticks.seconds += 10  # so that it is asked anew who ada is
        _, bearer = await entered(here, "ada")
        before = await _posts(here)
        batch = here.client.post("/batch", json=requests, headers=bearer)
        degrade = here.client.patch(f"/users/{ada.id}", json={"role": "member"}, headers=here.secret)
        answer, degraded = await asyncio.gather(batch, degrade)
        assert degraded.status_code == 200
        assert answer.status_code in (200, 403)
        assert await _posts(here) - before == (10 if answer.status_code == 200 else 0)
        again = await here.client.post("/batch", json=requests, headers=bearer)
        assert again.status_code == 403


async def _posts(here: Installation) -> int:
    return len((await here.client.get("/posts?select=id&limit=1000", headers=here.secret)).json())


async def test_who_is_removed_and_restored_signs_in_anew(here: Installation, ada: Account, clock: Clock) -> None:
    """What was handed out before is dead."""
    session, bearer = await entered(here, "ada")
    made = await linked(here, ada)
    async with here.database.writing(SYSTEM) as unit:
        key = await api_keys.create(unit, "key", KeyKind.USER, user_id=ada.id)
    assert (await here.client.get("/posts", headers={"apikey": key})).status_code == 200
    assert (await here.client.delete(f"/users/{ada.id}", headers=here.secret)).status_code == 204
    async with here.database.writing(SYSTEM) as unit:
        await removal.restore(unit, CATALOG.of(User), [ada.id])
    here.ticks.seconds += 10
    clock.advance(10)
    for headers in (bearer, {"apikey": key}):
        assert (await here.client.get("/posts", headers=headers)).status_code == 401
        assert (await here.client.post("/posts", json={"title": "x"}, headers=headers)).status_code == 401
    assert (await here.refresh(session["refresh_token"])).status_code == 400
    assert (await verify(here, made)).status_code == 403
    assert (await here.enter("ada@example.org", PASSWORD)).status_code == 200


# ---- while somebody else's work is not yet done ---------------------------------------------------------------------

Change = Callable[[AppSession], Awaitable[Any]]


async def meanwhile(
    database: Database, change: Change, request: Coroutine[Any, Any, httpx2.Response]
) -> httpx2.Response:
    """The answer to a request that comes when the change is made, and is committed once the request waits for it, or
    is over.
    """
    async with database.writing(SYSTEM) as session:
        await change(session)
        asked = asyncio.create_task(request)
        async with asyncio.timeout(10):
            while not asked.done() and not await _someone_waits(database):  # noqa: ASYNC110  # a lock has no event
                await asyncio.sleep(0.01)
    return await asked


async def _someone_waits(database: Database) -> bool:
    async with database.reading(SYSTEM) as session:
        return bool(await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


async def new_password(session: AppSession, account: Account) -> None:
    await people.change(session, account.id, {"password": await hash_password("another good one")})


async def removal_of(session: AppSession, account: Account) -> None:
    await people.remove(session, account.id, for_good=False)


@ON_POSTGRESQL
async def test_an_old_password_opens_nothing_while_a_new_one_is_set(
    here: Installation, ada: Account, clock: Clock
) -> None:
    clock.advance(60)
    entering = here.enter("ada@example.org", PASSWORD)
    answer = await meanwhile(here.database, lambda session: new_password(session, ada), entering)
    assert answer.status_code == 400
    assert await sessions_of(here.database, ada) == set()


@ON_POSTGRESQL
async def test_an_old_link_opens_nothing_while_a_password_is_set(
    here: Installation, ada: Account, clock: Clock
) -> None:
    made = await linked(here, ada)
    clock.advance(60)
    answer = await meanwhile(here.database, lambda session: new_password(session, ada), verify(here, made))
    assert answer.status_code == 403
    assert await sessions_of(here.database, ada) == set()


@ON_POSTGRESQL
async def test_nobody_signs_in_as_who_is_being_removed(here: Installation, ada: Account) -> None:
    entering = here.enter("ada@example.org", PASSWORD)
    answer = await meanwhile(here.database, lambda session: removal_of(session, ada), entering)
    assert answer.status_code == 400
    assert await sessions_of(here.database, ada) == set()


@ON_POSTGRESQL
async def test_nobody_writes_as_who_is_being_removed(here: Installation, ada: Account) -> None:
    _, bearer = await entered(here, "ada")
    posting = here.client.post("/posts", json={"title": "late", "status": "published"}, headers=bearer)
    answer = await meanwhile(here.database, lambda session: removal_of(session, ada), posting)
    assert answer.status_code in (401, 409)
    assert (await here.client.get("/posts")).json() == []


@ON_POSTGRESQL
async def test_of_two_admins_who_remove_each_other_one_stays(here: Installation, hashed: str) -> None:
    one, other = [await add(here.database, name, hashed, role="admin") for name in ("boss1", "boss2")]
    _, bearer = await entered(here, "boss2")
    removing = here.client.delete(f"/users/{one.id}", headers=bearer)
    answer = await meanwhile(here.database, lambda session: removal_of(session, other), removing)
    assert answer.status_code == 401
