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
from starlette.routing import BaseRoute

from app.accounts.authenticate import key_authenticator
from app.accounts.keys import load_keys
from app.data.catalog import Catalog
from app.data.database import Database
from app.errors import BroadsheetError
from app.http.about import about_routes
from app.http.context import Authenticate, Service, State
from app.http.metrics import Metrics
from app.http.middleware import FaultBarrier, RequestLog
from app.http.response import render_http, render_refusal
from app.http.routes import resource_routes
from app.http.surfaces import SURFACES
from app.query.compiler import Compiler
from app.query.driver import Lru
from app.resources import CATALOG
from app.settings import Settings

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "HEAD")
EXPOSED = (  # what a browser lets a page of another origin read
    *("Content-Encoding", "Content-Location", "Content-Range", "Content-Type", "Date", "Location", "Range-Unit"),
    *("ETag", "Preference-Applied", "Proxy-Status", "Retry-After", "X-Request-Id"),
)
PREFLIGHT = 86400  # seconds that a browser may remember what is allowed


def create_app(
    settings: Settings,
    *,
    catalog: Catalog = CATALOG,
    authenticate: Authenticate | None = None,
    routes: Sequence[BaseRoute] = (),
    database: Database | None = None,
) -> Starlette:
    """`routes` come before those of the resources. A `database` that is given must be open, and stays so; else the
    application opens and closes its own. Raises BadSetting where the keys cannot be read.
    """
    if authenticate is None:
        authenticate = key_authenticator(load_keys(settings.data_dir), require_key=settings.require_key)
    metrics = Metrics()
    lifespan = _Lifespan(settings, catalog, authenticate, metrics, database)
    own = [route for surface in SURFACES for route in resource_routes(surface)]
    app = Starlette(
        routes=[*about_routes(metrics), *routes, *own],
        lifespan=lifespan,
        middleware=[
            Middleware(RequestLog, metrics=metrics),
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
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
            compiler = Compiler(self.catalog, database.dialect, self.settings.limits)
            yield State(
                service=Service(
                    self.settings, self.catalog, database, compiler, self.authenticate, Lru(self.settings.limits.shapes)
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
