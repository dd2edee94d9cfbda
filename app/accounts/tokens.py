"""Access tokens: JWTs that say who, never what. Signed with ES256 by the ring; HS256 only for keys of old projects.

The algorithm is the one of the key that the header names, never the header's own word. Role, activity and the session's
life are asked of the database (`standing.py`). Source: supabase 1.4; hazards K4.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.accounts.signing import ALGORITHM, Pair
from app.data.rules import Role
from app.errors import Unauthorized
from app.settings import Settings

AUDIENCE = "authenticated"
LEEWAY = 30  # seconds that another machine's clock may be off
FOREIGN_HEADERS = ("crit", "jku", "jwk", "x5u", "x5c", "b64")
LEGACY = {"anon": Role.ANONYMOUS, "service_role": Role.SERVICE}
LONGEST = 16 * 1024  # characters of a credential that are looked at
LAST_MOMENT = 2**53  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Claims:
    """What we read of an access token: the user's uid, the session's, and when it ends (seconds since 1970)."""

    user: UUID
    session: UUID
    expires_at: int


def issuer(settings: Settings) -> str:
    return f"{settings.site}/auth/v1"


def signed(pair: Pair, claims: dict[str, Any]) -> str:
    from app.accounts import primitives  # noqa: PLC0415  # heavy, and not needed before

    assert pair.private is not None
    return primitives.signed(claims, pair.private, ALGORITHM, pair.kid)


def header_of(token: str) -> dict[str, Any]:
    """The header, unverified. Raises Unauthorized for what is no JWT or asks for what we do not do."""
    from app.accounts import primitives  # noqa: PLC0415  # as above

    if not token:
        raise refused("Empty JWT is sent in Authorization header")
    if len(token) > LONGEST:
        raise refused("the token is too long")
    if (parts := token.count(".") + 1) != 3:
        raise refused(f"Expected 3 parts in JWT; got {parts}")
    try:
        header = primitives.unverified_header(token)
    except primitives.Unreadable:
        raise refused("JWT couldn't be decoded") from None
    if any(name in header for name in FOREIGN_HEADERS) or str(header.get("typ", "JWT")).upper() != "JWT":
        raise refused("Wrong or unsupported encoding algorithm")
    return header


def read(token: str, pair: Pair, issuer: str, now: datetime) -> Claims:
    """The claims of an access token. Raises Unauthorized (PGRST301; PGRST303 for one whose time is not now)."""
    claims = _decoded(token, pair.public, ALGORITHM, ("exp", "iat", "sub", "aud", "iss", "session_id"), issuer=issuer)
    _refuse_other_times(claims, now)
    try:
        return Claims(UUID(claims["sub"]), UUID(claims["session_id"]), int(claims["exp"]))
    except (ValueError, TypeError, AttributeError):
        raise refused("Parsing claims failed", "PGRST303") from None


def read_legacy(token: str, secret: str, now: datetime) -> Role:
    """The role of a key of an old project: a JWT with `anon` or `service_role` and no user. Raises Unauthorized."""
    header_of(token)
    claims = _decoded(token, secret, "HS256", ("exp", "iat", "role"))
    _refuse_other_times(claims, now)
    role = LEGACY.get(claims["role"]) if isinstance(claims["role"], str) else None
    if role is None or "sub" in claims:
        raise refused("No suitable key or wrong key type")
    return role


def refused(message: str, code: str = "PGRST301") -> Unauthorized:
    return Unauthorized(message, code=code, hint="Sign in again, or send a key in the header apikey.")


def _decoded(token: str, key: Any, algorithm: str, required: tuple[str, ...], issuer: str | None = None) -> Any:
    """Times are looked at by our own clock."""
    from app.accounts import primitives  # noqa: PLC0415  # as above

    audience = AUDIENCE if "aud" in required else None
    try:
        return primitives.verified(token, key, algorithm, required, audience, issuer)
    except primitives.Unreadable:
        raise refused("JWT cryptographic operation failed") from None


def _refuse_other_times(claims: dict[str, Any], now: datetime) -> None:
    seconds = now.timestamp()
    moments: list[Any] = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
    if not all(map(_is_moment, moments)):
        raise refused("Parsing claims failed", "PGRST303")
    exp, iat, nbf = moments
    if exp <= seconds - LEEWAY:
        raise refused("JWT expired", "PGRST303")
    if nbf > seconds + LEEWAY:
        raise refused("JWT not yet valid", "PGRST303")
    if iat > seconds + LEEWAY:
        raise refused("JWT issued at future", "PGRST303")


def _is_moment(value: Any) -> bool:
    """A number of seconds; JSON as it is read here also has Infinity and NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LAST_MOMENT
