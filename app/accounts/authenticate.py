"""Who asks, by the keys in the headers `apikey` and `Authorization: Bearer`.

No key and the publishable key are the anonymous caller, the secret key is the service. Anything else is refused, also
when the other header holds a right key: a wrong key is never a downgrade.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers

from app.accounts.keys import KeyHashes, Keys, fingerprint, hash_of
from app.data.database import Database
from app.data.rules import ANONYMOUS, Principal, Role
from app.errors import Unauthorized

LONGEST = 4096  # characters of a credential that are looked at

Authenticate = Callable[[Headers, Database], Awaitable[Principal]]


def key_authenticator(keys: Keys, *, require_key: bool = False) -> Authenticate:
    """The function (headers, database) -> Principal for these keys, of which it keeps only the hashes.

    It raises Unauthorized: PGRST301 for a wrong key, PGRST302 for none where one is required.
    """
    hashes = KeyHashes.of(keys)
    service = Principal(Role.SERVICE, key_id=fingerprint(hashes.secret))

    async def authenticate(headers: Headers, database: Database) -> Principal:
        given = credentials(headers)
        if not given and require_key:
            raise Unauthorized("Anonymous access is disabled", code="PGRST302", hint="Send a key in the header apikey.")
        found = [_principal(hashes, key, service) for key in given]
        return service if service in found else ANONYMOUS

    return authenticate


def credentials(headers: Headers) -> list[str]:
    """Every key that the request carries. Raises Unauthorized for a header that holds none in the right form."""
    found = headers.getlist("apikey")
    for text in headers.getlist("authorization"):
        scheme, _, key = text.strip().partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("Authorization must be Bearer", hint="Send Authorization: Bearer <key>.")
        found.append(key.strip())
    return found


def _principal(hashes: KeyHashes, key: str, service: Principal) -> Principal:
    hashed = hash_of(key[:LONGEST])
    is_secret = hmac.compare_digest(hashed, hashes.secret)
    is_publishable = hmac.compare_digest(hashed, hashes.publishable)
    if is_secret:
        return service
    if is_publishable:
        return ANONYMOUS
    raise Unauthorized("this key is not known", hint="See the keys with: broadsheet keys")
