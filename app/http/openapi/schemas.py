"""Schemas of rows, of payloads and of errors.

A row's schema requires nothing: `select` says which of its columns and relations are there. An alias or a cast in
`select` makes keys that no schema can know.
"""

from __future__ import annotations

from app.data.catalog import Relation, Resource
from app.data.rules import Links
from app.http.fields import MOST_LINKS
from app.http.openapi.audience import Audience
from app.http.openapi.columns import Schema, default_of, nullable, referred, schema_of
from app.query.history import link_fields, shown_columns

ERROR: Schema = {
    "type": "object",
    "description": "What was wrong with the request, and in `hint` what to send instead.",
    "required": ["code", "message", "details", "hint"],
    "properties": {
        "code": {"type": "string", "description": "A PGRST code, a SQLSTATE or a BRD code."},
        "message": {"type": "string"},
        "details": {"type": ["string", "array", "null"], "items": {"type": "object"}},
        "hint": {"type": ["string", "null"]},
    },
    "additionalProperties": False,
}
STATUS: Schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
LINKS: Schema = {
    "type": "object",
    "required": ["name", "version", "links"],
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "links": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def schemas(audience: Audience) -> dict[str, Schema]:
    """By name: `{table}`, `{table}.version` where rows have a history, and `{table}.insert`, `{table}.update`,
    `{table}.upsert` where the view may write.
    """
    found = {"Error": ERROR, "Links": LINKS, "Status": STATUS}
    for resource in audience.resources():
        found[resource.name] = row_schema(audience, resource)
        if audience.surface.items and audience.tells_history(resource):
            found[f"{resource.name}.version"] = version_schema(audience, resource)
        if audience.inserts(resource):
            found[f"{resource.name}.insert"] = payload_schema(audience, resource, required=True)
        if audience.changes(resource):
            found[f"{resource.name}.update"] = payload_schema(audience, resource, required=False)
            found[f"{resource.name}.upsert"] = _with_key(resource, found[f"{resource.name}.update"])
    return dict(sorted(found.items()))


# ---- rows -----------------------------------------------------------------------------------------------------------


def row_schema(audience: Audience, resource: Resource) -> Schema:
    properties = {name: _shown(audience, resource, name) for name in audience.columns(resource)}
    for name, relation in sorted(audience.catalog.embeddable(resource, audience.view).items()):
        properties.setdefault(name, _embedded(audience, relation))
    return {"type": "object", "properties": properties}


def version_schema(audience: Audience, resource: Resource) -> Schema:
    """What a row was: guarded columns are not kept, and links are shown as in revisions."""
    properties = {name: _shown(audience, resource, name) for name in shown_columns(resource, audience.view)}
    for field, links in link_fields(resource).items():
        target = audience.catalog.of(resource.relations[links.relation].target)
        properties[field] = {"type": "array", "items": schema_of(target.columns[links.shown].type)}
    return {"type": "object", "properties": {name: {**s, "readOnly": True} for name, s in properties.items()}}


def _shown(audience: Audience, resource: Resource, name: str) -> Schema:
    schema = schema_of(resource.columns[name].type)
    if audience.null(resource, name):
        schema = nullable(schema)
    if name not in resource.rule.writes(audience.view):
        schema = {**schema, "readOnly": True}
    if notes := _notes(audience, resource, name):
        schema = {**schema, "description": " ".join(notes)}
    return schema


def _notes(audience: Audience, resource: Resource, name: str) -> list[str]:
    notes = ["Primary key."] if resource.key == (name,) else []
    if (target := referred(audience.catalog, resource, name, audience.view)) is not None:
        notes.append(f"Names a row of {target[0]} by its {target[1]}.")
    mask = resource.rule.mask(name, audience.view)
    if mask is not None:
        notes.append(f"Null in rows that may not show it. Rows that do: {(mask.__doc__ or 'none').strip()}.")
    return notes


def _embedded(audience: Audience, relation: Relation) -> Schema:
    target = reference(audience.catalog.of(relation.target).name)
    note = {"readOnly": True, "description": f"Present when `select` names it: `{relation.name}(*)`."}
    if relation.to_many:
        return {"type": "array", "items": target, **note}
    return {"anyOf": [target, {"type": "null"}], **note}


# ---- payloads -------------------------------------------------------------------------------------------------------


def payload_schema(audience: Audience, resource: Resource, *, required: bool) -> Schema:
    """What a body may hold, and for a new row (`required`) must hold."""
    properties = {name: _given(resource, name, defaults=required) for name in audience.writable(resource, new=required)}
    given = resource.rule.writes(audience.view, new=required)
    for name, (extra, _) in sorted(resource.rule.extra.items()):
        if name in given:
            properties[name] = {
                **(_links(extra) if isinstance(extra, Links) else {"type": "string"}),
                "writeOnly": True,
            }
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    needed = audience.required(resource) if required else []
    return {**schema, "required": needed} if needed else schema


def _with_key(resource: Resource, payload: Schema) -> Schema:
    """The same, of a row that its primary key names."""
    keys = {name: schema_of(resource.columns[name].type) for name in resource.key}
    return {
        **payload,
        "properties": {**keys, **payload["properties"]},
        "required": [str(name) for name in resource.key],
    }


def _given(resource: Resource, name: str, *, defaults: bool) -> Schema:
    column = resource.columns[name]
    schema = schema_of(column.type)
    if column.nullable:
        schema = nullable(schema)
    return {**schema, **default_of(resource, name)} if defaults else schema


def _links(extra: Links) -> Schema:
    item = {"type": ["string", "integer"]}
    note = f"The linked rows, each by its {extra.shown} or its id. Replaces the links that there are."
    return {"type": "array", "maxItems": MOST_LINKS, "items": item, "description": note}
