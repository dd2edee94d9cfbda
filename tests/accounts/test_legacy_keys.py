"""Keys of old projects: JWTs by a shared secret, taken where that is set."""

from __future__ import annotations

import json
import math
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.accounts.people import Account
from app.data.database import Database
from tests.accounts.conftest import AUTH, Installation, Installed, refusal
from tests.accounts.forging import LEFT_OUT, NOW, forge_of, hs256, joined, opens

pytestmark = pytest.mark.usefixtures("quick")


LEGACY = "b7d1e0c94f3a2b5d8e6f7a1c0d9b8e7f"
ANON = {"role": "anon", "iss": "supabase", "iat": NOW - 10**7, "exp": NOW + 10**8}
SERVICE = ANON | {"role": "service_role"}


def legacy(claims: dict[str, Any], secret: str = LEGACY, algorithm: str = "HS256", **headers: Any) -> str:
    given = {name: value for name, value in claims.items() if value is not LEFT_OUT}
    return joined(
        json.dumps({"alg": algorithm, "typ": "JWT"} | headers).encode(),
        json.dumps(given).encode(),
        hs256(secret.encode()),
    )


def ways(key: str) -> list[dict[str, str]]:
    return [{"apikey": key}, {"authorization": f"Bearer {key}"}, {"apikey": key, "authorization": f"Bearer {key}"}]


async def drafts(client: httpx2.AsyncClient, headers: dict[str, str]) -> tuple[int, int]:
    """The status, and how many drafts are seen."""
    answer = await client.get("/posts?status=eq.draft", headers=headers)
    return answer.status_code, len(answer.json()) if answer.status_code == 200 else 0


async def test_keys_of_an_old_project_are_the_visitor_and_the_service(installed: Installed, draft: int) -> None:
    async with installed(more={"jwt_secret": LEGACY}) as here:
        for headers in ways(legacy(ANON)):
            assert await drafts(here.client, headers) == (200, 0)
        for headers in ways(legacy(SERVICE)):
            assert await drafts(here.client, headers) == (200, 1)


WRONG_LEGACY: dict[str, str] = {
    "of a user": legacy(ANON | {"role": "authenticated", "sub": str(uuid4())}),
    "authenticated": legacy(ANON | {"role": "authenticated"}),
    "service with a user": legacy(SERVICE | {"sub": str(uuid4())}),
    "service with an empty user": legacy(SERVICE | {"sub": ""}),
    "postgres": legacy(ANON | {"role": "postgres"}),
    "role in a list": legacy(ANON | {"role": ["service_role"]}),
    "no role": legacy(ANON | {"role": LEFT_OUT}),
    "expired": legacy(SERVICE | {"exp": NOW - 31}),
    "without an end": legacy(SERVICE | {"exp": LEFT_OUT}),
    "without a beginning": legacy(SERVICE | {"iat": LEFT_OUT}),
    "an end that is no number": legacy(SERVICE | {"exp": math.nan}),
    "an end beyond all time": legacy(SERVICE | {"exp": math.inf}),
    "not yet": legacy(SERVICE | {"nbf": NOW + 31}),
    "another secret": legacy(SERVICE, "another secret of the same size!"),
    "no secret": legacy(SERVICE, ""),
    "alg none": legacy(SERVICE, algorithm="none"),
    "alg HS512": legacy(SERVICE, algorithm="HS512"),
    "alg ES256": legacy(SERVICE, algorithm="ES256"),
    "crit": legacy(SERVICE, crit=["exp"]),
    "jku": legacy(SERVICE, jku="https://evil.example"),
    "typ": legacy(SERVICE, typ="at+jwt"),
    "a deep header": joined(b'{"alg":"HS256","x":' + b"[" * 3000 + b"]" * 3000 + b"}", b"{}", hs256(LEGACY.encode())),
    "17 kB": legacy(SERVICE | {"x": "x" * 17_000}),
}


async def test_other_tokens_of_an_old_project_are_refused(installed: Installed, draft: int) -> None:
    async with installed(more={"jwt_secret": LEGACY}) as here:
        found = {name: [await drafts(here.client, way) for way in ways(key)] for name, key in WRONG_LEGACY.items()}
    accepted = [name for name, answers in found.items() if any(status == 200 for status, _ in answers)]
    print(f"keys of old projects: {len(found)} cases, accepted wrongly {len(accepted)}")
    assert found == dict.fromkeys(WRONG_LEGACY, [(401, 0)] * 3)


async def test_no_key_of_an_old_project_is_taken_without_its_secret(here: Installation, draft: int) -> None:
    for key in (legacy(ANON), legacy(SERVICE), legacy(SERVICE, "")):
        for headers in ways(key):
            assert await drafts(here.client, headers) == (401, 0)


async def test_secret_of_an_old_project_makes_no_access_tokens(
    installed: Installed, ada: Account, database: Database
) -> None:
    async with installed(more={"jwt_secret": LEGACY}) as here:
        forge, signed = await forge_of(here, ada)
        assert await opens(here, signed.access_token) == (200, 200)
        for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": LEFT_OUT}):
            token = forge.made(header, sign=hs256(LEGACY.encode()))
            assert await opens(here, token) == (401, 401), "it is taken for a key"
            asked = await here.client.get(f"{AUTH}/user", headers=here.secret | {"authorization": f"Bearer {token}"})
            assert refusal(asked) == (403, "bad_jwt")
