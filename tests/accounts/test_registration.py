"""POST /users: who may register, with what, and in which form."""

from __future__ import annotations

import itertools
from typing import Any

import httpx2
import pytest

from app.accounts.people import Account
from tests.accounts.conftest import (
    PASSWORD,
    Installation,
    Installed,
    add,
    row_of,
    sessions_of,
    set_user,
    users,
)

pytestmark = pytest.mark.usefixtures("quick")

SURFACES = pytest.mark.parametrize("prefix", ["", "/rest/v1"], ids=["plain", "rest"])
EVE = {"username": "eve", "password": PASSWORD}
SHOWN = {"prefer": "return=representation"}


def refused(response: httpx2.Response) -> tuple[int, str]:
    """A refusal by REST. No password stands in it."""
    body = response.json()
    assert body.keys() == {"code", "message", "details", "hint"}
    assert PASSWORD not in response.text
    return response.status_code, body["code"]


async def register(
    here: Installation, body: Any, prefix: str = "", headers: dict[str, str] | None = None
) -> httpx2.Response:
    return await here.client.post(f"{prefix}/users", json=body, headers=headers)


# ---- who may --------------------------------------------------------------------------------------------------------


@SURFACES
async def test_everybody_may_register(here: Installation, prefix: str) -> None:
    body = EVE | {"full_name": " Eve  E. ", "email": "EVE@example.org "}
    made = await register(here, body, prefix)
    assert made.status_code == 201, made.text
    found = await users(here.database, "username,full_name,email,role,is_active,balance,created_by")
    row = {"username": "eve", "full_name": "Eve E.", "email": "eve@example.org", "role": "member"}
    assert found == [row | {"is_active": True, "balance": 0, "created_by": None}]
    entered = await here.enter("eve@example.org")
    assert entered.status_code == 200


async def test_answer_shows_what_its_reader_may_see(here: Installation) -> None:
    """A visitor no address, and nobody a password."""
    made = await register(here, EVE | {"email": "eve@example.org"}, headers=SHOWN)
    body = made.json()
    assert (body["username"], body["email"], body["uid"]) == ("eve", None, None)
    assert "password" not in made.text
    assert "argon2" not in made.text
    made = await register(here, EVE | {"username": "bob"}, headers=SHOWN | here.secret)
    assert made.json()["role"] == "member"
    assert "argon2" not in made.text


async def test_answer_may_be_left_out(here: Installation) -> None:
    made = await register(here, EVE, "/rest/v1")
    assert (made.status_code, made.content) == (201, b"")
    made = await register(here, EVE | {"username": "bob"}, headers={"prefer": "return=minimal"})
    assert (made.status_code, made.content) == (201, b"")


@pytest.mark.parametrize("role", ["member", "author", "admin"])
async def test_users_may_register_others(here: Installation, role: str) -> None:
    """An admin's is no registration but an appointment."""
    account = await add(here.database, "root", role=role)
    signed = await here.sign_in(account)
    made = await register(here, EVE, headers=signed.bearer)
    assert made.status_code == 201, made.text
    (_, eve) = await users(here.database, "username,created_by")
    assert eve == {"username": "eve", "created_by": account.id}


async def test_admin_and_service_may_make_users_without_a_password(here: Installation, ada: Account) -> None:
    await set_user(here.database, ada.id, role="admin")
    signed = await here.sign_in(ada)
    for name, headers in (("bob", here.secret), ("eve", signed.bearer)):
        body = {"username": name, "role": "author", "is_active": False}
        assert (await register(here, body, headers=headers)).status_code == 201
    found = await users(here.database, "username,role,is_active")
    assert found[1:] == [{"username": name, "role": "author", "is_active": False} for name in ("bob", "eve")]


@SURFACES
async def test_closed_sign_up_refuses_all_but_admins(
    installed: Installed, ada: Account, bob: Account, prefix: str
) -> None:
    async with installed(sign_up="closed") as here:
        author, member = await here.sign_in(ada), await here.sign_in(bob)
        visitors: list[dict[str, str]] = [{}, {"apikey": here.keys.publishable}]
        for headers in (*visitors, author.bearer, member.bearer):
            answer = await register(here, EVE, prefix, headers=headers)
            assert refused(answer) == (401 if headers in visitors else 403, "42501")
            assert answer.json()["message"] == "permission denied for table users"
        assert (await register(here, EVE, prefix, headers=here.secret)).status_code == 201


@pytest.mark.parametrize(("host", "setting", "is_open"), [("127.0.0.1", "", True), ("0.0.0.0", "", False)])
async def test_sign_up_is_open_by_itself_on_loopback_alone(
    installed: Installed, host: str, setting: str, is_open: bool
) -> None:
    async with installed(more={"host": host}, sign_up=setting) as here:
        assert (await register(here, EVE)).status_code == (201 if is_open else 401)
    async with installed(more={"host": host}, sign_up="open") as here:
        assert (await register(here, EVE | {"username": "bob"})).status_code == 201


async def test_role_of_a_new_user_is_the_settings(installed: Installed) -> None:
    async with installed(sign_up_role="author") as here:
        assert (await register(here, EVE)).status_code == 201
        assert await users(here.database, "role") == ["author"]


async def test_where_addresses_are_confirmed_nobody_registers_without_a_mail(installed: Installed) -> None:
    """Nor learns by a 409 whose address is known."""
    async with installed(confirm_email=True) as here:
        for address in ("eve@example.org", "bob@example.org"):
            answer = await register(here, EVE | {"email": address})
            assert (answer.status_code, answer.json()["code"]) == (401, "42501")
            assert "/auth/v1/signup" in answer.json()["message"]
        made = await register(here, EVE | {"username": "bob", "email": "bob@example.org"}, headers=here.secret)
        assert made.status_code == 201
        assert (await here.enter("bob@example.org")).status_code == 200


# ---- what is not taken ----------------------------------------------------------------------------------------------

NOT_THEIRS: dict[str, Any] = {
    "role": "admin",
    "id": 7,
    "uid": "00000000-0000-8000-8000-000000000001",
    "balance": 100,
    "is_active": True,
    "is_anonymous": False,
    "email_confirmed_at": "2026-01-01T00:00:00Z",
    "last_sign_in_at": "2026-01-01T00:00:00Z",
    "banned_until": None,
    "app_metadata": {"role": "admin"},
    "user_metadata": {"a": 1},
    "created_at": "2026-01-01T00:00:00Z",
    "created_by": 1,
    "deleted_at": None,
    "version": 5,
    "hashed_password": "$argon2id$",
    "credentials": {"hashed_password": "x"},
    "sessions": [],
}


@SURFACES
@pytest.mark.parametrize("by", ["a visitor", "a member", "the service"])
async def test_fields_of_the_service_are_not_taken_from_a_payload(
    here: Installation, bob: Account, prefix: str, by: str
) -> None:
    signed = await here.sign_in(bob)
    headers = {"a visitor": {}, "a member": signed.bearer, "the service": here.secret}[by]
    allowed = {"role", "is_active"} if by == "the service" else set()
    wrong = 400 if prefix else 422
    for name, value in NOT_THEIRS.items():
        if name in allowed:
            continue
        answer = await register(here, EVE | {name: value}, prefix, headers=headers)
        assert refused(answer) == (wrong, "428C9" if name == "id" else "PGRST204"), name
    assert await users(here.database) == ["bob"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"username": "eve"}, "23502"),
    ({"password": PASSWORD}, "23502"),
    ({}, "23502"),
    (EVE | {"password": None}, "22023"),
    (EVE | {"password": ""}, "22023"),
    (EVE | {"password": 12345678}, "22023"),
    (EVE | {"password": [PASSWORD]}, "22023"),
    (EVE | {"password": {"hashed_password": "x"}}, "22023"),
    (EVE | {"password": "short77"}, "22023"),
    (EVE | {"password": "x" * 73}, "22023"),
    (EVE | {"password": "é" * 37}, "22023"),
    (EVE | {"password": "password1"}, "22023"),
    (EVE | {"password": "\u0301" * 500_000}, "22023"),
    (EVE | {"username": "e"}, "22023"),
    (EVE | {"username": "a b"}, "22023"),
    (EVE | {"username": None}, "23502"),
    (EVE | {"email": "nobody"}, "22023"),
    (EVE | {"email": "a@" + "b" * 300}, "22001"),
    (EVE | {"email": "\u0301" * 500_000 + "@x"}, "22001"),
]


@pytest.mark.parametrize("by", ["a visitor", "the service"])
async def test_bad_rows_are_refused(here: Installation, by: str) -> None:
    """By one rule, whoever sends them; but that the service need not send a password."""
    headers = here.secret if by == "the service" else {}
    for body, code in BAD:
        if by == "a visitor" or body != {"username": "eve"}:
            assert refused(await register(here, body, headers=headers)) == (422, code), str(body)[:60]
    assert await users(here.database) == []


async def test_passwords_at_the_border_are_taken(here: Installation) -> None:
    for n, password in enumerate(("x" * 72, "é" * 36, "\ufb01ve wooden ships", "eight888")):
        body = {"username": f"eve{n}", "email": f"eve{n}@example.org", "password": password}
        assert (await register(here, body)).status_code == 201
        assert (await here.enter(f"eve{n}@example.org", password)).status_code == 200


async def test_names_and_addresses_are_unique_in_their_one_form(here: Installation) -> None:
    assert (await register(here, EVE | {"email": "eve@example.org"})).status_code == 201
    for body in (EVE | {"username": " EVE "}, EVE | {"username": "eva", "email": " Eve@Example.ORG"}):
        answer = await register(here, body)
        assert refused(answer) == (409, "23505")


# ---- several, CSV, forms, batches, upserts ---------------------------------------------------------------------------


@SURFACES
async def test_visitors_register_one_at_a_time(here: Installation, prefix: str) -> None:
    rows = [EVE, EVE | {"username": "bob"}]
    answer = await register(here, rows, prefix)
    assert refused(answer)[1] == "PGRST127"
    assert "one user" in answer.json()["hint"]
    assert (await register(here, rows[:1], prefix)).status_code == 201
    assert (await register(here, rows[1:] * 1 + [EVE | {"username": "mia"}], prefix, here.secret)).status_code == 201
    assert await users(here.database) == ["eve", "bob", "mia"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/csv", f"username,password,email\neve,{PASSWORD},eve@example.org\n"),
        ("application/x-www-form-urlencoded", f"username=eve&password={PASSWORD}&email=eve@example.org"),
    ],
    ids=["CSV", "form"],
)
async def test_other_forms_of_a_body_register_too(here: Installation, kind: str, content: str) -> None:
    answer = await here.client.post("/users", content=content.encode(), headers={"content-type": kind})
    assert answer.status_code == 201, answer.text
    assert (await here.enter("eve@example.org")).status_code == 200


async def test_csv_without_a_password_is_refused(here: Installation) -> None:
    headers = {"content-type": "text/csv"}
    for content in ("username\neve\n", "username,password\neve,\n", "username,role\neve,admin\n"):
        answer = await here.client.post("/users", content=content, headers=headers)
        assert answer.status_code == 422, content
    assert await users(here.database) == []


@SURFACES
@pytest.mark.parametrize("store", ["memory", "database"])
async def test_batches_register_nobody(installed: Installed, prefix: str, store: str) -> None:
    """Hashing would hold the write lock meanwhile, and so would counting in the database."""
    async with installed(more={"rate_store": store}) as here:
        for headers, body in (({}, EVE), ({}, {"username": "eve"}), (here.secret, EVE)):
            single = {"method": "POST", "path": "/users", "body": body}
            answer = await here.client.post(f"{prefix}/batch", json=[single], headers=headers)
            assert refused(answer)[1] == "PGRST127"
        single = {"method": "POST", "path": "/users", "body": {"username": "bob"}}
        answer = await here.client.post(f"{prefix}/batch", json=[single], headers=here.secret)
        assert answer.status_code == 200, "without a password there is nothing to wait for"
        assert await users(here.database) == ["bob"]


@SURFACES
async def test_password_cannot_be_changed_in_a_batch(here: Installation, ada: Account, prefix: str) -> None:
    before = (await row_of(here.database, ada)).hashed_password
    single = {"method": "PATCH", "path": f"/users?id=eq.{ada.id}", "body": {"password": "another long one"}}
    answer = await here.client.post(f"{prefix}/batch", json=[single], headers=here.secret)
    assert refused(answer)[1] == "PGRST127"
    assert (await row_of(here.database, ada)).hashed_password == before


@SURFACES
@pytest.mark.parametrize("way", ["merge-duplicates", "ignore-duplicates", "PUT"])
async def test_upsert_makes_no_user_without_a_password(here: Installation, bob: Account, prefix: str, way: str) -> None:
    """Nor one with: the fields of registering belong to new rows alone."""
    signed = await here.sign_in(bob)
    bodies: list[Any] = [EVE, {"username": "eve"}, {}, [], [{}], {"password": PASSWORD}]
    for body, headers in itertools.product(bodies, ({}, signed.bearer)):
        if way == "PUT":
            answer = await here.client.put(f"{prefix}/users?id=eq.999", json=body, headers=headers)
        else:
            prefer = {"prefer": f"resolution={way}"}
            path = f"{prefix}/users?on_conflict=username"
            answer = await here.client.post(path, json=body, headers=headers | prefer)
        assert answer.status_code in (200, 201, 400, 401, 403, 404, 422), answer.text
        assert answer.status_code >= 400 or body == []
    assert await users(here.database) == ["bob"]


async def test_upsert_by_the_service_sets_the_password_of_a_user_who_is_there(here: Installation, ada: Account) -> None:
    signed = await here.sign_in(ada)
    prefer = {"prefer": "resolution=merge-duplicates"}
    body = {"username": "ada", "password": "another long one"}
    answer = await here.client.post("/users?on_conflict=username", json=body, headers=here.secret | prefer)
    assert answer.status_code == 200, answer.text
    assert signed.uid not in await sessions_of(here.database, ada)
    assert (await here.enter(password="another long one")).status_code == 200
