"""Signing in: the argon2id hashes that Broadsheet keeps, and an HS256 token, after argon2-cffi's "API Reference" and
PyJWT's "Usage Examples". Checking a password takes long: call it in a thread.
"""

from __future__ import annotations

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from bench.peers.environment import LIFETIME, SECRET
from bench.peers.models import now

HASHER = PasswordHasher()


def right(hashed: str, password: str) -> bool:
    try:
        return HASHER.verify(hashed, password)
    except VerificationError:
        return False


def token(user_id: int) -> str:
    return jwt.encode({"sub": str(user_id), "exp": now() + LIFETIME}, SECRET, algorithm="HS256")
