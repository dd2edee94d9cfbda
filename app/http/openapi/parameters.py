"""Parameters of the query string and headers, described by pattern and example.

The patterns are wider than the grammar, which is no regular language. Headers that are ignored where they cannot be
read have none. Filters come from the operator table.
"""

from __future__ import annotations

from sqlalchemy import Integer, String
from sqlalchemy.types import TypeEngine

from app.data.catalog import Resource
from app.data.rules import Principal
from app.http.openapi.audience import Audience
from app.http.openapi.columns import Schema, example_of, schema_of
from app.query.operators import OPERATORS, WORDS, Operator
from app.query.values import kind_of

RESERVED = frozenset(("select", "order", "limit", "offset", "and", "or", "columns", "on_conflict", "cursor"))
ANYTHING = r"[\s\S]*"
INTEGER = r"\s*[+-]?[0-9]+\s*"
ORDER = r"[^,.()]+(\([^()]+\))?(\.(asc|desc))?(\.(nullsfirst|nullslast))?"


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/parameters/{name}"}


def filter_name(resource: Resource, column: str) -> str:
    return f"filter.{resource.name}.{column}"


def filters_of(audience: Audience, resource: Resource) -> list[str]:
    """Fields that a filter of the query string may name."""
    fields = [name for name in audience.columns(resource) if name not in RESERVED]
    search = resource.rule.search
    return fields if search is None or search in fields else [*fields, search]


def parameters(audience: Audience) -> dict[str, Schema]:
    """All that operations refer to."""
    found = {**_shared(audience), **_headers()}
    for resource in audience.resources():
        found[f"id.{resource.name}"] = _id(resource)
        found[f"select.{resource.name}"] = _select(audience, resource)
        found[f"order.{resource.name}"] = _order(audience, resource)
        for name, parameter in _written(audience, resource).items():
            found[f"{name}.{resource.name}"] = parameter
        for name, parameter in _logic(audience, resource).items():
            found[f"{name}.{resource.name}"] = parameter
        for name in filters_of(audience, resource):
            found[filter_name(resource, name)] = _filter(resource, name)
    return dict(sorted(found.items()))


def _query(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _header(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}


# ---- of all resources -----------------------------------------------------------------------------------------------


def _shared(audience: Audience) -> dict[str, Schema]:
    limits = audience.limits
    page = audience.surface.page(Principal(audience.view), limits)
    return {
        "limit": _query(
            "limit",
            f"At most this many rows: {page.default} unless given, never over {page.most}.",
            {"type": "integer", "minimum": 0},
        ),
        "offset": _query(
            "offset", "Skips this many rows.", {"type": "integer", "minimum": 0, "maximum": limits.offset}
        ),
    }


def _headers() -> dict[str, Schema]:
    etags = {"pattern": r'^\s*(\*|(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*)\s*$', "examples": ['"1"', "*"]}
    read = ["count=exact", "count=planned", "count=estimated", "handling=strict", "timezone=UTC"]
    write = ["return=representation", "return=minimal", "return=headers-only", "resolution=merge-duplicates"]
    write += ["resolution=ignore-duplicates", "missing=default", *read, "handling=strict, max-affected=10"]
    return {
        "preferRead": _header("Prefer", f"What is wished for: {_listed(read)}.", {"examples": read}),
        "preferWrite": _header(
            "Prefer", f"What is wished for, joined by commas: {_listed(write)}.", {"examples": write}
        ),
        "range": _header("Range", "The rows from-to, counted from 0: `0-19`.", {"examples": ["0-19", "5-"]}),
        "ifMatch": _header("If-Match", "Only if the row still has this version: its `ETag`.", etags),
        "idempotencyKey": _header(
            "Idempotency-Key",
            "Names this very request, so that it is done once however often it is sent: a UUID.",
            {"pattern": '^("[!#-~]{1,253}"|[!#-~]{1,255})$'},
        ),
        "ifNoneMatch": _header("If-None-Match", "Only if the answer is another one: its `ETag`.", {}),
    }


def _listed(examples: list[str]) -> str:
    return ", ".join(f"`{example}`" for example in examples)


# ---- of one resource ------------------------------------------------------------------------------------------------


def _id(resource: Resource) -> Schema:
    name = str(resource.key[0])
    schema = schema_of(resource.columns[name].type)
    return {"name": "id", "in": "path", "required": True, "description": f"The row's {name}.", "schema": schema}


def _select(audience: Audience, resource: Resource) -> Schema:
    columns = audience.columns(resource)
    relations = sorted(audience.catalog.embeddable(resource, audience.view))
    examples = ["*", ",".join(columns[:3]), *(f"{columns[0]},{name}(*)" for name in relations)]
    text = "Columns and embedded relations, each with its own columns: " + _listed(examples) + "."
    return _query("select", text, {"type": "string", "pattern": r'^(\s*(\*|\.\.\.|"|\w)|\s*$)', "examples": examples})


def _order(audience: Audience, resource: Resource) -> Schema:
    columns = audience.columns(resource)
    examples = [f"{columns[-1]}.desc", f"{columns[0]}.asc.nullsfirst"]
    text = f"Columns to sort by: `{examples[0]},{columns[0]}`. The primary key always comes last."
    return _query("order", text, {"type": "string", "pattern": f"^{ORDER}(,{ORDER})*$", "examples": examples})


def _written(audience: Audience, resource: Resource) -> dict[str, Schema]:
    """What a write takes."""
    names = {"type": "string", "pattern": r'^("[^"]+"|[^",]+)(,("[^"]+"|[^",]+))*$'}
    fields = ",".join(audience.required(resource) or audience.writable(resource)[:1])
    if not fields:
        return {}
    text = f"The fields of the body that are written, others are ignored: `{fields}`."
    keys = ",".join(resource.key)
    found = "The unique columns by which rows that exist are found, with `Prefer: resolution=...`"
    return {
        "columns": _query("columns", text, {**names, "examples": [fields]}),
        "on_conflict": _query("on_conflict", f"{found}: `{keys}`.", {**names, "examples": [keys]}),
    }


def _logic(audience: Audience, resource: Resource) -> dict[str, Schema]:
    """Trees of filters."""
    first = audience.columns(resource)[0]
    example = f"({first}.eq.{example_of(resource.columns[first].type)},not.and({first}.is.null))"
    group = {"type": "string", "pattern": r"^\s*\(", "examples": [example]}
    return {
        "or": _query("or", f"Filters of which one must hold: `{example}`.", group),
        "and": _query("and", "Filters that must all hold, written as for `or`.", group),
    }


def _filter(resource: Resource, name: str) -> Schema:
    if name == resource.rule.search and name not in resource.columns:
        operators = [op for op in OPERATORS.values() if op.takes == "search"]
        return _query(name, "Full text.", _pattern(operators, [op.example.partition("=")[2] for op in operators]))
    type_ = resource.columns[name].type
    operators = [op for op in OPERATORS.values() if _suits(op, type_)]
    value = example_of(type_)
    examples = [f"eq.{value}", f"in.({value})"] if kind_of(type_).filterable else ["is.null"]
    text = f"An operator and a value: `{examples[0]}`. Operators: {', '.join(op.name for op in operators)}."
    return _query(name, text, _pattern(operators, examples, INTEGER if isinstance(type_, Integer) else ANYTHING))


def _suits(operator: Operator, type_: TypeEngine[object]) -> bool:
    match operator.takes:
        case "search":
            return False
        case "word":
            return True
        case "pattern":
            return isinstance(type_, String)
        case _:
            return kind_of(type_).filterable


def _pattern(operators: list[Operator], examples: list[str], value: str = ANYTHING) -> Schema:
    def named(**asked: object) -> str:
        return "|".join(op.name for op in operators if all(getattr(op, key) == want for key, want in asked.items()))

    one = "|".join(op.name for op in operators if op.takes in ("value", "pattern"))
    forms = {
        one: rf"({one})\.{value}",
        named(quantified=True): rf"({named(quantified=True)})\((any|all)\)\.\{{{ANYTHING}\}}",
        named(takes="list"): rf"({named(takes='list')})\.\({ANYTHING}\)",
        named(takes="word"): rf"({named(takes='word')})\.({'|'.join(WORDS)})",
        named(takes="search"): rf"({named(takes='search')})(\([a-z_]+\))?\.{ANYTHING}",
    }
    return {
        "type": "string",
        "pattern": f"^(not\\.)?({'|'.join(f for key, f in forms.items() if key)})$",
        "examples": examples,
    }
