"""create_app: settings and a catalog -> an ASGI application. Knows the domain by its defaults, alone in this layer.

app = create_app(Settings.from_env())                              # Broadsheet
app = create_app(settings, catalog=LIBRARY, authenticate=...)      # another application on the same machinery
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypedDict

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.accounts import events
from app.accounts.service import Accounts
from app.accounts.wire.described import account_description
from app.accounts.wire.routes import account_routes
from app.actions import ACTIONS
from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rates import MemoryStorage, Rates
from app.http.about import about_routes
from app.http.allowance import Allowance
from app.http.batch import batch_routes
from app.http.context import Authenticate, BeforeWrite, Confirm, RecordReads, Service, State
from app.http.metrics import Metrics
from app.http.middleware import Front, Names
from app.http.openapi.columns import Schema
from app.http.openapi.routes import openapi_routes
from app.http.rating import RequestRates
from app.http.recall import Plans
from app.http.routes import resource_routes
from app.http.routing import Routes
from app.http.rpc import rpc_routes
from app.http.surfaces import SURFACES, Surface
from app.query.compiler import Compiler
from app.query.functions import Actions
from app.resources import CATALOG, open_database
from app.settings import Settings

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "HEAD")
EXPOSED = (  # what a browser lets a page of another origin read
    *("Content-Encoding", "Content-Location", "Content-Range", "Content-Type", "Date", "Location", "Range-Unit"),
    *("ETag", "Link", "Preference-Applied", "Proxy-Status", "Retry-After", "Server-Timing", "X-Request-Id"),
    *("RateLimit", "RateLimit-Policy", "X-Supabase-Api-Version", "X-Total-Count", "X-Sb-Error-Code"),
    "Idempotent-Replayed",
)
PREFLIGHT = 86400  # seconds that a browser may remember what is allowed


def create_app(
    settings: Settings,
    *,
    catalog: Catalog = CATALOG,
    actions: Actions | None = None,
    authenticate: Authenticate | None = None,
    routes: Sequence[BaseRoute] = (),
    described: Sequence[Schema] = (),
    database: Database | None = None,
) -> Starlette:
    """`actions` are what `/rpc` serves: ours for our catalog, for another none unless given. `routes` come before those
    of the resources, and `described` are parts of an OpenAPI document that describe them. A `database` that is given
    must be open, and stays so; else the application opens and closes its own. Callers are known by our accounts, unless
    `authenticate` is given; the account API is there for our catalog. Raises BadSetting where the keys or the secret
    cannot be read.
    """
    accounts = Accounts(settings) if authenticate is None else None
    if actions is None:
        actions = ACTIONS if catalog is CATALOG else {}
    if accounts is not None and catalog is CATALOG:
        routes = [*account_routes(accounts), *routes]
        described = [account_description(key_needed=settings.require_key), *described]
    metrics = Metrics()
    hooks = _hooks(settings, accounts, authenticate)
    own = [route for surface in SURFACES for route in surface_routes(surface, actions)]
    app = Starlette()
    app.router = Routes(
        [*about_routes(metrics), *openapi_routes(catalog, settings, actions, described), *routes, *own],
        _Lifespan(settings, catalog, hooks, metrics, database),
    )
    app.middleware_stack = _around(app.router, settings, metrics)
    return app


def surface_routes(surface: Surface, actions: Actions) -> list[Route]:
    """Those of resources last: their paths match everything."""
    return [*batch_routes(surface), *rpc_routes(actions, surface), *resource_routes(surface)]


def _around(app: ASGIApp, settings: Settings, metrics: Metrics) -> ASGIApp:
    """All layers. Forwarded headers are believed of the proxies that are named, and of nobody else."""
    cors = CORSMiddleware(
        app,
        allow_origins=settings.origins or ["*"],
        allow_credentials=bool(settings.origins),
        allow_methods=METHODS,
        allow_headers=["*"],
        expose_headers=EXPOSED,
        max_age=PREFLIGHT,
    )
    names = Names(settings.allowed_hosts)
    front = Front(app, metrics, names=names, cors=cors, timing=settings.server_timing)
    if not settings.trusted_proxies:
        return front
    return ProxyHeadersMiddleware(front, trusted_hosts=list(settings.trusted_proxies))  # type: ignore[arg-type, return-value]


class _Hooks(TypedDict):
    """What a Service asks of those who know the callers."""

    authenticate: Authenticate
    confirm: Confirm | None
    before_write: BeforeWrite | None
    record_reads: RecordReads
    rates: RequestRates


def _hooks(settings: Settings, accounts: Accounts | None, authenticate: Authenticate | None) -> _Hooks:
    found = authenticate if accounts is None else accounts.authenticate
    assert found is not None
    rates = settings.accounts.rates
    return _Hooks(
        authenticate=found,
        confirm=None if accounts is None else accounts.confirm,
        before_write=None if accounts is None else accounts.before_write,
        record_reads=events.record_foreign_rows,
        rates=RequestRates(
            Rates(MemoryStorage()), rates.anonymous, rates.signed_in, count_loopback=not settings.is_local
        ),
    )


class _Lifespan:
    """Opens the database when the server starts, closes it when it stops, and hands it to every request."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        hooks: _Hooks,
        metrics: Metrics,
        database: Database | None,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.hooks = hooks
        self.metrics = metrics
        self.database = database

    @asynccontextmanager
    async def __call__(self, app: Starlette) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack:
            database = self.database
            if database is None:
                database = await stack.enter_async_context(open_database(self.settings, self.catalog))
            limits = self.settings.limits
            plans, compiler = Plans(limits), Compiler(self.catalog, database.dialect, limits)
            self.metrics.watch(database, lambda: plans.sizes() | compiler.sizes())
            service = Service(
                self.settings,
                self.catalog,
                database,
                compiler,
                plans=plans,
                allowance=Allowance(limits.new_shapes, limits.shapes),
                **self.hooks,
            )
            yield State(service=service)
            await service.batches.settled()
            await service.groups.settled()
