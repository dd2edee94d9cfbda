"""The two keys of an installation: the publishable one opens nothing, the secret one everything.

They are made at the first start and stand in clear in DATA_DIR/keys.json, readable by its owner alone. A running
service keeps only their SHA-256 hashes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import string
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from app.errors import BadSetting

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM, CHECKSUM = 22, 8  # characters; 22 of base 62 are 131 bits
FILE = "keys.json"


@dataclass(frozen=True, slots=True)
class Keys:
    """Both keys in clear. Not shown by repr."""

    publishable: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyHashes:
    """What a service keeps of its keys."""

    publishable: bytes
    secret: bytes

    @classmethod
    def of(cls, keys: Keys) -> KeyHashes:
        return cls(hash_of(keys.publishable), hash_of(keys.secret))


def load_keys(data_dir: Path) -> Keys:
    """The keys of this data directory, made if there are none. Two processes that start at once get the same ones.

    Raises BadSetting where the file cannot be read or written.
    """
    path = data_dir / FILE
    try:
        if not path.exists():
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_once(path, Keys(make_key("publishable"), make_key("secret")))
        return _read(path)
    except OSError as exc:
        raise BadSetting(f"the keys in {path} cannot be read or made: {exc.strerror}") from None


def make_key(kind: str) -> str:
    """A new `sb_<kind>_<22 random characters>_<8 characters of checksum>`."""
    head = f"sb_{kind}_{''.join(secrets.choice(ALPHABET) for _ in range(RANDOM))}"
    return f"{head}_{checksum(head)}"


def checksum(head: str) -> str:
    """Tells a mistyped key from a revoked one, and lets scanners of leaked secrets know a key when they see one."""
    number = int.from_bytes(hashlib.sha256(head.encode()).digest()[:8])
    out = ""
    for _ in range(CHECKSUM):
        number, digit = divmod(number, len(ALPHABET))
        out += ALPHABET[digit]
    return out


def hash_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def fingerprint(hashed: bytes) -> str:
    """What revisions and logs say instead of a key: 16 hexadecimal digits of its hash."""
    return hashed.hex()[:16]


def _write_once(path: Path, keys: Keys) -> None:
    """The file appears complete or not at all, and never in place of another: a hard link refuses an existing name."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}-")  # O_EXCL, mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(vars_of(keys)), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


def vars_of(keys: Keys) -> dict[str, str]:
    """Both keys in clear, for printing and for the file."""
    return {"publishable": keys.publishable, "secret": keys.secret}


def _read(path: Path) -> Keys:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = {}
    for kind in ("publishable", "secret"):
        key = found.get(kind, "")
        head, _, tail = key.rpartition("_")
        if not re.fullmatch(rf"sb_{kind}_[0-9A-Za-z]{{{RANDOM}}}", head) or tail != checksum(head):
            hint = "put it back from a copy, or remove the file to get new keys"
            raise BadSetting(f"{path} holds no {kind} key that is complete: {hint}")
    return Keys(found["publishable"], found["secret"])
