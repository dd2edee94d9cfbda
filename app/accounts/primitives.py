"""What `cryptography` and PyJWT do for accounts: encryption, key pairs, signatures. Nothing else imports them, and this
is imported where the first secret or token is at hand: it takes 30 ms and 9 MB, and who only reads what is public needs
neither.
"""

from __future__ import annotations

import base64
from typing import Any

import jwt
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from jwt.algorithms import ECAlgorithm

Unreadable = jwt.InvalidTokenError
PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


# ---- secrets --------------------------------------------------------------------------------------------------------


def derived(secret: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose (HKDF-SHA256)."""
    return HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(secret)


class Cipher:
    """Encrypts and authenticates (Fernet); `key` is 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def encrypt(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, text: str) -> str | None:
        """None for what another key has encrypted."""
        try:
            return self._fernet.decrypt(text.encode()).decode()
        except InvalidToken:
            return None


# ---- key pairs of P-256 ---------------------------------------------------------------------------------------------


def new_pair() -> tuple[dict[str, Any], str]:
    """The public key as a JWK, the private one as PEM."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return ECAlgorithm.to_jwk(private.public_key(), as_dict=True), pem


def private_key(pem: str) -> PrivateKey:
    loaded = load_pem_private_key(pem.encode(), None)
    assert isinstance(loaded, PrivateKey)
    return loaded


def public_key(jwk: dict[str, Any]) -> PublicKey:
    loaded = ECAlgorithm.from_jwk(jwk)
    assert isinstance(loaded, PublicKey)
    return loaded


# ---- tokens ---------------------------------------------------------------------------------------------------------


def signed(claims: dict[str, Any], key: PrivateKey, algorithm: str, kid: str) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


def unverified_header(token: str) -> dict[str, Any]:
    """Raises Unreadable."""
    header: dict[str, Any] = jwt.get_unverified_header(token)
    return header


def verified(
    token: str,
    key: PublicKey | str,
    algorithm: str,
    required: tuple[str, ...],
    audience: str | None,
    issuer: str | None,
) -> Any:
    """The claims; their times are not looked at. Raises Unreadable."""
    options: Any = {"require": list(required), "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    options["verify_aud"] = audience is not None
    return jwt.decode(token, key, algorithms=[algorithm], options=options, audience=audience, issuer=issuer)
