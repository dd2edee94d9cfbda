"""The service itself: its name and what it serves, whether it lives and is ready, its metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app import __version__
from app.errors import Unavailable
from app.http.context import Call, State
from app.http.metrics import CONTENT_TYPE, Metrics
from app.http.response import JSON, answer, encoded, not_allowed
from app.http.routes import Endpoint
from app.http.surfaces import PLAIN


def about_routes(metrics: Metrics) -> list[Route]:
    """These need no key, but for `/`, which shows what the caller may read."""
    return [
        Route("/", Endpoint(PLAIN, {"OPTIONS": show_methods, "GET": show_links, "HEAD": show_links}), name="root"),
        Route("/health/live", Open(live), name="live"),
        Route("/health/ready", Open(ready), name="ready"),
        Route("/metrics", Open(_shown(metrics)), name="metrics"),
    ]


class Open:
    """An ASGI application for a path that asks nobody who they are. Takes GET and HEAD, and refuses what else comes
    itself: the router would try the routes of resources.
    """

    def __init__(self, handler: Callable[[Request[State]], Awaitable[Response]]) -> None:
        self.handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise not_allowed(("GET", "HEAD"))
        response = await self.handler(Request(scope, receive, send))
        await response(scope, receive, send)


async def show_links(call: Call) -> Response:
    names = call.service.catalog.readable(call.who.view)
    links = {name: f"{call.surface.prefix}/{name}" for name in names}
    return answer(call, encoded({"name": "Broadsheet", "version": __version__, "links": links}))


async def show_methods(call: Call) -> Response:
    return answer(call, b"", headers={"Allow": "OPTIONS,GET,HEAD"})


async def live(request: Request[State]) -> Response:
    """The process answers. Asks no database."""
    return Response(encoded({"status": "ok"}), headers={"Content-Type": JSON})


async def ready(request: Request[State]) -> Response:
    """The database answers, takes writes and has the newest schema, and the server goes on; else 503."""
    if "stopping" in request.state:
        raise Unavailable("The server is stopping.", code="BRD503", hint="Send requests to another one.", retry_after=5)
    if not await request.state["service"].database.ready():
        raise Unavailable("The database is not reachable, or its schema is not the newest.", retry_after=5)
    return Response(encoded({"status": "ok"}), headers={"Content-Type": JSON})


def _shown(metrics: Metrics) -> Callable[[Request[State]], Awaitable[Response]]:
    async def show_metrics(request: Request[State]) -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return show_metrics
