"""Who asks, by the headers `apikey` and `Authorization: Bearer`. Source: supabase 1.7, dialect 1.22.

No key and a publishable key are the anonymous caller, a secret key is the service, a key of a user is that user. A
Bearer that is none of our keys is a user's access token, and wins. Whatever is given must be right: a wrong key or
token is refused, also beside a right one, and never a downgrade.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers

from app.accounts.api_keys import ApiKeys
from app.accounts.keys import FirstKeys, fingerprint
from app.accounts.signing import KeyRing
from app.accounts.standing import Standings
from app.accounts.tokens import LONGEST, Claims, header_of, issuer, read, read_legacy, refused
from app.accounts.vault import hash_of, load_vault
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, Principal, Role
from app.errors import Unauthorized
from app.query.driver import Lru
from app.settings import Settings

TOKENS = 4096  # access tokens whose signature need not be checked again
PREFIX = "sb_"


class Authenticator:
    """Knows the keys and the ring of one installation. Raises BadSetting where its files cannot be read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.vault = load_vault(settings)
        self.ring = KeyRing(self.vault)
        self.standings = Standings()
        self._first = FirstKeys(settings.data_dir)
        self._api_keys = ApiKeys()
        self._verified: Lru[tuple[str, Claims]] = Lru(TOKENS)

    async def __call__(self, headers: Headers, database: Database) -> Principal:
        """Raises Unauthorized: PGRST301 for what is wrong, PGRST302 for nothing where a key is required, PGRST303 for a
        token whose time is over.
        """
        keys, bearers = credentials(headers) if "apikey" in headers or "authorization" in headers else ((), ())
        if not keys and not bearers:
            if self._settings.require_key:
                hint = "Send a key in the header apikey."
                raise Unauthorized("Anonymous access is disabled", code="PGRST302", hint=hint)
            return ANONYMOUS
        found = [await self.key(text, database) for text in keys]
        for text in bearers:
            if text not in keys:
                found.append(await self._bearer(text, database))
        return max(found, key=_rank)

    async def _bearer(self, text: str, database: Database) -> Principal:
        if self.is_key(text):
            return await self.key(text, database)
        return await self.standings.principal(await self.token(text, database), database)

    def is_key(self, text: str) -> bool:
        """Whether this is meant for a key, ours or one of an old project; else it is an access token."""
        return text.startswith(PREFIX) or (bool(self._settings.jwt_secret) and _is_legacy(text))

    async def key(self, text: str, database: Database) -> Principal:
        """Raises Unauthorized."""
        if self._settings.jwt_secret and text.count(".") == 2:
            role = read_legacy(text, self._settings.jwt_secret, database.clock())
            return ANONYMOUS if role is Role.ANONYMOUS else SERVICE
        if len(text) <= LONGEST:
            hashed, first = hash_of(text), self._first.hashes
            if hmac.compare_digest(hashed, first.secret):
                return Principal(Role.SERVICE, key_id=fingerprint(hashed))
            if hmac.compare_digest(hashed, first.publishable):
                return ANONYMOUS
        return await self._api_keys.principal(text, database)

    async def token(self, text: str, database: Database) -> Claims:
        """The claims of an access token whose signature and times are right. Raises Unauthorized."""
        kept = self._verified.hit(text)
        now = database.clock()
        still = kept is not None and kept[1].expires_at > now.timestamp()
        if kept is not None and still and await self.ring.verifier(database, kept[0]) is not None:
            return kept[1]
        header = header_of(text)
        pair = await self.ring.verifier(database, str(header.get("kid")))
        if pair is None:
            raise refused("No suitable key or wrong key type")
        claims = read(text, pair, issuer(self._settings), now)
        self._verified.store(text, (pair.kid, claims))
        return claims


def credentials(headers: Headers, *, strict: bool = True) -> tuple[list[str], list[str]]:
    """The keys and the bearers of a request. Raises Unauthorized for another scheme, unless that is not `strict`."""
    bearers = []
    for text in headers.getlist("authorization"):
        scheme, _, credential = text.strip().partition(" ")
        if scheme.lower() == "bearer":
            bearers.append(credential.strip())
        elif strict:
            raise Unauthorized("Authorization must be Bearer", hint="Send Authorization: Bearer <key>.")
    return headers.getlist("apikey"), bearers


def _rank(who: Principal) -> int:
    """Who signed in is more than a key, and of two keys the one that opens more counts."""
    if who.session is not None:
        return 4
    if who.user_id is not None:
        return 3
    return {Role.ANONYMOUS: 0, Role.SERVICE: 2}.get(who.role, 1)


def _is_legacy(text: str) -> bool:
    """Whether the header says HS256, as only keys of old projects do here."""
    try:
        return header_of(text).get("alg") == "HS256"
    except Unauthorized:
        return False
