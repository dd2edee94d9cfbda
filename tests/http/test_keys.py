"""Keys: how they are made and kept, and who a request is by them."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from app.accounts.keys import KeyHashes, Keys, fingerprint, load_keys, make_key
from app.data.database import Database
from app.errors import BadSetting
from app.http.app import create_app
from app.settings import Settings
from tests.http.conftest import Blog, client_of


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
