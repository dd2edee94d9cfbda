"""`/openapi.json`, `/rest/v1/` and `/docs`. A description is made once for each view and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.data.catalog import Catalog
from app.data.rules import Role
from app.errors import BroadsheetError
from app.http.context import Call
from app.http.openapi.audience import Audience
from app.http.openapi.columns import Schema
from app.http.openapi.docs import docs_routes
from app.http.openapi.document import document
from app.http.openapi.swagger import swagger
from app.http.response import JSON, answer, encoded, etag_of, tagged
from app.http.routes import Endpoint
from app.http.surfaces import PLAIN, REST, Surface
from app.query.functions import Actions
from app.settings import Settings

SWAGGER = "application/openapi+json; charset=utf-8"


def openapi_routes(
    catalog: Catalog, settings: Settings, actions: Actions, parts: Sequence[Schema] = ()
) -> list[BaseRoute]:
    """These come before the routes of resources. `parts` describe what else is served."""
    plain = Descriptions(catalog, settings, actions, PLAIN, partial(document, parts=parts), JSON)
    rest = Descriptions(catalog, settings, actions, REST, swagger, SWAGGER)
    return [
        Route("/openapi.json", plain.endpoint(), name="openapi"),
        Route(REST.prefix, rest.endpoint(), name="rest_root"),
        Route(f"{REST.prefix}/", rest.endpoint(), name="rest_root_slash"),
        *docs_routes(),
    ]


class Descriptions:
    """The descriptions of one surface, encoded, by view: no more than there are views."""

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        actions: Actions,
        surface: Surface,
        describe: Callable[[Audience, Actions], Schema],
        media_type: str,
    ) -> None:
        self.catalog = catalog
        self.settings = settings
        self.actions = actions
        self.surface = surface
        self.describe = describe
        self.media_type = media_type
        self._kept: dict[Role, bytes] = {}

    def endpoint(self) -> Endpoint:
        return Endpoint(self.surface, {"OPTIONS": self.show_methods, "GET": self.show, "HEAD": self.show})

    async def show(self, call: Call) -> Response:
        self._check_accept(call)
        body = self.of(call.who.view)
        return tagged(call, body, etag_of(body), {"Content-Type": self.media_type})

    async def show_methods(self, call: Call) -> Response:
        return answer(call, b"", headers={"Allow": "OPTIONS,GET,HEAD"})

    def of(self, view: Role) -> bytes:
        if view not in self._kept:
            settings = self.settings
            audience = Audience(self.catalog, view, self.surface, settings.limits, settings.require_key)
            self._kept[view] = encoded(self.describe(audience, self.actions))
        return self._kept[view]

    def _check_accept(self, call: Call) -> None:
        """Its own media type and JSON are one and the same here."""
        accept = call.headers.get("accept", "*/*")
        asked = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
        offered = {"*/*", "application/*", "application/json", self.media_type.partition(";")[0]}
        if offered.isdisjoint(asked):
            message = f"None of these media types are available: {', '.join(asked)}"
            raise BroadsheetError(message, code="PGRST107", status=406)
