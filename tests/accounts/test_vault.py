"""The secret of an installation: where it comes from, and that what is made with it is of no use without."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from app.accounts.vault import FILE, Vault, hash_of, load_vault
from app.errors import BadSetting
from app.settings import Settings

SECRET = "8f14e45fceea167a5a36dedd4bea2543"


def test_secret_of_a_first_run_is_its_owners_alone(settings: Settings, tmp_path: Path) -> None:
    made = load_vault(replace(settings, data_dir=tmp_path / "new"))
    path = tmp_path / "new" / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == [FILE]
    assert len(path.read_bytes().strip()) == 64
    assert load_vault(replace(settings, data_dir=tmp_path / "new")).code("x") == made.code("x")


def test_processes_that_start_at_once_get_the_same_secret(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as executor:
        assert len(set(executor.map(_code_of, [tmp_path] * 16))) == 1


def _code_of(folder: Path) -> bytes:
    return load_vault(Settings(data_dir=folder)).code("x")


def test_installations_have_secrets_of_their_own(settings: Settings, tmp_path: Path) -> None:
    found = {load_vault(replace(settings, data_dir=tmp_path / name)).code("x") for name in "abc"}
    assert len(found) == 3


def test_secret_that_is_set_goes_before_the_file(settings: Settings) -> None:
    load_vault(settings)
    assert load_vault(replace(settings, secret=SECRET)).code("x") == Vault(SECRET.encode()).code("x")


def test_secret_that_is_set_leaves_no_file(settings: Settings, tmp_path: Path) -> None:
    load_vault(replace(settings, secret=SECRET))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"x" * 31, b" " * 64])
def test_damaged_secret_is_refused_and_left_alone(settings: Settings, tmp_path: Path, content: bytes) -> None:
    """A new one in its place would sign everybody out."""
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(BadSetting, match=r"secret\.key holds no secret of 32 bytes"):
        load_vault(settings)
    assert (tmp_path / FILE).read_bytes() == content


def test_folder_that_is_a_file_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(BadSetting, match="cannot be read or made"):
        load_vault(replace(settings, data_dir=tmp_path / "data"))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_secret_of_somebody_else_is_refused(settings: Settings, tmp_path: Path) -> None:
    load_vault(settings)
    (tmp_path / FILE).chmod(0)
    with pytest.raises(BadSetting, match="cannot be read or made"):
        load_vault(settings)


def test_secret_is_not_shown(settings: Settings) -> None:
    vault = Vault(SECRET.encode())
    assert SECRET not in repr(vault)
    assert SECRET not in repr(replace(settings, secret=SECRET, jwt_secret=SECRET))


def test_what_is_encrypted_is_read_with_the_same_secret_alone() -> None:
    vault, other = Vault(SECRET.encode()), Vault(b"x" * 32)
    text = vault.encrypt("a private key")
    assert "private" not in text
    assert text != vault.encrypt("a private key")
    assert vault.decrypt(text) == "a private key"
    assert other.decrypt(text) is None


@pytest.mark.parametrize("text", ["", "x", "gAAAAA", "é"])
def test_what_was_never_encrypted_is_nothing(text: str) -> None:
    assert Vault(SECRET.encode()).decrypt(text) is None


def test_changed_text_is_nothing() -> None:
    vault = Vault(SECRET.encode())
    text = vault.encrypt("a private key")
    assert vault.decrypt(text[:-10] + ("A" if text[-10] != "A" else "B") + text[-9:]) is None


def test_codes_depend_on_the_secret_and_on_every_part() -> None:
    vault = Vault(SECRET.encode())
    codes = [vault.code(*parts) for parts in ((), ("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",), ("a", "b", ""))]
    codes.append(Vault(b"x" * 32).code("a"))
    assert len(set(codes)) == 8
    assert {len(code) for code in codes} == {32}
    assert vault.code("a", "b") == Vault(SECRET.encode()).code("a", "b")


def test_keys_for_single_purposes_differ() -> None:
    vault = Vault(SECRET.encode())
    assert vault._derived("signing keys") != vault._derived("codes") != SECRET.encode()


def test_hash_of_a_token_is_sha256() -> None:
    assert hash_of("x") == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
