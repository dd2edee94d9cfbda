"""Passwords: which are accepted, and their argon2id hashes. No password ever stands in a message, a log or a revision.

Hashing takes some 25 ms of a core and 19 MiB: at most two at a time, in threads, so that loop and memory stay free.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from datetime import datetime

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.data.rules import ADMINS, Owned, Pairs, Principal, Rule
from app.data.session import AppSession
from app.errors import BadValue

SHORTEST, LONGEST = 8, 72  # bytes after NFKC
HASHES_AT_ONCE = 2

# OWASP's second choice of parameters for argon2id: 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_LIMITER: RunVar[CapacityLimiter] = RunVar("password_limiter")  # one for each event loop

# The most used ones of at least eight characters; the shorter ones are refused for their length.
_COMMON = """
12345678 123456789 1234567890 11111111 00000000 87654321 12341234 123123123 88888888 987654321 147258369
password password1 password12 password123 passw0rd p@ssw0rd p@ssword qwertyui qwertyuiop qwerty123 qwerty12
1q2w3e4r 1q2w3e4r5t 1qaz2wsx q1w2e3r4 zaq12wsx asdfghjk asdfghjkl zxcvbnm1 abcd1234 abc12345 a1b2c3d4 aa123456
iloveyou iloveyou1 sunshine princess football baseball superman batman123 starwars whatever trustno1 letmein1
welcome1 welcome123 changeme changeme1 admin123 administrator adminadmin root1234 test1234 testtest secret123
computer internet michelle jennifer jordan23 liverpool chocolate butterfly broadsheet dragon123 monkey123
"""
COMMON = frozenset(_COMMON.split())


def clean_password(text: object) -> str:
    """The password in its one form (NFKC). Raises BadValue for what is no text, too short, too long or common."""
    if not isinstance(text, str):
        raise BadValue("a password is a text", code="22023", hint=f"Send {SHORTEST} to {LONGEST} bytes of text.")
    password = unicodedata.normalize("NFKC", text)
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise BadValue(
            "a password cannot hold lone surrogates", code="22023", hint="Send valid Unicode text."
        ) from None
    if not SHORTEST <= size <= LONGEST:
        hint = f"Send {SHORTEST} to {LONGEST} bytes; a letter outside ASCII takes two to four."
        raise BadValue(f"a password has {SHORTEST} to {LONGEST} bytes, not {size}", code="22023", hint=hint)
    if password.casefold() in COMMON:
        raise BadValue("this password is one of the most common", code="22023", hint="Send one that is hard to guess.")
    return password


async def hash_password(text: str) -> str:
    """The argon2id hash of an acceptable password. Raises BadValue."""
    return await to_thread.run_sync(_HASHER.hash, clean_password(text), limiter=_limiter())


async def verify(text: str, hashed: str) -> bool:
    """Whether this is the password of the hash; False for a hash that cannot be read."""
    return await to_thread.run_sync(_verify, unicodedata.normalize("NFKC", text), hashed, limiter=_limiter())


def with_password(rule: Rule) -> Rule:
    """A rule of users with the write-only field `password`, kept as a hash in the one-to-one table of credentials."""

    async def resolve(session: AppSession, pairs: Pairs, who: Principal, now: datetime) -> None:
        await rule.resolve(session, pairs, who, now)
        for _, values in pairs:
            if "password" in values:
                hashed = await hash_password(values["password"])
                values["password"] = {"hashed_password": hashed, "changed_at": now}

    extra = {**rule.extra, "password": (Owned("credentials"), ADMINS)}
    return dataclasses.replace(rule, extra=extra, resolve=resolve)


def _verify(text: str, hashed: str) -> bool:
    try:
        return _HASHER.verify(hashed, text)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


def _limiter() -> CapacityLimiter:
    try:
        return _LIMITER.get()
    except LookupError:
        limiter = CapacityLimiter(HASHES_AT_ONCE)
        _LIMITER.set(limiter)
        return limiter
