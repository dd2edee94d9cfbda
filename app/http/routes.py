"""The routes of resources, the same for both surfaces.

An Endpoint checks the URL, finds out who asks, and calls the handler of the method.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.data import failpoints
from app.data.catalog import Resource
from app.data.failpoints import Point
from app.data.rules import ANONYMOUS, Principal
from app.data.session import AppSession
from app.errors import Unauthorized
from app.http import changing, creating, history, items, reading, restoring
from app.http.context import Call, Service, State, trace_of
from app.http.plans import invalid_path, refuse_reserved, resource_of
from app.http.preferences import zone_of
from app.http.request import Incoming, check_url, profile_of
from app.http.response import allowed, answer, not_allowed
from app.http.surfaces import Surface
from app.query.values import ZONE

Handler = Callable[[Call], Awaitable[Response]]


def resource_routes(surface: Surface) -> list[Route]:
    """`/{resource}`, and where the surface has items, `/{resource}/{id}` and what is below it."""
    path = f"{surface.prefix}/{{resource}}"
    routes = [Route(path, Endpoint(surface, COLLECTION), name=f"{surface.name}_collection")]
    if surface.items:
        for name, (tail, handlers) in BELOW.items():
            routes.append(Route(f"{path}{tail}", Endpoint(surface, handlers), name=f"{surface.name}_{name}"))
    return routes


class Endpoint:
    """An ASGI application for one route; `handlers` has its methods. `batched` ones may be asked for in a batch."""

    def __init__(self, surface: Surface, handlers: Mapping[str, Handler], *, batched: bool = True) -> None:
        self.surface = surface
        self.handlers = handlers
        self.allow = tuple(handlers)
        self.batched = batched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.respond(Incoming(scope, receive, send))
        if failpoints.ON:
            await failpoints.reach(Point.SENDING)
        await response(scope, receive, send)

    async def respond(self, request: Request[State]) -> Response:
        scope = request.scope
        check_url(scope, service_of(scope).settings.limits.url)
        trace = trace_of(scope)
        who = await _who(request)
        scope["broadsheet.who"] = who
        trace.role = who.role.value
        trace.mark("authenticate")
        return await self.handled(request, who, None)

    async def handled(self, request: Request[State], who: Principal, unit: AppSession | None) -> Response:
        """The answer to a caller who is known; in the unit of work of a batch, if there is one."""
        scope, headers, method = request.scope, request.headers, request.scope["method"]
        service = service_of(scope)
        if unit is not None:
            check_url(scope, service.settings.limits.url)
        if "resource" in scope["path_params"]:
            refuse_reserved(scope["path_params"]["resource"])
        profile_of(headers, method)
        handler = self.handlers.get(method)
        if handler is None:
            raise not_allowed(self.allow)
        zone = ZONE.set(zone_of(headers))
        try:
            return await handler(Call(request, service, self.surface, who, trace_of(scope), unit))
        finally:
            ZONE.reset(zone)


def service_of(scope: Scope) -> Service:
    found: Service = scope["state"]["service"]
    return found


async def _who(request: Request[State]) -> Principal:
    headers = request.headers
    if request.method == "OPTIONS" and "apikey" not in headers and "authorization" not in headers:
        return ANONYMOUS
    service = service_of(request.scope)
    try:
        who = await service.authenticate(headers, service.database)
    except Unauthorized:
        await _count(service, request, None)
        raise
    await _count(service, request, who)
    return who


async def _count(service: Service, request: Request[State], who: Principal | None) -> None:
    if service.rates is not None:
        await service.rates.count(request.scope, who)


# ---- OPTIONS --------------------------------------------------------------------------------------------------------


async def show_collection_methods(call: Call) -> Response:
    resource = resource_of(call)
    return _methods(call, [method for method in COLLECTION if _has(resource, method)])


async def show_item_methods(call: Call) -> Response:
    resource = resource_of(call)
    if len(resource.key) != 1:
        raise invalid_path()
    return _methods(call, [method for method in ITEM if _has(resource, method)])


async def show_history_methods(call: Call) -> Response:
    history.revised_of(call)
    return _methods(call, ["OPTIONS", "GET", "HEAD"])


async def show_version_methods(call: Call) -> Response:
    """Of what sets a row to one of its versions."""
    methods = ["OPTIONS"]
    return _methods(call, [*methods, "POST"] if _has(history.revised_of(call), "PATCH") else methods)


async def show_restore_methods(call: Call) -> Response:
    restoring.removable_of(call)
    return _methods(call, ["OPTIONS", "POST"])


def _has(resource: Resource, method: str) -> bool:
    """Whether anybody may use this method on the table's rows."""
    if method in ("PUT", "PATCH", "DELETE") and len(resource.key) != 1:
        return False
    if method == "DELETE":
        return bool(resource.rule.removes)
    if method == "POST":
        return bool(resource.rule.inserts)
    return method not in ("PUT", "PATCH") or any(column.write for column in resource.rule.columns.values())


def _methods(call: Call, methods: list[str]) -> Response:
    """Needs no key. A browser's preflight never comes here."""
    headers = {"Allow": allowed(methods)}
    if "origin" not in call.headers:
        headers["Access-Control-Allow-Origin"] = "*"
    return answer(call, b"", headers=headers)


COLLECTION: dict[str, Handler] = {
    "OPTIONS": show_collection_methods,
    "GET": reading.read_page,
    "HEAD": reading.read_page,
    "POST": creating.create,
    "PUT": creating.put,
    "PATCH": changing.change_matching,
    "DELETE": changing.delete_matching,
}
ITEM: dict[str, Handler] = {
    "OPTIONS": show_item_methods,
    "GET": reading.read_item,
    "HEAD": reading.read_item,
    "PUT": items.replace,
    "PATCH": items.change,
    "DELETE": items.delete,
}
REVISIONS: dict[str, Handler] = {
    "OPTIONS": show_history_methods,
    "GET": history.read_revisions,
    "HEAD": history.read_revisions,
}
VERSION: dict[str, Handler] = {
    "OPTIONS": show_history_methods,
    "GET": history.read_version,
    "HEAD": history.read_version,
}
RESTORE_VERSION: dict[str, Handler] = {"OPTIONS": show_version_methods, "POST": restoring.restore_version}
RESTORE: dict[str, Handler] = {"OPTIONS": show_restore_methods, "POST": restoring.restore_row}
BELOW = {
    "item": ("/{id}", ITEM),
    "revisions": ("/{id}/revisions", REVISIONS),
    "version": ("/{id}/revisions/{number}", VERSION),
    "restore_version": ("/{id}/revisions/{number}/restore", RESTORE_VERSION),
    "restore": ("/{id}/restore", RESTORE),
}
