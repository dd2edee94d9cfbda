"""The check-up of files: who may read what is secret, and on what the database lies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli.checkup import files
from app.cli.checkup.finding import Finding, Level, fine
from app.settings import Settings

OK, WARN, REFUSE = Level.OK, Level.WARN, Level.REFUSE
POSTGRESQL = "postgresql://ada@db/blog"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """As a first start leaves it."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    for name in ("broadsheet.db", "broadsheet.db-wal", "keys.json", "secret.key"):
        (folder / name).touch(mode=0o600)
    return folder


FILES: list[tuple[Callable[[Settings], Finding | None], str]] = [
    (files.data_dir, "."),
    (files.secret, "secret.key"),
    (files.key_file, "keys.json"),
    (files.database_file, "broadsheet.db"),
    (files.database_file, "broadsheet.db-wal"),
]


@pytest.mark.parametrize(("check", "name"), FILES)
@pytest.mark.parametrize("production", [False, True])
def test_file_of_the_owner_alone_is_fine(
    data_dir: Path, check: Callable[[Settings], Finding], name: str, production: bool
) -> None:
    assert check(Settings(data_dir=data_dir, production=production)).level is OK


@pytest.mark.parametrize(("check", "name"), FILES)
@pytest.mark.parametrize("bit", [0o040, 0o020, 0o010, 0o004, 0o002, 0o001])
def test_file_that_others_may_use_is_refused_in_production(
    data_dir: Path, check: Callable[[Settings], Finding], name: str, bit: int
) -> None:
    path = data_dir / name
    path.chmod(path.stat().st_mode | bit)
    found = check(Settings(data_dir=data_dir, production=True))
    assert found.level is REFUSE
    assert str(path) in found.found
    assert f"chmod {0o700 if name == '.' else 0o600:o}" in found.advice
    elsewhere = check(Settings(data_dir=data_dir)).level
    assert elsewhere is (REFUSE if check is files.secret else WARN)


@pytest.mark.parametrize(("check", "name"), FILES)
def test_file_of_another_user_is_refused(
    data_dir: Path, check: Callable[[Settings], Finding], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    found = check(Settings(data_dir=data_dir, production=True))
    assert found.level is REFUSE
    assert "belongs to another user" in found.found


def test_secret_in_the_environment_needs_no_file(data_dir: Path) -> None:
    (data_dir / "secret.key").chmod(0o644)
    assert files.secret(Settings(data_dir=data_dir, secret="ab" * 32)).level is OK


def test_files_of_a_server_are_not_looked_for(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir, database_url=POSTGRESQL)
    checks = (files.database_file, files.file_system, files.copies)
    assert [check(settings) for check in checks] == [None, None, None]


def test_copies_from_before_migrations_are_counted(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir)
    assert files.copies(settings) == fine("copies", "none from before a migration")
    for number in (1, 2):
        (data_dir / f"broadsheet.db.before-20260101T00000{number}-0001").write_bytes(b"12345")
    found = files.copies(settings)
    assert found is not None
    assert found.found == "2 from before migrations, 10 bytes"


MOUNTS = r"""/dev/vda / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/vdb /home/ada ext4 rw 0 0
//nas/my\040share /mnt/my\040share cifs rw 0 0
host /mnt/nested 9p rw 0 0
tmpfs /mnt/nested tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/blog.db", "ext4"),
        ("/home/bob/blog.db", "nfs4"),
        ("/home/ada/blog.db", "ext4"),
        ("/homely/blog.db", "ext4"),
        ("/mnt/my share/blog.db", "cifs"),
        ("/mnt/nested/blog.db", "tmpfs"),
    ],
)
def test_file_system_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert files.file_system_of(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"])
def test_sqlite_on_a_network_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nfar {tmp_path} {kind} rw 0 0\n")
    monkeypatch.setattr(files, "MOUNTS", mounts)
    found = files.file_system(Settings(data_dir=tmp_path))
    assert found is not None
    assert found.level is REFUSE
    assert kind in found.found
