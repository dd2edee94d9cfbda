"""Column types -> JSON Schema and the names that PostgreSQL gives them; one row for each type that a model may use.

The schemas hold for rows that come out and for payloads that go in. Payloads are taken more widely than they say: a
number may come as a text, as in the dialect (1.13).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Date, Enum, Integer, Numeric, String, Uuid
from sqlalchemy.types import TypeEngine

from app.data.base import UtcTime
from app.data.catalog import Catalog, Resource
from app.data.checks import INT4, INT8
from app.data.rules import Role
from app.query.values import kind_of

Schema = dict[str, Any]


def schema_of(type_: TypeEngine[Any]) -> Schema:
    """JSON Schema of a value that is not NULL."""
    match type_:
        case BigInteger():
            return {"type": "integer", "format": "int64", "minimum": -INT8, "maximum": INT8 - 1}
        case Integer():
            return {"type": "integer", "format": "int32", "minimum": -INT4, "maximum": INT4 - 1}
        case Boolean():
            return {"type": "boolean"}
        case Enum():
            return {"type": "string", "enum": list(type_.enums)}
        case UtcTime():
            return {"type": "string", "format": "date-time"}
        case Date():
            return {"type": "string", "format": "date"}
        case Uuid():
            return {"type": "string", "format": "uuid"}
        case Numeric(precision=int(precision), scale=int(scale)):
            most = 10 ** (precision - scale)
            return {"type": "number", "exclusiveMinimum": -most, "exclusiveMaximum": most}
        case Numeric():
            return {"type": "number"}
        case String(length=int(length)):
            return {"type": "string", "maxLength": length}
        case String():
            return {"type": "string"}
        case _:  # Json: any value
            return {}


def nullable(schema: Schema) -> Schema:
    """The same schema, or null."""
    if "type" not in schema:
        return schema
    values = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **values}


def type_name(type_: TypeEngine[Any]) -> str:
    """PostgreSQL's name."""
    if isinstance(type_, String) and type_.length is not None:
        return "character varying"
    return kind_of(type_).name


def example_of(type_: TypeEngine[Any]) -> str:
    """A literal of the query string."""
    return type_.enums[0] if isinstance(type_, Enum) else kind_of(type_).example.strip('"')


def default_of(resource: Resource, name: str) -> Schema:
    """`default`, where a new row without the column gets a constant."""
    default = resource.table.c[name].default
    if default is None or not default.is_scalar:
        return {}
    return {"default": default.arg}  # type: ignore[attr-defined]  # a scalar default has its value


def referred(catalog: Catalog, resource: Resource, name: str, view: Role) -> tuple[str, str] | None:
    """Table and column that a foreign key names, as far as this view may know them."""
    for key in sorted(resource.table.c[name].foreign_keys, key=lambda key: key.target_fullname):
        target = catalog.get(key.column.table.name)
        if target is not None and key.column.name in target.rule.readable(view):
            return target.name, key.column.name
    return None
