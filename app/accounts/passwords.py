"""Passwords: which are accepted, and their argon2id hashes. No password ever stands in a message, a log or a revision.

Hashing takes some 25 ms of a core and 19 MiB: at most two at a time, and no more than there are cores, in threads, so
that loop and memory stay free, and never inside a unit of work. Who comes when `WAITING` others wait already is told to
come again.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import sys
import unicodedata
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import BadValue, BroadsheetError
from app.models import UserRole

T = TypeVar("T")

SHORTEST, LONGEST = 8, 72  # bytes after NFKC
# Characters that are looked at: NFKC makes one of four at most, and takes minutes for a million marks on one letter.
MOST_NEW, MOST_TRIED = 4 * LONGEST, 1024
MOST_THREADS = 2
# On one core the second thread would cost a seventh of the speed: each fills the cache that the other one needs.
CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
HASHES_AT_ONCE = min(MOST_THREADS, CORES)
WAITING = 64  # callers in line: 0.8 s of work for two threads
MOST_MEMORY, MOST_PASSES, MOST_LANES = 128 * 1024, 10, 8  # KiB; what a hash that is brought along may cost to check

# OWASP's second choice of parameters for argon2id: 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# An executor, whose threads take the next password from its queue by themselves: a limiter would let them wait for the
# loop in between.
_THREADS = ThreadPoolExecutor(HASHES_AT_ONCE, "password")

# Of nobody's password: checked where there is no account, so that both answers take the same time.
DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$YnJvYWRzaGVldGR1bW15IQ$4Ck9q6wQ2dVf3r0R9S7uX1mJc8bN5tLzYhP2aE6gWkU"

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


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password that was accepted and hashed, on its way into a unit of work. Of somebody who registers it brings
    along the new user's `role`, and whether the address is still to be confirmed.
    """

    hashed: str = field(repr=False)
    role: UserRole | None = None
    unconfirmed: bool = False


class WeakPassword(BadValue):
    """`reason` is `length` or `characters`, as the clients of the account API know them."""

    def __init__(self, message: str, reason: str, hint: str) -> None:
        super().__init__(message, code="22023", hint=hint)
        self.reason = reason


class Busy(BroadsheetError):
    """Too many passwords are being checked at this moment."""

    def __init__(self) -> None:
        super().__init__("too many sign-ins at this moment", code="BRD429", status=429, retry_after=1)


def clean_password(text: object, shortest: int = SHORTEST) -> str:
    """The password in its one form (NFKC). Raises BadValue for what is no text, too short, too long or common."""
    if not isinstance(text, str):
        raise BadValue("a password is a text", code="22023", hint=f"Send {shortest} to {LONGEST} bytes of text.")
    if len(text) > MOST_NEW:
        raise _too_long(shortest, f"more than {MOST_NEW} characters")
    password = unicodedata.normalize("NFKC", text)
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise BadValue(
            "a password cannot hold lone surrogates", code="22023", hint="Send valid Unicode text."
        ) from None
    if size > LONGEST:
        raise _too_long(shortest, f"{size}")
    if size < shortest:
        raise WeakPassword(f"a password has {shortest} to {LONGEST} bytes, not {size}", "length", _sizes(shortest))
    if password.casefold() in COMMON:
        raise WeakPassword("this password is one of the most common", "characters", "Send one that is hard to guess.")
    return password


def _too_long(shortest: int, size: str) -> BadValue:
    """Strong, but more than can be kept."""
    return BadValue(f"a password has {shortest} to {LONGEST} bytes, not {size}", code="22023", hint=_sizes(shortest))


def _sizes(shortest: int) -> str:
    return f"Send {shortest} to {LONGEST} bytes; a letter outside ASCII takes two to four."


async def hash_password(text: object, shortest: int = SHORTEST) -> NewPassword:
    """Raises BadValue for a password that is not acceptable, Busy."""
    return NewPassword(await _in_thread(_HASHER.hash, clean_password(text, shortest)))


async def verify(text: str, hashed: str | None) -> bool:
    """Whether this is the password of the hash; False for none and for one that cannot be read, after the same time.
    Raises Busy.
    """
    known = hashed if len(text) <= MOST_TRIED else None
    password = unicodedata.normalize("NFKC", text[:MOST_TRIED])
    same = await _in_thread(_verify, password, DUMMY if known is None else known)
    return same and known is not None


async def rehashed(text: str) -> str:
    """The hash of a password that is known to be right. Raises Busy."""
    return await _in_thread(_HASHER.hash, unicodedata.normalize("NFKC", text))


def needs_rehash(hashed: str) -> bool:
    """Whether it was made with other parameters than ours are now."""
    return _HASHER.check_needs_rehash(hashed)


def accept_hash(hashed: object) -> NewPassword:
    """A hash that was made elsewhere. Raises BadValue for any but argon2id, and for one that takes long to check."""
    hint = "Send an argon2id hash, or the password itself."
    try:
        found = extract_parameters(hashed) if isinstance(hashed, str) and len(hashed) <= 255 else None
    except InvalidHashError:
        found = None
    if found is None or found.type is not Type.ID or not isinstance(hashed, str):
        raise BadValue("the hash of a password must be one of argon2id", code="22023", hint=hint)
    if found.memory_cost > MOST_MEMORY or found.time_cost > MOST_PASSES or found.parallelism > MOST_LANES:
        raise BadValue("this hash would take too long to check", code="22023", hint=hint)
    return NewPassword(hashed)


def same_text(one: str, other: str) -> bool:
    """Compares secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


@dataclass(slots=True)
class Line:
    """Who is in line: `places` were taken by who brings a password, `asked` are hashed or wait for it."""

    places: int = 0
    asked: int = 0


_LINE = Line()


@contextmanager
def place() -> Generator[None]:
    """A place in line for who brings a password, before anything is counted or asked of the database. Raises Busy."""
    if _LINE.places >= HASHES_AT_ONCE + WAITING:
        raise Busy
    _LINE.places += 1
    try:
        yield
    finally:
        _LINE.places -= 1


async def _in_thread(work: Callable[..., T], *arguments: str) -> T:
    if _LINE.asked >= HASHES_AT_ONCE + WAITING:
        raise Busy
    _LINE.asked += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, work, *arguments)
    finally:
        _LINE.asked -= 1


def _verify(text: str, hashed: str) -> bool:
    try:
        return _HASHER.verify(hashed, text)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
