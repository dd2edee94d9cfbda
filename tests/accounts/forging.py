"""Tokens as somebody makes them who is not the service, or who is and means ill: any header, any claims, any
signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.accounts.people import Account
from tests.accounts.conftest import AUTH, Installation, SignedIn
from tests.conftest import EPOCH

NOW = int(EPOCH.timestamp())
Sign = Callable[[bytes], bytes]
LEFT_OUT = object()  # in place of a field that is not to be there


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def es256(private: Any) -> Sign:
    """r and s side by side, as JWS has them."""

    def sign(content: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(content, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def hs256(secret: bytes) -> Sign:
    return lambda content: hmac.digest(secret, content, hashlib.sha256)


def joined(header: bytes, claims: bytes, sign: Sign) -> str:
    content = f"{encoded(header)}.{encoded(claims)}"
    return f"{content}.{encoded(sign(content.encode()))}"


@dataclass(frozen=True, slots=True)
class Forge:
    """Varies a right token: `made(header={...}, claims={...}, sign=...)` has other fields than that."""

    header: dict[str, Any]
    claims: dict[str, Any]
    sign: Sign
    public: ec.EllipticCurvePublicKey

    def made(
        self, header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None, sign: Sign | None = None
    ) -> str:
        parts = (_text(self.header | (header or {})), _text(self.claims | (claims or {})))
        return joined(*parts, sign or self.sign)

    def raw(self, header: bytes | None = None, claims: bytes | None = None) -> str:
        """Signed rightly, whatever it says."""
        return joined(header or _text(self.header), claims or _text(self.claims), self.sign)

    @property
    def pem(self) -> bytes:
        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def der(self) -> bytes:
        return self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _text(fields: dict[str, Any]) -> bytes:
    return json.dumps({name: value for name, value in fields.items() if value is not LEFT_OUT}).encode()


async def forge_of(here: Installation, account: Account) -> tuple[Forge, SignedIn]:
    """What varies a right token of this user; and that token."""
    signed = await here.sign_in(account)
    pair = await here.authenticate.ring.signer(here.database)
    header = jwt.get_unverified_header(signed.access_token)
    claims: dict[str, Any] = json.loads(decoded(signed.access_token.split(".")[1]))
    return Forge(header, claims, es256(pair.private), pair.public), signed


async def opens(here: Installation, text: str) -> tuple[int, int]:
    """What REST and the account API answer to the bearer of this."""
    headers = {b"authorization": f"Bearer {text}".encode()}
    read = await here.client.get("/posts", headers=headers)
    asked = await here.client.get(f"{AUTH}/user", headers=headers)
    return read.status_code, asked.status_code
