"""How often accounts may be tried, made and written to: by account, and by address. Refuses with TooMany (429).

The account is counted per address tightly and over all addresses loosely, so that one address alone cannot lock out an
owner who comes from elsewhere; very many can, for an hour. Attempts count before the password is looked at, so that
many at once do not pass together; a right one clears the account's count. Where nobody but this machine is meant to
come, its own addresses are not counted by address, but for wrong passwords. Source: hazards K3, supabase 1.10.
"""

from __future__ import annotations

from app import logs
from app.accounts import events
from app.data.database import Database
from app.data.rate_storage import DatabaseStorage
from app.data.rates import MemoryStorage, Rate, Rates, TooMany, address_key
from app.data.rules import SYSTEM
from app.settings import Settings, is_loopback

MINUTE, HOUR = 60, 3600
PERIOD = 300  # seconds: the one of the limits by address


class Throttle:
    """Counts in memory, or with BROADSHEET_RATE_STORE=database in the database, for several processes."""

    def __init__(self, settings: Settings) -> None:
        rates = settings.accounts.rates
        self._in_database = settings.rate_store == "database"
        self._is_local = settings.is_local
        self._rates: Rates | None = None
        self._here = Rate("sign-in account here", rates.sign_in_account, MINUTE)
        self._here_hour = Rate("sign-in account here hour", rates.sign_in_account_hour, HOUR)
        self._everywhere = Rate("sign-in account", rates.sign_in_everywhere, HOUR)
        self._wrong = Rate("sign-in address", rates.sign_in_address, PERIOD)
        self._token = Rate("token", rates.token, PERIOD)
        self._sign_up = Rate("sign-up", rates.sign_up, PERIOD)
        self._mail = Rate("mail", rates.mail_account, HOUR)
        self._verify = Rate("verify", rates.verify, PERIOD)
        self._anonymous = Rate("anonymous sign-in", rates.anonymous_sign_in, HOUR)
        self._burst = Rate("burst", 1, PERIOD)

    async def sign_in(self, database: Database, account: str) -> None:
        """Counts an attempt on an account, which need not exist."""
        rates, address = self._of(database), _address()
        try:
            await rates.spend(self._wrong, address)
            await rates.spend(self._here, f"{account} {address}")
            await rates.spend(self._here_hour, f"{account} {address}")
            await rates.spend(self._everywhere, account)
        except TooMany:
            await self._note_burst(database, address)
            raise

    async def signed_in(self, database: Database, account: str) -> None:
        """The password was right: the attempt counts against nobody."""
        rates, here = self._of(database), f"{account} {_address()}"
        await rates.spend(self._wrong, _address(), -1)
        for rate, key in ((self._here, here), (self._here_hour, here), (self._everywhere, account)):
            await rates.forgive(rate, key)

    async def token(self, database: Database) -> None:
        await self._by_address(database, self._token)

    async def sign_up(self, database: Database) -> None:
        """A new account, a recovery, a one-time password, a change of an account."""
        await self._by_address(database, self._sign_up)

    async def anonymous(self, database: Database) -> None:
        await self._by_address(database, self._anonymous)

    async def verify(self, database: Database) -> None:
        await self._by_address(database, self._verify)

    async def mail(self, database: Database, account: str) -> None:
        """A mail to this address, which need not be known."""
        await self._of(database).spend(self._mail, account)

    async def _by_address(self, database: Database, rate: Rate) -> None:
        address = logs.address.get()
        if not (self._is_local and address is not None and is_loopback(address)):
            await self._of(database).spend(rate, address_key(address))

    async def _note_burst(self, database: Database, address: str) -> None:
        """One event for one burst of an address."""
        try:
            await self._of(database).spend(self._burst, address)
        except TooMany:
            return
        await events.record_alone(database, SYSTEM, events.Kind.sign_in_failures)

    def _of(self, database: Database) -> Rates:
        if self._rates is None:
            self._rates = Rates(DatabaseStorage(database) if self._in_database else MemoryStorage())
        return self._rates


def _address() -> str:
    return address_key(logs.address.get())
