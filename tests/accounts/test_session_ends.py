"""What ends a session: time, bans, sign-out, a new password or address."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from app.accounts import people
from app.accounts.people import Account
from app.data.rules import SERVICE, SYSTEM
from app.models import User
from app.query.writer import update
from tests.accounts.conftest import (
    AUTH,
    PASSWORD,
    Installation,
    SignedIn,
    refusal,
    sessions_of,
    set_user,
)
from tests.conftest import Clock

pytestmark = pytest.mark.usefixtures("quick")

NEW = "another long password"
NOT_FOUND = "refresh_token_not_found"


async def test_session_that_rested_too_long_is_over(here: Installation, ada: Account, clock: Clock) -> None:
    signed = await here.sign_in(ada)
    clock.advance(30 * 86_400)
    token = (await here.refresh(signed.refresh_token)).json()["refresh_token"]
    clock.advance(30 * 86_400 + 1)
    assert refusal(await here.refresh(token)) == (400, "session_expired")
    assert await sessions_of(here.database, ada) == set()


async def test_signing_in_clears_the_users_sessions_that_are_over(
    here: Installation, ada: Account, bob: Account, clock: Clock
) -> None:
    theirs = await here.sign_in(bob)
    await here.sign_in(ada)
    clock.advance(30 * 86_400 + 1)
    assert (await here.enter()).status_code == 200
    assert len(await sessions_of(here.database, ada)) == 1
    assert await sessions_of(here.database, bob) == {theirs.uid}


async def test_banned_user_gets_no_new_token_until_the_ban_is_over(
    here: Installation, ada: Account, clock: Clock
) -> None:
    signed = await here.sign_in(ada)
    await set_user(here.database, ada.id, is_active=False)
    assert refusal(await here.refresh(signed.refresh_token)) == (400, "user_banned")
    await set_user(here.database, ada.id, is_active=True)
    assert (await here.refresh(signed.refresh_token)).status_code == 200


async def test_deleted_users_sessions_are_gone(here: Installation, ada: Account) -> None:
    signed = await here.sign_in(ada)
    async with here.database.writing(SYSTEM) as session:
        await people.remove(session, ada.id, for_good=False)
    assert refusal(await here.refresh(signed.refresh_token)) == (400, NOT_FOUND)


async def three(here: Installation, account: Account) -> list[SignedIn]:
    return [await here.sign_in(account) for _ in range(3)]


async def lived(here: Installation, signed: Collection[SignedIn]) -> list[bool]:
    """Which of these sessions are there: by the database, by their refresh tokens and by their access tokens."""
    found = []
    for one in signed:
        there = one.uid in await sessions_of(here.database, one.account)
        asked = await here.client.get(f"{AUTH}/user", headers=one.bearer)
        assert (asked.status_code, there) in ((200, True), (403, False))
        if not there:
            assert refusal(asked) == (403, "session_not_found")
            assert refusal(await here.refresh(one.refresh_token)) == (400, NOT_FOUND)
        found.append(there)
    return found


async def test_own_change_of_the_password_ends_the_other_sessions(here: Installation, ada: Account) -> None:
    signed = await three(here, ada)
    answer = await here.client.put(f"{AUTH}/user", json={"password": NEW}, headers=signed[1].bearer)
    assert answer.status_code == 200
    assert await lived(here, signed) == [False, True, False]


async def test_admins_own_change_by_rest_ends_the_other_sessions(here: Installation, ada: Account) -> None:
    await set_user(here.database, ada.id, role="admin")
    signed = await three(here, ada)
    changed = await here.client.patch(f"/users/{ada.id}", json={"password": NEW}, headers=signed[0].bearer)
    assert changed.status_code == 200, changed.text
    assert await lived(here, signed) == [True, False, False]


@pytest.mark.parametrize("by", ["the secret key", "an admin", "Python"])
async def test_change_of_the_password_by_others_ends_all_sessions(
    here: Installation, ada: Account, bob: Account, by: str
) -> None:
    signed = await three(here, ada)
    await set_user(here.database, bob.id, role="admin")
    other = await here.sign_in(bob)
    if by == "Python":
        async with here.database.writing(SERVICE) as session:
            await update(session, session.catalog.of(User), [ada.id], {"password": NEW})
    else:
        headers = other.bearer if by == "an admin" else here.secret
        changed = await here.client.patch(f"/users?id=eq.{ada.id}", json={"password": NEW}, headers=headers)
        assert changed.status_code == 200
    assert await lived(here, signed) == [False, False, False]
    assert await lived(here, [other]) == [True]


async def test_new_address_ends_sessions_as_a_new_password_does(here: Installation, ada: Account) -> None:
    """Whoever came in by the old one may not be the owner of the new one."""
    signed = await three(here, ada)
    changed = await here.client.put(f"{AUTH}/user", json={"email": "new@example.org"}, headers=signed[1].bearer)
    assert changed.json()["email"] == "new@example.org"
    assert await lived(here, signed) == [False, True, False]
    changed = await here.client.patch(f"/users/{ada.id}", json={"email": None}, headers=here.secret)
    assert changed.json()["email"] is None
    assert await lived(here, signed) == [False, False, False]


async def test_change_of_something_else_ends_no_session(here: Installation, ada: Account) -> None:
    signed = await three(here, ada)
    for values in ({"full_name": "Ada"}, {"role": "member"}, {"email": "ADA@example.org "}):
        changed = await here.client.patch(f"/users/{ada.id}", json=values, headers=here.secret)
        assert changed.status_code == 200
    assert await lived(here, signed) == [True, True, True]


async def test_password_that_is_refused_ends_no_session(here: Installation, ada: Account) -> None:
    signed = await three(here, ada)
    for body in ({"password": "short"}, {"password": PASSWORD}, {"password": NEW, "email": "no address"}):
        answer = await here.client.put(f"{AUTH}/user", json=body, headers=signed[0].bearer)
        assert answer.status_code in (400, 422)
    assert await lived(here, signed) == [True, True, True]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", [False, False, False]),
        ("?scope=", [False, False, False]),
        ("?scope=global", [False, False, False]),
        ("?scope=local", [True, False, True]),
        ("?scope=others", [False, True, False]),
    ],
)
async def test_sign_out_ends_what_its_scope_says(
    here: Installation, ada: Account, bob: Account, query: str, left: list[bool]
) -> None:
    signed, other = await three(here, ada), await here.sign_in(bob)
    headers = signed[1].bearer | {"content-type": "application/json"}
    answer = await here.client.post(f"{AUTH}/logout{query}", headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert await lived(here, signed) == left
    assert await lived(here, [other]) == [True]


async def test_sign_out_counts_at_once_where_it_was_asked_for(here: Installation, ada: Account) -> None:
    """Not only after the five seconds of other processes."""
    signed = await here.sign_in(ada)
    assert (await here.client.get("/posts", headers=signed.bearer)).status_code == 200
    await here.client.post(f"{AUTH}/logout", headers=signed.bearer)
    assert (await here.client.get("/posts", headers=signed.bearer)).status_code == 401
