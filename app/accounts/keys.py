"""The two keys of an installation: the publishable one opens nothing, the secret one everything.

They are made at the first start and stand in clear in DATA_DIR/keys.json, readable by its owner alone. A running
service keeps only their SHA-256 hashes, and notices within seconds that the file was replaced. Refuses a damaged file.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from app.accounts import FRESH
from app.accounts.files import replace, write_once
from app.accounts.vault import hash_of
from app.errors import BadSetting

log = logging.getLogger(__name__)

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM, CHECKSUM = 22, 8  # characters; 22 of base 62 are 131 bits
FILE = "keys.json"
KINDS = ("publishable", "secret")


@dataclass(frozen=True, slots=True)
class Keys:
    """Both keys in clear. Not shown by repr."""

    publishable: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyHashes:
    """What a service keeps of its keys."""

    publishable: str
    secret: str

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
            write_once(path, _content(Keys(make_key("publishable"), make_key("secret"))))
        return _read(path)
    except OSError as exc:
        raise BadSetting(f"the keys in {path} cannot be read or made: {exc.strerror}") from None


def replace_keys(data_dir: Path, keys: Keys) -> None:
    """Puts these keys in place of those that are there, at once. The file keeps its owner: an operator who is root
    shall not take it away from the service. Raises BadSetting.
    """
    path = data_dir / FILE
    try:
        before = path.stat()
        replace(path, _content(keys))
        with contextlib.suppress(PermissionError):
            os.chown(path, before.st_uid, before.st_gid)
    except OSError as exc:
        raise BadSetting(f"the keys in {path} cannot be replaced: {exc.strerror}") from None


class FirstKeys:
    """The hashes of both keys, as the file has them. It is looked at when asked, at most every five seconds, and read
    only when it is another file. One that cannot be read leaves the hashes as they were.
    """

    def __init__(self, data_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Makes the keys of a first run. Raises BadSetting."""
        self._data_dir = data_dir
        self._clock = clock
        load_keys(data_dir)
        self._looked = clock()
        self._stamp = self._stamp_now()  # before the read: a replacement in between is seen at the next look
        self._hashes = KeyHashes.of(load_keys(data_dir))
        self._complained = False

    @property
    def hashes(self) -> KeyHashes:
        if self._clock() - self._looked >= FRESH:
            self._looked = self._clock()
            self._look()
        return self._hashes

    def _look(self) -> None:
        try:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._hashes, self._stamp = KeyHashes.of(_read(self._data_dir / FILE)), stamp
            self._complained = False
        except (OSError, BadSetting) as exc:
            if not self._complained:
                log.warning("the keys stay as they were: %s", exc)
            self._complained = True

    def _stamp_now(self) -> tuple[int, int]:
        found = (self._data_dir / FILE).stat()
        return found.st_ino, found.st_mtime_ns


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


def is_complete(key: str, *kinds: str) -> bool:
    """Whether a text has the form of a key of one of these kinds, and its checksum is right."""
    head, _, tail = key.rpartition("_")
    return bool(re.fullmatch(rf"sb_({'|'.join(kinds)})_[0-9A-Za-z]{{{RANDOM}}}", head)) and tail == checksum(head)


def fingerprint(hashed: str) -> str:
    """What revisions and logs say instead of a key: the first 16 digits of its hash."""
    return hashed[:16]


def vars_of(keys: Keys) -> dict[str, str]:
    """Both keys in clear, for printing and for the file."""
    return {"publishable": keys.publishable, "secret": keys.secret}


def _content(keys: Keys) -> bytes:
    return msgspec.json.format(msgspec.json.encode(vars_of(keys)), indent=2) + b"\n"


def _read(path: Path) -> Keys:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = {}
    for kind in KINDS:
        if not is_complete(found.get(kind, ""), kind):
            hint = "put it back from a copy, or remove the file to get new keys"
            raise BadSetting(f"{path} holds no {kind} key that is complete: {hint}")
    return Keys(found["publishable"], found["secret"])
