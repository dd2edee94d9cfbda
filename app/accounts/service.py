"""Accounts: the one object that holds what accounts need while the service runs, and what HTTP asks of them.

`create_app` makes it where no other `authenticate` is given, and hands `authenticate`, `confirm` and `before_write` on.
"""

from __future__ import annotations

from dataclasses import replace

from app.accounts import api_keys, standing
from app.accounts.authenticate import Authenticator
from app.accounts.passwords import NewPassword, hash_password
from app.accounts.registration import PASSWORD
from app.accounts.throttle import Throttle
from app.accounts.vault import Vault
from app.data.catalog import Resource
from app.data.database import Database
from app.data.rules import Principal, Role, Values
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import BroadsheetError, Forbidden
from app.models import User, UserRole
from app.settings import Settings


class Accounts:
    """One for an application. Raises BadSetting where the keys or the secret cannot be read."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.authenticate = Authenticator(settings)
        self.throttle = Throttle(settings)

    @property
    def vault(self) -> Vault:
        return self.authenticate.vault

    @property
    def new_role(self) -> UserRole:
        """What who joins becomes."""
        return UserRole(self.settings.accounts.sign_up_role)

    @staticmethod
    def confirm(session: AppSession, who: Principal) -> Steps[None] | None:
        """Inside the transaction of a write: whether its caller may still act. Nothing is asked of those who are no
        users. Raises Unauthorized, Forbidden.
        """
        if who.user_id is None:
            return None
        if who.session is not None:
            return standing.confirm(session, who)
        return None if who.key_id is None else api_keys.confirm(session, who)

    async def before_write(
        self, resource: Resource, rows: list[Values], who: Principal, database: Database, *, new: bool, batched: bool
    ) -> None:
        """Before the unit of work of a write by HTTP: who registers is counted, and passwords are hashed here, where
        nobody waits for it with a lock. Raises Forbidden where sign-up is closed, BadValue, TooMany, Busy.
        """
        if resource.model is not User:
            return
        joins = new and who.view is not Role.ADMIN
        if joins and not self.settings.sign_up_open:
            raise Forbidden(f"permission denied for table {resource.name}")
        if joins and self.settings.accounts.confirm_email:  # where nobody shall learn whose address is known
            raise Forbidden("register with POST /auth/v1/signup", hint="It sends the mail that confirms the address.")
        if (joins and (batched or len(rows) > 1)) or (batched and any(PASSWORD in row for row in rows)):
            hint = "Register one user with each request, outside of batches."
            raise BroadsheetError("Feature not implemented", code="PGRST127", hint=hint)
        if joins:
            await self.throttle.sign_up(database)
        for row in rows:
            if PASSWORD in row:
                row[PASSWORD] = await self.new_password(row[PASSWORD], joins=joins)

    async def new_password(self, text: object, *, joins: bool) -> NewPassword:
        """A password that fits the settings, hashed; with what they say of who `joins`. Raises BadValue, Busy."""
        accounts = self.settings.accounts
        accepted = await hash_password(text, accounts.password_bytes)
        if not joins:
            return accepted
        return replace(accepted, role=self.new_role, unconfirmed=accounts.confirm_email)
