"""How many requests a caller may make in a minute. Refuses with 429 (BRD429) what comes above.

The peer's address is the server's own (`scope["client"]`), whatever a header says: a trusted proxy's word has been put
there before. Counted in memory whatever the account limits use: a write for each read would cost more than the read.
"""

from __future__ import annotations

from starlette.types import Scope

from app.data.rates import Left, Rate, Rates, TooMany, address_key
from app.data.rules import Principal, Role

WINDOW = 60  # seconds
POLICY = b"default"  # its name in the headers
UNCOUNTED = frozenset({Role.SERVICE, Role.SYSTEM})


class RequestRates:
    """`anonymous` requests a minute by address without a token, `signed_in` by user or key and address; 0 is no limit.

    Loopback peers count only where `count_loopback` says so: with a proxy in front every caller may be one.
    """

    def __init__(self, rates: Rates, anonymous: int, signed_in: int, *, count_loopback: bool) -> None:
        self._rates = rates
        self._anonymous = Rate("requests", anonymous, WINDOW)
        self._signed_in = Rate("requests-signed-in", signed_in, WINDOW)
        self._count_loopback = count_loopback

    async def count(self, scope: Scope, who: Principal | None) -> None:
        """Notes in the scope what is left. `who` is None where authentication failed. Raises TooMany."""
        if who is not None and who.role in UNCOUNTED:
            return
        client = scope.get("client")  # None on a Unix socket
        address = client[0] if client else None
        key = address_key(address)
        if not self._count_loopback and (key.startswith("127.") or address == "::1"):
            return
        rate = self._anonymous
        if who is not None and who.role is not Role.ANONYMOUS:
            name = f"key {who.key_id}" if who.user_id is None else f"user {who.user_id}"
            rate, key = self._signed_in, f"{name} at {key}"
        try:
            scope["broadsheet.rate"] = await self._rates.spend(rate, key)
        except TooMany as refusal:
            scope["broadsheet.rate"] = refusal.left
            raise


def rate_headers(left: Left | None) -> list[tuple[bytes, bytes]]:
    """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11, 3 and 4), none without a limit."""
    if left is None or not left.limit:
        return []
    return [
        (b"ratelimit-policy", b'"%b";q=%d;w=%d' % (POLICY, left.limit, WINDOW)),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (POLICY, left.remaining, left.reset)),
    ]
