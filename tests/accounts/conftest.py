"""One installation in process, and people who are signed in: their sessions and tokens are made as the service makes
them, without the 25 ms of a password.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx2
import msgspec
import pytest
import supabase_auth.types
from argon2 import PasswordHasher
from sqlalchemy import insert, select, update

from app.accounts import passwords, people, sessions
from app.accounts.authenticate import Authenticator
from app.accounts.keys import Keys, load_keys
from app.accounts.people import Account
from app.accounts.signing import KeyRing
from app.accounts.standing import Standings
from app.accounts.wire import shapes
from app.data.database import Database
from app.data.rules import SERVICE, SYSTEM
from app.http.app import create_app
from app.models import Credentials, Event, PostStatus, Session, User, UserRole
from app.query.fetch import fetch
from app.settings import RateLimits, Settings
from tests.conftest import Clock
from tests.factories import make_post

AUTH = "/auth/v1"
PASSWORD = "correct horse battery"
USERS: Any = User.__table__
SESSIONS: Any = Session.__table__
CREDENTIALS: Any = Credentials.__table__
EVENTS: Any = Event.__table__


@dataclass
class Ticks:
    """The clock by which a service forgets what it remembers."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session with its tokens in clear."""

    account: Account
    uid: UUID
    access_token: str
    refresh_token: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access_token}"}


@dataclass
class Installation:
    """A service, its client, and what it knows of callers."""

    client: httpx2.AsyncClient
    settings: Settings
    database: Database
    authenticate: Authenticator
    ticks: Ticks

    @property
    def keys(self) -> Keys:
        return load_keys(self.settings.data_dir)

    @property
    def secret(self) -> dict[str, str]:
        """Headers of the service."""
        return {"apikey": self.keys.secret}

    async def sign_in(self, account: Account, method: str = "password") -> SignedIn:
        async with self.database.writing(SYSTEM) as session:
            opened = await sessions.begin(session, self.authenticate.vault, account.id, method)
        pair = await self.authenticate.ring.signer(self.database)
        shown = shapes.session_json(account, opened, pair, self.settings, self.database.clock())
        return SignedIn(account, opened.uid, shown["access_token"], opened.refresh_token)

    async def refresh(self, token: object) -> httpx2.Response:
        return await self.client.post(f"{AUTH}/token?grant_type=refresh_token", json={"refresh_token": token})

    async def enter(self, email: str = "ada@example.org", password: str = PASSWORD, **more: Any) -> httpx2.Response:
        body = {"email": email, "password": password}
        return await self.client.post(f"{AUTH}/token?grant_type=password", json=body, **more)

    async def sign_up(self, **body: Any) -> httpx2.Response:
        return await self.client.post(f"{AUTH}/signup", json={"password": PASSWORD} | body)


Installed = Callable[..., AbstractAsyncContextManager[Installation]]


@asynccontextmanager
async def opened(
    settings: Settings, database: Database, *, address: str = "127.0.0.1", **options: Any
) -> AsyncGenerator[Installation]:
    """`address` is the one from which the client comes, `options` are those of `create_app`."""
    app = create_app(settings, database=database, **options)
    async with app.router.lifespan_context(app) as state:
        authenticate = dict(state or {})["service"].authenticate
        ticks = Ticks()
        authenticate.standings = Standings(ticks)
        authenticate.ring = KeyRing(authenticate.vault, ticks)

        async def asgi(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx2.ASGITransport(asgi, client=(address, 50000))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Installation(client, settings, database, authenticate, ticks)


@pytest.fixture
def installed(settings: Settings, database: Database) -> Installed:
    """`installed(confirm_email=True, rates={"token": 3}, more={"production": True})`: settings of accounts by their
    names, their rates, others as `more`.
    """

    @asynccontextmanager
    async def make(
        more: dict[str, Any] | None = None,
        rates: dict[str, int] | None = None,
        options: dict[str, Any] | None = None,
        **changes: Any,
    ) -> AsyncGenerator[Installation]:
        accounts = replace(settings.accounts, rates=RateLimits(**(rates or {})), **changes)
        async with opened(replace(settings, accounts=accounts, **(more or {})), database, **(options or {})) as found:
            yield found

    return make


@pytest.fixture
async def here(installed: Installed) -> AsyncGenerator[Installation]:
    """Set as it comes."""
    async with installed() as found:
        yield found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed with the least that argon2 takes, where it is not their hashing that is tested."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    monkeypatch.setattr(passwords, "DUMMY", hasher.hash("nobody's"))


@pytest.fixture
def hashed(quick: None) -> str:
    """Of PASSWORD."""
    return passwords._HASHER.hash(PASSWORD)


@pytest.fixture
async def ada(database: Database, clock: Clock, hashed: str) -> Account:
    """An author with a password and a confirmed address."""
    return await add(database, "ada", hashed, role="author")


@pytest.fixture
async def draft(database: Database, ada: Account) -> int:
    """Of Ada."""
    async with database.writing(SYSTEM) as session:
        author: Any = await session.get(User, ada.id)
        return (await make_post(session, author, title="Draft", status=PostStatus.DRAFT)).id


@pytest.fixture
async def bob(database: Database, clock: Clock, hashed: str) -> Account:
    """A member."""
    return await add(database, "bob", hashed)


async def add(database: Database, name: str, hashed: str | None = None, **values: Any) -> Account:
    """Somebody with an address, and with a password where its hash is given."""
    given = {"username": name, "email": f"{name}@example.org"} | values
    given["role"] = UserRole(given.get("role", "member"))
    async with database.writing(SYSTEM) as session:
        made = await people.add(session, given)
        if hashed is not None:
            row = {"user_id": made.id, "hashed_password": hashed, "changed_at": session.unit.now}
            await session.execute(insert(CREDENTIALS).values(row))
        return await people.by_id(session, made.id) or made


async def set_user(database: Database, user_id: int, **values: Any) -> None:
    """Past the rules."""
    async with database.writing(SYSTEM) as session:
        await session.execute(update(USERS).where(USERS.c.id == user_id).values(values))


async def users(database: Database, select: str = "username") -> list[Any]:
    """As admins see them, by id; of one column its values."""
    async with database.reading(SERVICE) as session:
        rows: list[dict[str, Any]] = msgspec.json.decode(await fetch(session, f"users?select={select}&order=id"))
    return [row[select] for row in rows] if "," not in select else rows


async def row_of(database: Database, account: Account) -> Any:
    """The user with the credentials' columns, deleted or not."""
    joined = USERS.outerjoin(CREDENTIALS, CREDENTIALS.c.user_id == USERS.c.id)
    query = select(USERS, CREDENTIALS.c.hashed_password, CREDENTIALS.c.changed_at).select_from(joined)
    async with database.reading(SYSTEM) as session:
        return (await session.execute(query.where(USERS.c.id == account.id))).one()


async def sessions_of(database: Database, account: Account) -> set[UUID]:
    async with database.reading(SYSTEM) as session:
        return set((await session.execute(select(SESSIONS.c.uid).where(SESSIONS.c.user_id == account.id))).scalars())


async def events_of(database: Database, kind: str) -> list[Any]:
    async with database.reading(SYSTEM) as session:
        return list((await session.execute(select(EVENTS).where(EVENTS.c.kind == kind).order_by(EVENTS.c.id))).all())


def refusal(response: httpx2.Response) -> tuple[int, str]:
    """Status and code of a refusal by the account API, which has the form of both API versions and is never cached."""
    body = response.json()
    assert {"code", "message", "details", "hint", "error_code", "msg"} <= body.keys(), body
    assert (body["code"], body["message"]) == (body["error_code"], body["msg"])
    assert response.headers["x-sb-error-code"] == body["code"]
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    return response.status_code, body["code"]


def entered(response: httpx2.Response) -> dict[str, Any]:
    """A session, as a client reads it."""
    assert response.status_code == 200, response.text
    supabase_auth.types.Session.model_validate_json(response.content)
    assert PASSWORD not in response.text
    found: dict[str, Any] = response.json()
    return found
