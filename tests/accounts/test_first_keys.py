"""The two first-run keys: a running service follows their file, and a rotated one becomes a revoked key."""

from __future__ import annotations

import errno
import json
import logging
import os
from datetime import timedelta
from pathlib import Path

import pytest

from app.accounts.api_keys import ApiKeys, State, present, rotate_first
from app.accounts.keys import FirstKeys, KeyHashes, load_keys, make_key, replace_keys
from app.accounts.vault import hash_of
from app.data.database import Database
from app.data.rules import SYSTEM, Role
from app.errors import BadSetting, BroadsheetError
from app.models import KeyKind
from tests.accounts.keeping import events
from tests.conftest import Clock


class Hand:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_running_service_notices_replaced_first_run_keys_after_five_seconds(tmp_path: Path) -> None:
    hand = Hand()
    first = FirstKeys(tmp_path, hand)
    old = load_keys(tmp_path)
    assert first.hashes == KeyHashes.of(old)
    new = type(old)(old.publishable, make_key("secret"))
    replace_keys(tmp_path, new)
    hand.now = 4.9
    assert first.hashes == KeyHashes.of(old)
    hand.now = 5.0
    assert first.hashes == KeyHashes.of(new)


def test_first_run_keys_are_read_again_only_when_the_file_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = Hand()
    first, reads = FirstKeys(tmp_path, hand), []
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        reads.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    for hand.now in (1, 6, 12, 18):
        assert first.hashes
    assert reads == []


@pytest.mark.parametrize("damage", ["removed", "damaged"])
def test_first_run_keys_stay_when_the_file_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    hand = Hand()
    first = FirstKeys(tmp_path, hand)
    before, path = first.hashes, tmp_path / "keys.json"
    content = path.read_bytes()
    path.unlink() if damage == "removed" else path.write_text("{")
    with caplog.at_level(logging.WARNING):
        for hand.now in (6, 12, 18):
            assert first.hashes == before
    assert len(caplog.records) == 1
    secret = json.loads(content)["secret"]
    other = make_key("secret")
    path.write_bytes(content.replace(secret.encode(), other.encode()))
    hand.now = 24
    assert first.hashes.secret == hash_of(other)


async def test_rotated_first_run_key_is_a_revoked_key(database: Database, tmp_path: Path) -> None:
    old = load_keys(tmp_path)
    async with database.writing(SYSTEM) as session:
        new = await rotate_first(session, tmp_path, "secret")
    assert load_keys(tmp_path) == type(old)(old.publishable, new)
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["keys.json"]
    found = await ApiKeys().find(database, old.secret)
    assert (found.state, found.kind) == (State.REVOKED, KeyKind.SECRET)
    assert [event.kind for event in await events(database)] == ["key_rotated", "revoked_key_used"]


async def test_rotated_first_run_key_works_through_its_grace(database: Database, clock: Clock, tmp_path: Path) -> None:
    keys, old = ApiKeys(), load_keys(tmp_path)
    async with database.writing(SYSTEM) as session:
        await rotate_first(session, tmp_path, "publishable", timedelta(seconds=60))
    found = await keys.find(database, old.publishable)
    assert (found.state, found.role) == (State.LIVE, Role.ANONYMOUS)
    clock.advance(60)
    assert (await keys.find(database, old.publishable)).state is State.REVOKED


async def test_first_run_key_put_back_from_a_copy_is_rotated_again(database: Database, tmp_path: Path) -> None:
    old = load_keys(tmp_path)
    for _ in range(2):
        replace_keys(tmp_path, old)
        async with database.writing(SYSTEM) as session:
            new = await rotate_first(session, tmp_path, "secret")
        assert load_keys(tmp_path).secret == new


async def test_first_run_key_stays_where_the_database_refuses(database: Database, tmp_path: Path) -> None:
    old = load_keys(tmp_path)
    with pytest.raises(BroadsheetError, match="read-only"):
        async with database.reading(SYSTEM) as session:
            await rotate_first(session, tmp_path, "secret")
    assert load_keys(tmp_path) == old


async def test_nothing_is_written_where_the_file_cannot_be_replaced(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    old = load_keys(tmp_path)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BadSetting, match="No space left"):
        async with database.writing(SYSTEM) as session:
            await rotate_first(session, tmp_path, "secret")
    assert load_keys(tmp_path) == old
    async with database.reading(SYSTEM) as session:
        assert await present(session) == []
    assert await events(database) == []
