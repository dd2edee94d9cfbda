"""The description of one surface as OpenAPI 3.1: the same bytes for the same catalog, view and settings."""

from __future__ import annotations

from collections.abc import Sequence

from app import __version__
from app.data.rules import Role
from app.http.openapi.answers import EVERY, HEADERS, JSON, refusals, refused, success
from app.http.openapi.audience import Audience
from app.http.openapi.batches import batch_path, batch_schemas
from app.http.openapi.columns import Schema
from app.http.openapi.functions import function_paths
from app.http.openapi.operations import resource_paths
from app.http.openapi.parameters import parameters
from app.http.openapi.schemas import reference, schemas
from app.query.functions import Actions

DIALECT = "https://spec.openapis.org/oas/3.1/dialect/base"
ABOUT = """\
Every table has the same operations. `select` chooses columns and embeds related rows, which have parameters of their
own (`relation.order`, `relation.limit`, `relation.column`); filters name a column and an operator. HEAD answers as GET
without a body, OPTIONS with the methods that there are. Where a caller's requests are counted, every answer has
`RateLimit` and `RateLimit-Policy`.

This is what {role} may read and write: the description changes with the key or token that asks for it.
"""
SECURITY: Schema = {
    "apikey": {"type": "apiKey", "in": "header", "name": "apikey", "description": "A key of this service."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, or the token of a user."},
}


def document(audience: Audience, actions: Actions, parts: Sequence[Schema] = ()) -> Schema:
    """The whole document, ready to be encoded. `parts` describe other calls of the service: they have fields of a
    document, and add to what is here.
    """
    found = _own(audience, actions)
    for part in parts:
        found = _merged(found, _with_faults(part))
    return found | {"paths": dict(sorted(found["paths"].items()))}


def _own(audience: Audience, actions: Actions) -> Schema:
    surface = audience.surface
    paths = {**resource_paths(audience), **function_paths(audience, actions), "/batch": batch_path(audience)}
    if surface.items:
        paths |= _service_paths(audience)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {"title": "Broadsheet", "version": __version__, "description": ABOUT.format(role=_role(audience.view))},
        "servers": [{"url": surface.prefix or "/"}],
        "security": [*([] if audience.key_needed else [{}]), {"apikey": []}, {"bearer": []}],
        "tags": [{"name": str(resource.name)} for resource in audience.resources()],
        "paths": paths,
        "components": {
            "schemas": {**schemas(audience), **batch_schemas(audience)},
            "parameters": parameters(audience),
            "headers": HEADERS,
            "responses": refusals(),
            "securitySchemes": SECURITY,
        },
    }


def _with_faults(part: Schema) -> Schema:
    """The same, where each operation may end in a fault of the service."""
    fault = {"$ref": "#/components/responses/status500"}
    paths = {
        path: {
            name: {**value, "responses": {**value["responses"], "500": fault}} if "responses" in value else value
            for name, value in methods.items()
        }
        for path, methods in part["paths"].items()
    }
    return {**part, "paths": paths}


def _merged(one: Schema, other: Schema) -> Schema:
    """What both say: objects field by field, lists one after the other."""
    found = dict(one)
    for name, value in other.items():
        match found.get(name), value:
            case dict() as before, dict():
                found[name] = _merged(before, value)
            case list() as before, list():
                found[name] = [*before, *value]
            case _:
                found[name] = value
    return found


def _role(view: Role) -> str:
    return "a caller without a key" if view is Role.ANONYMOUS else f"the role {view.value}"


def _service_paths(audience: Audience) -> dict[str, Schema]:
    unwell = refused(audience, 500, 503)
    status = {JSON: reference("Status")}
    return {
        "/": _get("show_links", "Name, version and tables", success(200, {JSON: reference("Links")}), audience),
        "/health/live": _open(
            "live", "Whether the process answers", {**success(200, status), **refused(audience, 500)}
        ),
        "/health/ready": _open("ready", "Whether the database answers, too", {**success(200, status), **unwell}),
        "/openapi.json": _get(
            "describe", "This description", success(200, {JSON: {"type": "object"}}, "ETag"), audience
        ),
    }


def _get(name: str, summary: str, responses: Schema, audience: Audience) -> Schema:
    answers = {**responses, **refused(audience, *EVERY)}
    return {"get": {"tags": ["service"], "operationId": name, "summary": summary, "responses": answers}}


def _open(name: str, summary: str, responses: Schema) -> Schema:
    """Asks nobody for a key."""
    shown = {"tags": ["service"], "operationId": name, "summary": summary, "security": [{}], "responses": responses}
    return {"get": shown}
