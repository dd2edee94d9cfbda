"""Checks of files: who may read what is secret, and on what the database lies."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from app.accounts import keys, vault
from app.cli.checkup.finding import Finding, fine, grave, refusal
from app.data import engines
from app.settings import Settings

MOUNTS = Path("/proc/self/mounts")  # Linux alone
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs")
CLOSED = {True: 0o700, False: 0o600}  # of folders and of files


def data_dir(settings: Settings) -> Finding:
    path = settings.data_dir
    if problem := exposure(path):
        return grave(settings, "data-dir", f"{path} {problem}", _closing(path))
    return fine("data-dir", str(path) if path.exists() else f"{path} is made at the first start")


def secret(settings: Settings) -> Finding:
    path = settings.data_dir / vault.FILE
    if settings.secret:
        return fine("secret", "BROADSHEET_SECRET")
    if problem := exposure(path):
        return refusal("secret", f"{path} {problem}", _closing(path))
    return fine("secret", str(path) if path.exists() else f"{path} is made at the first start")


def key_file(settings: Settings) -> Finding:
    path = settings.data_dir / keys.FILE
    if problem := exposure(path):
        return grave(settings, "keys", f"{path} {problem}", _closing(path))
    return fine("keys", str(path) if path.exists() else f"{path} is made at the first start")


def database_file(settings: Settings) -> Finding | None:
    """With its log, where the newest rows stand."""
    path = sqlite_file(settings)
    if path is None:
        return None
    for part in (path, path.with_name(f"{path.name}-wal")):
        if problem := exposure(part):
            return grave(settings, "file", f"{part} {problem}", _closing(part))
    return fine("file", str(path) if path.exists() else f"{path} is made at the first start")


def file_system(settings: Settings) -> Finding | None:
    """SQLite's locks and its shared memory work between the processes of one machine alone."""
    path = sqlite_file(settings)
    if path is None:
        return None
    kind = file_system_of(path, MOUNTS.read_text()) if MOUNTS.exists() else "not known"
    if kind in REMOTE:
        advice = "move the file to a disk of this machine, or use PostgreSQL"
        return refusal("file-system", f"{path} lies on {kind}, where SQLite loses data", advice)
    return fine("file-system", kind)


def copies(settings: Settings) -> Finding | None:
    """What migrations left beside the file."""
    path = sqlite_file(settings)
    if path is None:
        return None
    found = list(path.parent.glob(f"{path.name}.before-*"))
    if not found:
        return fine("copies", "none from before a migration")
    size = sum(copy.stat().st_size for copy in found)
    return fine("copies", f"{len(found)} from before migrations, {size} bytes", "delete those that nobody needs")


CHECKS: tuple[Callable[[Settings], Finding | None], ...] = (
    data_dir,
    secret,
    key_file,
    database_file,
    file_system,
    copies,
)


def sqlite_file(settings: Settings) -> Path | None:
    """The database's file; None where it is a server."""
    url = engines.parse(settings.url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def exposure(path: Path) -> str:
    """Why others than the own user may use the file or folder; empty where nobody may, or where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as exc:
        return f"cannot be looked at ({exc.strerror})"
    if found.st_uid != os.geteuid():
        return f"belongs to another user ({found.st_uid}, we are {os.geteuid()})"
    mode = stat.S_IMODE(found.st_mode)
    return f"is open to other users (mode {mode:04o})" if mode & 0o077 else ""


def file_system_of(path: Path, mounts: str) -> str:
    """The type of the file system that holds the path, which need not exist, by a text like that of /proc/mounts."""
    place, kind = Path("/"), "not known"
    real = path.resolve()
    for line in mounts.splitlines():
        _, point, type_, *_ = line.split(" ")
        mounted = Path(point.replace(r"\040", " ").replace(r"\011", "\t").replace(r"\134", "\\"))
        if real.is_relative_to(mounted) and len(mounted.parts) >= len(place.parts):  # the last one covers the others
            place, kind = mounted, type_
    return kind


def _closing(path: Path) -> str:
    return f"run: chmod {CLOSED[path.is_dir()]:o} {path} (as the user that the service runs as)"
