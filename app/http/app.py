"""create_app: settings and a catalog -> an ASGI application. Knows the domain by its defaults, alone in this layer.

app = create_app(Settings.from_env())                              # Broadsheet
app = create_app(settings, catalog=LIBRARY, authenticate=...)      # another application on the same machinery
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route

from app.accounts.authenticate import key_authenticator
from app.accounts.keys import load_keys
from app.actions import ACTIONS
from app.data.catalog import Catalog
from app.data.database import Database
from app.errors import BroadsheetError
from app.http.about import about_routes
from app.http.allowance import Allowance
from app.http.batch import batch_routes
from app.http.context import Authenticate, Service, State
from app.http.metrics import Metrics
from app.http.middleware import FaultBarrier, RequestLog
from app.http.openapi.routes import openapi_routes
from app.http.response import render_http, render_refusal
from app.http.routes import resource_routes
from app.http.rpc import rpc_routes
from app.http.surfaces import SURFACES, Surface
from app.query.compiler import Compiler
from app.query.driver import Lru
from app.query.functions import Actions
from app.resources import CATALOG
from app.settings import Settings

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "HEAD")
EXPOSED = (  # what a browser lets a page of another origin read
    *("Content-Encoding", "Content-Location", "Content-Range", "Content-Type", "Date", "Location", "Range-Unit"),
    *("ETag", "Link", "Preference-Applied", "Proxy-Status", "Retry-After", "Server-Timing", "X-Request-Id"),
)
PREFLIGHT = 86400  # seconds that a browser may remember what is allowed


def create_app(
    settings: Settings,
    *,
    catalog: Catalog = CATALOG,
    actions: Actions | None = None,
    authenticate: Authenticate | None = None,
    routes: Sequence[BaseRoute] = (),
    database: Database | None = None,
) -> Starlette:
    """`actions` are what `/rpc` serves: ours for our catalog, for another none unless given. `routes` come before those
    of the resources. A `database` that is given must be open, and stays so; else the application opens and closes its
    own. Raises BadSetting where the keys cannot be read.
    """
    if authenticate is None:
        authenticate = key_authenticator(load_keys(settings.data_dir), require_key=settings.require_key)
    if actions is None:
        actions = ACTIONS if catalog is CATALOG else {}
    metrics = Metrics()
    lifespan = _Lifespan(settings, catalog, authenticate, metrics, database)
    own = [route for surface in SURFACES for route in surface_routes(surface, actions)]
    app = Starlette(
        routes=[*about_routes(metrics), *openapi_routes(catalog, settings, actions), *routes, *own],
        lifespan=lifespan,
        middleware=[
            Middleware(RequestLog, metrics=metrics, timing=settings.server_timing),
            Middleware(
                CORSMiddleware,
                allow_origins=settings.origins or ["*"],
                allow_credentials=bool(settings.origins),
                allow_methods=METHODS,
                allow_headers=["*"],
                expose_headers=EXPOSED,
                max_age=PREFLIGHT,
            ),
            Middleware(FaultBarrier),
        ],
        exception_handlers={BroadsheetError: render_refusal, HTTPException: render_http},
    )
    app.router.redirect_slashes = False  # it would build a URL from the caller's Host header
    return app


def surface_routes(surface: Surface, actions: Actions) -> list[Route]:
    """Those of resources last: their paths match everything."""
    return [*batch_routes(surface), *rpc_routes(actions, surface), *resource_routes(surface)]


class _Lifespan:
    """Opens the database when the server starts, closes it when it stops, and hands it to every request."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        authenticate: Authenticate,
        metrics: Metrics,
        database: Database | None,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.authenticate = authenticate
        self.metrics = metrics
        self.database = database

    @asynccontextmanager
    async def __call__(self, app: Starlette) -> AsyncGenerator[State]:
        async with AsyncExitStack() as stack:
            database = self.database
            if database is None:
                database = await stack.enter_async_context(open_database(self.settings, self.catalog))
            self.metrics.watch(database)
            limits = self.settings.limits
            yield State(
                service=Service(
                    self.settings,
                    self.catalog,
                    database,
                    Compiler(self.catalog, database.dialect, limits),
                    self.authenticate,
                    plans=Lru(limits.shapes),
                    allowance=Allowance(limits.new_shapes, limits.shapes),
                )
            )


def open_database(settings: Settings, catalog: Catalog = CATALOG) -> Database:
    """The database that the settings name, to be entered."""
    return Database(
        settings.url,
        catalog,
        pool_size=settings.pool_size,
        limits=settings.limits,
        pooler=settings.pooler,
        migrate_url=settings.migrate_url,
    )
