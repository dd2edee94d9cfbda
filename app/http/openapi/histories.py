"""Paths below an item: its revisions, its versions, and the ways back."""

from __future__ import annotations

from app.data import audit
from app.data.audit import Revision
from app.data.base import Versioned
from app.data.catalog import Resource
from app.http.openapi.answers import CONDITION, EVERY, PAGE, REMOVE, keyed, refused, rows_of, success
from app.http.openapi.audience import Audience
from app.http.openapi.columns import Schema
from app.http.openapi.parameters import filter_name, filters_of
from app.http.openapi.parameters import reference as parameter
from app.http.openapi.schemas import reference
from app.query.history import NUMBERS

BACK = (*REMOVE, *CONDITION, 507)
NUMBER: Schema = {
    "name": "number",
    "in": "path",
    "required": True,
    "description": "The row's version.",
    "schema": {"type": "integer", "minimum": NUMBERS.start, "maximum": NUMBERS.stop - 1},
}


def history_paths(audience: Audience, resource: Resource) -> dict[str, Schema]:
    """By what follows the item's path."""
    id = parameter(f"id.{resource.name}")
    found: dict[str, Schema] = {}
    if audience.tells_history(resource):
        found["/revisions"] = {"parameters": [id], "get": _revisions(audience, resource)}
        found["/revisions/{number}"] = {"parameters": [id, NUMBER], "get": _version(audience, resource)}
        if audience.changes(resource):
            back = _back(audience, resource, "restore_version", "Set a row to what it was at a version", 422)
            found["/revisions/{number}/restore"] = {"parameters": [id, NUMBER], "post": back}
    if audience.removes(resource) and audit.is_soft(resource):
        back = _back(audience, resource, "restore", "Bring a deleted row back with what went with it")
        found["/restore"] = {"parameters": [id], "post": back}
    return found


def _revisions(audience: Audience, resource: Resource) -> Schema:
    revisions = audience.catalog.of(Revision)
    name = revisions.name
    filters = [filter_name(revisions, column) for column in filters_of(audience, revisions)]
    shape = [f"select.{name}", f"order.{name}", "limit", "offset", *filters, f"or.{name}", f"and.{name}"]
    names = ("Content-Range", "Content-Location", "ETag", "Link", "Preference-Applied")
    rows = rows_of(reference(name))
    return {
        "tags": [str(resource.name)],
        "operationId": f"list_{resource.name}_revisions",
        "summary": f"Revisions of one row of {resource.name}, the newest first",
        "parameters": [parameter(p) for p in (*shape, "preferRead", "range", "ifNoneMatch")],
        "responses": {
            **success(200, rows, *names),
            **success(206, rows, *names),
            **success(304, None, "ETag"),
            **refused(audience, *PAGE),
        },
    }


def _version(audience: Audience, resource: Resource) -> Schema:
    row = reference(f"{resource.name}.version")
    return {
        "tags": [str(resource.name)],
        "operationId": f"get_{resource.name}_version",
        "summary": f"One row of {resource.name} as it was",
        "parameters": [parameter("preferRead"), parameter("ifNoneMatch")],
        "responses": {
            **success(200, rows_of(row, row), "ETag"),
            **success(304, None, "ETag"),
            **refused(audience, *EVERY),
        },
    }


def _back(audience: Audience, resource: Resource, name: str, summary: str, *more: int) -> Schema:
    row = reference(resource.name)
    condition = ["ifMatch"] if resource.has(Versioned) else []
    parameters = (f"select.{resource.name}", "preferWrite", *condition, "idempotencyKey")
    return {
        "tags": [str(resource.name)],
        "operationId": f"{name}_{resource.name}_item",
        "summary": summary,
        "parameters": [parameter(p) for p in parameters],
        "responses": {
            **success(200, rows_of(row, row), "ETag", "Preference-Applied"),
            **success(204, None, "Preference-Applied"),
            **refused(audience, *BACK, *more),
            **keyed(),
        },
    }
