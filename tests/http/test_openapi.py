"""The descriptions: valid, the same every time, true to the rules of each view, and changed when a rule changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR, SWAGGER_20_VALIDATOR

from app.data.catalog import Catalog, Resource
from app.data.rules import ADMINS, EVERYONE, NOBODY, VIEWS, Column, Role, Rule
from app.data.session import AppSession
from app.http.openapi.audience import Audience
from app.http.openapi.document import document
from app.http.openapi.swagger import swagger
from app.http.response import encoded
from app.http.surfaces import PLAIN, REST, Surface
from app.models import Post
from app.query.functions import Action, Actions, Returns
from app.resources import CATALOG
from app.settings import Limits
from tests.http.conftest import Blog, Headers
from tests.library.catalog import LIBRARY
from tests.library.models import Book

Described = dict[str, Any]
CATALOGS = {"broadsheet": CATALOG, "library": LIBRARY}


async def totals(session: AppSession, since: date | None = None) -> int:
    """Sums."""
    return 0


async def find(session: AppSession, q: str, kinds: list[int]) -> list[int]:
    """Rows."""
    return []


async def move(session: AppSession) -> None:
    """Moves."""


FUNCTIONS: Actions = {
    "totals": Action(totals, reads=True),
    "find": Action(find, Returns.ROWS, Post, reads=True),
    "move": Action(move, Returns.VOID),
}


def audience(catalog: Catalog, view: Role, surface: Surface = PLAIN) -> Audience:
    return Audience(catalog, view, surface, Limits())


def functions_for(catalog: Catalog) -> Actions:
    """Those whose rows the catalog has."""
    return {name: a for name, a in FUNCTIONS.items() if a.model is None or catalog.exposes(a.model)}


def plain(catalog: Catalog, view: Role, surface: Surface = PLAIN) -> Described:
    found: Described = json.loads(encoded(document(audience(catalog, view, surface), functions_for(catalog))))
    return found


def dialect(catalog: Catalog, view: Role) -> Described:
    found: Described = json.loads(encoded(swagger(audience(catalog, view, REST), functions_for(catalog))))
    return found


def with_rule(catalog: Catalog, model: type[Any], change: Callable[[Rule], Rule]) -> Catalog:
    """The same catalog, but for one rule."""
    return Catalog(Resource(r.model, change(r.rule) if r.model is model else r.rule, r.repository) for r in catalog)


def references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": str(found)}:
            yield found
        case dict():
            for inner in value.values():
                yield from references(inner)
        case list():
            for inner in value:
                yield from references(inner)


def resolves(root: Described, reference: str) -> bool:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found is not None


def operations(described: Described) -> Iterator[Described]:
    for path in described["paths"].values():
        yield from (operation for method, operation in path.items() if method != "parameters")


# ---- validity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", CATALOGS)
@pytest.mark.parametrize("surface", [PLAIN, REST], ids=["plain", "rest"])
def test_description_is_valid_openapi(name: str, view: Role, surface: Surface) -> None:
    described = plain(CATALOGS[name], view, surface)
    OPENAPI_31_VALIDATOR.validate(described)
    for schema in described["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
    assert [r for r in references(described) if not resolves(described, r)] == []
    names = [operation["operationId"] for operation in operations(described)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", CATALOGS)
def test_description_of_the_dialect_is_valid_swagger(name: str, view: Role) -> None:
    described = dialect(CATALOGS[name], view)
    SWAGGER_20_VALIDATOR.validate(described)
    assert [r for r in references(described) if not resolves(described, r)] == []


def test_validators_can_refuse() -> None:
    described = plain(CATALOG, Role.ADMIN)
    described["paths"]["/posts"]["get"]["responses"]["200"].pop("description")
    assert not OPENAPI_31_VALIDATOR.is_valid(described)


@pytest.mark.parametrize("view", VIEWS)
def test_description_does_not_depend_on_the_order_of_registration(view: Role) -> None:
    turned = Catalog(reversed(list(CATALOG)))
    for make in (document, swagger):
        assert encoded(make(audience(turned, view), FUNCTIONS)) == encoded(make(audience(CATALOG, view), FUNCTIONS))


# ---- what a view may know -------------------------------------------------------------------------------------------


def names_in(described: Described, resource: Resource) -> set[str]:
    """Every field of one table that either description names."""
    shared = described.get("components", described)
    schemas = {**shared.get("schemas", {}), **shared.get("definitions", {})}
    found: set[str] = set()
    for name, schema in schemas.items():
        if name.partition(".")[0] == resource.name:
            found |= schema["properties"].keys()
    for name, parameter in shared["parameters"].items():
        if name.startswith((f"filter.{resource.name}.", f"rowFilter.{resource.name}.")):
            found.add(parameter["name"])
        elif name in (f"select.{resource.name}", f"order.{resource.name}"):
            found |= {w for w in re.findall(r"\w+", " ".join(parameter["schema"]["examples"])) if w in resource.columns}
    return found


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", CATALOGS)
def test_hidden_column_is_in_no_description(name: str, view: Role) -> None:
    catalog = CATALOGS[name]
    for described in (plain(catalog, view), plain(catalog, view, REST), dialect(catalog, view)):
        for resource in catalog:
            known = {*resource.rule.readable(view), *resource.rule.writes(view)}
            assert names_in(described, resource) & resource.columns.keys() <= known, resource.name


@pytest.mark.parametrize(
    ("name", "view", "words"),
    [
        (
            "broadsheet",
            Role.ANONYMOUS,
            "is_active created_by updated_by deleted_at hashed_password credentials revisions",
        ),
        ("broadsheet", Role.MEMBER, "is_active created_by updated_by deleted_at hashed_password credentials revisions"),
        ("broadsheet", Role.AUTHOR, "is_active created_by updated_by hashed_password credentials request_id key_id"),
        ("library", Role.ANONYMOUS, "price on_shelf loans borrower due_on revisions deleted_at created_by"),
        ("library", Role.MEMBER, "on_shelf revisions deleted_at created_by"),
    ],
)
def test_hidden_name_stands_nowhere_in_the_text(name: str, view: Role, words: str) -> None:
    catalog = CATALOGS[name]
    for described in (plain(catalog, view), dialect(catalog, view)):
        assert set(re.findall(r"\w+", json.dumps(described))) & set(words.split()) == set()


def test_description_follows_the_rule() -> None:
    def shows(rule: Rule) -> Rule:
        return replace(rule, columns={**rule.columns, "on_shelf": Column(EVERYONE)}, inserts=EVERYONE)

    def hides(rule: Rule) -> Rule:
        return replace(rule, columns={**rule.columns, "isbn": Column(NOBODY, ADMINS)})

    before = plain(LIBRARY, Role.ANONYMOUS)
    shown, hidden = (plain(with_rule(LIBRARY, Book, change), Role.ANONYMOUS) for change in (shows, hides))
    assert set(before["paths"]["/books"]) == {"get"}
    assert set(shown["paths"]["/books"]) == {"get", "post"}
    row = before["components"]["schemas"]["books"]["properties"].keys()
    assert shown["components"]["schemas"]["books"]["properties"].keys() - row == {"on_shelf"}
    assert row - hidden["components"]["schemas"]["books"]["properties"].keys() == {"isbn"}
    assert "isbn" not in json.dumps(hidden)
    assert "isbn" not in json.dumps(dialect(with_rule(LIBRARY, Book, hides), Role.ANONYMOUS))


def test_operation_is_described_only_to_those_who_may_use_it() -> None:
    methods = {view: set(plain(CATALOG, view)["paths"]["/posts/{id}"]) - {"parameters"} for view in VIEWS}
    assert methods[Role.ANONYMOUS] == methods[Role.MEMBER] == {"get"}
    assert methods[Role.AUTHOR] == methods[Role.ADMIN] == {"get", "put", "patch", "delete"}
    assert "/post_tags/{id}" not in plain(CATALOG, Role.ADMIN)["paths"]


def test_function_of_rows_is_described_to_those_who_may_read_them() -> None:
    paths = plain(CATALOG, Role.ANONYMOUS)["paths"]
    assert set(paths["/rpc/find"]) == set(paths["/rpc/totals"]) == {"get", "post"}
    assert set(paths["/rpc/move"]) == {"post"}
    hidden = with_rule(CATALOG, Post, lambda rule: replace(rule, columns=dict.fromkeys(rule.columns, Column(ADMINS))))
    assert "/rpc/find" not in plain(hidden, Role.AUTHOR)["paths"]
    assert "/rpc/find" not in dialect(hidden, Role.AUTHOR)["paths"]
    assert "/rpc/find" in plain(hidden, Role.ADMIN)["paths"]
    assert dialect(CATALOG, Role.ANONYMOUS)["paths"]["/rpc/find"]["get"]["parameters"][0]["name"] == "q"


# ---- what it says ---------------------------------------------------------------------------------------------------


def test_rows_say_their_types() -> None:
    schemas = plain(LIBRARY, Role.ADMIN)["components"]["schemas"]
    book = schemas["books"]["properties"]
    assert book["pages"] == {"type": ["integer", "null"], "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}
    assert book["price"]["type"] == ["number", "null"]
    assert book["title"] == {"type": "string", "maxLength": 120}
    assert book["extra"] == {}
    assert book["id"]["readOnly"] is True
    assert book["genres"]["items"] == {"$ref": "#/components/schemas/genres"}
    assert book["writer"]["anyOf"] == [{"$ref": "#/components/schemas/writers"}, {"type": "null"}]


def test_masked_column_may_be_null_for_those_who_see_it_masked() -> None:
    kinds = {view: plain(CATALOG, view)["components"]["schemas"]["users"] for view in (Role.MEMBER, Role.ADMIN)}
    assert kinds[Role.MEMBER]["properties"]["balance"]["type"] == ["integer", "null"]
    assert kinds[Role.ADMIN]["properties"]["balance"]["type"] == "integer"


def test_payload_says_what_a_new_row_needs() -> None:
    schemas = plain(CATALOG, Role.AUTHOR)["components"]["schemas"]
    new, change = schemas["posts.insert"], schemas["posts.update"]
    assert new["required"] == ["title"]  # the slug is made of it, the rest has defaults
    assert set(new["properties"]) == {"title", "slug", "content", "status", "published_at", "tags"}
    assert new["properties"]["status"] == {
        "type": "string",
        "enum": ["draft", "published", "archived"],
        "default": "draft",
    }
    assert new["properties"]["tags"]["writeOnly"] is True
    assert "required" not in change
    assert "default" not in change["properties"]["status"]
    assert plain(CATALOG, Role.ADMIN)["components"]["schemas"]["users.insert"]["properties"]["password"]["writeOnly"]


def test_dialect_says_keys_as_notes() -> None:
    posts = dialect(CATALOG, Role.ANONYMOUS)["definitions"]["posts"]
    assert posts["properties"]["id"]["description"] == "Note:\nThis is a Primary Key.<pk/>"
    note = "Note:\nThis is a Foreign Key to `users.id`.<fk table='users' column='id'/>"
    assert posts["properties"]["user_id"]["description"] == note
    assert posts["properties"]["title"] == {"type": "string", "format": "character varying", "maxLength": 200}
    assert posts["properties"]["status"]["default"] == "draft"
    assert posts["properties"]["published_at"]["format"] == "timestamp with time zone"
    assert "title" in posts["required"]
    assert "published_at" not in posts["required"]


def test_key_is_described_as_needed_where_it_is() -> None:
    needed = document(replace(audience(CATALOG, Role.ANONYMOUS), key_needed=True), {})
    assert {} in plain(CATALOG, Role.ANONYMOUS)["security"]
    assert needed["security"] == [{"apikey": []}, {"bearer": []}]


def test_statuses_are_those_of_the_surface() -> None:
    of = {s.name: plain(CATALOG, Role.AUTHOR, s)["paths"]["/posts"]["post"]["responses"] for s in (PLAIN, REST)}
    assert of["plain"].keys() - of["rest"].keys() == {"415"}  # 422 is for keys
    assert "403" in of["plain"]
    assert "401" in of["plain"]


# ---- over HTTP ------------------------------------------------------------------------------------------------------


async def test_description_is_made_for_the_caller(client: httpx2.AsyncClient, secret: Headers) -> None:
    mine, everyones = await client.get("/openapi.json", headers=secret), await client.get("/openapi.json")
    assert mine.headers["content-type"] == "application/json; charset=utf-8"
    assert "/revisions" in mine.json()["paths"]
    assert "/revisions" not in everyones.json()["paths"]
    known = {"If-None-Match": everyones.headers["etag"]}
    assert (await client.get("/openapi.json", headers=known)).status_code == 304
    assert (await client.get("/openapi.json", headers={**known, **secret})).status_code == 200


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/openapi+json", "text/x, */*;q=0.1"])
@pytest.mark.parametrize("path", ["/rest/v1/", "/rest/v1"])
async def test_root_of_the_dialect_describes_it(client: httpx2.AsyncClient, path: str, accept: str | None) -> None:
    response = await client.get(path, headers={} if accept is None else {"Accept": accept})
    assert response.headers["content-type"] == "application/openapi+json; charset=utf-8"
    assert response.json()["basePath"] == "/rest/v1"


async def test_root_of_the_dialect_is_no_table(client: httpx2.AsyncClient) -> None:
    refused = await client.get("/rest/v1/", headers={"Accept": "text/csv"})
    assert (refused.status_code, refused.json()["code"]) == (406, "PGRST107")
    assert (await client.post("/rest/v1/")).status_code == 405
    assert (await client.options("/rest/v1/")).headers["allow"] == "OPTIONS,GET,HEAD"
    head = await client.head("/rest/v1/")
    assert (head.status_code, head.content) == (200, b"")


async def test_wrong_key_gets_no_description(client: httpx2.AsyncClient) -> None:
    for path in ("/openapi.json", "/rest/v1/"):
        assert (await client.get(path, headers={"apikey": "sb_secret_wrong"})).status_code == 401


@pytest.mark.parametrize("table", ["posts", "users", "tags", "post_tags", "transfers", "revisions"])
@pytest.mark.parametrize("caller", ["anonymous", "service"])
async def test_served_row_is_as_described(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, caller: str, table: str
) -> None:
    headers = secret if caller == "service" else {}
    described = (await client.get("/openapi.json", headers=headers)).json()
    rows = await client.get(f"/{table}", headers=headers)
    if table not in described["components"]["schemas"]:
        assert rows.status_code == 404
        return
    schema = {"$ref": f"#/components/schemas/{table}", "components": described["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    relations = {
        name for name, s in described["components"]["schemas"][table]["properties"].items() if "$ref" in str(s)
    }
    for row in rows.json():
        validator.validate(row)
        assert row.keys() == described["components"]["schemas"][table]["properties"].keys() - relations
    assert rows.json() or table in ("transfers", "revisions")
