"""The user of a session: GET and PUT /user, POST /logout."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from supabase_auth.types import User

from app.accounts import people, sessions
from app.accounts.people import Account
from app.data.rules import SYSTEM
from tests.accounts.conftest import AUTH, PASSWORD, Installation, Installed, SignedIn, refusal, row_of, set_user
from tests.accounts.hashing import Held, held, until
from tests.conftest import EPOCH

pytestmark = pytest.mark.usefixtures("quick")

BOB = "bob@example.org"
NEW = "another long password"


@pytest.fixture
async def signed(here: Installation, bob: Account) -> SignedIn:
    return await here.sign_in(bob)


async def change(here: Installation, signed: SignedIn, body: Any, query: str = "") -> Any:
    return await here.client.put(f"{AUTH}/user{query}", json=body, headers=signed.bearer)


# ---- shown ----------------------------------------------------------------------------------------------------------


async def test_user_is_shown_as_clients_read_it(here: Installation, signed: SignedIn) -> None:
    answer = await here.client.get(f"{AUTH}/user", headers=signed.bearer)
    assert answer.status_code == 200
    found = User.model_validate_json(answer.content)
    assert (found.id, found.email, found.is_anonymous) == (str(signed.account.uid), BOB, False)
    assert found.app_metadata == {"provider": "email", "providers": ["email"], "user_id": signed.account.id}
    assert (answer.headers["cache-control"], answer.headers["x-supabase-api-version"]) == ("no-store", "2024-01-01")


async def test_head_has_the_headers_of_a_get(here: Installation, signed: SignedIn) -> None:
    got = await here.client.get(f"{AUTH}/user", headers=signed.bearer)
    head = await here.client.head(f"{AUTH}/user", headers=signed.bearer)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_content_type_and_empty_body_of_a_get_mean_nothing(here: Installation, signed: SignedIn) -> None:
    """As the Python client sends them."""
    headers = signed.bearer | {"content-type": "application/json;charset=UTF-8"}
    assert (await here.client.get(f"{AUTH}/user", headers=headers)).status_code == 200


async def test_what_app_metadata_shows_cannot_be_overwritten(here: Installation, signed: SignedIn) -> None:
    """user_id is ours; an application may write it into what the service keeps, and nobody sees that."""
    async with here.database.writing(SYSTEM) as session:
        await people.change(session, signed.account.id, {"app_metadata": {"user_id": 1, "plan": "gold"}})
    shown = (await here.client.get(f"{AUTH}/user", headers=signed.bearer)).json()["app_metadata"]
    assert (shown["user_id"], shown["plan"]) == (signed.account.id, "gold")


# ---- data -----------------------------------------------------------------------------------------------------------


async def test_data_is_merged_and_null_takes_a_field_away(here: Installation, signed: SignedIn) -> None:
    for data, expected in (
        ({"a": 1, "b": {"c": [2]}}, {"a": 1, "b": {"c": [2]}}),
        ({"b": None, "d": "é"}, {"a": 1, "d": "é"}),
        ({}, {"a": 1, "d": "é"}),
        ({"a": None, "d": None}, {}),
    ):
        answer = await change(here, signed, {"data": data})
        assert answer.json()["user_metadata"] == expected
    assert (await change(here, signed, {})).json()["user_metadata"] == {}


async def test_data_of_two_changes_at_once_is_all_there(here: Installation, signed: SignedIn) -> None:
    answers = await asyncio.gather(*(change(here, signed, {"data": {f"field{n}": n}}) for n in range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    shown = (await here.client.get(f"{AUTH}/user", headers=signed.bearer)).json()
    assert shown["user_metadata"] == {f"field{n}": n for n in range(8)}


async def test_data_is_bounded_as_a_whole(here: Installation, signed: SignedIn) -> None:
    assert (await change(here, signed, {"data": {"a": "x" * 3000}})).status_code == 200
    answer = await change(here, signed, {"data": {"b": "x" * 3000}})
    assert refusal(answer) == (400, "validation_failed")
    assert answer.json()["msg"] == "data holds more than 4096 bytes"
    assert (await change(here, signed, {"data": {"a": None, "b": "x" * 3000}})).status_code == 200


@pytest.mark.parametrize("data", ["text", [1], 5, True], ids=str)
async def test_data_is_an_object(here: Installation, signed: SignedIn, data: Any) -> None:
    assert refusal(await change(here, signed, {"data": data})) == (400, "validation_failed")


async def test_data_changes_nothing_that_rights_come_from(here: Installation, signed: SignedIn) -> None:
    data = {"role": "admin", "username": "root", "user_id": 1, "email": "root@example.org", "full_name": "Root"}
    assert (await change(here, signed, {"data": data, **data, "app_metadata": data, "id": 7})).status_code == 200
    row = await row_of(here.database, signed.account)
    assert (row.role, row.username, row.full_name) == ("member", "bob", None)
    assert row.app_metadata is None


async def test_change_has_its_user_as_the_actor_and_a_revision(here: Installation, signed: SignedIn) -> None:
    await change(here, signed, {"data": {"x": 1}, "password": NEW})
    row = await row_of(here.database, signed.account)
    assert (row.version, row.updated_by) == (2, signed.account.id)
    shown = await here.client.get("/revisions?table_name=eq.users&operation=eq.update", headers=here.secret)
    (revision,) = shown.json()
    assert revision["actor_id"] == signed.account.id
    assert NEW not in shown.text
    assert "argon2" not in shown.text


# ---- password -------------------------------------------------------------------------------------------------------


async def test_new_password_is_the_one_to_sign_in_with(here: Installation, signed: SignedIn) -> None:
    assert (await change(here, signed, {"password": NEW})).status_code == 200
    assert refusal(await here.enter(BOB)) == (400, "invalid_credentials")
    assert (await here.enter(BOB, NEW)).status_code == 200


async def test_password_that_is_there_already_is_refused(here: Installation, signed: SignedIn) -> None:
    before = await row_of(here.database, signed.account)
    assert refusal(await change(here, signed, {"password": PASSWORD})) == (422, "same_password")
    assert await row_of(here.database, signed.account) == before


async def test_passwords_that_are_not_taken(here: Installation, signed: SignedIn) -> None:
    cases: list[tuple[Any, tuple[int, str]]] = [
        ("short77", (422, "weak_password")),
        ("password1", (422, "weak_password")),
        ("x" * 73, (400, "validation_failed")),
        (12345678, (400, "validation_failed")),
    ]
    for password, expected in cases:
        answer = await change(here, signed, {"password": password})
        assert refusal(answer) == expected
        assert str(password) not in answer.text
    assert (await here.enter(BOB)).status_code == 200


async def test_empty_password_changes_nothing(here: Installation, signed: SignedIn) -> None:
    for body in ({"password": ""}, {"password": None}, {"email": "", "phone": ""}):
        assert (await change(here, signed, body)).status_code == 200
    assert (await row_of(here.database, signed.account)).version == 1
    assert (await here.enter(BOB)).status_code == 200


async def test_user_without_a_password_can_set_one(here: Installation, signed: SignedIn) -> None:
    async with here.database.writing(SYSTEM) as session:
        await people.drop_password(session, signed.account.id)
    assert (await change(here, signed, {"password": NEW})).status_code == 200
    assert (await here.enter(BOB, NEW)).status_code == 200


# ---- address --------------------------------------------------------------------------------------------------------


async def test_new_address_counts_at_once_where_none_is_confirmed(here: Installation, signed: SignedIn) -> None:
    answer = await change(here, signed, {"email": " New@example.org"})
    assert (answer.status_code, answer.json()["email"]) == (200, "new@example.org")
    assert refusal(await here.enter(BOB)) == (400, "invalid_credentials")
    assert (await here.enter("new@example.org")).status_code == 200


async def test_address_of_somebody_else_is_refused(here: Installation, signed: SignedIn, ada: Account) -> None:
    for email in ("ada@example.org", "ADA@example.org"):
        answer = await change(here, signed, {"email": email, "data": {"x": 1}})
        assert refusal(answer) == (422, "email_exists")
    row = await row_of(here.database, signed.account)
    assert (row.email, row.user_metadata, row.version) == (BOB, None, 1)


async def test_own_address_is_no_new_one(here: Installation, signed: SignedIn) -> None:
    other = await here.sign_in(signed.account)
    assert (await change(here, signed, {"email": "BOB@example.org "})).status_code == 200
    assert (await here.client.get(f"{AUTH}/user", headers=other.bearer)).status_code == 200
    assert (await row_of(here.database, signed.account)).version == 1


async def test_new_address_waits_for_its_confirmation(
    installed: Installed, bob: Account, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest of the change does not."""
    caplog.set_level(logging.INFO, "broadsheet.mail")
    async with installed(confirm_email=True) as here:
        signed = await here.sign_in(bob)
        answer = await change(here, signed, {"email": "New@example.org", "data": {"x": 1}})
        shown = answer.json()
        assert (shown["email"], shown["new_email"], shown["user_metadata"]) == (BOB, "new@example.org", {"x": 1})
        records: list[Any] = [record for record in caplog.records if record.name == "broadsheet.mail"]
        assert [record.to for record in records] == ["new@example.org"]
        assert (await here.enter(BOB)).status_code == 200


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ({"mailer": "none"}, {}),
        ({}, {"code_challenge": "short", "code_challenge_method": "s256"}),
        ({}, {"password": "short"}),
        ({}, {"data": "x"}),
    ],
    ids=["no mailer", "no challenge", "weak password", "no data"],
)
async def test_change_that_cannot_be_done_as_a_whole_is_not_begun(
    installed: Installed, bob: Account, more: dict[str, Any], body: dict[str, Any]
) -> None:
    async with installed(confirm_email=True, **more) as here:
        signed = await here.sign_in(bob)
        given = {"email": "new@example.org", "password": NEW, "data": {"x": 1}} | body
        assert refusal(await change(here, signed, given))[0] in (400, 422)
        row = await row_of(here.database, bob)
        assert (row.version, row.user_metadata) == (1, None)
        assert (await here.enter(BOB)).status_code == 200


async def test_phones_are_refused(here: Installation, signed: SignedIn) -> None:
    assert refusal(await change(here, signed, {"phone": "+4912345"})) == (400, "phone_provider_disabled")


# ---- anonymous users ------------------------------------------------------------------------------------------------


async def test_anonymous_user_becomes_one_like_the_others(installed: Installed) -> None:
    async with installed(anonymous=True) as here:
        found = (await here.client.post(f"{AUTH}/signup", json={})).json()
        headers = {"authorization": f"Bearer {found['access_token']}"}
        body = {"email": "eve@example.org", "password": NEW}
        answer = await here.client.put(f"{AUTH}/user", json=body, headers=headers)
        shown = answer.json()
        assert (shown["id"], shown["is_anonymous"]) == (found["user"]["id"], False)
        assert shown["identities"][0]["email"] == "eve@example.org"
        entered = await here.enter("eve@example.org", NEW)
        assert entered.json()["user"]["id"] == found["user"]["id"]


async def test_data_alone_leaves_an_anonymous_user_anonymous(installed: Installed) -> None:
    async with installed(anonymous=True) as here:
        found = (await here.client.post(f"{AUTH}/signup", json={})).json()
        headers = {"authorization": f"Bearer {found['access_token']}"}
        answer = await here.client.put(f"{AUTH}/user", json={"data": {"x": 1}}, headers=headers)
        assert answer.json()["is_anonymous"] is True


# ---- who may not ----------------------------------------------------------------------------------------------------

CALLS = [("GET", "/user", None), ("PUT", "/user", {"data": {"x": 1}}), ("POST", "/logout", None)]


async def test_calls_need_a_session(here: Installation, signed: SignedIn) -> None:
    keys = here.keys
    cases = {
        "": (401, "no_authorization"),
        keys.publishable: (403, "bad_jwt"),
        keys.secret: (403, "bad_jwt"),
        "sb_secret_wrong": (403, "bad_jwt"),
        "x": (403, "bad_jwt"),
        signed.access_token[:-1]: (403, "bad_jwt"),
        signed.refresh_token: (403, "bad_jwt"),
    }
    for method, path, body in CALLS:
        for token, expected in cases.items():
            headers = {"apikey": keys.publishable} | ({"authorization": f"Bearer {token}"} if token else {})
            answer = await here.client.request(method, f"{AUTH}{path}", json=body, headers=headers)
            assert refusal(answer) == expected, (path, token[:12])
    assert (await row_of(here.database, signed.account)).version == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"is_active": False}, (403, "user_banned")),
        ({"banned_until": EPOCH + timedelta(hours=1)}, (403, "user_banned")),
        ({"deleted_at": EPOCH}, (403, "user_not_found")),
    ],
    ids=["inactive", "banned", "deleted"],
)
async def test_who_may_not_act_any_more_is_told_at_once(
    here: Installation, signed: SignedIn, values: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert (await here.client.get(f"{AUTH}/user", headers=signed.bearer)).status_code == 200
    await set_user(here.database, signed.account.id, **values)
    for method, path, body in CALLS:
        answer = await here.client.request(method, f"{AUTH}{path}", json=body, headers=signed.bearer)
        assert refusal(answer) == expected, path


async def test_ended_session_is_told_as_such(here: Installation, signed: SignedIn) -> None:
    await here.client.post(f"{AUTH}/logout", headers=signed.bearer)
    for method, path, body in CALLS:
        answer = await here.client.request(method, f"{AUTH}{path}", json=body, headers=signed.bearer)
        assert refusal(answer) == (403, "session_not_found"), path


async def test_session_that_ends_while_its_change_is_hashed_changes_nothing(
    here: Installation, signed: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change looks again inside its transaction."""
    with held(monkeypatch) as hasher:
        changing = asyncio.ensure_future(change(here, signed, {"password": NEW, "data": {"x": 1}}))
        await until(lambda: hasher.running == 1)
        monkeypatch.setattr(Held, "verify", lambda self, hashed, text: False)  # it is another password than before
        async with here.database.writing(SYSTEM) as session:
            await sessions.end_all(session, signed.account.id)
        hasher.may_go.set()
        assert refusal(await changing) == (403, "session_not_found")
    assert (await row_of(here.database, signed.account)).version == 1


@pytest.mark.parametrize("scope", ["everything", "GLOBAL", "local,global", "x" * 500])
async def test_unknown_scope_of_a_sign_out_is_refused(here: Installation, signed: SignedIn, scope: str) -> None:
    answer = await here.client.post(f"{AUTH}/logout?scope={scope}", headers=signed.bearer)
    assert refusal(answer) == (400, "validation_failed")
    assert len(answer.json()["msg"]) <= 100
    assert (await here.client.get(f"{AUTH}/user", headers=signed.bearer)).status_code == 200
