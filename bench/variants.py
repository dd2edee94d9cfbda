"""What is compared: this service, its peers, and the bounds that tell how near to the possible each of them is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.store import Backend

LOGGED = "broadsheet-logged"
BOTH = frozenset(Backend)
POSTGRESQL = frozenset({Backend.POSTGRESQL})
SQLITE = frozenset({Backend.SQLITE})
TRANSFERS = frozenset({"transfer", "transfer-hot", "transfer-low"})
POSTS = frozenset({"list-same", "list-random", "list-tag", "list-author", "one", "create", "page-first"})
PAGES = frozenset({"page-deep-keyset", "page-deep-offset"})


@dataclass(frozen=True, slots=True)
class Variant:
    """`module` is that of a peer below `bench.peers`. `loads` names those that it can do, None all of its dialect."""

    name: str
    about: str
    dialect: str = "peer"
    module: str = ""
    backends: frozenset[Backend] = BOTH
    loads: frozenset[str] | None = None


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("broadsheet", "this service, all rules on, no log of requests", "broadsheet"),
        Variant(
            LOGGED,
            "the same with a line in its log for each request, as it starts by default",
            "broadsheet",
            loads=frozenset({"list-random", "one"}),
        ),
        Variant("fastapi-async", "FastAPI, AsyncSession with selectinload, pydantic", module="fastapi_async"),
        Variant("fastapi-sync", "FastAPI, Session in its thread pool, pydantic", module="fastapi_sync"),
        Variant("litestar", "Litestar, advanced-alchemy", module="litestar_app"),
        Variant("django-ninja", "Django with django-ninja on ASGI", module="django_ninja"),
        Variant("pocketbase", "PocketBase (Go), its own SQLite file", "pocketbase", "pocketbase", SQLITE),
        Variant(
            "asyncpg",
            "bound: hand-written statements on asyncpg, msgspec",
            module="asyncpg_bound",
            backends=POSTGRESQL,
            loads=POSTS | PAGES | TRANSFERS | {"empty"},
        ),
        Variant(
            "json-in-database",
            "bound: one statement that builds the JSON in PostgreSQL",
            module="json_in_database",
            backends=POSTGRESQL,
            loads=POSTS | PAGES,
        ),
        Variant("starlette", "bound: an empty answer", "nothing", "empty", loads=frozenset({"empty"})),
        Variant(
            "pgbench-five",
            "bound: pgbench, a transfer as a transaction of five statements",
            "tool",
            backends=POSTGRESQL,
            loads=TRANSFERS,
        ),
        Variant(
            "pgbench-one",
            "bound: pgbench, a transfer as one statement",
            "tool",
            backends=POSTGRESQL,
            loads=TRANSFERS,
        ),
        Variant(
            "asyncpg-copy",
            "bound: COPY of the imported rows into the same tables",
            "tool",
            backends=POSTGRESQL,
            loads=frozenset({"import"}),
        ),
        Variant("argon2", "bound: two threads that verify passwords", "tool", loads=frozenset({"sign-in"})),
    )
}

PEERS = frozenset(name for name, variant in VARIANTS.items() if variant.module)  # installed apart
