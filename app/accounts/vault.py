"""The secret of an installation, and what is derived from it: encryption of private signing keys, codes that only this
installation can make.

It is BROADSHEET_SECRET, else 32 random bytes that the first run puts into DATA_DIR/secret.key (0600). Who loses it
loses no data: new signing keys are made, and everybody signs in again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import cached_property
from typing import TYPE_CHECKING

from app.accounts.files import write_once
from app.errors import BadSetting
from app.settings import SHORTEST_SECRET, Settings

if TYPE_CHECKING:
    from app.accounts.primitives import Cipher

FILE = "secret.key"


class Vault:
    """Keys for single purposes, derived from one secret. Not shown by repr."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def encrypt(self, text: str) -> str:
        return self._cipher.encrypt(text)

    def decrypt(self, text: str) -> str | None:
        """None for what another secret has encrypted."""
        return self._cipher.decrypt(text)

    def code(self, *parts: str) -> bytes:
        """32 bytes that only the holder of the secret can tell from these texts (HMAC-SHA256)."""
        return hmac.digest(self._codes, "\0".join(parts).encode(), "sha256")

    @cached_property
    def _cipher(self) -> Cipher:
        from app.accounts.primitives import Cipher  # noqa: PLC0415  # heavy, and not needed before

        return Cipher(self._derived("signing keys"))

    @cached_property
    def _codes(self) -> bytes:
        return self._derived("codes")

    def _derived(self, purpose: str) -> bytes:
        from app.accounts import primitives  # noqa: PLC0415  # as above

        return primitives.derived(self._secret, f"broadsheet {purpose}")


def load_vault(settings: Settings) -> Vault:
    """Makes the secret of a first run. Raises BadSetting where its file cannot be read or made."""
    if settings.secret:
        return Vault(settings.secret.encode())
    path = settings.data_dir / FILE
    try:
        if not path.exists():
            write_once(path, secrets.token_hex(SHORTEST_SECRET).encode() + b"\n")
        secret = path.read_bytes().strip()
    except OSError as exc:
        raise BadSetting(f"the secret in {path} cannot be read or made: {exc.strerror}") from None
    if len(secret) < SHORTEST_SECRET:
        raise BadSetting(f"{path} holds no secret of {SHORTEST_SECRET} bytes: put it back from a copy, or remove it")
    return Vault(secret)


def hash_of(token: str) -> str:
    """What is kept of a random token or key: its SHA-256, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()
