"""Who asks in these tests: callers with real keys and tokens, as they get them from the service.

headers = await KINDS["author"].headers(installation)
"""

from __future__ import annotations

from dataclasses import dataclass

from app.accounts import api_keys
from app.data.rules import SYSTEM
from app.models import KeyKind
from tests.accounts.conftest import Installation
from tests.query.asks import Caller

PASSWORD = "correct horse battery"
Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to come in. `sees` is whom the rules see; `scopes` narrow a key, `keyed` asks by a key instead of a
    token.
    """

    name: str
    sees: Caller
    keyed: bool = False
    scopes: frozenset[str] | None = None

    @property
    def email(self) -> str:
        return f"caller{self.sees.me}@example.org"

    async def headers(self, here: Installation) -> Headers:
        """Signs in, or makes a key."""
        if self.keyed and self.sees.me < 0:
            return {"apikey": here.keys.publishable}
        if self.keyed:
            return {"apikey": await self._made_key(here)}
        if self.sees.me < 0:
            return {}
        entered = await here.enter(self.email, PASSWORD)
        assert entered.status_code == 200, entered.text
        return {"apikey": here.keys.publishable, "authorization": f"Bearer {entered.json()['access_token']}"}

    async def _made_key(self, here: Installation) -> str:
        async with here.database.writing(SYSTEM) as session:
            return await api_keys.create(session, self.name, KeyKind.USER, user_id=self.sees.me, scopes=self.scopes)


NOBODY, MEMBER, AUTHOR = Caller("anonymous", -1), Caller("member", 2), Caller("author", 1)
OF_POSTS = frozenset({"posts:write", "rpc/search"})
KINDS = {
    kind.name: kind
    for kind in (
        Kind("nobody", NOBODY),
        Kind("publishable key", NOBODY, keyed=True),
        Kind("member", MEMBER),
        Kind("author", AUTHOR),
        Kind("author's key", AUTHOR, keyed=True),
        Kind("scoped key", AUTHOR, keyed=True, scopes=OF_POSTS),
    )
}
