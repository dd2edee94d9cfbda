"""The description of the dialect's surface as Swagger 2.0, in the shape that its clients read (dialect 1.21): keys of
a table stand in its `definitions` as notes, filters as `rowFilter.{table}.{column}`.
"""

from __future__ import annotations

from app import __version__
from app.data.catalog import Resource
from app.http.openapi.answers import CSV, JSON, ONE
from app.http.openapi.audience import Audience
from app.http.openapi.columns import Schema, default_of, referred, schema_of, type_name
from app.http.openapi.functions import argument_schema, functions_of
from app.http.openapi.parameters import filters_of
from app.http.routes import COLLECTION
from app.query.functions import Action, Actions

MEDIA = [JSON, f"{ONE};nulls=stripped", ONE, CSV]
RETURN = ["return=representation", "return=minimal", "return=headers-only"]
RESOLUTION = ["resolution=ignore-duplicates", "resolution=merge-duplicates"]


def swagger(audience: Audience, actions: Actions) -> Schema:
    """The whole document. Paths are relative to `basePath`; no host stands in it, for only the caller knows it."""
    resources = audience.resources()
    paths: dict[str, Schema] = {"/": _root()}
    for resource in resources:
        paths[f"/{resource.name}"] = _table(audience, resource)
    for name, action, _ in functions_of(audience, actions):
        paths[f"/rpc/{name}"] = _function(name, action)
    return {
        "swagger": "2.0",
        "info": {"title": "Broadsheet", "version": __version__, "description": "Tables and functions."},
        "basePath": audience.surface.prefix or "/",
        "consumes": MEDIA,
        "produces": MEDIA,
        "securityDefinitions": {"JWT": {"type": "apiKey", "name": "Authorization", "in": "header"}},
        "security": [{"JWT": []}],
        "paths": dict(sorted(paths.items())),
        "definitions": {resource.name: _definition(audience, resource) for resource in resources},
        "parameters": dict(sorted(_parameters(audience).items())),
    }


# ---- definitions ----------------------------------------------------------------------------------------------------


def _definition(audience: Audience, resource: Resource) -> Schema:
    columns = audience.columns(resource)
    required = [name for name in columns if not audience.null(resource, name)]
    properties = {name: _property(audience, resource, name) for name in columns}
    schema: Schema = {"type": "object", "properties": properties}
    return {"required": required, **schema} if required else schema


def _property(audience: Audience, resource: Resource, name: str) -> Schema:
    column = resource.columns[name]
    plain = schema_of(column.type)
    found: Schema = {"format": type_name(column.type)}
    found |= {key: plain[key] for key in ("type", "enum", "maxLength") if key in plain}
    found |= default_of(resource, name) | ({"x-nullable": True} if audience.null(resource, name) else {})
    if notes := _notes(audience, resource, name):
        found["description"] = "Note:\n" + "\n".join(notes)
    return found


def _notes(audience: Audience, resource: Resource, name: str) -> list[str]:
    notes = ["This is a Primary Key.<pk/>"] if name in resource.key else []
    if (target := referred(audience.catalog, resource, name, audience.view)) is not None:
        table, column = target
        notes.append(f"This is a Foreign Key to `{table}.{column}`.<fk table='{table}' column='{column}'/>")
    return notes


# ---- parameters -----------------------------------------------------------------------------------------------------


def _parameters(audience: Audience) -> dict[str, Schema]:
    found = {
        "preferParams": _header("Prefer", "Preference", enum=["handling=lenient", "handling=strict"]),
        "preferReturn": _header("Prefer", "Preference", enum=RETURN),
        "preferCount": _header("Prefer", "Preference", enum=["count=exact", "count=planned", "count=estimated"]),
        "preferPost": _header("Prefer", "Preference", enum=RETURN + RESOLUTION),
        "select": _query("select", "Columns and embedded tables"),
        "on_conflict": _query("on_conflict", "Unique columns by which present rows are found"),
        "order": _query("order", "Ordering"),
        "range": _header("Range", "Limiting and pagination"),
        "rangeUnit": {**_header("Range-Unit", "Limiting and pagination"), "default": "items"},
        "offset": _query("offset", "Limiting and pagination"),
        "limit": _query("limit", "Limiting and pagination"),
    }
    for resource in audience.resources():
        name = str(resource.name)
        body = {"name": name, "in": "body", "required": False, "schema": {"$ref": f"#/definitions/{name}"}}
        found[f"body.{name}"] = {**body, "description": name}
        for column in filters_of(audience, resource):
            found[f"rowFilter.{name}.{column}"] = _query(column, "A filter such as eq.value")
    return found


def _query(name: str, description: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "type": "string", "description": description}


def _header(name: str, description: str, enum: list[str] | None = None) -> Schema:
    found = {"name": name, "in": "header", "required": False, "type": "string", "description": description}
    return found if enum is None else {**found, "enum": enum}


def _refer(*names: str) -> list[Schema]:
    return [{"$ref": f"#/parameters/{name}"} for name in names]


# ---- paths ----------------------------------------------------------------------------------------------------------


def _root() -> Schema:
    answers = {"200": {"description": "OK"}}
    produces = ["application/openapi+json", JSON]
    return {
        "get": {"tags": ["Introspection"], "summary": "This description", "produces": produces, "responses": answers}
    }


def _table(audience: Audience, resource: Resource) -> Schema:
    name = str(resource.name)
    filters = [f"rowFilter.{name}.{column}" for column in filters_of(audience, resource)]
    rows = {"type": "array", "items": {"$ref": f"#/definitions/{name}"}}
    page = ("select", "order", "range", "rangeUnit", "offset", "limit", "preferCount")
    read = {"200": {"description": "OK", "schema": rows}, "206": {"description": "Partial Content", "schema": rows}}
    write = (f"body.{name}", "select")
    found: dict[str, tuple[list[Schema], Schema]] = {"get": (_refer(*filters, *page), read)}
    if audience.inserts(resource):
        found["post"] = (_refer(*write, "on_conflict", "preferPost"), {"201": {"description": "Created"}})
    none = {"204": {"description": "No Content"}}
    if audience.changes(resource) and "PATCH" in COLLECTION:
        found["patch"] = (_refer(*filters, *write, "preferReturn"), none)
    if audience.removes(resource) and "DELETE" in COLLECTION:
        found["delete"] = (_refer(*filters, "select", "preferReturn"), none)
    return {
        method: {"tags": [name], "summary": name, "parameters": parameters, "responses": answers}
        for method, (parameters, answers) in found.items()
    }


def _function(name: str, action: Action) -> Schema:
    arguments = action.parameters.values()
    needed = [argument.name for argument in arguments if argument.required]
    properties = {argument.name: _argument(argument_schema(argument)) for argument in arguments}
    body: Schema = {"type": "object", "properties": properties, **({"required": needed} if needed else {})}
    described: Schema = {"tags": [f"(rpc) {name}"], "summary": action.summary}
    described["responses"] = {"200": {"description": "OK"}}
    post = [{"name": "args", "in": "body", "required": True, "schema": body}, *_refer("preferParams")]
    found = {"post": {**described, "parameters": post}}
    if action.reads:
        given = [{"name": a.name, "in": "query", "required": a.required, "type": "string"} for a in arguments]
        found = {"get": {**described, "parameters": given}, **found}
    return found


def _argument(schema: Schema) -> Schema:
    """As Swagger 2.0 says it: one type, and no null."""
    kind = schema.get("type", "string")
    kind = next(name for name in kind if name != "null") if isinstance(kind, list) else kind
    kept: Schema = {key: schema[key] for key in ("format", "enum", "maxLength") if key in schema}
    return {"type": kind, **kept, **({"items": _argument(schema["items"])} if "items" in schema else {})}
