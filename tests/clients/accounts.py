"""People who use the account API, and short ways to be refused by it."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pytest
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError, AuthError, AuthWeakPasswordError
from supabase_auth.helpers import decode_jwt
from supabase_auth.types import AuthChangeEvent, Session

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Person:
    email: str
    password: str


def newcomer() -> Person:
    """Somebody whom no server knows."""
    number = next(_numbers)
    return Person(f"person{number}@example.org", f"correct horse {number}")


async def sign_up(client: AsyncClient, person: Person, **data: Any) -> Session:
    """The session that follows at once; `data` is for user_metadata."""
    answer = await client.auth.sign_up(
        {"email": person.email, "password": person.password, "options": {"data": data}},
    )
    assert answer.session is not None
    return answer.session


async def sign_in(client: AsyncClient, person: Person) -> Session:
    answer = await client.auth.sign_in_with_password({"email": person.email, "password": person.password})
    assert answer.session is not None
    return answer.session


def session_id(session: Session) -> str:
    return decode_jwt(session.access_token)["payload"]["session_id"]


def note_events(client: AsyncClient) -> list[AuthChangeEvent]:
    """The client's events from here on."""
    events: list[AuthChangeEvent] = []
    client.auth.on_auth_state_change(lambda event, _: events.append(event))
    return events


async def refused(call: Awaitable[Any], code: str, status: int = 400) -> AuthApiError:
    """The error of a call that is refused, as an application sees it: neither unknown nor one to try again."""
    with pytest.raises(AuthError) as caught:
        await call
    error = caught.value
    assert type(error) is AuthApiError, repr(error)
    assert (error.code, error.status) == (code, status), error.message
    assert error.message
    return error


async def too_weak(call: Awaitable[Any], *reasons: str) -> None:
    """The call is refused for its password."""
    with pytest.raises(AuthWeakPasswordError) as caught:
        await call
    assert (caught.value.status, caught.value.code, caught.value.reasons) == (422, "weak_password", list(reasons))
