"""Fields of users, credentials, sessions and tokens that are sent along with a call of the account API change nothing
but what the call is for, wherever they stand: in the body, in its metadata, in its options, in the query string.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pytest

from app.accounts import one_time, people
from app.accounts.one_time import Challenge, Kind
from app.accounts.wire.routes import CALLS, OPEN, PREFIX
from app.data.database import Database
from app.data.rules import SYSTEM
from app.models import ApiKey, Credentials, OneTimeToken, Session, User
from app.settings import AccountSettings, Settings
from tests.accounts.conftest import Installation, opened
from tests.query.rows import Row
from tests.security.callers import PASSWORD, Headers
from tests.security.fields import MEMBER, fitting, small_world
from tests.security.state import State, changes, state_of
from tests.security.worlds import keep

ME = "caller2@example.org"
ME_UID = "00000000-0000-0000-0000-000000000002"
NEW = "new@example.org"
VERIFIER = "v" * 43
# What differs from one run to the next, and what stores metadata as it came.
OF_THE_RUN = {"uid", "token_hash", "otp_hash", "hashed_password", "user_metadata", "app_metadata", "request_id"}


@dataclass(frozen=True)
class Case:
    """A call that works. `{token}` and the like stand for what `prepared` makes; `meant` are the fields that mean
    something to this call besides those of its body.
    """

    call: tuple[str, str]
    body: Mapping[str, Any]
    by: str = "anybody"
    query: str = ""
    status: int = 200
    meant: frozenset[str] = frozenset()


OF_ADMINS = frozenset({"role", "email", "email_confirm", "password", "user_metadata", "app_metadata"})
TO_VERIFY = frozenset({"email", "token_hash"})
CASES = {
    "sign-up": Case(("POST", "/signup"), {"email": NEW, "password": PASSWORD, "data": {"colour": "red"}}),
    "sign-in": Case(("POST", "/token"), {"email": ME, "password": PASSWORD}, query="grant_type=password"),
    "refresh": Case(("POST", "/token"), {"refresh_token": "{refresh}"}, query="grant_type=refresh_token"),
    "exchange": Case(("POST", "/token"), {"auth_code": "{code}", "code_verifier": VERIFIER}, query="grant_type=pkce"),
    "change": Case(("PUT", "/user"), {"email": NEW, "password": "another good one", "data": {"a": 1}}, "user"),
    "sign-out": Case(("POST", "/logout"), {}, "user", status=204),
    "recover": Case(("POST", "/recover"), {"email": ME}),
    "code": Case(("POST", "/otp"), {"email": ME}),
    "code of somebody new": Case(("POST", "/otp"), {"email": NEW, "create_user": True}),
    "resend": Case(("POST", "/resend"), {"type": "signup", "email": ME}),
    "link": Case(("POST", "/verify"), {"type": "recovery", "token_hash": "{token}"}, meant=TO_VERIFY),
    "digits": Case(("POST", "/verify"), {"type": "recovery", "email": ME, "token": "{digits}"}, meant=TO_VERIFY),
    "admin makes": Case(("POST", "/admin/users"), {"email": NEW}, "admin", meant=OF_ADMINS | {"id"}),
    "admin changes": Case(("PUT", f"/admin/users/{ME_UID}"), {"ban_duration": "1h"}, "admin", meant=OF_ADMINS),
    "admin deletes": Case(("DELETE", f"/admin/users/{ME_UID}"), {"should_soft_delete": True}, "admin"),
    "admin links": Case(
        ("POST", "/admin/generate_link"), {"type": "signup", "email": NEW, "password": PASSWORD}, "admin"
    ),
}  # fmt: skip


def extras() -> Row:
    """Every column of these tables and every relation of users, with a value that fits."""
    found: Row = {"is_admin": True, "roles": ["admin"], "aud": "service_role", "nonce": "1", "email_confirm": True}
    for model in (User, Credentials, Session, OneTimeToken, ApiKey):
        for column in model.__table__.columns:
            found[column.name] = fitting(column.type)
    found |= {relation.key: [{"id": 1}] for relation in User.__mapper__.relationships}
    return found | {"email": "poked@example.org", "role": "admin", "phone_confirm": True}


@pytest.fixture
async def here(settings: Settings, database: Database) -> AsyncGenerator[Installation]:
    accounts = AccountSettings(mailer="console", anonymous=True)
    async with opened(replace(settings, accounts=accounts), database) as found:
        yield found


async def prepared(here: Installation, hashed: str) -> tuple[dict[str, str], Headers]:
    """A member who is signed in and has a link, digits and a code; and the member's headers."""
    await keep(here.database, small_world(hashed))
    entered = (await here.enter(ME, PASSWORD)).json()
    headers = {"authorization": f"Bearer {entered['access_token']}"}
    async with here.database.writing(SYSTEM) as session:
        account = await people.by_id(session, MEMBER)
        assert account is not None
        vault = here.authenticate.vault
        link = await one_time.make(session, vault, account, Kind.RECOVERY)
        code = await one_time.make(session, vault, account, Kind.PKCE, challenge=Challenge(VERIFIER, "plain"))
    made = {"refresh": entered["refresh_token"], "token": link.hashed_token, "digits": link.otp}
    return made | {"code": code.hashed_token}, headers


def filled(body: Mapping[str, Any], made: Mapping[str, str]) -> Row:
    text = json.dumps(body)
    for name, value in made.items():
        text = text.replace(f"{{{name}}}", value)
    found: Row = json.loads(text)
    return found


def sent_along(case: Case, body: Row) -> tuple[Row, str]:
    """The body and the query string with all that is not meant, at every place."""
    known = case.meant | body.keys()
    around = {name: value for name, value in extras().items() if name not in known}
    options = {"options": {**extras(), "data": extras(), "user_metadata": extras()}}
    inner = {name: value for name, value in extras().items() if name not in ("username", "full_name")}
    inside = dict.fromkeys(("data", "user_metadata", "app_metadata", "user", "identity_data"), inner)
    query = urlencode({name: str(value) for name, value in extras().items()})
    return {**around, **options, **inside, **body, "data": inner | body.get("data", {})}, f"{case.query}&{query}"


async def effects(here: Installation, hashed: str, case: Case, *, more: bool) -> list[Any]:
    """What this call changes, but for what differs from run to run."""
    made, user = await prepared(here, hashed)
    body, query = filled(case.body, made), case.query
    if more:
        body, query = sent_along(case, body)
    method, path = case.call
    headers = {"anybody": {}, "user": user, "admin": dict(here.secret)}[case.by]
    before = await state_of(here.database)
    answer = await here.client.request(method, f"{PREFIX}{path}?{query}", headers=headers, json=body)
    assert answer.status_code == case.status, answer.text
    return list(plain(before, await state_of(here.database)))


def plain(before: State, after: State) -> Any:
    for table, old, new in changes(before, after):
        yield table, *(None if row is None else _kept(row) for row in (old, new))


def _kept(row: Row) -> Row:
    kept = {name: value for name, value in row.items() if name not in OF_THE_RUN}
    return kept | ({"changes": _kept(row["changes"])} if "changes" in row else {})


@pytest.mark.parametrize("name", CASES)
async def test_what_is_sent_along_changes_nothing(here: Installation, hashed: str, name: str) -> None:
    expected = await effects(here, hashed, CASES[name], more=False)
    assert await effects(here, hashed, CASES[name], more=True) == expected


async def test_what_is_meant_changes_something(here: Installation, hashed: str) -> None:
    """So the comparison sees it."""
    case = CASES["admin changes"]
    meant = replace(case, body={**case.body, "role": "admin"})
    assert await effects(here, hashed, meant, more=False) != await effects(here, hashed, case, more=False)


def test_every_call_that_takes_a_body_is_tried() -> None:
    verbs = ("POST", "PUT", "PATCH", "DELETE")
    served = {(verb, path) for path, handlers in {**CALLS, **OPEN}.items() for verb in handlers if verb in verbs}
    assert {(verb, path.replace(ME_UID, "{uid}")) for verb, path in (case.call for case in CASES.values())} == served
