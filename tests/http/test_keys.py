"""Keys: how they are made and kept, and who a request is by them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from app.accounts.api_keys import create, revoke, rotate_first
from app.accounts.keys import KeyHashes, Keys, fingerprint, load_keys, make_key
from app.accounts.vault import hash_of
from app.data.database import Database
from app.data.rules import SYSTEM
from app.errors import BadSetting
from app.http.app import create_app
from app.models import KeyKind, User
from app.settings import Settings
from tests.conftest import Clock
from tests.http.conftest import Blog, client_of

USERS: Any = User.__table__


def test_keys_have_their_form(tmp_path: Path) -> None:
    keys = load_keys(tmp_path / "new")
    assert re.fullmatch(r"sb_publishable_[0-9A-Za-z]{22}_[0-9A-Za-z]{8}", keys.publishable)
    assert re.fullmatch(r"sb_secret_[0-9A-Za-z]{22}_[0-9A-Za-z]{8}", keys.secret)
    assert keys.secret not in repr(keys)
    assert load_keys(tmp_path / "new") == keys


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    load_keys(folder)
    assert (folder / "keys.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["keys.json"]


def test_processes_that_start_at_once_get_the_same_keys(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as executor:
        found = list(executor.map(_secret_of, [tmp_path] * 16))
    assert len(set(found)) == 1


def _secret_of(folder: Path) -> str:
    return load_keys(folder).secret


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b'{"publishable": 5}', b'{"publishable": "sb_publishable_x_y"}']
)
def test_damaged_keys_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(BadSetting, match=r"keys\.json"):
        load_keys(tmp_path)
    assert (tmp_path / "keys.json").read_bytes() == content


def test_mistyped_key_is_refused(tmp_path: Path) -> None:
    keys = load_keys(tmp_path)
    typo = keys.secret[:-10] + ("a" if keys.secret[-10] != "a" else "b") + keys.secret[-9:]
    (tmp_path / "keys.json").write_text(json.dumps({"publishable": keys.publishable, "secret": typo}))
    with pytest.raises(BadSetting, match="secret key"):
        load_keys(tmp_path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_unwritable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BadSetting, match="cannot be read or made"):
        load_keys(tmp_path)


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(BadSetting, match="cannot be read or made"):
        load_keys(tmp_path / "data")


def test_fingerprint_is_no_key(tmp_path: Path) -> None:
    hashes = KeyHashes.of(load_keys(tmp_path))
    assert re.fullmatch(r"[0-9a-f]{16}", fingerprint(hashes.secret))


# ---- who asks -------------------------------------------------------------------------------------------------------


def given(keys: Keys, text: str) -> str:
    return (
        text.replace("PUBLISHABLE", keys.publishable)
        .replace("SECRET", keys.secret)
        .replace("WRONG", make_key("secret"))
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"apikey": "PUBLISHABLE"}, 404),
        ({"authorization": "Bearer PUBLISHABLE"}, 404),
        ({"apikey": "SECRET"}, 200),
        ({"authorization": "Bearer SECRET"}, 200),
        ({"authorization": "bearer  SECRET"}, 200),
        ({"apikey": "SECRET", "authorization": "Bearer SECRET"}, 200),
        ({"apikey": "PUBLISHABLE", "authorization": "Bearer SECRET"}, 200),
        ({"apikey": "SECRET", "authorization": "Bearer PUBLISHABLE"}, 200),
        ({"apikey": "WRONG"}, 401),
        ({"apikey": ""}, 401),
        ({"apikey": "SECRETx"}, 401),
        ({"apikey": "SECRET "}, 200),  # white space around a header's value is none of it
        ({"authorization": "Bearer WRONG"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "SECRET"}, 401),
        ({"apikey": "SECRET", "authorization": "Bearer WRONG"}, 401),
        ({"apikey": "WRONG", "authorization": "Bearer SECRET"}, 401),
    ],
)
async def test_caller_by_headers(
    client: httpx2.AsyncClient, blog: Blog, keys: Keys, headers: dict[str, str], status: int
) -> None:
    """The draft is there for the service alone."""
    sent = {name: given(keys, text).strip() for name, text in headers.items()}
    response = await client.get(f"/posts/{blog.draft}", headers=sent)
    assert response.status_code == status
    if status == 401:
        assert response.json()["code"] == "PGRST301"
        challenge = response.headers["www-authenticate"]
        assert challenge.startswith('Bearer error="invalid_token", error_description="')


async def test_header_given_twice_with_a_wrong_key_is_refused(
    client: httpx2.AsyncClient, blog: Blog, keys: Keys
) -> None:
    headers = [("apikey", keys.secret), ("apikey", make_key("secret"))]
    assert (await client.get("/posts", headers=headers)).status_code == 401


async def test_key_may_be_required(settings: Settings, keys: Keys, database: Database, blog: Blog) -> None:
    async with client_of(create_app(replace(settings, require_key=True), database=database)) as client:
        response = await client.get("/posts")
        assert (response.status_code, response.json()["code"]) == (401, "PGRST302")
        assert response.json()["message"] == "Anonymous access is disabled"
        assert response.headers["www-authenticate"] == "Bearer"
        assert (await client.get("/posts", headers={"apikey": keys.publishable})).status_code == 200
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.options("/posts")).status_code == 200


# ---- named keys -----------------------------------------------------------------------------------------------------


async def named(database: Database, name: str, kind: KeyKind, **options: Any) -> dict[str, str]:
    """Headers with a new key."""
    async with database.writing(SYSTEM) as session:
        return {"apikey": await create(session, name, kind, **options)}


@pytest.mark.parametrize("header", ["apikey", "authorization"])
async def test_key_of_a_user_is_that_user(
    client: httpx2.AsyncClient, database: Database, blog: Blog, header: str
) -> None:
    key = (await named(database, "ada", KeyKind.USER, user_id=blog.ada))["apikey"]
    sent = {header: key if header == "apikey" else f"Bearer {key}"}
    assert (await client.get(f"/posts/{blog.draft}", headers=sent)).status_code == 200
    own = await client.get("/users?select=email&order=id", headers=sent)
    assert own.json() == [{"email": "ada@example.org"}, {"email": None}]
    made = await client.post("/posts", json={"title": "By key"}, headers=sent)
    assert (made.status_code, made.json()["user_id"]) == (201, blog.ada)


async def test_revision_says_which_key_wrote(
    client: httpx2.AsyncClient, database: Database, blog: Blog, secret: Mapping[str, str]
) -> None:
    sent = await named(database, "writer", KeyKind.SECRET, scopes=["posts:write"])
    await client.patch(f"/posts/{blog.post}", json={"title": "By key"}, headers=sent)
    shown = await client.get("/revisions?operation=eq.update&select=key_id,actor_id", headers=secret)
    assert shown.json() == [{"key_id": fingerprint(hash_of(sent["apikey"])), "actor_id": None}]


async def test_scopes_of_a_key_hold_over_http(client: httpx2.AsyncClient, database: Database, blog: Blog) -> None:
    sent = await named(database, "reader", KeyKind.SECRET, scopes=["posts:read"])
    assert (await client.get(f"/posts/{blog.draft}", headers=sent)).status_code == 200
    refused = await client.get("/posts?select=author(username)", headers=sent)
    assert (refused.status_code, refused.json()["message"]) == (403, "this key lacks the scope users:read")


async def test_key_that_ended_is_refused_with_its_reason(
    client: httpx2.AsyncClient, database: Database, clock: Clock, blog: Blog
) -> None:
    gone = await named(database, "gone", KeyKind.SECRET)
    old = await named(database, "old", KeyKind.SECRET, expires_at=clock() + timedelta(seconds=1))
    barred = await named(database, "barred", KeyKind.USER, user_id=blog.bob)
    clock.advance(1)
    async with database.writing(SYSTEM) as session:
        await revoke(session, "gone")
        await session.execute(update(USERS).where(USERS.c.id == blog.bob).values(is_active=False))
    reasons = {
        "this key was revoked": gone,
        "this key has expired": old,
        "the user of this key may not sign in": barred,
    }
    for reason, sent in reasons.items():
        answer = await client.get("/posts", headers=sent)
        assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (401, "PGRST301", reason)


async def test_use_of_a_revoked_key_is_an_event(
    client: httpx2.AsyncClient, database: Database, blog: Blog, secret: Mapping[str, str]
) -> None:
    sent = await named(database, "gone", KeyKind.SECRET)
    async with database.writing(SYSTEM) as session:
        (id,) = await revoke(session, "gone")
    answers = [await client.get("/posts", headers=sent) for _ in range(2)]
    found = (await client.get("/events?kind=eq.revoked_key_used", headers=secret)).json()
    assert [(event["subject"], event["request_id"]) for event in found] == [
        (f"key {id}", answers[0].headers["x-request-id"])
    ]
    assert sent["apikey"] not in str(found)


async def test_rotated_first_run_key_takes_effect_on_a_running_service(
    client: httpx2.AsyncClient, database: Database, settings: Settings, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`FRESH` is the time after which the file is looked at again."""
    monkeypatch.setattr("app.accounts.keys.FRESH", 0.0)
    async with database.writing(SYSTEM) as session:
        new = await rotate_first(session, settings.data_dir, "secret")
    answer = await client.get("/posts", headers={"apikey": keys.secret})
    assert (answer.status_code, answer.json()["message"]) == (401, "this key was revoked")
    assert (await client.post("/tags", json={"name": "x"}, headers={"apikey": new})).status_code == 201
    assert (await client.get("/posts", headers={"apikey": keys.publishable})).status_code == 200
