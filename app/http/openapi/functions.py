"""Functions under `/rpc/{name}`: GET with arguments in the query string for those that only read, POST with an object
for all.
"""

from __future__ import annotations

from sqlalchemy import Text

from app.data.catalog import Resource
from app.http.openapi.answers import EVERY, JSON, ONE, array_of, keyed, refused, rows_of, success
from app.http.openapi.audience import Audience
from app.http.openapi.columns import Schema, nullable, schema_of
from app.http.openapi.parameters import RESERVED
from app.http.openapi.parameters import reference as parameter
from app.http.openapi.schemas import reference
from app.query.functions import Action, Actions, Parameter, Returns

ASK = (*EVERY, 300, 416)
CALL = (*ASK, 403, 409, 413, 415, 422, 507)
FORM = "application/x-www-form-urlencoded"


def functions_of(audience: Audience, actions: Actions) -> list[tuple[str, Action, Resource | None]]:
    """By name, each with the resource whose rows it returns: those whose rows the view may read."""
    found: list[tuple[str, Action, Resource | None]] = []
    for name, action in sorted(actions.items()):
        resource = None if action.model is None else audience.catalog.of(action.model)
        if resource is None or audience.columns(resource):
            found.append((name, action, resource))
    return found


def function_paths(audience: Audience, actions: Actions) -> dict[str, Schema]:
    found = functions_of(audience, actions)
    return {f"/rpc/{name}": _path(audience, name, action, resource) for name, action, resource in found}


def _path(audience: Audience, name: str, action: Action, resource: Resource | None) -> Schema:
    described: Schema = {"tags": ["functions"], "summary": action.summary}
    shape = [] if resource is None else [f"select.{resource.name}", f"order.{resource.name}", "limit", "offset"]
    shaped = [parameter(name) for name in (*shape, "preferRead")]
    body = body_schema(action)
    form = {**body, "properties": {p.name: literal_schema(p) for p in action.parameters.values()}}
    post = {
        **described,
        "operationId": f"call_{name}",
        "parameters": shaped if action.reads else [*shaped, parameter("idempotencyKey")],
        "requestBody": {
            "required": "required" in body,
            "content": {JSON: {"schema": body}, FORM: {"schema": form}},
        },
        "responses": {**_answers(action, resource), **success(204, None), **refused(audience, *CALL), **keyed()},
    }
    if not action.reads:
        return {"post": post}
    arguments = [_argument(p) for p in action.parameters.values() if resource is None or p.name not in RESERVED]
    get = {
        **described,
        "operationId": f"ask_{name}",
        "parameters": [*arguments, *shaped, parameter("ifNoneMatch")],
        "responses": {**_answers(action, resource), **success(304, None, "ETag"), **refused(audience, *ASK)},
    }
    return {"get": get, "post": post}


def _answers(action: Action, resource: Resource | None) -> Schema:
    names = ("Content-Range", "ETag", "Preference-Applied")
    if action.returns is Returns.VOID:
        return {}
    if resource is None:
        return success(200, {JSON: {}, ONE: {}}, *names)
    row = reference(resource.name)
    content = rows_of(row, {"anyOf": [row, {"type": "null"}]} if action.returns is Returns.ROW else None)
    return {**success(200, content, *names), **success(206, content, *names)}


# ---- arguments ------------------------------------------------------------------------------------------------------


def argument_schema(argument: Parameter) -> Schema:
    one = schema_of(argument.type)
    schema = array_of(one) if argument.many else one
    return nullable(schema) if argument.nullable else schema


def body_schema(action: Action) -> Schema:
    properties = {p.name: argument_schema(p) for p in action.parameters.values()}
    required = [p.name for p in action.parameters.values() if p.required]
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def literal_schema(argument: Parameter) -> Schema:
    """As it stands in a query string or a form, where an empty text is NULL."""
    one = schema_of(argument.type)
    if argument.many:
        return array_of(one)
    empty = argument.nullable and not isinstance(argument.type, Text)
    return {"anyOf": [one, {"type": "string", "maxLength": 0}]} if empty else one


def _argument(argument: Parameter) -> Schema:
    schema = literal_schema(argument)
    return {"name": argument.name, "in": "query", "required": argument.required, "schema": schema}
