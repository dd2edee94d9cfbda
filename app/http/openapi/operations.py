"""Paths of resources: one operation for each method that is served and that the caller may use."""

from __future__ import annotations

from collections.abc import Callable

from app.data.base import Versioned
from app.data.catalog import Resource
from app.http.openapi.answers import (
    CONDITION,
    CSV,
    JSON,
    PAGE,
    READ,
    REMOVE,
    WRITE,
    array_of,
    keyed,
    refused,
    rows_of,
    success,
)
from app.http.openapi.audience import Audience
from app.http.openapi.columns import Schema
from app.http.openapi.histories import history_paths
from app.http.openapi.parameters import filter_name, filters_of
from app.http.openapi.parameters import reference as parameter
from app.http.openapi.schemas import reference
from app.http.routes import COLLECTION, ITEM

Describe = Callable[[Audience, Resource], Schema]
FORM = "application/x-www-form-urlencoded"


def resource_paths(audience: Audience) -> dict[str, Schema]:
    """`/{table}`, and `/{table}/{id}` with what is below it where the surface has items. Paths are relative to the
    surface.
    """
    paths: dict[str, Schema] = {}
    for resource in audience.resources():
        paths[f"/{resource.name}"] = _path(audience, resource, COLLECTION_METHODS, frozenset(COLLECTION))
        if audience.surface.items and len(resource.key) == 1 and resource.key[0] in audience.columns(resource):
            item = _path(audience, resource, ITEM_METHODS, frozenset(ITEM))
            one = f"/{resource.name}/{{id}}"
            paths[one] = {"parameters": [parameter(f"id.{resource.name}")], **item}
            paths |= {one + tail: path for tail, path in history_paths(audience, resource).items()}
    return paths


def _path(
    audience: Audience,
    resource: Resource,
    methods: dict[str, tuple[Callable[..., bool], Describe]],
    served: frozenset[str],
) -> Schema:
    found: Schema = {}
    for method, (may, describe) in methods.items():
        if method in served and may(audience, resource):
            found[method.lower()] = {"tags": [str(resource.name)], **describe(audience, resource)}
    return found


# ---- collections ----------------------------------------------------------------------------------------------------


def _list(audience: Audience, resource: Resource) -> Schema:
    names = ("Content-Range", "Content-Location", "ETag", "Link", "Preference-Applied")
    return {
        "operationId": f"list_{resource.name}",
        "summary": f"Rows of {resource.name}",
        "parameters": [
            *_parameters(f"select.{resource.name}", f"order.{resource.name}", "limit", "offset"),
            *_filters(audience, resource),
            *_parameters("preferRead", "range", "ifNoneMatch"),
        ],
        "responses": {
            **success(200, _rows(resource), *names),
            **success(206, _rows(resource), *names),
            **success(304, None, "ETag"),
            **refused(audience, *PAGE),
        },
    }


def _create(audience: Audience, resource: Resource) -> Schema:
    new = reference(f"{resource.name}.insert")
    forms = [new, array_of(new)]
    if _changes_by_key(audience, resource):
        forms.append(array_of(reference(f"{resource.name}.upsert")))
    return {
        "operationId": f"create_{resource.name}",
        "summary": f"Add rows to {resource.name}",
        "description": "One object or a list of them. With `Prefer: resolution=merge-duplicates` rows that exist are "
        "changed; only then may a body name the primary key.",
        "parameters": _parameters(
            f"select.{resource.name}",
            f"columns.{resource.name}",
            f"on_conflict.{resource.name}",
            "preferWrite",
            "idempotencyKey",
        ),
        "requestBody": _body({"anyOf": forms}, new),
        "responses": {
            **success(200, _written(audience, resource), "Content-Range", "Preference-Applied"),
            **success(201, _written(audience, resource), "Content-Range", "ETag", "Location", "Preference-Applied"),
            **refused(audience, *WRITE),
            **keyed(),
        },
    }


def _change_rows(audience: Audience, resource: Resource) -> Schema:
    return _filtered(
        audience,
        resource,
        {
            "operationId": f"change_{resource.name}",
            "summary": f"Change rows of {resource.name}",
            "description": "The filters choose the rows; there must be at least one.",
            "requestBody": _body(reference(f"{resource.name}.update"), reference(f"{resource.name}.update")),
        },
        (*WRITE, *_conditions(resource)),
    )


def _replace_row(audience: Audience, resource: Resource) -> Schema:
    whole = reference(f"{resource.name}.upsert")
    described = {
        "operationId": f"put_{resource.name}",
        "summary": f"Change the row of {resource.name} that the filters name",
        "description": "The filters are `eq` on exactly the primary key, and the body repeats it.",
        "requestBody": _body(whole, whole),
    }
    found = _filtered(audience, resource, described, (*WRITE, 405, *_conditions(resource)))
    found["responses"] = {**success(201, _written(audience, resource)), **found["responses"]}
    return found


def _remove_rows(audience: Audience, resource: Resource) -> Schema:
    described = {
        "operationId": f"remove_{resource.name}",
        "summary": f"Remove rows of {resource.name}",
        "description": "The filters choose the rows; there must be at least one.",
    }
    return _filtered(audience, resource, described, (*REMOVE, *_conditions(resource)))


def _filtered(audience: Audience, resource: Resource, described: Schema, statuses: tuple[int, ...]) -> Schema:
    chosen = [*_filters(audience, resource), *_parameters(f"select.{resource.name}", "preferWrite")]
    chosen += _parameters("ifMatch") if 412 in statuses else []
    columns = _parameters(f"columns.{resource.name}") if "requestBody" in described else []
    return {
        **described,
        "parameters": [*chosen, *columns],
        "responses": {
            **success(200, _written(audience, resource), "Content-Range", "Preference-Applied"),
            **success(204, None, "Content-Range", "Preference-Applied"),
            **refused(audience, *statuses),
        },
    }


# ---- items ----------------------------------------------------------------------------------------------------------


def _read_item(audience: Audience, resource: Resource) -> Schema:
    return {
        "operationId": f"get_{resource.name}_item",
        "summary": f"One row of {resource.name}",
        "parameters": _parameters(f"select.{resource.name}", "preferRead", "ifNoneMatch"),
        "responses": {
            **success(200, _row(resource), "ETag"),
            **success(304, None, "ETag"),
            **refused(audience, *READ),
        },
    }


def _replace_item(audience: Audience, resource: Resource) -> Schema:
    described = "Columns that the body leaves out get their default or NULL. Never makes a row."
    return _item_write(audience, resource, "replace", "Replace", described)


def _change_item(audience: Audience, resource: Resource) -> Schema:
    return _item_write(audience, resource, "change", "Change", "Sets what the body names.")


def _remove_item(audience: Audience, resource: Resource) -> Schema:
    return {
        "operationId": f"remove_{resource.name}_item",
        "summary": f"Remove one row of {resource.name}",
        "parameters": _item_parameters(resource),
        "responses": {
            **success(200, _row(resource), "Preference-Applied"),
            **success(204, None, "Preference-Applied"),
            **refused(audience, *REMOVE, *_conditions(resource)),
        },
    }


def _item_write(audience: Audience, resource: Resource, name: str, verb: str, description: str) -> Schema:
    payload = reference(f"{resource.name}.update")
    return {
        "operationId": f"{name}_{resource.name}_item",
        "summary": f"{verb} one row of {resource.name}",
        "description": description,
        "parameters": _item_parameters(resource),
        "requestBody": _body(payload, payload),
        "responses": {
            **success(200, _row(resource), "ETag", "Preference-Applied"),
            **success(204, None, "Preference-Applied"),
            **refused(audience, *WRITE, *_conditions(resource)),
        },
    }


def _item_parameters(resource: Resource) -> list[Schema]:
    condition = ["ifMatch"] if resource.has(Versioned) else []
    return _parameters(f"select.{resource.name}", "preferWrite", *condition)


# ---- parts ----------------------------------------------------------------------------------------------------------


def _parameters(*names: str) -> list[Schema]:
    return [parameter(name) for name in names]


def _filters(audience: Audience, resource: Resource) -> list[Schema]:
    names = [filter_name(resource, name) for name in filters_of(audience, resource)]
    return _parameters(*names, f"or.{resource.name}", f"and.{resource.name}")


def _rows(resource: Resource) -> dict[str, Schema]:
    return rows_of(reference(resource.name))


def _row(resource: Resource) -> dict[str, Schema]:
    row = reference(resource.name)
    return rows_of(row, row)


def _written(audience: Audience, resource: Resource) -> dict[str, Schema]:
    """On the plain surface one object in gives one object out."""
    row = reference(resource.name)
    return rows_of(row, {"anyOf": [row, array_of(row)]} if audience.surface.items else None)


def _body(schema: Schema, one: Schema) -> Schema:
    content = {JSON: {"schema": schema}, CSV: {"schema": {"type": "string"}}, FORM: {"schema": one}}
    return {"required": True, "content": content}


def _conditions(resource: Resource) -> tuple[int, ...]:
    """What If-Match adds, where rows have versions."""
    return CONDITION if resource.has(Versioned) else ()


def _changes_by_key(audience: Audience, resource: Resource) -> bool:
    return len(resource.key) == 1 and audience.changes(resource)


def _removes_by_key(audience: Audience, resource: Resource) -> bool:
    return len(resource.key) == 1 and audience.removes(resource)


def _anybody(audience: Audience, resource: Resource) -> bool:
    return True


COLLECTION_METHODS: dict[str, tuple[Callable[..., bool], Describe]] = {
    "GET": (_anybody, _list),
    "POST": (Audience.inserts, _create),
    "PUT": (_changes_by_key, _replace_row),
    "PATCH": (_changes_by_key, _change_rows),
    "DELETE": (_removes_by_key, _remove_rows),
}
ITEM_METHODS: dict[str, tuple[Callable[..., bool], Describe]] = {
    "GET": (_anybody, _read_item),
    "PUT": (_changes_by_key, _replace_item),
    "PATCH": (_changes_by_key, _change_item),
    "DELETE": (_removes_by_key, _remove_item),
}
