"""How often accounts may be tried and made: by account, by address, over one process or many."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from app.accounts.people import Account
from app.data.database import Database
from app.data.rate_storage import COUNTERS
from app.data.rules import SYSTEM
from app.settings import RateLimits, Settings
from tests.accounts.conftest import AUTH, PASSWORD, Installation, events_of, opened, refusal
from tests.conftest import Clock, Statements

pytestmark = pytest.mark.usefixtures("quick")

LIMITED = (429, "over_request_rate_limit")
WRONG = (400, "invalid_credentials")
HERE, ELSEWHERE, THIRD = "203.0.113.5", "198.51.100.7", "192.0.2.9"
From = Callable[..., AbstractAsyncContextManager[Installation]]


@pytest.fixture
def come(settings: Settings, database: Database) -> From:
    """`come(HERE, sign_in_account=2)`: a client of another process, with these rates. They count in the database, whose
    clock stands still.
    """

    @asynccontextmanager
    async def make(
        address: str = HERE, more: dict[str, Any] | None = None, **rates: int
    ) -> AsyncGenerator[Installation]:
        accounts = replace(settings.accounts, sign_up="open", anonymous=True, rates=RateLimits(**rates))
        changed = replace(settings, accounts=accounts, **({"rate_store": "database"} | (more or {})))
        async with opened(changed, database, address=address) as found:
            yield found

    return make


async def tried(here: Installation, times: int, email: str = "ada@example.org") -> list[tuple[int, str]]:
    """Wrong passwords."""
    return [refusal(await here.enter(email, "wrong password")) for _ in range(times)]


# ---- by account -----------------------------------------------------------------------------------------------------


async def test_account_is_closed_to_an_address_after_some_wrong_passwords(come: From, ada: Account) -> None:
    """Also for the right one: attempts count before the password is looked at."""
    async with come() as here:
        assert await tried(here, 6) == [WRONG] * 5 + [LIMITED]
        assert refusal(await here.enter()) == LIMITED


async def test_account_that_does_not_exist_is_closed_alike(come: From) -> None:
    async with come() as here:
        assert await tried(here, 6, "nobody@example.org") == [WRONG] * 5 + [LIMITED]


async def test_account_is_one_however_its_address_is_written(come: From, ada: Account) -> None:
    async with come(sign_in_account=3) as here:
        found = [await tried(here, 1, email) for email in ("ada@example.org", " ADA@EXAMPLE.ORG", "Ada@example.org")]
        assert found == [[WRONG]] * 3
        assert await tried(here, 1, "aDa@example.org") == [LIMITED]


async def test_owner_who_comes_from_elsewhere_is_not_locked_out(come: From, ada: Account) -> None:
    async with come(HERE, sign_in_account=2) as here, come(ELSEWHERE, sign_in_account=2) as there:
        assert await tried(here, 3) == [WRONG, WRONG, LIMITED]
        assert (await there.enter()).status_code == 200


async def test_other_accounts_of_the_address_are_not_closed(come: From, ada: Account, bob: Account) -> None:
    async with come(sign_in_account=2) as here:
        await tried(here, 3)
        assert (await here.enter("bob@example.org")).status_code == 200


async def test_right_password_clears_the_count(come: From, ada: Account) -> None:
    async with come(sign_in_account=3, sign_in_account_hour=3, sign_in_everywhere=3) as here:
        for _ in range(4):
            assert await tried(here, 2) == [WRONG, WRONG]
            assert (await here.enter()).status_code == 200


async def test_right_passwords_are_not_counted(come: From, ada: Account) -> None:
    """A program may sign in as often as it likes, by one account from many places."""
    async with come(sign_in_account=2, sign_in_account_hour=2, sign_in_everywhere=2) as here:
        assert [(await here.enter()).status_code for _ in range(5)] == [200] * 5


async def test_account_is_open_again_after_its_minute(come: From, ada: Account, clock: Clock) -> None:
    async with come(sign_in_account=2) as here:
        await tried(here, 2)
        answer = await here.enter()
        assert refusal(answer) == LIMITED
        clock.advance(int(answer.headers["retry-after"]) - 2)
        assert refusal(await here.enter()) == LIMITED
        clock.advance(2)
        assert (await here.enter()).status_code == 200


async def test_account_has_an_hour_of_its_own(come: From, ada: Account, clock: Clock) -> None:
    async with come(sign_in_account=2, sign_in_account_hour=4) as here:
        assert await tried(here, 3) == [WRONG, WRONG, LIMITED]
        clock.advance(120)
        assert await tried(here, 3) == [WRONG, WRONG, LIMITED]
        clock.advance(120)
        assert await tried(here, 1) == [LIMITED]
        clock.advance(7200)
        assert await tried(here, 1) == [WRONG]


async def test_account_is_counted_over_all_addresses_loosely(come: From, ada: Account) -> None:
    rates = {"sign_in_account": 2, "sign_in_everywhere": 4}
    async with come(HERE, **rates) as here, come(ELSEWHERE, **rates) as there, come(THIRD, **rates) as third:
        assert await tried(here, 2) == [WRONG] * 2
        assert await tried(there, 2) == [WRONG] * 2
        assert await tried(third, 1) == [LIMITED]
        assert await tried(third, 1, "bob@example.org") == [WRONG]


# ---- by address -----------------------------------------------------------------------------------------------------


async def test_address_that_tries_many_accounts_is_stopped(come: From, ada: Account, clock: Clock) -> None:
    async with come(HERE, sign_in_address=3) as here, come(ELSEWHERE, sign_in_address=3) as there:
        found = [await tried(here, 1, f"user{n}@example.org") for n in range(4)]
        assert found == [[WRONG]] * 3 + [[LIMITED]]
        assert refusal(await here.enter()) == LIMITED
        assert (await there.enter()).status_code == 200
        clock.advance(600)
        assert (await here.enter()).status_code == 200


async def test_right_passwords_do_not_count_against_the_address(come: From, ada: Account) -> None:
    async with come(sign_in_address=1) as here:
        assert [(await here.enter()).status_code for _ in range(3)] == [200] * 3
        assert await tried(here, 2) == [WRONG, LIMITED]


async def test_addresses_of_one_network_count_as_one(come: From, ada: Account) -> None:
    """Of IPv6, where everybody has 2**64."""
    async with come("2001:db8::1", sign_in_account=2) as one, come("2001:db8::ffff:2", sign_in_account=2) as other:
        assert await tried(one, 2) == [WRONG] * 2
        assert await tried(other, 1) == [LIMITED]
    async with come("2001:db8:0:1::1", sign_in_account=2) as third:
        assert await tried(third, 1) == [WRONG]


async def post(here: Installation, path: str, body: Any = None, **more: Any) -> httpx2.Response:
    return await here.client.post(path, json={} if body is None else body, **more)


CALLS: dict[str, tuple[str, str, Any]] = {
    "sign-in": ("token", f"{AUTH}/token?grant_type=password", {"email": "x@example.org", "password": "wrong one"}),
    "refresh": ("token", f"{AUTH}/token?grant_type=refresh_token", {"refresh_token": "x"}),
    "sign-up": ("sign_up", f"{AUTH}/signup", {"email": "x@example.org", "password": "short"}),
    "POST /users": ("sign_up", "/users", {"username": "eve", "password": "short"}),
    "anonymous sign-up": ("anonymous_sign_in", f"{AUTH}/signup", {}),
}


@pytest.mark.parametrize("name", CALLS)
async def test_calls_are_counted_by_address(come: From, name: str) -> None:
    """Whatever comes of them."""
    rate, path, body = CALLS[name]
    async with come(HERE, **{rate: 3}) as here, come(ELSEWHERE, **{rate: 3}) as there:
        answers = [await post(here, path, body) for _ in range(4)]
        assert [answer.status_code == 429 for answer in answers] == [False, False, False, True]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert (await post(there, path, body)).status_code != 429


async def test_sign_in_and_refresh_count_together(come: From) -> None:
    async with come(token=4) as here:
        statuses = [
            (await post(here, CALLS[name][1], CALLS[name][2])).status_code for name in ("sign-in", "refresh") * 3
        ]
    assert statuses == [400] * 4 + [429] * 2


async def test_changes_of_an_account_count_as_sign_ups(come: From, ada: Account) -> None:
    async with come(sign_up=2) as here:
        signed = await here.sign_in(ada)
        answers = [await here.client.put(f"{AUTH}/user", json={"data": {}}, headers=signed.bearer) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert (await here.client.get(f"{AUTH}/user", headers=signed.bearer)).status_code == 200


async def test_service_makes_users_without_a_limit(come: From) -> None:
    async with come(sign_up=1) as here:
        for n in range(3):
            assert (await post(here, "/users", {"username": f"user{n}"}, headers=here.secret)).status_code == 201


async def test_limit_of_zero_is_none(come: From, ada: Account) -> None:
    zero = {"sign_in_account": 0, "sign_in_account_hour": 0, "sign_in_everywhere": 0, "sign_in_address": 0, "token": 0}
    async with come(**zero) as here:
        assert await tried(here, 8) == [WRONG] * 8


# ---- the answer -----------------------------------------------------------------------------------------------------


async def test_refusal_says_when_to_come_again(come: From, ada: Account) -> None:
    """In the form of both clients, and without the numbers that would help to guess."""
    async with come(sign_in_account=1) as here:
        await tried(here, 1)
        answer = await here.enter()
    assert refusal(answer) == LIMITED
    wait = int(answer.headers["retry-after"])
    assert 60 <= wait <= 121
    body = answer.json()
    assert (body["msg"], body["hint"]) == ("Request rate limit reached", f"Try again in {wait} s.")
    assert PASSWORD not in answer.text


async def test_refusal_by_rest_has_its_own_form(come: From) -> None:
    async with come(sign_up=1) as here:
        for name in ("eve", "bob"):
            answer = await post(here, "/users", {"username": name, "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.json().keys() == {"code", "message", "details", "hint"}
    assert answer.json()["code"] == "BRD429"
    assert int(answer.headers["retry-after"]) > 0


async def test_refused_attempts_cost_no_hash_and_do_not_count(
    come: From, ada: Account, statements: Statements, clock: Clock
) -> None:
    """Who goes on trying does not lengthen the wait."""
    async with come(sign_in_account=2) as here:
        await tried(here, 2)
        waits = []
        for _ in range(3):
            statements.clear()
            answer = await here.enter()
            waits.append(int(answer.headers["retry-after"]))
            assert not any("credentials" in text for text in statements.texts)
    assert len(set(waits)) == 1


# ---- one machine's own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
async def test_machine_of_ones_own_is_not_counted_by_address(come: From, ada: Account, address: str) -> None:
    async with come(address, token=1, sign_up=1) as here:
        assert [(await here.enter()).status_code for _ in range(3)] == [200] * 3
        assert [(await post(here, "/users", {})).status_code for _ in range(3)] == [422] * 3


async def test_wrong_passwords_count_there_too(come: From, ada: Account) -> None:
    async with come("127.0.0.1", sign_in_account=2) as here:
        assert await tried(here, 3) == [WRONG, WRONG, LIMITED]
    async with come("127.0.0.1", sign_in_address=2) as here:
        found = [await tried(here, 1, f"user{n}@example.org") for n in range(3)]
        assert found == [[WRONG], [WRONG], [LIMITED]]


@pytest.mark.parametrize(
    "more", [{"production": True}, {"host": "0.0.0.0"}, {"trusted_proxies": ("10.0.0.0/8",)}], ids=str
)
async def test_loopback_counts_where_others_may_come_by_it(come: From, ada: Account, more: dict[str, Any]) -> None:
    """In production, on an open address, behind a proxy."""
    async with come("127.0.0.1", more, token=1) as here:
        assert [(await here.enter()).status_code for _ in range(2)] == [200, 429]


async def test_addresses_that_a_trusted_proxy_names_count_apart(come: From, ada: Account) -> None:
    async with come("10.0.0.1", {"trusted_proxies": ("10.0.0.0/8",)}, token=1) as here:
        for address in (HERE, ELSEWHERE):
            headers = {"x-forwarded-for": address}
            assert [(await here.enter(headers=headers)).status_code for _ in range(2)] == [200, 429]


async def test_addresses_that_nobody_trusted_names_are_not_believed(come: From, ada: Account) -> None:
    async with come(HERE, token=1) as here:
        found = [await here.enter(headers={"x-forwarded-for": f"192.0.2.{n}"}) for n in range(2)]
        assert [answer.status_code for answer in found] == [200, 429]


# ---- several processes ----------------------------------------------------------------------------------------------


async def test_counts_in_the_database_are_those_of_all_processes(come: From, ada: Account) -> None:
    async with come(sign_in_account=3) as one, come(sign_in_account=3) as other:
        assert await tried(one, 2) == [WRONG] * 2
        assert await tried(other, 2) == [WRONG, LIMITED]
    async with come(sign_in_account=3) as later:
        assert await tried(later, 1) == [LIMITED], "a restart forgets nothing"


async def test_counts_in_memory_are_a_processs_own(come: From, ada: Account) -> None:
    memory = {"rate_store": "memory"}
    async with come(HERE, memory, sign_in_account=2) as one, come(HERE, memory, sign_in_account=2) as other:
        assert await tried(one, 3) == [WRONG, WRONG, LIMITED]
        assert await tried(other, 1) == [WRONG]


# ---- events ---------------------------------------------------------------------------------------------------------


async def test_burst_of_an_address_is_one_event(come: From, ada: Account, clock: Clock) -> None:
    async with come(HERE, sign_in_account=2) as here, come(ELSEWHERE, sign_in_account=2) as there:
        await tried(here, 2)
        assert await events_of(here.database, "sign_in_failures") == []
        await tried(here, 4)
        await tried(here, 4, "bob@example.org")
        (event,) = await events_of(here.database, "sign_in_failures")
        assert (event.address, event.actor_id) == (HERE, None)
        assert "ada" not in str(event)
        await tried(there, 3)
        clock.advance(1200)
        await tried(here, 3)
    found = [event.address for event in await events_of(here.database, "sign_in_failures")]
    assert found == [HERE, ELSEWHERE, HERE]


async def test_too_many_accounts_of_an_address_are_an_event_too(come: From) -> None:
    async with come(sign_in_address=2) as here:
        for n in range(4):
            await tried(here, 1, f"user{n}@example.org")
        assert len(await events_of(here.database, "sign_in_failures")) == 1


async def test_keys_of_accounts_are_bounded(come: From, database: Database) -> None:
    """A long address, or one with odd letters, is kept as its hash."""
    async with come() as here:
        for email in ("x" * 200 + "@example.org", "\x7f\u202e@example.org", "a" * 1000 + "@example.org"):
            assert await tried(here, 1, email) == [WRONG]
    async with database.reading(SYSTEM) as session:
        found = list(await session.scalars(select(COUNTERS.c.key)))
    assert found
    assert all(len(key) < 150 and key.isprintable() for key in found)
